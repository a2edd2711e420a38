"""The bars a run was made from: what labels them, how they were read, their longest gaps and largest leaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.escape import html_text, raw_block
from pipeline.report.numbers import DASH, several
from pipeline.report.tables import Cell, Column, definitions, table

if TYPE_CHECKING:
    from pipeline.report.facts import Facts

LABELS = {"days": "days (a bar names a date)", "instants": "instants (a bar has a time, in UTC)"}


def data(facts: Facts) -> str:
    """Return what the run recorded of its bars, and what is to be looked at."""
    if not facts.data_facts and facts.foreign:
        return ""
    if not facts.data_facts:
        return facts.missing("\nThis run left no record of its bars (`data.json`).\n")
    try:
        return _tables(facts.data_facts)
    except (KeyError, TypeError, ValueError):  # written by hand, or by another program
        return "\nWhat this run recorded of its bars (`data.json`) cannot be read.\n"


def _tables(facts: dict[str, Any]) -> str:
    usual = facts.get("usual_days")
    rows: list[tuple[str, Cell]] = [
        ("Bars", f"{facts['bars']:,}, {facts['first']} {DASH} {facts['last']}"),
        ("Labelled by", LABELS.get(facts["time_labels"], DASH)),
        ("Usual distance", DASH if usual is None else _distance(usual)),
        *(("Reading", note) for note in facts["notes"]),
        *((("Benchmark", facts["benchmark"]),) if facts["benchmark"] else ()),
    ]
    warned = "".join(f"<li>{html_text(text)}</li>" for text in facts["warnings"])
    listed = raw_block(f'<ul class="warnings">\n{warned}\n</ul>') if warned else ""
    return definitions("The bars of this run", rows) + listed + _gaps(facts) + _moves(facts)


def _gaps(facts: dict[str, Any]) -> str:
    if not facts["gaps"]:
        return ""
    columns = [Column("After"), Column("Next bar"), Column("Days", numeric=True), Column("Unusual")]
    rows: list[list[Cell]] = [
        [gap["after"], gap["before"], f"{gap['days']:,.4g}", "yes" if gap["is_unusual"] else "no"]
        for gap in facts["gaps"]
    ]
    more = facts["unusual_gaps"] - sum(gap["is_unusual"] for gap in facts["gaps"])
    return table(f"The longest times without a bar{_more(more)}", columns, rows, name="gaps")


def _moves(facts: dict[str, Any]) -> str:
    if not facts["moves"]:
        return ""
    columns = [Column("Bar"), Column("Bar before"), Column("Change", numeric=True), Column("As a split")]
    rows: list[list[Cell]] = [
        [move["at"], move["before"], f"{move['ratio'] - 1.0:+.1%}", move["split"] or DASH] for move in facts["moves"]
    ]
    more = facts["large_moves"] - len(facts["moves"])
    return table(f"The largest leaps from one bar to the next{_more(more)}", columns, rows, name="moves")


def _more(count: int) -> str:
    return f" (and {count:,} more that are unusual)" if count > 0 else ""


def _distance(days: float) -> str:
    if days >= 1.0:
        return several(float(f"{days:.4g}"), "day")
    minutes = days * 1440.0
    return f"{minutes / 60.0:.4g} h" if minutes >= 60.0 else f"{minutes:.4g} min"
