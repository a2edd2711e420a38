"""Which files count as inputs: those below the project and the user's data directories, not what is no data."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.evidence.modules import library_directories
from pipeline.files import read_json

# Directories of tools, caches and libraries, wherever they lie below a directory that is watched.
NO_DATA = frozenset(
    {".git", ".hg", ".svn", "__pycache__", "site-packages", "dist-packages", "node_modules", ".venv", ".tox", ".nox"}
    | {".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache"}
    | {".ipynb_checkpoints", ".ipython", ".jupyter", ".quarto", ".virtual_documents", ".vscode", ".idea"}
    | {"mlruns", "mlartifacts"}
)
COMPILED = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib")
PACKAGE = str(Path(__file__).resolve().parent.parent)
STORE = "mlflow.db"  # the default tracking store, with what SQLite writes beside it

Stamp = tuple[int, int, int, int]


def stamp_of(found: os.stat_result) -> Stamp:
    """Return what tells a file's content apart without reading it: device, inode, size, time of the last change."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class Known:
    """A declared file: the name of its input, its digest when it was taken, and what the file was then."""

    name: str
    sha256: str | None = None
    stamp: Stamp | None = None


@dataclass(frozen=True)
class Places:
    """The project's root and its results, the directories to watch, the declared files by their absolute path.

    `hosts` are those that a run may speak to without reading from them, as that of its tracking store; `apart` are the
    files that it has and that are recorded elsewhere, as its notebook.
    """

    root: str
    results: str
    directories: tuple[str, ...]
    declared: Mapping[str, Known] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        declared = {path: [known.name, known.sha256, known.stamp] for path, known in self.declared.items()}
        lists = {name: list(getattr(self, name)) for name in ("directories", "hosts", "apart")}
        return {**vars(self), **lists, "declared": declared}

    @classmethod
    def read(cls, file: Path) -> Places:
        """Read what `to_dict` returned from a JSON file."""
        values = read_json(file)
        declared = {
            path: Known(name, sha256, None if stamp is None else (stamp[0], stamp[1], stamp[2], stamp[3]))
            for path, (name, sha256, stamp) in values["declared"].items()
        }
        directories, hosts, apart = (tuple(values[name]) for name in ("directories", "hosts", "apart"))
        return cls(values["root"], values["results"], directories, declared, hosts, apart)

    def name(self, path: str) -> str:
        """Return what a file is called in the evidence: relative to the root, else to the home directory, else whole.

        A path below the home directory begins with `~`, so that nobody's name is told.
        """
        return name_of(path, self.root)


class Filter:
    """Says of a path, quickly, whether a file there counts as an input; what a directory is, is found out once."""

    def __init__(self, places: Places, declared: Mapping[str, Known]) -> None:
        self._roots = tuple({*places.directories, *map(os.path.dirname, places.declared)})
        self._declared = declared
        own = (places.results, PACKAGE, sys.prefix, *library_directories())
        self._excluded = tuple(entry for entry in own if not inside(places.root, entry))
        self._directories: dict[str, bool] = {}

    def is_foreign(self, path: str) -> bool:
        """Return whether a path, as it was given, is known to be none of an input: of most files, at once."""
        return self._directories.get(path[: path.rfind(os.sep)]) is False and path not in self._declared

    def counts(self, path: str) -> bool:
        """Return whether an absolute, plain path may be that of an input."""
        if path in self._declared:
            return True
        place = path.rfind(os.sep)
        directory, name = path[:place], path[place + 1 :]
        known = self._directories.get(directory)
        if known is None:
            known = self._directories[directory] = self.watches(directory)
        return known and not name.endswith(COMPILED) and not name.startswith(STORE)

    def watches(self, directory: str) -> bool:
        """Return whether files of a directory count."""
        if any(inside(directory, entry) for entry in self._excluded):
            return False
        below = (os.path.relpath(directory, root) for root in self._roots if inside(directory, root))
        return any(NO_DATA.isdisjoint(Path(parts).parts) for parts in below)

    def folders(self, directories: Iterable[str]) -> Iterator[str]:
        """Yield the directories that count from these on, and links to files: what they lead to may lie elsewhere."""
        followed: set[str] = set()
        waiting = [path for path in directories if self.watches(path)]
        while waiting:
            directory = waiting.pop()
            yield directory
            for path, is_link, is_directory in _entries(directory):
                if is_directory and self._leads_on(path, is_link, followed):
                    waiting.append(path)
                elif is_link and not is_directory:
                    yield path

    def _leads_on(self, path: str, is_link: bool, followed: set[str]) -> bool:  # noqa: FBT001
        """Say whether a directory counts, and was not yet come to by a link."""
        if os.path.basename(path) in NO_DATA or not self.watches(path):  # noqa: PTH119 - called for every directory
            return False
        target = os.path.realpath(path) if is_link else ""
        if target in followed or (is_link and inside(os.path.realpath(os.path.dirname(path)), target)):  # noqa: PTH120
            return False
        followed.update({target} - {""})
        return True


def _entries(directory: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield the path of each entry, whether it is a link, and whether it is, or leads to, a directory."""
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            yield entry.path, entry.is_symlink(), entry.is_dir()


def name_of(path: str, root: str) -> str:
    """Return what a file is called in the evidence of a project at `root`, see `Places.name`."""
    for base, prefix in ((root, ""), (str(Path.home()), "~/")):
        if inside(path, base):
            return prefix + Path(os.path.relpath(path, base)).as_posix()
    return Path(path).as_posix()


def inside(path: str, directory: str) -> bool:
    """Say whether a path is that of a directory, or of something below it; both absolute."""
    base = directory.rstrip(os.sep)
    return path == base or path.startswith(base + os.sep)
