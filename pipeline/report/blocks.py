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
from pipeline.report.chart import HALF, WIDE, draw
from pipeline.report.notebook import mark

RAW = re.compile(r"^(?P<fence>`{3,})\{=html\}\n(?P<body>.*?)\n(?P=fence)$", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(
    r'<div class="plot" id="plot-(?P<name>[^"]*)" role="group" aria-label="(?P<label>[^"]*)"'
    r' style="height:(?P<height>\d+)px"[^>]*></div>\n<noscript>.*?</noscript>\n'
    r'<script type="application/json" class="plot-data"[^>]*>(?P<data>.*?)</script>',
    re.DOTALL,
)
PAIR = re.compile(r"^:::: \{\.pair\}\n.*?^::::$", re.MULTILINE | re.DOTALL)
LOADS = re.compile(r"\b(?:src|srcset|poster)=|<link\b|<style\b|url\(", re.IGNORECASE)
COMMENT = re.compile(r"<!-- evidence:block:(\d+) -->")
SMALL = 400


class Aside:
    """Takes the large raw blocks out of what the cells of one report print, and puts them back into its page.

    A block that names a file to embed stays for the renderer. With `static`, figures are drawn first; with `marked`,
    comments are left around what each cell printed, for the notebook.
    """

    def __init__(self, *, static: bool = False, marked: bool = False) -> None:
        self.static = static
        self.marked = marked
        self.kept: list[str] = []
        self._cells = itertools.count(1)

    def take(self, output: str) -> str:
        """Return what a cell printed with comments in the place of its large blocks."""
        taken = RAW.sub(self._taken, COMMENT.sub("", draw_figures(output) if self.static else output))
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


def draw_figures(markdown: str) -> str:
    """Replace the data of every interactive figure by its drawing; raises RenderError naming one that cannot be."""
    narrow = [(match.start(), match.end()) for match in PAIR.finditer(markdown)]

    def drawn(match: re.Match[str]) -> str:
        width = HALF if any(start <= match.start() < end for start, end in narrow) else WIDE
        label = html.unescape(match["label"])
        svg = draw(json.loads(match["data"]), name=match["name"], label=label, width=width, height=int(match["height"]))
        box = f'class="plot drawn" id="plot-{match["name"]}" role="group" aria-label="{match["label"]}" tabindex="0"'
        return f"<div {box}>{svg}</div>"

    return FIGURE.sub(drawn, markdown)
