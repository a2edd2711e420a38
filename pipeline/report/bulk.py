"""Render the reports of many runs: only the stale ones, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pipeline.digest import sha256_file
from pipeline.errors import EvidenceError
from pipeline.report.render import RenderRecord, assets_digest, find_template, read_record, render_run
from pipeline.report.renderers import AUTO, choose_renderer
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings


@dataclass(frozen=True)
class RenderJob:
    """How reports are to be made: `auto`, `quarto` or `embedded`, the template, the project."""

    settings: Settings
    renderer: str = AUTO
    template: Path | None = None


@dataclass(frozen=True)
class Rendered:
    """What became of one report: its record, or why there is none."""

    run: Run
    record: RenderRecord | None
    error: str | None = None


def why_stale(run: Run, job: RenderJob) -> str | None:
    """Return why the report of a run would come out different now; None when it is as it would be made.

    Compared are the manifest, the template, this package's assets, the renderer and the report's own bytes. Later
    runs that change the count of trials do not make a report stale.
    """
    record = read_record(run)
    if record is None or not run.dir.report.is_file():
        return "it has no report"
    chosen = choose_renderer(job.renderer)
    now = {
        "the run": (record.manifest_sha256, run.manifest_digest),
        "the template": (record.template_sha256, sha256_file(find_template(job.template, job.settings))),
        "the theme": (record.assets_sha256, assets_digest()),
        "the renderer": ((record.renderer, record.version), (chosen.name, chosen.version())),
        "the report": (record.report_sha256, sha256_file(run.dir.report)),
    }
    return next((f"{what} changed" for what, (then, is_now) in now.items() if then != is_now), None)


def render_many(runs: Sequence[Run], job: RenderJob, *, processes: int = 1) -> Iterator[Rendered]:
    """Render the reports of `runs` and yield each as it is done; a failure of one leaves the others alone.

    Each report is made in a process that serves many, never in threads: cells print, and printing is one for all.
    """
    if processes <= 1 or len(runs) <= 1:
        for run in runs:
            yield _outcome(run, *_render(job, run.run_id))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(runs)), mp_context=context) as pool:
        waiting = {pool.submit(_render, job, run.run_id): run for run in runs}
        for done in as_completed(waiting):
            yield _outcome(waiting[done], *done.result())


def _render(job: RenderJob, run_id: str) -> tuple[RenderRecord | None, str | None]:
    run = Run(RunDir(job.settings.results, run_id))
    try:
        return render_run(run, renderer=job.renderer, template=job.template, settings=job.settings), None
    except EvidenceError as error:
        return None, str(error)


def _outcome(run: Run, record: RenderRecord | None, error: str | None) -> Rendered:
    return Rendered(run, record, error)
