"""The command `trace`: what happened in a run, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pipeline.cli.options import LAST, AsJson, RunId, example
from pipeline.cli.plain import one_line, say, say_json

if TYPE_CHECKING:
    from pipeline.run import Run
    from pipeline.telemetry.timeline import Moment, Timeline

BAR = 30  # characters
WITHIN = "  "


def trace(run_id: RunId = LAST, as_json: AsJson = False) -> None:
    """Show the timeline of a run: stages, cells of its notebook, what took how long, what failed.

    It is read from the log of the run and from its notebook, so it is there with nothing set up, while the run goes
    on, and after it was interrupted.
    """
    from pipeline.run import load_run
    from pipeline.telemetry.timeline import read_timeline

    run = load_run(run_id)
    found = read_timeline(run.dir, late=run.dir.late_log, began=run.record.started_at, stages=run.record.stages)
    if as_json:
        told = {"began": None, "seconds": None, "source": None, "steps": []} if found is None else found.to_dict()
        say_json({"run_id": run.run_id, "name": run.name, "status": run.status, **told})
        return
    say(f"run      {run.run_id}  {one_line(run.name)}".rstrip())
    say(f"status   {run.status}")
    if found is None:
        say("The run left nothing that tells its timeline.")
        return
    _print(found, run)


def _print(found: Timeline, run: Run) -> None:
    from pipeline.telemetry.timeline import instant

    start = instant(found.began)
    took = "" if found.seconds is None else f", {found.seconds:.2f} s"
    order = "  (the order of its stages and how long each took are known, not when each began)"
    say(f"began    {found.began}{took}{order if found.source == 'record' else ''}\n")
    for depth, step in found.walk():
        offset = (instant(step.began) - start).total_seconds()
        if step.seconds is not None:
            took = f"{step.seconds:8.3f} s"
        else:
            took = "   goes on" if run.status == "RUNNING" else "  no end  "
        bar = _bar(offset, step.seconds, found.seconds)
        say(f"{offset:8.3f} s {took}  {bar}  {WITHIN * depth}{_named(step)}".rstrip())


def _named(step: Moment) -> str:
    """Return what a step is called, and how it failed, in one line."""
    text = f"{step.label}  {step.title}".rstrip() if step.index is not None else step.label
    return one_line(f"{text}  FAILED: {step.error}" if step.error else text)


def _bar(offset: float, seconds: float | None, whole: float | None) -> str:
    """Return where in the run a step lies, as characters."""
    if not whole or seconds is None:
        return " " * BAR
    first = min(BAR - 1, max(0, round(offset / whole * BAR)))
    length = min(BAR - first, max(1, round(seconds / whole * BAR)))
    return f"{' ' * first}{'=' * length}".ljust(BAR)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=example("evidence trace last"))(trace)
