"""What a report consists of: blocks of text, tables, figures, drawings, images, markup, for a writer.

A part of a report is a tuple of blocks; an empty one has nothing to show. The functions below each return a part of
one block, so parts are put together with `+`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.report.markup import Html

Figure = dict[str, Any]


@dataclass(frozen=True)
class Shaded:
    """A number in a table, with the classes that colour its cell: `gain3`, `loss1`, `none`, `year`."""

    text: str
    tone: str = ""


Cell = str | Html | Shaded


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it holds numbers, the unit shown beside the heading, a longer explanation."""

    heading: str
    numeric: bool = False
    unit: str = ""
    title: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph. Text from anywhere in it went through `markdown_text`; a backtick begins and ends a code span."""

    markdown: str


@dataclass(frozen=True)
class Heading:
    """A heading of a level with the id it is linked by."""

    level: int
    text: str
    name: str


@dataclass(frozen=True)
class Markup:
    """HTML of a kind of its own."""

    html: Html


@dataclass(frozen=True)
class Table:
    """A table; `name` are the classes of its box.

    The first cell of each row is its header unless `row_header` is False. Without `columns` it has no head; a `compact`
    one is written in as few bytes as can be.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Sequence[Cell], ...]
    name: str = ""
    row_header: bool = True
    compact: bool = False


@dataclass(frozen=True)
class Folded:
    """A table that is shown when its summary is opened."""

    summary: str
    table: Table


@dataclass(frozen=True)
class Chart:
    """A figure in plotly's schema; `label` says in words what it shows, `tools` are controls: `range` and `log`."""

    name: str
    figure: Figure
    caption: str
    label: str
    height: int
    tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn already, and stays as it is without scripts; `kind` is its class."""

    name: str
    kind: str
    html: Html
    caption: str


@dataclass(frozen=True)
class Image:
    """A picture that the run left; `number` counts them on the page."""

    number: int
    path: Path
    caption: str
    alt: str


@dataclass(frozen=True)
class Pair:
    """Figures beside each other on wide screens."""

    figures: tuple[Block, ...]


Block = Text | Heading | Markup | Table | Folded | Chart | Drawing | Image | Pair
Blocks = tuple[Block, ...]


def text(markdown: str) -> Blocks:
    """Return a paragraph of Markdown; nothing of an empty one."""
    return (Text(markdown),) if markdown else ()


def heading(level: int, said: str, name: str) -> Blocks:
    """Return a heading."""
    return (Heading(level, said, name),)


def markup(html: Html) -> Blocks:
    """Return markup of a kind of its own; nothing of an empty one."""
    return (Markup(html),) if html.text else ()


def table(
    caption: str,
    columns: Iterable[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    row_header: bool = True,
    name: str = "",
    compact: bool = False,
) -> Blocks:
    """Return a table, which may have no rows."""
    return (Table(caption, tuple(columns), tuple(rows), name, row_header, compact),)


def definitions(caption: str, rows: Iterable[tuple[str, Cell]], *, name: str = "facts") -> Blocks:
    """Return a two-column table of names and values."""
    return (Table(caption, (), tuple(rows), name),)


def folded(summary: str, inside: Blocks) -> Blocks:
    """Return tables that are shown when their summary is opened."""
    return tuple(Folded(summary, block) for block in inside if isinstance(block, Table))


def chart(
    name: str, figure: Figure, *, caption: str, label: str, height: int = 440, tools: tuple[str, ...] = ()
) -> Blocks:
    """Return an interactive figure."""
    return (Chart(name, figure, caption, label, height, tools),)


def drawing(name: str, kind: str, html: Html, caption: str) -> Blocks:
    """Return a figure that is drawn already."""
    return (Drawing(name, kind, html, caption),)


def side_by_side(*parts: Blocks) -> Blocks:
    """Return the figures of parts beside each other on wide screens; nothing when there are none."""
    inside = tuple(block for part in parts for block in part)
    return (Pair(inside),) if inside else ()
