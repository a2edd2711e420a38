"""Render the report of one sweep, on the same path as the report of a run: resolve, render, finish, check, move."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import RenderError
from pipeline.report.aside import Aside
from pipeline.report.job import RenderJob, known_format, why_file_stale
from pipeline.report.record import RenderRecord, assets_digest, read_record
from pipeline.report.render import Resolved, Sources, first_success, keep_report, tracked_url
from pipeline.report.renderers import AUTO, usable_renderers
from pipeline.report.resolve import resolve
from pipeline.settings import Settings
from pipeline.sweep.report.landscape import stylesheet
from pipeline.sweep.report.page import build_sweep_page
from pipeline.telemetry import about
from pipeline.template_files import template_path

if TYPE_CHECKING:
    from pipeline.run import Run

TEMPLATE = "reports/sweep_report.qmd"
PACKAGE = Path(__file__).parent


@about("render")
def render_sweep(
    run: Run,
    *,
    renderer: str = AUTO,
    template: Path | None = None,
    settings: Settings | None = None,
    static: bool = False,
) -> RenderRecord:
    """Render the report of the sweep `run` to `report/index.html` in its directory, `report/render.json` beside it.

    `renderer` is auto, quarto or embedded; `template` a `.qmd` (default: the project's, else the one in the package);
    `static` draws the figures. Nothing else in the directory changes. With `auto`, a renderer that fails gives way to
    the next one, and the record's `note` says so. Raises RenderError, RendererNotFoundError, UsageError when the run is
    no sweep.
    """
    candidates = usable_renderers(renderer)
    sources = Sources(find_sweep_template(template, settings), static=static)
    with tempfile.TemporaryDirectory(prefix="evidence-report-") as directory:
        resolved = resolve_sweep(run, sources, Path(directory))
        chosen, html, note = first_success(candidates, resolved)
    return keep_report(resolved, chosen, html, note)


def render_sweep_format(run: Run, job: RenderJob) -> RenderRecord:
    """Render a sweep's report as the job has it and return the record of the page, also of one that need not change.

    A PDF and a notebook are made beside a page of the same content. Raises RenderError, RendererNotFoundError.
    """
    from pipeline.report.formats import add_format

    known_format(job.format)
    record = read_record(run)
    if record is None or job.format == "html" or why_sweep_stale(run, replace(job, format="html")) is not None:
        record = render_sweep(run, renderer=job.renderer, settings=job.settings, static=job.static_for(run))
    sources = Sources(find_sweep_template(None, job.settings), static=True)
    marked = job.format == "ipynb"
    return add_format(
        run, job, record, lambda scratch: resolve_sweep(run, sources, scratch, marked=marked, linked=marked)
    )


def find_sweep_template(given: Path | None, settings: Settings | None) -> Path:
    """Return the `.qmd` to use: the given one, the project's, or the one shipped in the package; raises RenderError."""
    own = settings or Settings.load()
    return template_path(own, TEMPLATE if given is None else str(given), error=RenderError).resolve()


def why_sweep_stale(run: Run, job: RenderJob) -> str | None:
    """Return why the report of a sweep would come out different now; None when it is as it would be made."""
    record = read_record(run)
    if record is None or not run.dir.report.is_file():
        return "it has no report"
    now = {
        "the sweep": (record.manifest_sha256, run.manifest_digest),
        "the template": (record.template_sha256, sha256_file(find_sweep_template(None, job.settings))),
        "the theme": (record.assets_sha256, sweep_assets_digest()),
        "the renderer": ((record.renderer, record.version), (job.chosen.name, job.chosen.version())),
        "the kind of figures": (record.static, record.static if job.static is None else job.static),
        "the address of the tracked run": (record.tracked, tracked_url(run)),
        "the runs of its trials": (record.trials_sha256, build_sweep_page(run).around_sha256),
    }
    changed = next((f"{what} changed" for what, (then, is_now) in now.items() if then != is_now), None)
    return changed or why_file_stale(run, record, job)


@cache
def sweep_assets_digest() -> str:
    """Return one digest over all that shapes the report of every sweep: what shapes any report, and this package."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix in {".py", ".css"})
    lines = [assets_digest(), *(f"{sha256_file(path)}  {path.relative_to(PACKAGE).as_posix()}" for path in files)]
    return sha256_bytes("\n".join(lines).encode())


def resolve_sweep(run: Run, sources: Sources, scratch: Path, *, marked: bool = False, linked: bool = True) -> Resolved:
    """Execute the cells of the report of a sweep and write its Markdown into `scratch`; see `resolve_run`."""
    page = build_sweep_page(run, images=scratch / "images", static=sources.static, linked=linked)
    aside = Aside(marked=marked)
    markdown = resolve(
        sources.template,
        scratch,
        parameters={"run_id": run.run_id, "page": page},
        title=f"{page.title} · sweep report · {run.run_id[:8]}",
        outputs=aside.take,
        figures=page.figures,
        whole=marked,
    )
    counted = (page.judged.counts.ledger, page.around_sha256)
    return Resolved(page, sources, markdown, aside, counted, sweep_assets_digest(), stylesheet())


__all__ = [
    "TEMPLATE",
    "find_sweep_template",
    "render_sweep",
    "render_sweep_format",
    "sweep_assets_digest",
    "why_sweep_stale",
]
