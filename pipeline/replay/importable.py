"""Find the source of a module by its name on an import path, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

from pipeline.digest import sha256_file
from pipeline.evidence.modules import ImportWatcher

LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
Found = dict[str, tuple[ModuleSpec | None, list[str]]]


def present_modules(names: Iterable[str], root: Path) -> dict[str, str]:
    """Return the SHA-256 of the source each named module has now, as a kernel started in `root` would import it.

    A module that is not there is left out. Nothing is imported.
    """
    return {name: sha256_file(source.file) for name, source in present_sources(names, root).items()}


@dataclass(frozen=True)
class Source:
    """The file a module is made from, and where it lies below a directory of the import path."""

    file: Path
    place: str


def present_sources(names: Iterable[str], root: Path) -> dict[str, Source]:
    """Return the source of each named module, as `present_modules` finds it."""
    path = kernel_path(root)
    known: Found = {}
    specs = {name: _find(name, path, known)[0] for name in sorted(names)}
    found = {name: (_source(spec), spec) for name, spec in specs.items()}
    return {name: Source(file, _place(name, file, spec)) for name, (file, spec) in found.items() if file and spec}


def kernel_path(root: Path) -> list[str]:
    """Return where a kernel started in `root` looks for modules: there first, then where this process does."""
    return [str(root), *(entry for entry in sys.path if entry)]


def _find(name: str, path: Sequence[str], known: Found) -> tuple[ModuleSpec | None, list[str]]:
    """Return a module's spec, and the directories to look for its submodules in (none when it is no package)."""
    if name not in known:
        parent = name.rpartition(".")[0]
        found = _on(name, _find(parent, path, known)[1] if parent else path)
        known[name] = found if parent or found[0] or found[1] else _from_other_finders(name)
    return known[name]


def _on(name: str, path: Sequence[str]) -> tuple[ModuleSpec | None, list[str]]:
    """Look for a module in directories; ones that only hold a namespace package count when nothing else is found."""
    portions: list[str] = []
    for directory in path:
        spec = FileFinder(directory, *LOADERS).find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec, list(spec.submodule_search_locations or [])
        portions += [] if spec is None else list(spec.submodule_search_locations or [])
    return None, portions


def _from_other_finders(name: str) -> tuple[ModuleSpec | None, list[str]]:
    """Ask the finders that editable installs add for a top-level module."""
    for finder in sys.meta_path:
        spec = None if finder is PathFinder or isinstance(finder, ImportWatcher) else finder.find_spec(name, None, None)
        if spec is not None and spec.origin not in {None, "built-in", "frozen"}:
            return spec, list(spec.submodule_search_locations or [])
    return None, []


def _place(name: str, file: Path, spec: ModuleSpec) -> str:
    parts = [*name.split("."), *(["__init__"] if spec.submodule_search_locations is not None else [])]
    return "/".join(parts) + "".join(file.suffixes)


def _source(spec: ModuleSpec | None) -> Path | None:
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path if path.is_file() else None
