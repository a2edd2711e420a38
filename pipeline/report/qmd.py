"""Read a `.qmd`: front matter, prose, and Python cells with their options, each with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import RenderError, nearest
from pipeline.objects import as_object

FENCE = re.compile(r"^(?P<indent> {0,3})(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
EXECUTABLE = re.compile(r"^\{(?P<language>[a-zA-Z]\w*)\s*\}$")
INLINE = re.compile(r"`\{[a-z]+\}\s")
OPTION = re.compile(r"^#\|\s?(.*)$")
OPTIONS = ("echo", "eval", "include", "label", "output", "tags", "warning")


@dataclass(frozen=True)
class Cell:
    """One Python cell: its number from 1, the line its code starts at, its code, its options, its file."""

    number: int
    line: int
    code: str
    options: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def tags(self) -> list[str]:
        """Return the cell's tags."""
        return [str(tag) for tag in self.options.get("tags", [])]


@dataclass(frozen=True)
class Source:
    """A parsed `.qmd`: the front matter and the parts of the body, prose (text) and cells, in order."""

    path: Path
    front: dict[str, Any]
    parts: tuple[str | Cell, ...]

    @property
    def cells(self) -> list[Cell]:
        """Return the cells in order."""
        return [part for part in self.parts if isinstance(part, Cell)]


def html_options(front: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that front matter has for HTML."""
    return as_object(as_object(front.get("format")).get("html"))


def read_qmd(path: Path) -> Source:
    """Read and parse a `.qmd`; raises RenderError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RenderError(
            f"The report template {path} cannot be read: {error.strerror}. Give an existing .qmd."
        ) from None
    except UnicodeDecodeError:
        raise RenderError(f"The report template {path} is not UTF-8 text.") from None
    lines = text.splitlines()
    front, start = _front_matter(path, lines)
    return Source(path, front, tuple(_parts(path, lines, start)))


def _front_matter(path: Path, lines: list[str]) -> tuple[dict[str, Any], int]:
    import yaml

    if not lines or lines[0].rstrip() != "---":
        return {}, 0
    end = next((n for n, line in enumerate(lines[1:], start=1) if line.rstrip() in {"---", "..."}), None)
    if end is None:
        raise RenderError(f"{path}, line 1: the front matter has no closing `---`.")
    try:
        front = yaml.safe_load("\n".join(lines[1:end])) or {}
    except yaml.YAMLError as error:
        raise RenderError(f"{path}: the front matter is not valid YAML: {error}") from None
    if not isinstance(front, dict):
        raise RenderError(f"{path}: the front matter must be a mapping of names to values.")
    return front, end + 1


def _parts(path: Path, lines: list[str], start: int) -> list[str | Cell]:
    parts: list[str | Cell] = []
    prose: list[str] = []
    number, at = 0, start
    while at < len(lines):
        opening = FENCE.match(lines[at])
        if opening is None:
            _refuse_inline(path, at, lines[at])
            prose.append(lines[at])
            at += 1
            continue
        end = _closing(path, lines, at, opening["ticks"])
        block = EXECUTABLE.match(opening["info"].strip())
        if block is None:
            prose += lines[at : end + 1]
        else:
            _refuse_language(path, at, block["language"])
            number += 1
            parts += ["\n".join(prose), _cell(path, number, at + 1, lines[at + 1 : end])]
            prose = []
        at = end + 1
    return [part for part in [*parts, "\n".join(prose)] if part != ""]


def _closing(path: Path, lines: list[str], at: int, ticks: str) -> int:
    pattern = re.compile(rf"^ {{0,3}}{re.escape(ticks[0])}{{{len(ticks)},}}\s*$")
    for n in range(at + 1, len(lines)):
        if pattern.match(lines[n]):
            return n
    raise RenderError(f"{path}, line {at + 1}: the code block that starts here is never closed.")


def _cell(path: Path, number: int, first: int, body: list[str]) -> Cell:
    import yaml

    given: list[str] = []
    for line in body:
        found = OPTION.match(line)
        if found is None:
            break
        given.append(found[1])
    try:
        options = yaml.safe_load("\n".join(given)) or {}
    except yaml.YAMLError as error:
        raise RenderError(
            f"{path}, line {first + 1}: the options of cell {number} are not valid YAML: {error}"
        ) from None
    for name in options:
        if name not in OPTIONS:
            raise RenderError(
                f"{path}, line {first + 1}: cell {number} has the option {name!r}, which `evidence render` does not "
                f"know. {nearest(str(name), OPTIONS)} Captions and layout go into a `:::` div around the cell."
            )
    return Cell(number, first + len(given) + 1, "\n".join(body[len(given) :]), options, path)


def _refuse_language(path: Path, at: int, language: str) -> None:
    if language != "python":
        raise RenderError(f"{path}, line {at + 1}: only python cells are executed, this one is {language!r}.")


def _refuse_inline(path: Path, at: int, line: str) -> None:
    if INLINE.search(line):
        raise RenderError(f"{path}, line {at + 1}: inline code is not executed; print the sentence from a cell.")
