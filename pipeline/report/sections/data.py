"""The bars a run was made from: what labels them, how they were read, their longest gaps and largest leaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.escape import html_text, raw_block
from pipeline.report.numbers import DASH, several
from pipeline.report.tables import Cell, Column, definitions, table

if TYPE_CHECKING:
    from pipeline.backtest.spacing import DataFacts, Spacing
    from pipeline.report.facts import Facts

LABELS = {"days": "days (a bar names a date)", "instants": "instants (a bar has a time, in UTC)"}


def data(facts: Facts) -> str:
    """Return what the run recorded of its bars, and what is to be looked at."""
    if facts.data_facts is not None:
        return _tables(facts.data_facts)
    if facts.run.dir.data_facts.is_file():  # written by hand, or by another program
        return "\nWhat this run recorded of its bars (`data.json`) cannot be read.\n"
    return "" if facts.foreign else facts.missing("\nThis run left no record of its bars (`data.json`).\n")


def _tables(found: DataFacts) -> str:
    spacing = found.spacing
    rows: list[tuple[str, Cell]] = [
        ("Bars", f"{spacing.bars:,}, {spacing.first} {DASH} {spacing.last}"),
        ("Labelled by", LABELS.get(spacing.time_labels, DASH)),
        ("Usual distance", DASH if spacing.usual_days is None else _distance(spacing.usual_days)),
        *(("Reading", note) for note in found.notes),
        *((("Benchmark", found.benchmark),) if found.benchmark else ()),
    ]
    warned = "".join(f"<li>{html_text(text)}</li>" for text in found.warnings)
    listed = raw_block(f'<ul class="warnings">\n{warned}\n</ul>') if warned else ""
    return definitions("The bars of this run", rows) + listed + _gaps(spacing) + _moves(spacing)


def _gaps(found: Spacing) -> str:
    if not found.gaps:
        return ""
    columns = [Column("After"), Column("Next bar"), Column("Days", numeric=True), Column("Unusual")]
    rows: list[list[Cell]] = [
        [gap.after, gap.before, f"{gap.days:,.4g}", "yes" if gap.is_unusual else "no"] for gap in found.gaps
    ]
    more = found.unusual_gaps - sum(gap.is_unusual for gap in found.gaps)
    return table(f"The longest times without a bar{_more(more)}", columns, rows, name="gaps")


def _moves(found: Spacing) -> str:
    if not found.moves:
        return ""
    columns = [Column("Bar"), Column("Bar before"), Column("Change", numeric=True), Column("As a split")]
    rows: list[list[Cell]] = [
        [move.at, move.before, f"{move.ratio - 1.0:+.1%}", move.split or DASH] for move in found.moves
    ]
    more = found.large_moves - len(found.moves)
    return table(f"The largest leaps from one bar to the next{_more(more)}", columns, rows, name="moves")


def _more(count: int) -> str:
    return f" (and {count:,} more that are unusual)" if count > 0 else ""


def _distance(days: float) -> str:
    if days >= 1.0:
        return several(float(f"{days:.4g}"), "day")
    minutes = days * 1440.0
    return f"{minutes / 60.0:.4g} h" if minutes >= 60.0 else f"{minutes:.4g} min"
