"""Comments around what each cell of a report printed; they survive rendering, so that its part of the page is found."""

from __future__ import annotations

from pipeline.errors import RenderError

BEGIN, END = "<!-- evidence:cell:{} -->", "<!-- evidence:cell:end -->"


def mark(number: int, output: str) -> str:
    """Return what a cell printed between two comments."""
    begin, end = (f"\n```{{=html}}\n{comment}\n```\n" for comment in (BEGIN.format(number), END))
    return f"{begin}{output}{end}"


def marked(page: str, number: int) -> str:
    """Return what the finished page has between the comments of a cell; raises RenderError when one was lost."""
    _, found, after = page.partition(BEGIN.format(number))
    shown, ended, _ = after.partition(END)
    if not (found and ended):
        raise RenderError(f"The renderer lost the place of cell {number}, so there is no notebook of this report.")
    return shown
