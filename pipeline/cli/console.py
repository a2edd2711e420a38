"""Consoles of rich that print text, and colours: nothing else, whatever the data hold."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.segment import Segment

from pipeline.cli.plain import plain


class PlainConsole(Console):
    """A console that never interprets markup in our data; its own codes for colours are all it writes besides text."""

    def __init__(self, *, file: TextIO | None = None, width: int | None = None, soft_wrap: bool = False) -> None:
        super().__init__(file=file, width=width, markup=False, highlight=False, soft_wrap=soft_wrap)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            segment if segment.control else segment._replace(text=plain(segment.text)) for segment in buffer
        )


def console(*, stderr: bool = False) -> PlainConsole:
    """Return a console that never wraps what a script may read."""
    return PlainConsole(file=sys.stderr if stderr else sys.stdout, soft_wrap=True)
