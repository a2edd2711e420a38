"""Render the reports of runs and of sweeps alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.errors import EvidenceError
from pipeline.report.bulk import Rendered, render_many
from pipeline.report.job import RenderJob, why_stale
from pipeline.run import Run
from pipeline.sweep.report.render import render_sweep_format, why_sweep_stale
from pipeline.sweep.stored import is_sweep


def render_all(runs: Sequence[Run], job: RenderJob, *, processes: int = 1) -> Iterator[Rendered]:
    """Render the reports of `runs` and yield each as it is done; a failure of one leaves the others alone.

    Sweeps come last, since their pages link to the reports of their trials. Of a run whose artifacts were dropped there
    is none: it would say that the run never had them.
    """
    dropped = {run.run_id: run.tombstone for run in runs if run.tombstone is not None}
    for run in (run for run in runs if run.run_id in dropped):
        yield Rendered(run, None, f"No report can be made of what is left of {run.run_id}: {dropped[run.run_id]}.")
    sweeps = [run for run in runs if is_sweep(run) and run.run_id not in dropped]
    others = [run for run in runs if not is_sweep(run) and run.run_id not in dropped]
    yield from render_many(others, job, processes=processes)
    for run in sweeps:
        yield _render_sweep(run, job)


def why_any_stale(run: Run, job: RenderJob) -> str | None:
    """Return why the report of a run or a sweep would come out different now; None when it is as it would be made.

    Nothing can be made again of what is left of a run whose artifacts were dropped.
    """
    if run.tombstone is not None:
        return None
    return why_sweep_stale(run, job) if is_sweep(run) else why_stale(run, job)


def _render_sweep(run: Run, job: RenderJob) -> Rendered:
    try:
        return Rendered(run, render_sweep_format(run, job))
    except (EvidenceError, OSError) as error:
        return Rendered(run, None, str(error))
