"""Render the reports of many runs: only the stale ones, in several processes."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.errors import EvidenceError, RenderError
from pipeline.report.formats import render_format
from pipeline.report.job import RenderJob
from pipeline.report.quarto import QuartoRenderer
from pipeline.report.record import RenderRecord
from pipeline.report.render import Resolved, Sources, keep_report, render_run, resolve_run
from pipeline.run import Run
from pipeline.rundir import RunDir

# Runs that one start of Quarto renders, and reports that one process makes before it asks for more.
QUARTO_BATCH = 20


@dataclass(frozen=True)
class Rendered:
    """What became of one report: its record, or why there is none."""

    run: Run
    record: RenderRecord | None
    error: str | None = None


def render_many(runs: Sequence[Run], job: RenderJob, *, processes: int = 1) -> Iterator[Rendered]:
    """Render the reports of `runs` and yield each as it is done; a failure of one leaves the others alone.

    Each report is made in a process that serves many, never in threads: cells print, and printing is one for all.
    Quarto is started once for many runs, which it renders as one project.
    """
    by_id = {run.run_id: run for run in runs}
    batches = _batches(list(by_id), job, processes)
    if processes <= 1 or len(batches) <= 1:
        for batch in batches:
            for run_id, record, error in _render_batch(job, batch):
                yield Rendered(by_id[run_id], record, error)
        return
    most = min(processes, len(batches))
    here = (dict(os.environ), Path.cwd())
    with ProcessPoolExecutor(most, mp_context=_context(), initializer=_settle, initargs=here) as pool:
        waiting = [pool.submit(_render_in_worker, job, batch) for batch in batches]
        for done in as_completed(waiting):
            for run_id, record, error in done.result():
                yield Rendered(by_id[run_id], record, error)


def _batches(run_ids: list[str], job: RenderJob, processes: int) -> list[list[str]]:
    size = 1
    if len(run_ids) > 1 and job.format == "html" and isinstance(job.chosen, QuartoRenderer):
        size = min(QUARTO_BATCH, -(-len(run_ids) // max(processes, 1)))
    return [run_ids[start : start + size] for start in range(0, len(run_ids), size)]


@cache
def _context() -> multiprocessing.context.BaseContext:
    """Return how workers are started: forked from a clean process that has imported what they need, where it exists."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.report.warm"])
    return context


def _settle(environment: dict[str, str], directory: Path) -> None:
    """Give a worker the environment and the directory of who asked: the process it was forked from may be older."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)


Outcome = tuple[str, RenderRecord | None, str | None]


def _render_batch(job: RenderJob, run_ids: list[str]) -> list[Outcome]:
    if len(run_ids) > 1:
        try:
            return _render_project(job, run_ids)
        except (EvidenceError, OSError):  # as a whole it failed: which of them it was is found one by one
            pass
    return [_render_one(job, run_id) for run_id in run_ids]


def _render_in_worker(job: RenderJob, run_ids: list[str]) -> list[Outcome]:
    return _render_batch(_worker_job(job), run_ids)


@cache
def _worker_job(job: RenderJob) -> RenderJob:
    """Return the same object for equal jobs, so that a process looks at templates and trials once."""
    return job


def _render_one(job: RenderJob, run_id: str) -> Outcome:
    run = Run(RunDir(job.settings.results, run_id))
    try:
        if job.format != "html":
            return run_id, render_format(run, job), None
        record = render_run(
            run,
            renderer=job.renderer,
            template=job.template,
            settings=job.settings,
            static=job.static_for(run),
            index=job.index,
        )
    except (EvidenceError, OSError) as error:
        return run_id, None, str(error)
    return run_id, record, None


def _render_project(job: RenderJob, run_ids: list[str]) -> list[Outcome]:
    """Render many runs with one start of Quarto, each in a folder of one scratch project."""
    renderer = job.chosen
    if not isinstance(renderer, QuartoRenderer):
        raise RenderError("Only Quarto renders many runs as one project.")
    with tempfile.TemporaryDirectory(prefix="evidence-report-") as directory:
        resolved = [_in_folder(job, run_id, Path(directory)) for run_id in run_ids]
        pages = renderer.render_project([item.markdown for item in resolved], Path(directory))
        made = [(item, item.finished(page)) for item, page in zip(resolved, pages, strict=True)]
        return [(item.page.run.run_id, keep_report(item, renderer, html), None) for item, html in made]


def _in_folder(job: RenderJob, run_id: str, project: Path) -> Resolved:
    run = Run(RunDir(job.settings.results, run_id))
    folder = project / run_id
    folder.mkdir()
    sources = Sources(job.sources.template, job.sources.sections, job.static_for(run))
    return resolve_run(run, sources, folder, index=job.index)
