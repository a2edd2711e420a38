"""The headings of a report: cut prose at them, and leave out sections that have nothing to show."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.report.qmd import FENCE

HEADING = re.compile(r"^(?P<marks>#{1,6}) +\S")


@dataclass
class Section:
    """What stands below one heading up to the next of any level; `level` 0 is what stands before the first."""

    level: int
    texts: list[str] = field(default_factory=list)
    cells: int = 0
    shown: int = 0


def cut(prose: str) -> list[tuple[int, str]]:
    """Cut prose at its headings, those inside code left alone; each piece with its level, 0 without a heading."""
    pieces: list[tuple[int, list[str]]] = [(0, [])]
    fence = ""
    for line in prose.split("\n"):
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark["ticks"]
        elif mark and mark["ticks"].startswith(fence) and not mark["info"].strip():
            fence = ""
        found = None if fence else HEADING.match(line)
        if found:
            pieces.append((len(found["marks"]), []))
        pieces[-1][1].append(line)
    return [(level, "\n".join(lines)) for level, lines in pieces if lines]


def without_empty(parts: Iterable[tuple[str, bool | None]]) -> str:
    """Join the parts of a report, without sections whose cells were there to show something and showed nothing.

    A part is its text and, of a cell, whether it showed anything; None for prose, and for cells that are not there to
    show anything. A section goes with its heading and its prose; one that has no such cell stays.
    """
    sections = [Section(0)]
    for text, shown in parts:
        pieces = cut(text) if shown is None else [(0, text)]
        for level, piece in pieces:
            if level:
                sections.append(Section(level))
            sections[-1].texts.append(piece)
        sections[-1].cells += shown is not None
        sections[-1].shown += bool(shown)
    kept = (section for place, section in enumerate(sections) if not _is_empty(sections, place))
    return "\n".join(text for section in kept for text in section.texts)


def _is_empty(sections: list[Section], place: int) -> bool:
    """Say whether a section and all below it have cells to show something, none of which did."""
    own = sections[place]
    if own.level == 0:
        return False
    inside = [own]
    for other in sections[place + 1 :]:
        if other.level <= own.level:
            break
        inside.append(other)
    return any(section.cells for section in inside) and not any(section.shown for section in inside)
