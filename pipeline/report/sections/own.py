"""Interactive figures and tables that the user put into the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.errors import RenderError
from pipeline.report.blocks import Block, Blocks, Cell, Column, chart, markup, table
from pipeline.report.markup import html, link
from pipeline.report.numbers import format_bytes, several

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.facts import Facts

DRAWN = frozenset({"scatter", "bar", "pie"})  # the kinds of traces that the page's plotly.js has
EMBEDDED_BYTES, STATIC_BYTES = 400_000, 60_000
ROWS, COLUMNS = 40, 12
NUMERIC = r"[-+−]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?%?"
MIDNIGHT = " 00:00:00+00:00"  # at which a day is labelled


def figures(facts: Facts) -> Blocks:
    """Return the figures of plotly's; one that is too large or of another kind is one line that says where it is."""
    room, parts = STATIC_BYTES if facts.static else EMBEDDED_BYTES, list[Block]()
    for number, (name, path) in enumerate(facts.kept.figures.items(), start=1):
        size, figure = path.stat().st_size, _plain(facts.kept.figure(name))
        why = _why_not(figure, size, room, facts)
        if why:
            parts.extend(_left_out(facts, f"plots/{path.name}", size, why))
            continue
        room -= size
        caption = f"The figure {name}, as the run left it."
        parts.extend(chart(f"own-{number}", figure, caption=caption, label=caption))
    return tuple(parts)


def tables(facts: Facts) -> Blocks:
    """Return the first rows of each table."""
    parts: list[Block] = []
    for name, path in facts.kept.tables.items():
        found = facts.kept.table(name)
        if found.empty:
            parts.extend(_left_out(facts, f"tables/{path.name}", path.stat().st_size, "cannot be read as a table"))
            continue
        shown = found.iloc[:ROWS, :COLUMNS].apply(_days)
        numeric = [bool(shown[column].str.fullmatch(NUMERIC).all()) for column in shown.columns]
        heads = [
            Column("" if str(column).startswith("Unnamed: ") else str(column), numeric=known)
            for column, known in zip(shown.columns, numeric, strict=True)
        ]
        rows: list[list[Cell]] = [[_short(cell) for cell in row] for row in shown.itertuples(index=False)]
        cut = len(found) > ROWS or len(found.columns) > COLUMNS
        size = f"{several(len(found), 'row')} and {several(len(found.columns), 'column')}"
        caption = f"{name}{f', the beginning of {size}' if cut else ''}"
        parts.extend(table(caption, heads, rows, name="own"))
    return tuple(parts)


def _days(column: pd.Series) -> pd.Series:
    """Return a column of days as dates, any other as it is."""
    return column.str.removesuffix(MIDNIGHT) if column.str.endswith(MIDNIGHT).all() else column


def _short(text: str) -> str:
    """Return a number with at most six significant digits, other text as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if len(text) <= 10 or math.isnan(value) else f"{value:,.6g}"


def _plain(figure: dict[str, Any]) -> dict[str, Any]:
    """Return a figure without what loads files or is text of the user's in the place of the page's theme."""
    layout = {name: value for name, value in (figure.get("layout") or {}).items() if name not in ("images", "template")}
    return {"data": figure.get("data") or [], "layout": layout}


def _why_not(figure: dict[str, Any], size: int, room: int, facts: Facts) -> str:
    """Return why a figure is not shown; empty when it is."""
    kinds = {str(trace.get("type", "scatter")) for trace in figure["data"] if isinstance(trace, dict)}
    if not kinds:
        return "cannot be read"
    if not kinds <= DRAWN:
        return f"is of a kind that this page does not draw ({', '.join(sorted(kinds - DRAWN))})"
    if size > room:
        return "is too large for this page"
    if facts.static:
        from pipeline.report.chart import draw

        try:
            draw(figure, name="own", label="own")
        except RenderError:
            return "is one that only moves on the interactive page"
    return ""


def _left_out(facts: Facts, name: str, size: int, why: str) -> Blocks:
    shown = link(name, facts.address(name))
    return markup(html('<p class="note">{shown} ({size}) {why}.</p>', shown=shown, size=format_bytes(size), why=why))
