"""The commands `lake`: take runs in, ask them in SQL, say which tables there are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, OutputFile, example
from pipeline.cli.plain import one_line, say, say_json
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

lake = typer.Typer(
    name="lake",
    help="SQL over all runs and over market data.",
    epilog=example('evidence lake query "SELECT name, sharpe FROM runs ORDER BY sharpe DESC LIMIT 5"'),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@lake.command("ingest", epilog=example("evidence lake ingest"))
def ingest(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make it again, of nothing but the results.")] = False,
    compact: Annotated[bool, typer.Option("--compact", help="Put small files together now.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take what is new or changed in the results into the lake.

    A run whose directory has gone keeps its rows, marked as gone, until the lake is made again.
    """
    from dataclasses import asdict

    from pipeline.cli import output
    from pipeline.lake.ingest import ingest as take
    from pipeline.settings import Settings

    settings = Settings.load()
    done = take(
        settings,
        rebuild=rebuild,
        compact=compact,
        progress=lambda seen, total: output.progress(iter(seen), total=total, quiet=as_json, doing="taking in runs"),
    )
    output.print_warnings(list(done.problems))
    if as_json:
        say_json({"lake": str(settings.lake), **asdict(done)})
        return
    say(f"{done.runs:,} runs in {settings.lake}: {done.added:,} new, {done.changed:,} changed, {done.gone:,} gone")


@lake.command("import", epilog=example("evidence lake import prices.csv --symbol BTCUSDT --freq 1d"))
def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files of bars, or `sample:NAME`.")],
    symbol: Annotated[str, typer.Option(help="The instrument.")],
    freq: Annotated[str, typer.Option(help="How long a bar is: a number and s, m, h, d, w or mo, as 1d.")],
    timezone: Annotated[str | None, typer.Option(metavar="ZONE", help="Zone of timestamps that carry none.")] = None,
    date_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Format of timestamps, as in a spec.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take market data into the lake, checked by the data contract: the table `ohlcv`.

    Bars that are there already change nothing. A bar with other values takes the place of the one that is there; the
    earlier version is kept.
    """
    from dataclasses import asdict

    from pipeline.backtest.bars import Reading
    from pipeline.cli import output
    from pipeline.lake.market import import_bars
    from pipeline.settings import Settings

    reading = Reading(timezone=timezone, date_format=date_format)
    done = import_bars(Settings.load(), files, symbol, freq, reading)
    output.print_warnings(list(done.notes))
    if as_json:
        say_json(asdict(done))
        return
    counts = f"{done.added:,} bars new, {done.corrected:,} corrected, {done.unchanged:,} unchanged"
    say(f"{done.symbol} {done.freq}: {counts}; {done.rows:,} from {done.first} to {done.last}")
    say(f"sha256:{done.bars_sha256}")


@lake.command("query", epilog=example('evidence lake query "SELECT COUNT(*) AS n FROM runs"'))
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.")],
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="table, csv, json, parquet or markdown.")
    ] = "table",
    output: OutputFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long it may take.")] = 60.0,
    memory: Annotated[int, typer.Option(min=64, metavar="MB", help="How much memory it may use.")] = 2_048,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Let it read and write any file, and change settings.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the lake in SQL; what is asked can only read, and only the lake.

    `evidence lake tables` and `evidence lake schema` say what there is.
    """
    from pipeline.files import write_atomic
    from pipeline.lake.connection import Limits
    from pipeline.lake.formats import known_format
    from pipeline.lake.query import Question, ask
    from pipeline.settings import Settings

    settings = Settings.load()
    chosen = known_format("json" if as_json else file_format)
    if chosen == "parquet" and output is None:
        raise UsageError("Parquet is no text: give --output FILE.")
    answer = ask(settings, Question(sql, chosen, Limits(timeout, memory), unsafe))
    if output is not None:
        say(write_atomic(output, answer))
    elif sys.stdout.isatty():
        say(answer.decode().rstrip("\n"))
    else:
        sys.stdout.write(answer.decode())


@lake.command("tables", epilog=example("evidence lake tables"))
def tables(as_json: AsJson = False) -> None:
    """List the tables of the lake."""
    from dataclasses import asdict

    from pipeline.lake.about import table_facts
    from pipeline.settings import Settings

    found = table_facts(Settings.load())
    if as_json:
        say_json([asdict(table) for table in found])
        return
    _say_columns(
        ("table", "rows", "files", "a row is"), [(t.name, f"{t.rows:,}", f"{t.files:,}", t.row) for t in found]
    )


@lake.command("schema", epilog=example("evidence lake schema runs"))
def schema(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="Of this table; default: of all.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the columns of a table, or of all."""
    from dataclasses import asdict

    from pipeline.lake.about import column_facts
    from pipeline.settings import Settings

    Settings.load()
    found = column_facts(table)
    if as_json:
        say_json([asdict(column) for column in found])
        return
    _say_columns(("table", "column", "type", "meaning"), [(c.table, c.name, c.type, c.meaning) for c in found])


def _say_columns(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    shown = [names, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(lake)
