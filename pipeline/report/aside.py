"""What happens to the large raw blocks of a resolved report between its cells and its renderer.

A block of markup is set aside, a comment in its place, and put back after rendering: a renderer that does not read it
cannot change it, and takes half the time.
"""

from __future__ import annotations

import itertools
import re

from pipeline.errors import RenderError
from pipeline.report.cell_marks import mark

RAW = re.compile(r"^(?P<fence>`{3,})\{=html\}\n(?P<body>.*?)\n(?P=fence)$", re.MULTILINE | re.DOTALL)
LOADS = re.compile(r"\b(?:src|srcset|poster)=|<link\b|<style\b|url\(", re.IGNORECASE)
COMMENT = re.compile(r"<!-- evidence:block:(\d+) -->")
SMALL = 400


class Aside:
    """Takes the large raw blocks out of what the cells of one report print, and puts them back into its page.

    A block that names a file to embed stays for the renderer. With `marked`, comments are left around what each cell
    printed, for the notebook.
    """

    def __init__(self, *, marked: bool = False) -> None:
        self.marked = marked
        self.kept: list[str] = []
        self._cells = itertools.count(1)

    def take(self, output: str) -> str:
        """Return what a cell printed with comments in the place of its large blocks."""
        taken = RAW.sub(self._taken, COMMENT.sub("", output))
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
