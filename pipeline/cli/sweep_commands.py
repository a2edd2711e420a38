"""The commands around sweeps: search a space, look at studies, export their trials."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.interruption import INTERRUPTED
from pipeline.cli.options import CORES, EACH_CORE, LAST, AsJson, Which, example
from pipeline.cli.plain import say, say_json
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.sweep.search import OnTrial, Standing
    from pipeline.sweep.stored import Sweep
    from pipeline.sweep.sweep import SweepOutcome

study = typer.Typer(
    name="study",
    help="Look at the trials of sweeps.",
    epilog=example("evidence study show last"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


def sweep(
    config: Annotated[Path, typer.Option("--config", "-c", help="The sweep spec, a TOML file.")],
    override: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="Any key of the spec by its path: sweep.trials=50."),
    ] = None,
    objective: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="A metric to search for; several may be given.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", "-n", min=1, help="Most trials.")] = None,
    sampler: Annotated[str | None, typer.Option(help="grid, random, qmc, tpe or nsga2.")] = None,
    pruner: Annotated[str | None, typer.Option(help="none, median or hyperband.")] = None,
    mode: Annotated[str | None, typer.Option(help="fast (a trial is a backtest in process) or full (a run).")] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Start no further batch of trials after so long.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, show_default=EACH_CORE, help="Trials at once, here.")
    ] = CORES,
    executor: Annotated[str, typer.Option(metavar="WHERE", help="local, inline or dask://HOST:PORT.")] = "local",
    tracking: Annotated[str | None, typer.Option(metavar="MODE", help="warn, strict or off.")] = None,
    report: Annotated[
        bool | None,
        typer.Option(
            "--report/--no-report", help="Render the reports of the sweep and of its best runs; overrides the spec."
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Start anew, even where the same sweep was interrupted.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Search the parameter space of a strategy, and judge what was found.

    A sweep that was interrupted goes on where it stopped when it is asked for again. Ctrl-C finishes the trials that
    run; pressed twice it stops at once. Either way the sweep can be resumed, and the exit code is 130.
    """
    from pipeline.cli import output
    from pipeline.cli.key_commands import signing_key
    from pipeline.settings import Settings
    from pipeline.spec import parse_override
    from pipeline.sweep.executor import open_executor
    from pipeline.sweep.spec import read_sweep
    from pipeline.sweep.sweep import Hooks, run_sweep

    given_keys = {
        "sweep.objectives": objective, "sweep.trials": trials, "sweep.sampler": sampler, "sweep.pruner": pruner,
        "sweep.mode": mode, "sweep.timeout": timeout, "tracking.mode": tracking,
        "report.enabled": report,
    }  # fmt: skip
    overrides = dict(parse_override(text) for text in override or [])
    overrides |= {key: value for key, value in given_keys.items() if value is not None}
    spec, given = read_sweep(config, overrides)
    settings = Settings.load()
    output.say_where(settings)
    shown = _progress(quiet=quiet or as_json)
    with _stop_on_interrupt() as stop, open_executor(executor, jobs) as where, shown as show:
        outcome = run_sweep(
            spec,
            settings=settings,
            executor=where,
            given=given,
            overrides=overrides,
            resume=not new,
            stop=stop,
            hooks=Hooks(trial=show),
            signing_key=signing_key,
        )
    _print_outcome(outcome, as_json=as_json)
    if not outcome.finished:
        raise typer.Exit(INTERRUPTED)
    if outcome.error is not None:
        raise typer.Exit(1)


@study.command("list", epilog=example("evidence study list --json"))
def list_(as_json: AsJson = False) -> None:
    """List the sweeps, the one started last first."""
    from pipeline.cli import output
    from pipeline.sweep.row import SweepRow
    from pipeline.sweep.stored import list_sweeps

    rows = [SweepRow.of(found).to_dict() for found in list_sweeps()]
    if as_json:
        say_json(rows)
        return
    columns = ("sweep", "name", "status", "strategy", "trials", "best", "deflated_sharpe", "pbo")
    output.print_table(columns, [[_text(row[name]) for name in columns] for row in rows], empty="There are no sweeps.")


@study.command(epilog=example("evidence study show last"))
def show(which: Which = LAST, as_json: AsJson = False) -> None:
    """Show what a sweep searched, and what its best trial is worth."""
    from pipeline.sweep.row import SweepRow
    from pipeline.sweep.stored import load_sweep

    found = load_sweep(which)
    asked = {"sampler": found.spec.sweep.sampler, "space": found.run.config["space"]}
    facts = SweepRow.of(found).to_dict() | asked | found.run.stats
    if as_json:
        say_json({**facts, "verdict": _verdict(found)})
        return
    for name, value in facts.items():
        if name != "error":
            say(f"{name:<20} {_text(value)}")
    if text := _verdict(found):
        say(f"\n{text}")


@study.command(epilog=example("evidence study best last --top 3"))
def best(
    which: Which = LAST,
    top: Annotated[int, typer.Option("--top", "-n", min=1, help="How many trials.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the best trials of a sweep, each configuration once; with several objectives, those that no other beats."""
    from pipeline.cli import output
    from pipeline.sweep.repeats import first_of_each
    from pipeline.sweep.row import trial_values
    from pipeline.sweep.stored import load_sweep

    found = load_sweep(which)
    if found.statistics is None:
        raise UsageError(f"The sweep {found.name!r} has not ended: run it again to resume it.")
    objectives = found.spec.sweep.objectives
    numbers = found.statistics.front if len(objectives) > 1 else found.statistics.ranking
    by_number = {trial.number: trial for trial in found.trials}
    chosen = first_of_each(by_number[number] for number in numbers)[:top]
    if as_json:
        say_json([trial_values(found, trial) for trial in chosen])
        return
    rows = [
        [
            str(trial.number),
            *(f"{value:.6g}" for value in trial.values),
            _text(trial.params),
            _text(found.run_of(trial)),
        ]
        for trial in chosen
    ]
    output.print_table(("trial", *objectives, "params", "run_id"), rows, empty="No trial was completed.")


@study.command(epilog=example("evidence study export last --output trials.parquet"))
def export(
    which: Which = LAST,
    to: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .csv, .json or .parquet file.")] = Path(
        "trials.csv"
    ),
    as_json: AsJson = False,
) -> None:
    """Write all trials of a sweep as a table: params, metrics, state, run_id where a trial is a run."""
    from pipeline.cli import output
    from pipeline.files import write_atomic
    from pipeline.sweep.stored import load_sweep, table_bytes, trials_frame

    found = load_sweep(which)
    frame = trials_frame(found)
    write_atomic(to, table_bytes(frame, to.suffix))
    output.print_text(str(to), {"sweep": found.run.run_id, "trials": len(frame)}, to=to, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog=example("evidence sweep --config config/sweep.toml -p sweep.trials=50"))(sweep)
    app.add_typer(study)


@contextmanager
def _stop_on_interrupt() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C sets; the second one interrupts as usual, and says how to go on."""
    stop = Event()

    def handle(*_: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        typer.echo("Finishing the trials that run; press Ctrl-C again to stop at once.", err=True)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    except KeyboardInterrupt as interruption:
        interruption.add_note("The same command goes on where the sweep stopped.")
        raise
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[OnTrial]:
    """Yield a function that shows on stderr how far a search has come."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pipeline.cli.console import console

    if quiet:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console(stderr=True), refresh_per_second=4) as bar:
        tasks = {"trials": bar.add_task("trials", total=None, facts="")}
        last = [0.0]

        def show(standing: Standing) -> None:
            task = tasks.get(standing.what)
            if task is None:
                task = tasks[standing.what] = bar.add_task(standing.what, total=None, facts="")
            if time.monotonic() - last[0] > 0.1 or standing.ended == standing.total:
                last[0] = time.monotonic()
                bar.update(task, completed=standing.ended, total=standing.total, facts=progress_text(standing))

        yield show


def progress_text(standing: Standing) -> str:
    """Return what is said beside the bar: failed and pruned trials, the best value, trials a minute."""
    parts = [f"{standing.ended_here / max(standing.seconds, 1e-9) * 60:,.0f}/min"]
    if standing.best is not None:
        parts.insert(0, f"best {standing.best.values[0]:.4g} (trial {standing.best.number})")
    parts += [f"{count} {what}" for count, what in ((standing.failed, "failed"), (standing.pruned, "pruned")) if count]
    return ", ".join(parts)


def _print_outcome(outcome: SweepOutcome, *, as_json: bool) -> None:
    from pipeline.cli import output
    from pipeline.sweep.row import SweepRow
    from pipeline.sweep.stored import Sweep

    error = outcome.error
    facts = {
        **SweepRow.of(Sweep(outcome.run)).to_dict(),
        "error": None if error is None else {"kind": type(error).__name__, "message": str(error)},
        "finished": outcome.finished,
        "resumed": outcome.resumed,
        "trials_here": len(outcome.trials),
        "best_runs": list(outcome.best_runs),
        "directory": str(outcome.run.dir.path),
        "report": str(outcome.run.dir.report) if outcome.run.dir.report.is_file() else None,
        "seconds": round(outcome.seconds, 3),
        "warnings": list(outcome.warnings),
    }
    if as_json:
        say_json({**facts, "stats": outcome.run.stats if outcome.finished else {}})
        return
    shown = ("sweep", "name", "status", "trials", "best", "deflated_sharpe", "pbo", "directory", "report", "seconds")
    for name in shown:
        say(f"{name:<16} {_text(facts[name])}")
    for run_id in outcome.best_runs:
        say(f"{'best run':<16} {run_id}")
    if text := _verdict(Sweep(outcome.run)):
        say(f"\n{text}")
    output.print_warnings(outcome.warnings)
    if error is not None:
        say(f"Error: {error}", file=sys.stderr)
    if not outcome.finished:
        typer.echo("Stopped. The same command goes on where it stopped.", err=True)


def _verdict(found: Sweep) -> str:
    """Return what the numbers say about the best trial, in sentences."""
    from pipeline.sweep.report.verdict import verdict

    if found.statistics is None:
        return ""
    best = next((trial for trial in found.trials if trial.number == found.statistics.best), None)
    return " ".join(verdict(found.statistics, best.values if best else (), adaptive=found.spec.sweep.adaptive))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
