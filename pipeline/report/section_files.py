"""Sections of the report that a project writes itself: `reports/sections/<id>.qmd` or `.md`.

The id is that of a level-2 heading of the template. The file takes the place of what stands below the heading; when it
begins with a level-2 heading of its own, of that as well; an empty file leaves the section out. A `.qmd` has cells,
which share the names of the template's own; a `.md` is prose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.digest import sha256_file
from pipeline.errors import RenderError, nearest
from pipeline.report.outline import cut
from pipeline.report.qmd import Cell, Source, read_qmd
from pipeline.settings import Settings

FOLDER = "reports/sections"
SUFFIXES = (".qmd", ".md")
HEADING = re.compile(r"^## +(?P<text>.*?)\s*(?:\{(?P<attributes>[^}]*)\})?\s*#*$")
Part = str | Cell


def find_sections(settings: Settings) -> dict[str, Path]:
    """Return the project's own sections by id; raises RenderError when one is there in both forms."""
    folder = settings.root / FOLDER
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in SUFFIXES or path.name.startswith((".", "_")):
            continue
        if path.stem in found:
            raise RenderError(f"{folder} has both {found[path.stem].name} and {path.name}. Keep one of them.")
        found[path.stem] = path
    return found


def section_digests(sections: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its name."""
    return {path.name: sha256_file(path) for path in sections.values()}


def section_id(heading: str) -> str | None:
    """Return the id of a line that is a level-2 heading, as pandoc gives it; None for any other line."""
    found = HEADING.match(heading)
    if found is None:
        return None
    given = re.search(r"#([\w.-]+)", found["attributes"] or "")
    if given:
        return given[1]
    words = re.sub(r"[^\w\s.-]", "", found["text"].lower())
    return re.sub(r"^[^a-z]+", "", "-".join(words.split())) or "section"


def with_sections(source: Source, sections: Mapping[str, Path]) -> Source:
    """Return the template with the project's sections in place; raises RenderError for one that the template lacks."""
    if not sections:
        return source
    pieces = _pieces(source)
    known = [name for name, _ in pieces if name]
    for name, path in sections.items():
        if name not in known:
            raise RenderError(f"{path} is for no section of {source.path.name}. {nearest(name, known)}")
    parts: list[Part] = []
    for section, own in pieces:
        parts += _own(sections[section], own) if section is not None and section in sections else own
    cells = iter(range(1, len(parts) + 1))
    numbered = [replace(part, number=next(cells)) if isinstance(part, Cell) else part for part in parts]
    return replace(source, parts=tuple(numbered))


def _own(path: Path, template: list[Part]) -> list[Part]:
    """Return the parts of a project's section; the heading is the template's unless the file has one."""
    parts = list(read_qmd(path).parts) if path.suffix == ".qmd" else [path.read_text(encoding="utf-8")]
    if not any(isinstance(part, Cell) or part.strip() for part in parts):
        return []
    first = str(template[0]).split("\n", 1)[0]
    begins = isinstance(parts[0], str) and section_id(parts[0].lstrip("\n").split("\n", 1)[0]) is not None
    return [*([] if begins else [f"{first}\n"]), *parts, "\n"]


def _pieces(source: Source) -> list[tuple[str | None, list[Part]]]:
    """Cut a template at its level-2 headings; what stands before the first one has no name."""
    pieces: list[tuple[str | None, list[Part]]] = [(None, [])]
    for part in source.parts:
        if isinstance(part, Cell):
            pieces[-1][1].append(part)
            continue
        for level, text in cut(part):
            name = section_id(text.split("\n", 1)[0]) if level == 2 else None
            if name is not None:
                pieces.append((name, []))
            pieces[-1][1].append(text)
    return pieces
