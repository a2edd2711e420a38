"""Render the report of one run: resolve, render, finish, check, and move one file into the run directory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import RenderError
from pipeline.report.page import build_page
from pipeline.report.renderers import AUTO, Renderer, usable_renderers
from pipeline.report.resolve import ASSETS, resolve
from pipeline.report.selfcontained import check_self_contained, finish
from pipeline.rundir import read_json, write_atomic, write_json
from pipeline.settings import Settings
from pipeline.template_files import template_path

if TYPE_CHECKING:
    from pipeline.run import Run

TEMPLATE = "reports/backtest_report.qmd"
RECORD = "render.json"


@dataclass(frozen=True)
class RenderRecord:
    """How a report was made; equal records mean equal reports. It holds no time, so it can be made again.

    `renderer` is the renderer's name, `version` the program's; `template_sha256` covers the `.qmd`, `assets_sha256`
    style, scripts, filter and page template; `manifest_sha256` is None for a run that was not sealed.
    `note` says when the preferred renderer failed.
    """

    run_id: str
    renderer: str
    version: str
    template: str
    template_sha256: str
    assets_sha256: str
    manifest_sha256: str | None
    report: str
    report_sha256: str
    size: int
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def render_run(
    run: Run, *, renderer: str = AUTO, template: Path | None = None, settings: Settings | None = None
) -> RenderRecord:
    """Render the report of `run` to `report/index.html` in its directory, with `report/render.json` beside it.

    `renderer` is auto, quarto or embedded; `template` a `.qmd` (default: the project's, else the one in the
    package). Nothing else in the run directory changes; a report that was there stays until the new one is whole.
    With `auto`, a renderer that fails gives way to the next one, and the record's `note` says so. Raises
    RenderError, RendererNotFoundError.
    """
    candidates = usable_renderers(renderer)
    source = find_template(template, settings)
    with tempfile.TemporaryDirectory(prefix="evidence-report-") as directory:
        scratch = Path(directory)
        page = build_page(run, images=scratch / "images")
        title = f"{page.title} · backtest report · {run.run_id[:8]}"
        resolved = resolve(source, scratch, parameters={"run_id": run.run_id, "page": page}, title=title)
        chosen, html, note = _rendered(candidates, resolved, scratch)
    data = html.encode()
    record = RenderRecord(
        run_id=run.run_id,
        renderer=chosen.name,
        version=chosen.version(),
        template=source.name,
        template_sha256=sha256_file(source),
        assets_sha256=assets_digest(),
        manifest_sha256=run.manifest_digest,
        report=run.dir.report.name,
        report_sha256=sha256_bytes(data),
        size=len(data),
        note=note,
    )
    write_atomic(run.dir.report, data)
    write_json(run.dir.report.with_name(RECORD), record.to_dict())
    return record


def _rendered(candidates: Sequence[Renderer], resolved: Path, scratch: Path) -> tuple[Renderer, str, str | None]:
    """Return the first renderer that succeeds, its finished page, and what the ones before it said."""
    failed = None
    for chosen in candidates:
        try:
            html = finish(chosen.render(resolved, scratch).read_text(encoding="utf-8"), own_scripts=chosen.own_scripts)
            check_self_contained(html)
        except RenderError as error:
            if chosen is candidates[-1]:
                raise
            failed = f"{chosen.name} failed, so another renderer was used: {str(error).splitlines()[0]}"
        else:
            return chosen, html, failed
    raise RenderError("There is no renderer to use.")


def read_record(run: Run) -> RenderRecord | None:
    """Return the record of the run's report; None when there is none that can be read."""
    try:
        return RenderRecord(**read_json(run.dir.report.with_name(RECORD)))
    except (OSError, ValueError, TypeError):
        return None


def find_template(given: Path | None, settings: Settings | None) -> Path:
    """Return the `.qmd` to use: the given one, the project's, or the one shipped in the package."""
    if given is not None:
        path = settings.resolve(given) if settings else Path(given)
        if not path.is_file():
            raise RenderError(f"The report template {path} does not exist. Give an existing .qmd.")
        return path.resolve()
    return template_path(settings or Settings.load(), TEMPLATE, error=RenderError).resolve()


def assets_digest() -> str:
    """Return one digest over the files of this package that shape every report."""
    lines = [f"{sha256_file(path)}  {path.name}" for path in sorted(ASSETS.iterdir()) if path.is_file()]
    return sha256_bytes("\n".join(lines).encode())
