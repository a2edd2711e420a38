"""HTML tables of the report: a caption, scoped headers, numbers to the right, scrolling inside their own box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.escape import html_text, raw_block


@dataclass(frozen=True)
class Html:
    """Markup that is already escaped."""

    text: str


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it holds numbers, the unit shown beside the heading, a longer explanation."""

    heading: str
    numeric: bool = False
    unit: str = ""
    title: str = ""


Cell = str | Html


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, row_header: bool = True, name: str = ""
) -> str:
    """Return a table as a raw block. The first cell of each row is its header unless `row_header` is False."""
    head = "".join(_heading(column) for column in columns)
    body = "\n".join(_row(columns, row, row_header=row_header) for row in rows)
    return raw_block(wrapped(caption, f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>", name=name))


def definitions(caption: str, rows: Iterable[tuple[str, Cell]], *, name: str = "facts") -> str:
    """Return a two-column table of names and values."""
    body = "\n".join(f'<tr><th scope="row">{html_text(key)}</th><td>{markup(value)}</td></tr>' for key, value in rows)
    return raw_block(wrapped(caption, f"<tbody>\n{body}\n</tbody>", name=name))


def wrapped(caption: str, inner: str, *, name: str = "") -> str:
    """Return a `<table>` in a box that scrolls by itself and can be reached by keyboard."""
    label = html_text(caption)
    return (
        f'<div class="table-box {html_text(name)}" role="region" aria-label="{label}" tabindex="0">\n'
        f'<table data-quarto-disable-processing="true">\n<caption>{label}</caption>\n{inner}\n</table>\n</div>'
    )


def markup(cell: Cell) -> str:
    """Return a cell as HTML; plain text is escaped."""
    return cell.text if isinstance(cell, Html) else html_text(cell)


def code(text: str) -> Html:
    """Return text in a fixed-width font."""
    return Html(f"<code>{html_text(text)}</code>")


def link(text: str, url: str | None) -> Html:
    """Return a link, or only its text when there is no safe address."""
    shown = html_text(text)
    return Html(f'<a href="{html_text(url)}">{shown}</a>' if url else shown)


def _heading(column: Column) -> str:
    kind = ' class="num"' if column.numeric else ""
    unit = f' <span class="unit">{html_text(column.unit)}</span>' if column.unit else ""
    title = f' title="{html_text(column.title)}"' if column.title else ""
    return f'<th scope="col"{kind}{title}>{html_text(column.heading)}{unit}</th>'


def _row(columns: Sequence[Column], row: Sequence[Cell], *, row_header: bool) -> str:
    cells = []
    for position, (column, cell) in enumerate(zip(columns, row, strict=True)):
        kind = ' class="num"' if column.numeric else ""
        if position == 0 and row_header:
            cells.append(f'<th scope="row"{kind}>{markup(cell)}</th>')
        else:
            cells.append(f"<td{kind}>{markup(cell)}</td>")
    return "<tr>" + "".join(cells) + "</tr>"
