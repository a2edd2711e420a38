"""Render the report of one run: resolve, render, finish, check, and move one file into the run directory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import RenderError
from pipeline.files import PARTIAL
from pipeline.report.aside import Aside
from pipeline.report.page import Page, build_page
from pipeline.report.record import RenderRecord, assets_digest, read_record, write_record
from pipeline.report.renderer import Renderer
from pipeline.report.renderers import AUTO, usable_renderers
from pipeline.report.resolve import resolve
from pipeline.report.section_files import find_sections, section_digests
from pipeline.report.selfcontained import check_self_contained, finish
from pipeline.running import write_aside
from pipeline.settings import Settings
from pipeline.telemetry import about
from pipeline.template_files import template_path

if TYPE_CHECKING:
    from pipeline.report.trials import TrialIndex
    from pipeline.run import Run

TEMPLATE = "reports/backtest_report.qmd"
HEAD_END = "</head>"


@dataclass(frozen=True)
class Sources:
    """What a report is made with: the template, the project's own sections in it, drawings instead of plotly.js."""

    template: Path
    sections: dict[str, Path] = field(default_factory=dict)
    static: bool = False


@dataclass(frozen=True)
class Resolved:
    """A report whose cells were executed, ready for a renderer: its page, its Markdown, what was set aside of it.

    `style` is added to the style sheet of every report; `assets_sha256` covers what shapes the page, and `trials` are
    how many the page counts and a digest of them.
    """

    page: Page
    sources: Sources
    markdown: Path
    aside: Aside
    trials: tuple[int, str]
    assets_sha256: str
    style: str = ""

    def finished(self, rendered: Path) -> str:
        """Return the finished page out of what the renderer wrote; raises RenderError when it would load anything."""
        page = self.aside.put_back(rendered.read_text(encoding="utf-8"))
        page = finish(page)
        if self.style:
            page = page.replace(HEAD_END, f"<style>\n{self.style}</style>\n{HEAD_END}", 1)
        check_self_contained(page)
        return page


@about("render")
def render_run(
    run: Run,
    *,
    renderer: str = AUTO,
    template: Path | None = None,
    settings: Settings | None = None,
    static: bool = False,
    index: TrialIndex | None = None,
) -> RenderRecord:
    """Render the report of `run` to `report/index.html` in its directory, with `report/render.json` beside it.

    `renderer` is auto, quarto or embedded; `template` a `.qmd` (default: the project's, else the one in the
    package, with the project's own sections in it). `static` draws the figures, for a page of at most 500 kB; `index`
    is what is known of all runs already. Nothing else in the run directory changes; a report that was there stays until
    the new one is whole. With `auto`, a renderer that fails gives way to the next one, and the record's `note` says so.
    Raises RenderError, RendererNotFoundError.
    """
    candidates = usable_renderers(renderer)
    sources = find_sources(template, settings, static=static)
    with tempfile.TemporaryDirectory(prefix="evidence-report-") as directory:
        resolved = resolve_run(run, sources, Path(directory), index=index)
        chosen, html, note = first_success(candidates, resolved)
    return keep_report(resolved, chosen, html, note)


def find_sources(template: Path | None, settings: Settings | None, *, static: bool = False) -> Sources:
    """Return the template to use; the project's own sections go into the standard one only. Raises RenderError."""
    chosen = settings or Settings.load()
    path = find_template(template, settings)
    standard = path == find_template(None, chosen)
    return Sources(path, find_sections(chosen) if standard else {}, static)


def resolve_run(
    run: Run,
    sources: Sources,
    scratch: Path,
    *,
    index: TrialIndex | None = None,
    marked: bool = False,
    linked: bool = True,
) -> Resolved:
    """Execute the cells of the report of `run` and write its Markdown into `scratch`; raises RenderError.

    `marked` leaves comments around what each cell printed, for the notebook; without `linked` no file is linked to.
    """
    page = build_page(run, images=scratch / "images", static=sources.static, index=index, linked=linked)
    aside = Aside(marked=marked)
    markdown = resolve(
        sources.template,
        scratch,
        parameters={"run_id": run.run_id, "page": page},
        title=f"{page.title} · backtest report · {run.run_id[:8]}",
        sections=sources.sections,
        outputs=aside.take,
        figures=page.figures,
        whole=marked,
    )
    return Resolved(page, sources, markdown, aside, (page.trials.count, page.trials.sha256), assets_digest())


def keep_report(resolved: Resolved, renderer: Renderer, html: str, note: str | None = None) -> RenderRecord:
    """Write a finished page and its record into the run directory; other formats of an older content are removed."""
    run, data = resolved.page.run, html.encode()
    before = read_record(run)
    record = RenderRecord(
        run_id=run.run_id,
        renderer=renderer.name,
        version=renderer.version(),
        template=resolved.sources.template.name,
        template_sha256=sha256_file(resolved.sources.template),
        assets_sha256=resolved.assets_sha256,
        manifest_sha256=run.manifest_digest,
        report=run.dir.report.name,
        report_sha256=sha256_bytes(data),
        size=len(data),
        note=note,
        sections=section_digests(resolved.sources.sections),
        static=resolved.sources.static,
        trials=resolved.trials[0],
        trials_sha256=resolved.trials[1],
        tracked=tracked_url(run),
    )
    if before is not None and before.files:
        if before.content == record.content:
            record.files.update(before.files)
        else:
            for name in before.files:
                run.dir.report.with_name(Path(name).name).unlink(missing_ok=True)
    for leftover in run.dir.report.parent.glob(f"{PARTIAL}*"):  # of a version that wrote its files here
        leftover.unlink()
    write_aside(run.dir, run.dir.report, data)
    write_record(run, record)
    return record


def tracked_url(run: Run) -> str | None:
    """Return the address of the tracked run that a page links to."""
    return None if run.tracking is None else run.tracking.run_url


def first_success(candidates: Sequence[Renderer], resolved: Resolved) -> tuple[Renderer, str, str | None]:
    """Return the first renderer that succeeds, its finished page, and what the ones before it said."""
    failed = None
    for chosen in candidates:
        try:
            html = resolved.finished(chosen.render(resolved.markdown, resolved.markdown.parent))
        except RenderError as error:
            if chosen is candidates[-1]:
                raise
            failed = f"{chosen.name} failed, so another renderer was used: {str(error).splitlines()[0]}"
        else:
            return chosen, html, failed
    raise RenderError("There is no renderer to use.")


def find_template(given: Path | None, settings: Settings | None) -> Path:
    """Return the `.qmd` to use: the given one, the project's, or the one shipped in the package."""
    if given is not None:
        path = settings.resolve(given) if settings else Path(given)
        if not path.is_file():
            raise RenderError(f"The report template {path} does not exist. Give an existing .qmd.")
        return path.resolve()
    return template_path(settings or Settings.load(), TEMPLATE, error=RenderError).resolve()


__all__ = [
    "TEMPLATE", "RenderRecord", "Resolved", "Sources", "assets_digest", "find_sources", "find_template",
    "keep_report", "read_record", "render_run", "resolve_run", "tracked_url",
]  # fmt: skip
