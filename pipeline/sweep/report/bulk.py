"""Render the reports of runs and of sweeps alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.errors import EvidenceError, RenderError
from pipeline.report.bulk import Rendered, RenderJob, render_many, why_stale
from pipeline.run import Run
from pipeline.sweep.report.render import find_sweep_template, render_sweep, why_sweep_stale
from pipeline.sweep.stored import is_sweep


def render_all(runs: Sequence[Run], job: RenderJob, *, processes: int = 1) -> Iterator[Rendered]:
    """Render the reports of `runs` and yield each as it is done; a failure of one leaves the others alone.

    Sweeps come last, since their pages link to the reports of their trials.
    """
    sweeps = [run for run in runs if is_sweep(run)]
    yield from render_many([run for run in runs if not is_sweep(run)], job, processes=processes)
    for run in sweeps:
        yield _render_sweep(run, job)


def why_any_stale(run: Run, job: RenderJob) -> str | None:
    """Return why the report of a run or a sweep would come out different now; None when it is as it would be made."""
    if not is_sweep(run):
        return why_stale(run, job)
    template = find_sweep_template(None, job.settings)
    return why_sweep_stale(run, renderer=job.chosen, template=template)


def _render_sweep(run: Run, job: RenderJob) -> Rendered:
    try:
        if job.static or job.format != "html":
            raise RenderError("The report of a sweep is an interactive page only: leave --static and --format out.")
        return Rendered(run, render_sweep(run, renderer=job.renderer, settings=job.settings))
    except EvidenceError as error:
        return Rendered(run, None, str(error))
