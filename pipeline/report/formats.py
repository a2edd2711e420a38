"""The report in other formats beside the page: `report/report.pdf` and `report/report.ipynb`.

Both are made from the page with drawn figures, and only beside a page of the same content, which is rendered first when
there is none. Their digests are in the page's record, and the statement about `report/` covers them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_bytes
from pipeline.report.job import RenderJob, known_format, why_stale
from pipeline.report.record import RenderRecord, read_record, write_record
from pipeline.report.render import Resolved, Sources, render_run, resolve_run
from pipeline.report.renderers import usable_renderers
from pipeline.running import write_aside

if TYPE_CHECKING:
    from pipeline.run import Run


def render_format(run: Run, job: RenderJob) -> RenderRecord:
    """Render a run's report in the job's format and return the record of the page beside it.

    Raises RenderError, and RendererNotFoundError saying what to install.
    """
    known_format(job.format)
    record = _page(run, job)

    def resolved_in(scratch: Path) -> Resolved:
        sources = Sources(job.sources.template, job.sources.sections, static=True)
        marked = job.format == "ipynb"  # the notebook lies beside the run; a PDF is sent on its own
        return resolve_run(run, sources, scratch, index=job.index, marked=marked, linked=marked)

    return add_format(run, job, record, resolved_in)


def add_format(run: Run, job: RenderJob, record: RenderRecord, resolved_in: Callable[[Path], Resolved]) -> RenderRecord:
    """Write the job's format beside the page of `record`, out of what `resolved_in` resolves with drawn figures.

    Returns the record with it; for html, the record itself.
    """
    if job.format == "html":
        return record
    with tempfile.TemporaryDirectory(prefix="evidence-report-") as directory:
        resolved = resolved_in(Path(directory))
        data, maker = _pdf(resolved, job) if job.format == "pdf" else _notebook(resolved, run)
    name = f"report.{job.format}"
    write_aside(run.dir, run.dir.report.with_name(name), data)
    entry = {"sha256": sha256_bytes(data), "size": len(data), "made_by": maker}
    record = replace(record, files={**record.files, name: entry})
    write_record(run, record)
    return record


def _page(run: Run, job: RenderJob) -> RenderRecord:
    """Return the record of a page that is as it would be made now."""
    record = read_record(run)
    if record is not None and why_stale(run, replace(job, format="html")) is None:
        return record
    return render_run(
        run,
        renderer=job.renderer,
        template=job.template,
        settings=job.settings,
        static=job.static_for(run),
        index=job.index,
    )


def _pdf(resolved: Resolved, job: RenderJob) -> tuple[bytes, str]:
    from pipeline.report.pdf import choose_printer

    printer = choose_printer(job.renderer)
    page = resolved.markdown.with_name("static.html")
    page.write_text(_static_page(resolved), encoding="utf-8")
    return printer.print_page(page, resolved.markdown.parent, resolved.style), printer.version()


def _notebook(resolved: Resolved, run: Run) -> tuple[bytes, str]:
    from pipeline.report.notebook import as_notebook

    html = _static_page(resolved)
    return as_notebook(resolved, html, run.run_id), "evidence-chain"


def _static_page(resolved: Resolved) -> str:
    """Return the finished page with drawn figures, by the embedded renderer where it is installed."""
    renderer = usable_renderers()[-1]
    return resolved.finished(renderer.render(resolved.markdown, resolved.markdown.parent))
