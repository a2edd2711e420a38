"""What happens to the large raw blocks of a resolved report between its cells and its renderer.

A block of markup is set aside, a comment in its place, and put back after rendering: a renderer that does not read it
cannot change it, and takes half the time. For a static report its figures are drawn instead of kept as data.
"""

from __future__ import annotations

import html
import itertools
import json
import re

from pipeline.errors import RenderError
from pipeline.report.cell_marks import mark
from pipeline.report.chart import HALF, WIDE, draw

RAW = re.compile(r"^(?P<fence>`{3,})\{=html\}\n(?P<body>.*?)\n(?P=fence)$", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(
    r'<div class="plot" id="plot-(?P<name>[^"]*)" role="group" aria-label="(?P<label>[^"]*)"'
    r' style="height:(?P<height>\d+)px"[^>]*></div>\n<noscript>.*?</noscript>\n'
    r'<script type="application/json" class="plot-data"[^>]*>(?P<data>.*?)</script>',
    re.DOTALL,
)
NOSCRIPT = re.compile(r"<noscript>.*?</noscript>\n", re.DOTALL)
PAIR = re.compile(r"^:::: \{\.pair\}\n.*?^::::$", re.MULTILINE | re.DOTALL)
LOADS = re.compile(r"\b(?:src|srcset|poster)=|<link\b|<style\b|url\(", re.IGNORECASE)
COMMENT = re.compile(r"<!-- evidence:block:(\d+) -->")
SMALL = 400


class Aside:
    """Takes the large raw blocks out of what the cells of one report print, and puts them back into its page.

    A block that names a file to embed stays for the renderer. Figures are drawn first: with `static` in the place of
    their data, else for readers without scripts. With `marked`, comments are left around what each cell printed, for
    the notebook.
    """

    def __init__(self, *, static: bool = False, marked: bool = False) -> None:
        self.static = static
        self.marked = marked
        self.kept: list[str] = []
        self._cells = itertools.count(1)

    def take(self, output: str) -> str:
        """Return what a cell printed with comments in the place of its large blocks."""
        drawn = draw_figures(output, interactive=not self.static)
        taken = RAW.sub(self._taken, COMMENT.sub("", drawn))
        return mark(next(self._cells), taken) if self.marked else taken

    def put_back(self, page: str) -> str:
        """Return the rendered page with every block in its place; raises RenderError when one got lost."""
        found = [int(number) for number in COMMENT.findall(page)]
        if sorted(found) != list(range(len(self.kept))):
            raise RenderError(f"The renderer kept {len(set(found))} of {len(self.kept)} blocks of the report.")
        return COMMENT.sub(lambda match: self.kept[int(match[1])], page)

    def _taken(self, match: re.Match[str]) -> str:
        body, fence = match["body"], match["fence"]
        if len(body) < SMALL or LOADS.search(body):
            return match[0]
        self.kept.append(body)
        return f"{fence}{{=html}}\n<!-- evidence:block:{len(self.kept) - 1} -->\n{fence}"


def draw_figures(markdown: str, *, interactive: bool = False) -> str:
    """Replace the data of every figure by its drawing; of an `interactive` one put the drawing where it will be.

    Raises RenderError naming a figure that cannot be drawn; an interactive one is left as it is then.
    """
    narrow = [(match.start(), match.end()) for match in PAIR.finditer(markdown)]

    def drawn(match: re.Match[str]) -> str:
        width = HALF if any(start <= match.start() < end for start, end in narrow) else WIDE
        label, name, height = html.unescape(match["label"]), match["name"], int(match["height"])
        try:
            svg = draw(json.loads(match["data"]), name=name, label=label, width=width, height=height)
        except RenderError:
            if interactive:
                return match[0]
            raise
        if interactive:
            return NOSCRIPT.sub("", match[0].replace("></div>", f">{svg}</div>", 1), count=1)
        box = f'class="plot drawn" id="plot-{name}" role="group" aria-label="{match["label"]}" tabindex="0"'
        return f"<div {box}>{svg}</div>"

    return FIGURE.sub(drawn, markdown)
