"""The modules of the project that a process has imported: the digest of the source that was executed, not of the file
as it is later, when somebody may have edited it.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import takewhile
from pathlib import Path
from types import CodeType, ModuleType

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.evidence.provenance import LIBRARIES

PACKAGE = "pipeline"


def watch_imports() -> None:
    """Take the digest of each project module when it is imported, from now on; of those that are there, now."""
    if _watcher() is None:
        foreign = library_directories()
        sys.meta_path.insert(0, ImportWatcher(_digests(sys.modules, {}, foreign), foreign))


def modules_of_this_process() -> dict[str, str]:
    """Return the SHA-256 of the source of each project module imported by this process so far.

    These are this package's own and everything outside the standard library and site-packages. The digest is that of
    the source as it was imported since `watch_imports`, else as it is now.
    """
    return {name: digest for (name, _), digest in _imported_so_far().items()}


def files_of_modules() -> frozenset[str]:
    """Return the real paths of the source files of these modules."""
    return frozenset(file for _, file in _imported_so_far())


def changed_since_import() -> list[str]:
    """Return the names of project modules whose file no longer holds the source this process executes."""
    return [name for (name, file), digest in _imported_so_far().items() if _digest_of(Path(file)) != digest]


def _digest_of(file: Path) -> str | None:
    return sha256_file(file) if file.is_file() else None


def _watcher() -> ImportWatcher | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, ImportWatcher)), None)


class ImportWatcher(importlib.abc.MetaPathFinder):
    """Finds modules as the finders after it do; `imported` holds digests by a module's name and file.

    What was there before is not looked at again: with thousands of modules, each look copies a piece of the memory that
    a kernel shares with its fork server.
    """

    def __init__(self, imported: dict[tuple[str, str], str], foreign: tuple[str, ...]) -> None:
        self.imported = imported
        self._foreign = foreign
        self._last = next(reversed(sys.modules.items()))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the others find; a module of the project is loaded from source whose digest is kept."""
        spec = found_after(self, fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            file = spec.loader.path
            if of_package(fullname) or not _real(file).startswith(self._foreign):
                spec.loader = _Loader(fullname, file, self.imported)
        return spec

    def candidates(self) -> dict[str, ModuleType]:
        """Return the modules that may belong to the project: those whose digest is known, and all that came later."""
        name, module = self._last
        later = reversed(sys.modules)
        if sys.modules.get(name) is module:
            later = takewhile(lambda other: other != name, later)
        known = (name for name, _ in self.imported)
        return {name: sys.modules[name] for name in {*later, *known} if name in sys.modules}


def found_after(
    finder: importlib.abc.MetaPathFinder, fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    """Return what the finders after one of them find; those before it were asked already."""
    place = next((place for place, other in enumerate(sys.meta_path) if other is finder), -1)
    found = (later.find_spec(fullname, path, target) for later in sys.meta_path[place + 1 :])
    return next((spec for spec in found if spec is not None), None)


class _Loader(SourceFileLoader):
    """Keeps the digest of what it loads. The user's modules are compiled from the very bytes that were digested: a
    cached compilation may be of an earlier source. This package's own take too long for that.
    """

    def __init__(self, fullname: str, path: str, imported: dict[tuple[str, str], str]) -> None:
        super().__init__(fullname, path)
        self._imported = imported

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the module's code."""
        data = self.get_data(self.path)
        self._imported[fullname, _real(self.path)] = sha256_bytes(data)
        if of_package(fullname):
            return super().get_code(fullname)
        code: CodeType = self.source_to_code(data, self.path)
        return code


def _imported_so_far() -> dict[tuple[str, str], str]:
    watcher = _watcher()
    if watcher is None:
        return _digests(sys.modules, {}, library_directories())
    return _digests(watcher.candidates(), watcher.imported, library_directories())


def _digests(
    modules: Mapping[str, ModuleType], imported: Mapping[tuple[str, str], str], foreign: tuple[str, ...]
) -> dict[tuple[str, str], str]:
    """Return the digest by name and file of each module that lies in none of the `foreign` directories."""
    digests = {}
    for name, module in sorted(modules.items()):
        given = getattr(module, "__file__", None)
        file = _real(given) if isinstance(given, str) else None
        if file is None or (file.startswith(foreign) and not of_package(name)):
            continue
        if (name, file) in imported:
            digests[name, file] = imported[name, file]
        elif Path(file).is_file():
            digests[name, file] = sha256_file(Path(file))
    return digests


def of_package(name: str) -> bool:
    """Say whether a module is one of this package."""
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


@lru_cache(maxsize=10_000)
def _real(file: str) -> str:
    """Return the real path of a module's file; of thousands of modules, each directory is resolved once."""
    directory, name = os.path.split(file)
    path = os.path.join(_real_directory(directory or os.curdir), name)  # noqa: PTH118 - a Path costs ten times as much
    return os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114


@lru_cache(maxsize=10_000)
def _real_directory(directory: str) -> str:
    return os.path.realpath(directory)


def library_directories() -> tuple[str, ...]:
    """Return the directories of installed libraries and of the standard library, each with a separator at its end."""
    return _library_directories(tuple(entry for entry in sys.path if entry.endswith((*LIBRARIES, ".zip"))))


@lru_cache(maxsize=100)
def _library_directories(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Return, with a separator at their end, the standard library's directories and these of the import path."""
    standard = (sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib"))
    return tuple(sorted({f"{Path(entry).resolve()}{os.sep}" for entry in (*standard, *entries)}))
