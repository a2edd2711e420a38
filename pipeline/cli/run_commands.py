"""The commands around runs: execute a spec, render reports, list, show; and `doctor`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import CORES, EACH_CORE, LAST, AsJson, RunId, example
from pipeline.cli.plain import say, say_json
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.run import Run
    from pipeline.settings import Settings


def run(
    notebook: Annotated[
        Path | None, typer.Argument(help="A notebook or a Python script; it takes the place of the spec's.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="The run spec, a TOML file.")] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--param",
            metavar="KEY=VALUE",
            help="A param of the strategy or of the notebook, or any key of the spec by its path.",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=PATH", help="A file, folder or pattern that the run reads; repeatable."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Look first whether the notebook saves a result at all.")
    ] = True,
    tracking: Annotated[
        str | None, typer.Option(metavar="MODE", help="warn, strict or off; overrides the spec.")
    ] = None,
    report: Annotated[
        bool | None, typer.Option("--report/--no-report", help="Render the report after the run; overrides the spec.")
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="Use this run_id (UUID4) instead of a new one.")] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Return a finished run made from the very same inputs, if there is one.")
    ] = False,
    why: Annotated[
        bool, typer.Option("--why", help="With --reuse: say of every earlier run why it was not used.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Execute a notebook or a run spec: notebook, tracking, seal, report."""
    from pipeline.cli import output
    from pipeline.cli.key_commands import signing_key
    from pipeline.inputs.declared import parse_input
    from pipeline.notebook.forked import kernel_ahead
    from pipeline.request import read_request
    from pipeline.runner import run_backtest
    from pipeline.settings import Settings

    more: dict[str, Any] = {"tracking.mode": tracking} if tracking else {}
    more |= dict(parse_input(text) for text in inputs or [])
    more |= {} if report is None else {"report.enabled": report}
    settings = Settings.load()
    asked = read_request(config, notebook, override or [], more, settings)
    if why and not reuse:
        raise UsageError("--why says what --reuse considered: give both.")
    if reuse and output.print_reused(asked.spec, settings, every=why, as_json=as_json):
        return
    output.say_where(settings)
    with output.stages(quiet=as_json) as progress, kernel_ahead() as kernels:
        outcome = run_backtest(
            asked.spec,
            settings=settings,
            given=asked.given,
            overrides=asked.overrides,
            check=check,
            run_id=run_id,
            progress=progress,
            signing_key=signing_key,
            kernels=kernels,
        )
    output.print_outcome(outcome, as_json=as_json)
    if outcome.error is not None:
        raise typer.Exit(1)


def render(
    run_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN_ID...", help="Run ids, the starts of some, or `last`; default: `last`."),
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
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, show_default=EACH_CORE, help="Processes that render.")
    ] = CORES,
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
    from pipeline.cli.report_output import print_rendered
    from pipeline.errors import SpecError
    from pipeline.report.job import RenderJob, known_format
    from pipeline.run import load_run
    from pipeline.settings import Settings
    from pipeline.sweep.report.bulk import why_any_stale
    from pipeline.template_files import template_path
    from pipeline.verbs import render_reports

    if (bool(run_ids), last, every, since is not None).count(True) > 1 or (stale and force):
        raise UsageError("Give one of: RUN_ID..., --last, --all, --since DATE, --stale; --force not with --stale.")
    settings = Settings.load()
    job = RenderJob(
        settings, renderer, template_path(settings, template, error=SpecError), static, known_format(file_format)
    )
    if every or since is not None or (stale and not (run_ids or last)):
        runs = _started_since(since, settings)
    else:
        runs = [load_run(run_id, settings=settings) for run_id in dict.fromkeys(run_ids or [LAST])]
    if stale or ((every or since is not None) and not force):
        runs = [run for run in runs if why_any_stale(run, job) is not None]
    signer = checked(signing_key(), settings)
    done = []
    for rendered, delivered in output.progress(
        render_reports(runs, job, signer=signer, processes=jobs), total=len(runs), quiet=as_json, doing="rendering"
    ):
        output.warn_unpublished(delivered)
        done.append(rendered)
    print_rendered(done, as_json=as_json)
    if any(rendered.error for rendered in done):
        raise typer.Exit(1)


def _started_since(since: str | None, settings: Settings) -> list[Run]:
    from pipeline.run import all_runs

    try:
        day = dt.date.fromisoformat(since) if since else dt.date.min
    except ValueError:
        raise UsageError(f"{since!r} is not a date: the form is 2026-01-31.") from None
    return [run for run in all_runs(settings=settings) if run.record.started_at[:10] >= day.isoformat()]


def list_(
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Show this many runs; 0 shows all.")] = 20,
    symbol: Annotated[str | None, typer.Option(help="Runs on this instrument.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Runs started on this UTC day, at this time, or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Runs started until this UTC day, which counts, or time.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FILE|SHA256", help="Runs made from this file, its bytes or its bars.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="Runs of this strategy or family.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Runs of this experiment.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Runs with this tag; repeatable.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="Runs with this status, as FINISHED.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="Runs that fulfil it, as 'sharpe > 1 and params.fast < 20'.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="By these columns, `-` before one for the largest first.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Print these columns, separated by commas.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, the one started last first; options that choose some hold together.

    A column is a metric, params.NAME, tags.NAME, digests.NAME, or one of those that docs/asking.md lists. A condition
    compares columns with values: `=`, `!=`, `<`, `<=`, `>`, `>=`, `~` (contains), joined by and, or, not.
    """
    from pipeline.cli import output
    from pipeline.lake.listing import listed_rows
    from pipeline.listing.columns import named
    from pipeline.listing.query import Query
    from pipeline.settings import Settings

    settings = Settings.load()
    tags = dict(_tag(text) for text in tag or [])
    query = Query(symbol, since, until, data, strategy, experiment, tags, status, where, sort)
    few = limit if query.empty and columns is None else 0  # which metrics there are, all runs together tell
    known, count = listed_rows(settings, few or None)
    found = query.select(known, settings.results)
    rows, total = found[: limit or None], count if query.empty else len(found)
    chosen = None if columns is None else named(columns, known)
    output.print_runs(rows, total=total, asked=not query.empty, columns=chosen, as_json=as_json)


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--tag {text!r} is not of the form NAME=VALUE.")
    return name, value


def find(
    data: Annotated[str, typer.Option(metavar="FILE|SHA256", help="A data file, or the SHA-256 of one.")],
    as_json: AsJson = False,
) -> None:
    """Find the runs that were made from a file: from its very bytes, or from its bars, whatever file they were in.

    The file is read as each run read its own, from and until the same days; so the same bars as CSV and as Parquet
    are one.
    """
    from pipeline.cli import output
    from pipeline.listing.query import made_from

    output.print_found(made_from(data), as_json=as_json)


def show(run_id: RunId = LAST, as_json: AsJson = False) -> None:
    """Show one run: record, metrics, files, links."""
    from pipeline.cli import output
    from pipeline.run import load_run

    output.print_run(load_run(run_id), as_json=as_json)


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, and how to get what is not."""
    from pipeline.cli import output
    from pipeline.doctor import examine
    from pipeline.settings import Settings

    output.print_findings(examine(Settings.load()), as_json=as_json)


def init(
    directory: Annotated[Path, typer.Argument(help="Where the project is to be; default: here.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Make a project of your own: a first notebook to fill in, and what git should know. Nothing is written over."""
    from pipeline.project import FIRST, init_project

    written = init_project(directory)
    if as_json:
        say_json([{"file": name, "written": new} for name, new in written.items()])
        return
    for name, new in written.items():
        say(f"{'written' if new else 'kept   '}  {directory / name}")
    say(f"Next: {'' if directory == Path() else f'cd {directory} && '}evidence run {FIRST}")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog=example("evidence init"))(init)
    app.command(epilog=example("evidence run notebooks/backtest.ipynb -p fast=10"))(run)
    app.command(epilog=example("evidence render --all"))(render)
    app.command("list", epilog=example("evidence list --symbol SPX --where 'sharpe > 0.5' --sort=-sharpe"))(list_)
    app.command(epilog=example("evidence show last --json"))(show)
    app.command(epilog=example("evidence find --data prices.csv"))(find)
    app.command(epilog=example("evidence doctor"))(doctor)
