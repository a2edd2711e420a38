"""How results look on the terminal: plain text that survives a pipe, JSON where asked."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table
from rich.text import Text

from pipeline.backtest.catalogue import HEADLINE
from pipeline.cli.console import PlainConsole, console
from pipeline.cli.failure import error_lines, short_lines
from pipeline.cli.plain import one_line, say, say_json
from pipeline.files import number
from pipeline.run import Run, format_stat
from pipeline.run_record import UNREADABLE, RunError
from pipeline.run_row import RunDetails, RunRow

if TYPE_CHECKING:
    from pipeline.doctor import Finding
    from pipeline.listing.columns import Column, Value
    from pipeline.rundir import RunDir
    from pipeline.runner import RunOutcome
    from pipeline.settings import Settings
    from pipeline.spec import RunSpec
    from pipeline.tracking import SyncResult

T = TypeVar("T")
RUN_COLUMNS = (
    "run_id", "started (UTC)", "name", "strategy", "symbol", "status", "return", "sharpe", "look-ahead", "sealed",
    "mlflow", "report",
)  # fmt: skip
NUMBERS = ("return", "sharpe")
NO_RUNS = "There are no runs yet. `evidence run --config config/demo.toml` makes one."
STYLES = {"FINISHED": "green", "FAILED": "red", "KILLED": "yellow", "RUNNING": "cyan", UNREADABLE: "red"}
LOOK_AHEAD = {
    "clean": "none found",
    "leak": "FOUND",
    "unjudged": "cannot be judged",
    "stochastic": "unknown",
    "unchecked": "not checked",
}


def print_facts(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print names and values below each other."""
    if as_json:
        say_json(facts)
        return
    width = max(len(name) for name in facts) + 2
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        say(f"{name.replace('_', ' '):<{width}}{'–' if shown is None else shown}")


def print_text(text: str, facts: dict[str, Any], *, to: Path | None, as_json: bool) -> None:
    """Print a text, or the name of the file it was written to; as JSON its `facts`."""
    if as_json:
        say_json({**facts, "output": None if to is None else str(to)})
    else:
        say(text if to is None else to)


def print_address(url: str, *, as_json: bool) -> None:
    """Print at once where a server of ours is found."""
    if as_json:
        say_json({"url": url})
    else:
        say(f"{url}  (Ctrl-C ends it)")
    sys.stdout.flush()


@contextmanager
def stages(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows on stderr which stage a run is in, with the seconds since the start.

    An interruption is told how to find what it left.
    """
    out = console(stderr=True)
    begin = time.perf_counter()

    def show(stage: str) -> None:
        if not quiet:
            out.print(Text(f"{time.perf_counter() - begin:6.1f} s  {stage.replace('_', ' ')}", style="dim"))

    try:
        yield show
    except KeyboardInterrupt as interruption:
        interruption.add_note("`evidence list` shows what was begun and not sealed as KILLED.")
        raise


def say_where(settings: Settings) -> None:
    """Say on stderr where results go when that is a new directory, and none of a project."""
    from pipeline.settings import is_project

    if not is_project(settings.root) and not settings.results.exists():
        text = f"{settings.root} is not a project (no _quarto.yml, no notebooks/backtest.ipynb): results go to"
        console(stderr=True).print(Text(f"Note: {text} {settings.results}, a new directory.", style="yellow"))


def print_outcome(outcome: RunOutcome, *, as_json: bool) -> None:
    """Print how a run ended: status, metrics, paths, links, warnings."""
    row = RunRow.of(outcome.run)
    error = _outcome_error(outcome)
    if as_json:
        told = {"warnings": outcome.warnings, "stages": outcome.stages, "error": error and error.to_dict()}
        say_json({**row.to_dict(), **told, "reused": False, "why": None})
        return
    out = console()
    _print_facts(out, row, error=False)
    out.print(f"seconds     {', '.join(f'{name} {seconds:.1f}' for name, seconds in outcome.stages.items())}")
    errors = console(stderr=True)
    print_warnings(outcome.warnings)
    if error is not None:
        lines = error_lines(error, whole=f"`evidence show {row.run_id[:8]} --json`")
        errors.print(Text("\n".join(["Error: " + lines[0], *lines[1:]]) if lines else "Error", style="red"))


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on stderr; of a very long one its beginning, as `--json` prints all of it."""
    for warning in warnings:
        text = "\n".join(short_lines(warning, whole="--json prints them"))
        console(stderr=True).print(Text(f"Warning: {text}", style="yellow"))


def print_unmasked(run: RunDir, so: str) -> None:
    """Warn of files of a run that hold a secret in clear, before they go out to others."""
    from pipeline.evidence.unmasked import unmasked_files

    if names := unmasked_files(run):
        print_warnings([f"{run.run_id} holds a secret in clear in {', '.join(names)}: {so}. Take it out of use."])


def print_reused(spec: RunSpec, settings: Settings, *, every: bool, as_json: bool) -> bool:
    """Print the run that can be used instead of executing `spec`, or why there is none; say which it was.

    With `every`, also why each earlier run that was looked at was not the one.
    """
    from pipeline.evidence.trust import project_trust
    from pipeline.replay import find_reusable

    found = find_reusable(spec, settings, trust=project_trust(settings))
    console(stderr=True).print(Text(f"reuse: {one_line(found.why)}", style="dim"))
    for considered in found.considered if every else ():
        console(stderr=True).print(Text(f"  not {one_line(str(considered))}", style="dim"))
    if found.run is None:
        return False
    if as_json:
        say_json({**RunRow.of(found.run).to_dict(), "reused": True, "why": found.why})
    else:
        _print_facts(console(), RunRow.of(found.run))
    return True


def _outcome_error(outcome: RunOutcome) -> RunError | None:
    """Return the error as it was sealed; that of tracking, which comes after the seal, in the same form."""
    if outcome.error is None:
        return None
    return outcome.run.record.error or RunError(type(outcome.error).__name__, str(outcome.error))


def progress(items: Iterator[T], *, total: int, quiet: bool, doing: str) -> Iterator[T]:
    """Yield `items`; for more than one, show on stderr what is done to them and to how many of `total` it was."""
    if quiet or total <= 1:
        yield from items
        return
    from rich.progress import track

    yield from track(items, description=doing, total=total, console=console(stderr=True))


def warn(text: str | None) -> None:
    """Print a warning on stderr, if there is one."""
    if text:
        console(stderr=True).print(Text(f"Warning: {one_line(text)}", style="yellow"))


def warn_unpublished(result: SyncResult | None) -> None:
    """Say why a report is not attached to its tracked run yet."""
    warn(f"not in MLflow yet: {result.error}" if result is not None and result.error else None)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table of text, or `empty` when it has no rows."""
    if not rows:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, no_wrap=title in ("run_id", "sweep"))
    for row in rows:
        table.add_row(*row)
    _print_table(table)


def print_runs(
    rows: Sequence[RunRow], *, total: int, asked: bool = False, columns: Sequence[Column] | None = None, as_json: bool
) -> None:
    """Print one line a run: of those that were `asked` for, there may be none; `columns` instead of the usual ones."""
    if as_json:
        say_json([_row_json(row, columns) for row in rows])
    elif rows and columns is not None:
        _print_columns(rows, columns)
    elif rows:
        _print_rows(rows)
    else:
        say("No run is like that." if asked else NO_RUNS)
    if total > len(rows) and not as_json:
        say(f"{total - len(rows)} more: --limit 0")


def _row_json(row: RunRow, columns: Sequence[Column] | None) -> Mapping[str, Any]:
    return row.to_dict() if columns is None else {column.name: column.of(row) for column in columns}


def _print_columns(rows: Sequence[RunRow], columns: Sequence[Column]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.name, justify="right" if column.kind == "number" else "left")
    for row in rows:
        table.add_row(*(one_line(_cell(column.of(row))) for column in columns))
    _print_table(table)


def _cell(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else format_stat(value)


def print_found(found: Sequence[tuple[RunRow, str]], *, as_json: bool) -> None:
    """Print which runs were made from a file, and which of their inputs it was."""
    if as_json:
        say_json([{**row.to_dict(), "found_as": how} for row, how in found])
        return
    titles = ("run_id", "started (UTC)", "name", "strategy", "symbol", "period", "status", "found as")
    rows = [
        [
            row.run_id,
            row.record.started_at[:19].replace("T", " "),
            row.name,
            row.strategy or "",
            row.what.symbol,
            str(row.period or ""),
            row.status,
            how,
        ]
        for row, how in found
    ]
    print_table(titles, [[one_line(cell) for cell in row] for row in rows], empty="No run was made from it.")


def _print_rows(rows: Sequence[RunRow]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in RUN_COLUMNS:
        table.add_column(title, justify="right" if title in NUMBERS else "left", no_wrap=title == "run_id")
    for row in rows:
        table.add_row(*_cells(row))
    _print_table(table)


def _print_table(table: Table) -> None:
    """Print a table in the terminal's width, in a wide one where it goes to a file or a program."""
    width = None if sys.stdout.isatty() else 200
    PlainConsole(width=width).print(table)


def _cells(row: RunRow) -> list[str | Text]:
    total_return = row.stats.get("total_return")
    shown = number(total_return)
    return [
        row.run_id,
        one_line(row.record.started_at[:19].replace("T", " ")),
        one_line(row.name),
        one_line(row.strategy or ""),
        one_line(row.what.symbol),
        Text(one_line(row.status), style=STYLES.get(row.status, "")),
        one_line(format_stat(total_return)) if shown is None else f"{shown:.1%}",
        one_line(format_stat(row.stats.get("sharpe"))),
        LOOK_AHEAD.get(row.marks.look_ahead or "", "–"),
        "yes" if row.manifest_sha256 else "no",
        _tracking_state(row),
        "yes" if row.report else "–",
    ]


def _tracking_state(row: RunRow) -> str:
    if row.tracking_pending:
        return f"{row.tracking_pending} pending"
    return "yes" if row.tracking is not None and row.tracking.mlflow_run_id else "–"


def print_run(run: Run, *, as_json: bool) -> None:
    """Print everything known of a run."""
    details = RunDetails.of(run)
    if as_json:
        say_json(details.to_dict())
        return
    row, out = details.row, console()
    _print_facts(out, row)
    for title, values in (("stats", row.stats), ("conventions", _conventions(row)), ("params", row.params)):
        out.print(Text(f"\n{title}", style="bold"))
        for name, value in values.items():
            shown = json.dumps(value, ensure_ascii=False) if title == "params" else format_stat(value)
            out.print(f"  {one_line(name):<20} {one_line(shown)}")
    if row.inputs:
        out.print(Text("\ninputs", style="bold"))
    for item in row.inputs:
        called = item.found if item.name == item.uri else f"{item.found} {item.name}"
        out.print(f"  {(item.sha256 or '-')[:12]:<12}  {one_line(item.uri):<40} {one_line(called)}")
    out.print(Text("\nfiles", style="bold"))
    for artifact, url in details.artifacts:
        line = f"  {artifact.sha256[:12]}  {artifact.size:>9,}  {one_line(artifact.path):<30} {one_line(url or '')}"
        out.print(line.rstrip())


def _conventions(row: RunRow) -> dict[str, str]:
    """Return the conventions that a run recorded, each with its source: `252 (inferred)`."""
    known = {} if row.conventions is None else row.conventions.known
    return {name: f"{_value(part.value)} ({part.source})" for name, part in known.items()}


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}"


def _print_facts(out: PlainConsole, row: RunRow, *, error: bool = True) -> None:
    out.print(Text.assemble("run         ", (row.run_id, "bold"), "  ", one_line(row.name)))
    out.print(Text.assemble("status      ", (one_line(row.status), STYLES.get(row.status, ""))))
    if error and row.record.error is not None:
        whole = f"`evidence show {row.run_id[:8]} --json`"
        for number, line in enumerate(error_lines(row.record.error, whole=whole)):
            out.print(f"{'' if number else 'error':<12}{one_line(line)}")
    for label, text in _facts(row).items():
        if text:
            out.print(f"{label:<11} {one_line(text)}")


def _facts(row: RunRow) -> dict[str, str | None]:
    """Return what is said of a run in a line each; what is not known is None or empty."""
    headline = [f"{name} {format_stat(row.stats[name])}" for name in HEADLINE if name in row.stats]
    look_ahead, tracking = row.marks.look_ahead, row.tracking
    return {
        "experiment": row.experiment,
        "strategy": row.strategy,
        "symbols": ", ".join(row.symbols),
        "period": str(row.period) if row.period else None,
        "engine": str(row.engine) if row.engine else None,
        "metrics": ", ".join(headline),
        "look-ahead": look_ahead and LOOK_AHEAD[look_ahead],
        "parts": row.marks.reconciled and row.marks.reconciled.lower(),
        "directory": row.directory,
        "report": row.report and Path(row.report).as_uri(),
        "manifest": row.manifest_sha256 and f"sha256:{row.manifest_sha256}",
        "mlflow run": tracking.mlflow_run_id if tracking else None,
        "mlflow": tracking.run_url if tracking else None,
    }


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what is installed and what is missing."""
    if as_json:
        say_json([asdict(finding) for finding in findings])
        return
    out = console()
    for finding in findings:
        state = Text(finding.version, style="green") if finding.version else Text("missing", style="yellow")
        line = Text.assemble(f"{finding.group:<10} {finding.name:<18} ", state)
        out.print(line if finding.version else line + Text(f": {finding.remedy}"))
