"""The bars a run was made from: what labels them, how they were read, their longest gaps and largest leaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.report.blocks import Blocks, Cell, Column, definitions, markup, table, text
from pipeline.report.markup import html, together
from pipeline.report.numbers import DASH, several

if TYPE_CHECKING:
    from pipeline.backtest.spacing import DataFacts, Spacing
    from pipeline.report.facts import Facts

LABELS = {"days": "days (a bar names a date)", "instants": "instants (a bar has a time, in UTC)"}


def data(facts: Facts) -> Blocks:
    """Return what the run recorded of its bars, and what is to be looked at."""
    if facts.data_facts is not None:
        return _tables(facts.data_facts)
    if facts.run.dir.data_facts.is_file():  # written by hand, or by another program
        return text("What this run recorded of its bars (`data.json`) cannot be read.")
    return () if facts.foreign else facts.missing("This run left no record of its bars (`data.json`).")


def _tables(found: DataFacts) -> Blocks:
    spacing = found.spacing
    rows: list[tuple[str, Cell]] = [
        ("Bars", f"{spacing.bars:,}, {spacing.first} {DASH} {spacing.last}"),
        ("Labelled by", LABELS.get(spacing.time_labels, DASH)),
        ("Usual distance", DASH if spacing.usual_days is None else _distance(spacing.usual_days)),
        *(("Reading", note) for note in found.notes),
        *((("Benchmark", found.benchmark),) if found.benchmark else ()),
    ]
    listed = warnings_list(found.warnings, between="")
    return definitions("The bars of this run", rows) + listed + _gaps(spacing) + _moves(spacing)


def warnings_list(said: Iterable[str], between: str = "\n") -> Blocks:
    """Return warnings as a list; nothing without one."""
    items = together((html("<li>{text}</li>", text=each) for each in said), between)
    return markup(html('<ul class="warnings">\n{items}\n</ul>', items=items)) if items.text else ()


def _gaps(found: Spacing) -> Blocks:
    if not found.gaps:
        return ()
    columns = [Column("After"), Column("Next bar"), Column("Days", numeric=True), Column("Unusual")]
    rows: list[list[Cell]] = [
        [gap.after, gap.before, f"{gap.days:,.4g}", "yes" if gap.is_unusual else "no"] for gap in found.gaps
    ]
    more = found.unusual_gaps - sum(gap.is_unusual for gap in found.gaps)
    return table(f"The longest times without a bar{_more(more)}", columns, rows, name="gaps")


def _moves(found: Spacing) -> Blocks:
    if not found.moves:
        return ()
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
