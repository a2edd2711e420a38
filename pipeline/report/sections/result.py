"""What was checked of a result: identities, the engine's own numbers, the verification boundary; own metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import PERCENT, metric
from pipeline.report.blocks import Blocks, Cell, Column, markup, table, text
from pipeline.report.markup import Html, html, mark, meaning, together
from pipeline.report.numbers import DASH, format_number
from pipeline.results.identity import DIFFERS, HOLDS, amount, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.report.facts import Facts
    from pipeline.results.beside import Beside
    from pipeline.results.identity import Identity

LISTS = (
    ("checked", "Checked here"),
    ("given", "Taken as given"),
    ("unexamined", "Not modelled or not examined"),
)
NOTHING_BESIDE = (
    "No two parts of the result could be held against each other: that needs trades, weights with prices, or "
    "positions with prices and cash beside the equity."
)
STYLES = {HOLDS: "finished", DIFFERS: "failed"}
# An engine's name says its unit: the number is shown as it was given, in as many digits as tell it.
DIGITS = 6


def checked(facts: Facts) -> Blocks:
    """Return what was checked of the result; empty for a run from before that was recorded."""
    return _sentence(facts) + _identities(facts) + _beside(facts) + _boundary(facts) + _notes(facts)


def own_metrics(facts: Facts) -> Blocks:
    """Return the metrics of the user's own with unit and meaning; empty without any."""
    found = () if facts.run.result is None else facts.run.result.metrics
    rows: list[list[Cell]] = [
        [
            each.name,
            _own(each.value, each.unit),
            meaning(each.meaning or DASH),
        ]
        for each in found
    ]
    if not rows:
        return ()
    columns = [Column("Metric"), Column("Value", numeric=True), Column("Meaning")]
    return table("Metrics of the run's own, taken as given", columns, rows, name="metrics")


def _sentence(facts: Facts) -> Blocks:
    found = None if facts.run.result is None else facts.run.result.reconciliation
    return () if found is None else markup(html("<p>{said}</p>", said=found.sentence))


def _identities(facts: Facts) -> Blocks:
    found = None if facts.run.result is None else facts.run.result.reconciliation
    if found is None or not found.identities:
        return ()
    if not found.checked:
        return text(NOTHING_BESIDE)
    known = [each for each in found.identities if each.status in STYLES]
    rest = [each for each in found.identities if each.status not in STYLES]
    rows: list[list[Cell]] = [[each.says, _status(each), _found(each)] for each in (*known, *rest)]
    columns = [Column("Identity"), Column("Status"), Column("Found")]
    return table("Do the parts of the result agree?", columns, rows, name="identities")


def _status(each: Identity) -> Html:
    return mark(STYLES.get(each.status, "killed"), each.status)


def _found(each: Identity) -> Html:
    """Return what was compared and what differs, by how much, where and when, or what would be needed."""
    if each.status == HOLDS:
        said = f"{each.compared:,} compared"
    elif each.status == DIFFERS:
        place = ", ".join(filter(None, (each.where, each.first)))
        said = f"by {amount(each.off_by or 0.0, each.unit)}{f', first at {place}' if place else ''}; "
        said += f"{each.failed:,} of {each.compared:,} differ"
    else:
        said = f"for want of {listed(each.missing)}"
    return meaning(f"{said}. {each.note}".strip())


def _beside(facts: Facts) -> Blocks:
    found = () if facts.run.result is None else facts.run.result.beside
    if not found:
        return ()
    rows: list[list[Cell]] = [
        [
            each.name,
            _number(each.reported),
            _number(each.ours),
            _off(each),
            meaning(_why(each)),
        ]
        for each in found
    ]
    columns = [
        Column("Number of the engine"), Column("Engine", numeric=True), Column("Here", numeric=True),
        Column("Differs by", numeric=True), Column("Why"),
    ]  # fmt: skip
    return table("The engine's own numbers beside those computed here", columns, rows, name="metrics")


def _off(each: Beside) -> str:
    return DASH if each.off_by is None else "0" if each.equal else _number(each.off_by)


def _why(each: Beside) -> str:
    if each.equal:
        return "equal"
    if each.ours is None:
        return "no number of its kind is computed here" if each.metric is None else "not known here"
    label = (
        f"{metric(each.metric).label}: " if each.metric is not None and metric(each.metric).label != each.name else ""
    )
    if not each.reason:
        return f"{label}no reason is known"
    proof = "; computed so, it is equal" if each.found else ""
    return f"{label}{each.reason}{proof}"


def _boundary(facts: Facts) -> Blocks:
    found = facts.boundary
    if found is None:
        return ()
    one = "<section><h3>{heading}</h3>\n<ul>\n{items}\n</ul></section>"
    parts = [
        html(one, heading=heading, items=_items(getattr(found, name)))
        for name, heading in LISTS
        if getattr(found, name)
    ]
    return markup(html('<div class="boundary">\n{parts}\n</div>', parts=together(parts, "\n"))) if parts else ()


def _notes(facts: Facts) -> Blocks:
    """Return how the result was made from what was handed in."""
    notes = () if facts.run.result is None else facts.run.result.notes
    return markup(html('<p class="note">{notes}</p>', notes=" ".join(notes))) if notes else ()


def _items(texts: Iterable[str]) -> Html:
    return together((html("<li>{text}</li>", text=each) for each in texts), "\n")


def _own(value: float, unit: str) -> str:
    if unit == "%":
        return format_number(value / 100.0, PERCENT)
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:,.{DIGITS}g}".replace("-", "\u2212", 1)
