"""Write the blocks of a report as Markdown, in which tables and figures are raw HTML."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

from pipeline.errors import RenderError
from pipeline.escape import html_text, markdown_text, raw_block, script_json
from pipeline.report.blocks import (
    Block,
    Blocks,
    Cell,
    Chart,
    Column,
    Drawing,
    Folded,
    Heading,
    Image,
    Markup,
    Pair,
    Shaded,
    Table,
    Text,
)
from pipeline.report.chart import HALF, WIDE, draw
from pipeline.report.markup import escaped

NOTE = '<noscript><p class="note">This figure needs JavaScript; the figures of the run itself do not.</p></noscript>\n'


class Figures(Enum):
    """How a figure is written: as data for scripts, as that with its drawing for who has none, as its drawing alone."""

    DATA = "data"
    BOTH = "both"
    DRAWN = "drawn"


@dataclass(frozen=True)
class Writer:
    """Writes blocks as Markdown; images go into a directory of that path, or into the text where there is none."""

    figures: Figures = Figures.DATA
    images: Path | None = None
    narrow: bool = False

    def write(self, blocks: Blocks) -> str:
        """Return blocks as Markdown, one after the other; raises RenderError naming a figure that cannot be drawn."""
        return "".join(self._written(block) for block in blocks)

    @singledispatchmethod
    def _written(self, block: Block) -> str:
        raise TypeError(f"{type(block).__name__} is no block of a report.")

    @_written.register
    def _(self, block: Text) -> str:
        return f"\n{block.markdown}\n"

    @_written.register
    def _(self, block: Heading) -> str:
        return f"\n{'#' * block.level} {block.text} {{#{block.name}}}\n"

    @_written.register
    def _(self, block: Markup) -> str:
        return raw_block(block.html.text)

    @_written.register
    def _(self, block: Table) -> str:
        return raw_block(table_html(block))

    @_written.register
    def _(self, block: Folded) -> str:
        summary = html_text(f"{block.summary} ({len(block.table.rows)})")
        inside = table_html(block.table)
        return raw_block(f'<details class="folded"><summary>{summary}</summary>\n{inside}\n</details>')

    @_written.register
    def _(self, block: Chart) -> str:
        return _numbered(block.name, "interactive", self._chart(block), block.caption)

    @_written.register
    def _(self, block: Drawing) -> str:
        return _numbered(block.name, block.kind, block.html.text, block.caption)

    @_written.register
    def _(self, block: Image) -> str:
        caption, target = markdown_text(block.caption), self._target(block)
        return f'\n![{caption}]({target}){{#fig-static-{block.number} .static fig-alt="{block.alt}"}}\n'

    @_written.register
    def _(self, block: Pair) -> str:
        inside = Writer(self.figures, self.images, narrow=True).write(block.figures)
        return f"\n:::: {{.pair}}\n{inside}\n::::\n"

    def _target(self, block: Image) -> str:
        """Return where an image is: in a file beside the document, or in its own address."""
        data = block.path.read_bytes()
        if self.images is None:
            return "data:image/png;base64," + base64.b64encode(data).decode()
        self.images.mkdir(exist_ok=True)
        (self.images / f"figure-{block.number}.png").write_bytes(data)
        return f"{self.images.name}/figure-{block.number}.png"

    def _chart(self, block: Chart) -> str:
        """Return a figure as HTML: its box, and what fills it with scripts, without them, or both."""
        data = script_json(_plain(block.figure))
        controls = f' data-tools="{html_text(" ".join(block.tools))}"' if block.tools else ""
        name, label = html_text(block.name), html_text(block.label)
        svg = None if self.figures is Figures.DATA else self._svg(block, data)
        if self.figures is Figures.DRAWN:
            box = f'class="plot drawn" id="plot-{name}" role="group" aria-label="{label}" tabindex="0"'
            return f"<div {box}>{svg}</div>"
        return (
            f'<div class="plot" id="plot-{name}" role="group" aria-label="{label}"'
            f' style="height:{int(block.height)}px"{controls}>{svg or ""}</div>\n'
            f"{NOTE if svg is None else ''}"
            f'<script type="application/json" class="plot-data" data-for="plot-{name}">{data}</script>'
        )

    def _svg(self, block: Chart, data: str) -> str | None:
        """Return the drawing of a figure; None for one that only moves on the interactive page."""
        width = HALF if self.narrow else WIDE
        try:
            return draw(json.loads(data), name=block.name, label=block.label, width=width, height=int(block.height))
        except RenderError:
            if self.figures is Figures.DRAWN:
                raise
            return None


def _numbered(name: str, kind: str, inside: str, caption: str) -> str:
    """Return a numbered figure: a div `#fig-NAME` around raw HTML and the caption."""
    return f"\n::: {{#fig-{name} .{kind}}}\n{raw_block(inside)}\n{markdown_text(caption)}\n:::\n"


def _plain(figure: Any) -> dict[str, Any]:
    """Return a figure of plotly's, or a dict in its schema, without the template of its colours."""
    values = json.loads(figure.to_json()) if hasattr(figure, "to_json") else figure
    shown = {key: value for key, value in values.get("layout", {}).items() if key != "template"}
    return {"data": values.get("data", []), "layout": shown}


def table_html(found: Table) -> str:
    """Return a table in a box that scrolls by itself and can be reached by keyboard."""
    write = _compact_row if found.compact else _row
    body = "\n".join(write(found, row) for row in found.rows)
    label, head = html_text(found.caption), _head(found)
    return (
        f'<div class="table-box {html_text(found.name)}" role="region" aria-label="{label}" tabindex="0">\n'
        f'<table data-quarto-disable-processing="true">\n<caption>{label}</caption>\n'
        f"{head}<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _head(found: Table) -> str:
    if not found.columns:
        return ""
    write = _compact_heading if found.compact else _heading
    return f"<thead><tr>{''.join(map(write, found.columns))}</tr></thead>\n"


def _heading(column: Column) -> str:
    kind = ' class="num"' if column.numeric else ""
    unit = f' <span class="unit">{html_text(column.unit)}</span>' if column.unit else ""
    title = f' title="{html_text(column.title)}"' if column.title else ""
    return f'<th scope="col"{kind}{title}>{html_text(column.heading)}{unit}</th>'


def _row(found: Table, row: Sequence[Cell]) -> str:
    numeric = [column.numeric for column in found.columns] or [False] * len(row)
    cells = [_cell(cell, numeric=known) for cell, known in zip(row, numeric, strict=True)]
    if found.row_header:
        kind = ' class="num"' if numeric[0] else ""
        cells[0] = f'<th scope="row"{kind}>{_inside(row[0])}</th>'
    return "<tr>" + "".join(cells) + "</tr>"


def _cell(cell: Cell, *, numeric: bool) -> str:
    tone = f" {cell.tone}" if isinstance(cell, Shaded) and cell.tone else ""
    kind = f' class="num{tone}"' if numeric else ""
    return f"<td{kind}>{_inside(cell)}</td>"


def _inside(cell: Cell) -> str:
    return escaped(cell.text if isinstance(cell, Shaded) else cell)


def _compact_heading(column: Column) -> str:
    return f'<th scope="col"{" class=num" if column.numeric else ""}>{html_text(column.heading)}</th>'


def _compact_row(found: Table, row: Sequence[Cell]) -> str:
    """Return a row as short as can be: of thousands, every byte counts. Cells without a class are numbers."""
    cells = zip(found.columns[1:], row[1:], strict=True)
    shown = (f"<td{'' if column.numeric else ' class=text'}>{_inside(cell)}</td>" for column, cell in cells)
    return f"<tr><th scope=row>{_inside(row[0])}</th>{''.join(shown)}</tr>"
