"""Render the report of one sweep, on the same path as the report of a run: resolve, render, finish, check, move."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import RenderError
from pipeline.report.blocks import Aside
from pipeline.report.record import RECORD, RenderRecord, assets_digest, read_record
from pipeline.report.render import Resolved, Sources, first_success, tracked_url
from pipeline.report.renderers import AUTO, Renderer, usable_renderers
from pipeline.report.resolve import resolve
from pipeline.rundir import write_atomic, write_json
from pipeline.settings import Settings
from pipeline.sweep.report.landscape import stylesheet
from pipeline.sweep.report.page import SweepPage, build_sweep_page
from pipeline.template_files import template_path

if TYPE_CHECKING:
    from pipeline.run import Run

TEMPLATE = "reports/sweep_report.qmd"
PACKAGE = Path(__file__).parent
HEAD_END = "</head>"


def render_sweep(
    run: Run, *, renderer: str = AUTO, template: Path | None = None, settings: Settings | None = None
) -> RenderRecord:
    """Render the report of the sweep `run` to `report/index.html` in its directory, `report/render.json` beside it.

    `renderer` is auto, quarto or embedded; `template` a `.qmd` (default: the project's, else the one in the package).
    Nothing else in the directory changes. With `auto`, a renderer that fails gives way to the next one, and the
    record's `note` says so. Raises RenderError, RendererNotFoundError, UsageError when the run is no sweep.
    """
    candidates = usable_renderers(renderer)
    sources = Sources(find_sweep_template(template, settings))
    with tempfile.TemporaryDirectory(prefix="evidence-report-") as directory:
        resolved = _resolved(run, sources, Path(directory))
        chosen, html, note = first_success(candidates, resolved)
        html = html.replace(HEAD_END, f"<style>\n{stylesheet()}</style>\n{HEAD_END}", 1)
    return _keep(resolved, chosen, html, note)


def find_sweep_template(given: Path | None, settings: Settings | None) -> Path:
    """Return the `.qmd` to use: the given one, the project's, or the one shipped in the package; raises RenderError."""
    own = settings or Settings.load()
    return template_path(own, TEMPLATE if given is None else str(given), error=RenderError).resolve()


def why_sweep_stale(run: Run, *, renderer: Renderer, template: Path) -> str | None:
    """Return why the report of a sweep would come out different now; None when it is as it would be made."""
    record = read_record(run)
    if record is None or not run.dir.report.is_file():
        return "it has no report"
    now = {
        "the sweep": (record.manifest_sha256, run.manifest_digest),
        "the template": (record.template_sha256, sha256_file(template)),
        "the theme": (record.assets_sha256, sweep_assets_digest()),
        "the renderer": ((record.renderer, record.version), (renderer.name, renderer.version())),
        "the address of the tracked run": (record.tracked, tracked_url(run)),
        "the report": (record.report_sha256, sha256_file(run.dir.report)),
        "the runs of its trials": (record.trials_sha256, build_sweep_page(run).around_sha256),
    }
    return next((f"{what} changed" for what, (then, is_now) in now.items() if then != is_now), None)


@cache
def sweep_assets_digest() -> str:
    """Return one digest over all that shapes the report of every sweep: what shapes any report, and this package."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix in {".py", ".css"})
    lines = [assets_digest(), *(f"{sha256_file(path)}  {path.relative_to(PACKAGE).as_posix()}" for path in files)]
    return sha256_bytes("\n".join(lines).encode())


def _resolved(run: Run, sources: Sources, scratch: Path) -> Resolved:
    page = build_sweep_page(run, images=scratch / "images")
    aside = Aside()
    markdown = resolve(
        sources.template,
        scratch,
        parameters={"run_id": run.run_id, "page": page},
        title=f"{page.title} · sweep report · {run.run_id[:8]}",
        outputs=aside.take,
    )
    return Resolved(page, sources, markdown, aside)


def _keep(resolved: Resolved, renderer: Renderer, html: str, note: str | None) -> RenderRecord:
    """Write the finished page and its record into the directory of the sweep."""
    page, data = resolved.page, html.encode()
    if not isinstance(page, SweepPage):
        raise RenderError(f"{page.run.run_id} was not resolved as a sweep.")
    record = RenderRecord(
        run_id=page.run.run_id,
        renderer=renderer.name,
        version=renderer.version(),
        template=resolved.sources.template.name,
        template_sha256=sha256_file(resolved.sources.template),
        assets_sha256=sweep_assets_digest(),
        manifest_sha256=page.run.manifest_digest,
        report=page.run.dir.report.name,
        report_sha256=sha256_bytes(data),
        size=len(data),
        note=note,
        trials=page.judged.counts.ledger,
        trials_sha256=page.around_sha256,
        tracked=tracked_url(page.run),
    )
    write_atomic(page.run.dir.report, data)
    write_json(page.run.dir.report.with_name(RECORD), record.to_dict())
    return record


__all__ = ["TEMPLATE", "find_sweep_template", "render_sweep", "sweep_assets_digest", "why_sweep_stale"]
