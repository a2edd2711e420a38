"""The commands of `evidence`."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import evidence_commands, key_commands, replay_commands, site_commands, sweep_commands
from pipeline.cli.tracking_commands import sync, ui
from pipeline.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from pipeline.run import Run
    from pipeline.settings import Settings

INTERRUPTED = 130
WAS_INTERRUPTED = (
    "Interrupted. `evidence list` shows what was begun and not sealed as KILLED; a sweep goes on when asked for again."
)
EXIT_CODES = (
    "Exit codes: 0 ok, 1 the run (or the command) failed, 2 wrong usage, 3 verification failed, 130 interrupted."
)

app = typer.Typer(
    name="evidence",
    help="Turn a trading backtest into evidence another person can trust.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="A run_id, the start of one, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The run spec, a TOML file.")],
    override: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--param", metavar="KEY=VALUE", help="A param of the strategy, or any key of the spec by its path."
        ),
    ] = None,
    tracking: Annotated[
        str | None, typer.Option(metavar="MODE", help="warn, strict or off; overrides the spec.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Render the report after the run.")] = True,
    run_id: Annotated[str | None, typer.Option(help="Use this run_id (UUID4) instead of a new one.")] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Return a finished run made from the very same inputs, if there is one.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --reuse: say of every earlier run why it was not used.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Execute a run spec: notebook, tracking, seal, report."""
    from pipeline.cli import output
    from pipeline.cli.key_commands import signing_key
    from pipeline.notebook.forked import kernel_ahead
    from pipeline.runner import run_backtest
    from pipeline.settings import Settings
    from pipeline.spec import parse_override, read_spec

    overrides = dict(parse_override(text) for text in override or [])
    overrides |= {"tracking.mode": tracking} if tracking else {}
    overrides |= {} if report else {"report.enabled": False}
    spec, given = read_spec(config, overrides)
    settings = Settings.load()
    if explain and not reuse:
        raise UsageError("--explain says what --reuse considered: give both.")
    if reuse and output.print_reused(spec, settings, every=explain, as_json=as_json):
        return
    output.say_where(settings)
    with output.stages(quiet=as_json) as progress, kernel_ahead() as kernels:
        outcome = run_backtest(
            spec,
            settings=settings,
            given=given,
            overrides=overrides,
            run_id=run_id,
            progress=progress,
            signing_key=signing_key,
            kernels=kernels,
        )
    output.print_outcome(outcome, as_json=as_json)
    if outcome.error is not None:
        raise typer.Exit(1)


@app.command()
def render(
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN_ID]...", help="Run ids, the starts of some, or `last`.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Render the run started last.")] = False,
    every: Annotated[bool, typer.Option("--all", help="All runs, of these only what is stale.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Runs started on this UTC day or later, only what is stale.")
    ] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Only what is stale: of the runs given, else of all of them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="With --all or --since: also what is not stale.")] = False,
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="html, or beside it pdf or ipynb.")
    ] = "html",
    static: Annotated[
        bool | None,
        typer.Option(
            "--static/--interactive", help="Drawn figures or plotly.js; default: as the report is, else plotly.js."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes that render.")] = os.cpu_count() or 1,
    renderer: Annotated[str, typer.Option(help="auto, quarto or embedded.")] = "auto",
    template: Annotated[str, typer.Option(help="Source of the report.")] = "reports/backtest_report.qmd",
    as_json: AsJson = False,
) -> None:
    """Render the reports of runs and sweeps.

    A report is stale when what it was made from (the run, the template, sections of the project, the theme, the
    renderer, the earlier trials) or its own bytes changed since it was made.
    """
    from pipeline.cli import output
    from pipeline.cli.key_commands import checked, signing_key
    from pipeline.errors import SpecError
    from pipeline.evidence.recording import record_report
    from pipeline.report.bulk import RenderJob, known_format
    from pipeline.run import load_run
    from pipeline.settings import Settings
    from pipeline.sweep.report.bulk import render_all, why_any_stale
    from pipeline.template_files import template_path
    from pipeline.tracking import publish_report

    given = (bool(run_ids), last, every, since is not None).count(True)
    if given > 1 or (given == 0 and not stale) or (stale and force):
        raise UsageError("Give one of: RUN_ID..., --last, --all, --since DATE, --stale; --force not with --stale.")
    settings = Settings.load()
    job = RenderJob(
        settings, renderer, template_path(settings, template, error=SpecError), static, known_format(file_format)
    )
    if run_ids or last:
        runs = [load_run(run_id, settings=settings) for run_id in dict.fromkeys(run_ids or ["last"])]
    else:
        runs = _started_since(since, settings)
    if stale or ((every or since is not None) and not force):
        runs = [run for run in runs if why_any_stale(run, job) is not None]
    signer = checked(signing_key(), settings)
    before = {run.run_id: output.digest_or_none(run.dir.report) for run in runs}
    done = []
    for rendered in output.progress(render_all(runs, job, processes=jobs), total=len(runs), quiet=as_json):
        if rendered.record is not None and rendered.run.manifest_digest is not None:
            record_report(rendered.run.dir, signer)
            if rendered.record.report_sha256 != before[rendered.run.run_id]:
                output.warn_unpublished(publish_report(rendered.run.dir, settings))
        done.append(rendered)
    output.print_rendered(done, as_json=as_json)
    if any(rendered.error for rendered in done):
        raise typer.Exit(1)


def _started_since(since: str | None, settings: Settings) -> list[Run]:
    from pipeline.run import list_runs

    try:
        day = dt.date.fromisoformat(since) if since else dt.date.min
    except ValueError:
        raise UsageError(f"{since!r} is not a date: the form is 2026-01-31.") from None
    return [run for run in list_runs(settings=settings) if run.record.started_at[:10] >= day.isoformat()]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Show this many runs; 0 shows all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs, the one started last first."""
    from pipeline.cli import output
    from pipeline.run import list_runs

    runs = list_runs()
    output.print_runs(runs[: limit or None], total=len(runs), as_json=as_json)


@app.command()
def show(run_id: RunId = "last", as_json: AsJson = False) -> None:
    """Show one run: record, metrics, files, links."""
    from pipeline.cli import output
    from pipeline.run import load_run

    output.print_run(load_run(run_id), as_json=as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, and how to get what is not."""
    from pipeline.cli import output
    from pipeline.doctor import examine
    from pipeline.settings import Settings

    output.print_findings(examine(Settings.load()), as_json=as_json)


app.command()(sync)
app.command()(ui)
app.add_typer(key_commands.keys, name="keys")
evidence_commands.register(app)
replay_commands.register(app)
sweep_commands.register(app)
site_commands.register(app)


def main() -> None:
    """Run the command line; the console script `evidence`."""
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except EvidenceError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(WAS_INTERRUPTED, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except SystemExit as ended:  # typer makes one of a KeyboardInterrupt
        if ended.code == INTERRUPTED and _by_a_key(ended):
            print(WAS_INTERRUPTED, file=sys.stderr)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except PermissionError as error:
        print(f"Error: {error.filename}: {error.strerror}. Check its permissions.", file=sys.stderr)
        sys.exit(EvidenceError.exit_code)


def _by_a_key(ended: BaseException | None) -> bool:
    while ended is not None and not isinstance(ended, KeyboardInterrupt):
        ended = ended.__cause__ or ended.__context__
    return ended is not None


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
