"""Doors: thin wrappers of readers that open files in native code, where no audit event tells of it.

A door calls what it wraps with what it was given and returns what that returned. Doors of libraries that are imported
later are set when that has happened.
"""

from __future__ import annotations

import functools
import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.evidence.modules import found_after
from pipeline.inputs.duckdb_door import open_door
from pipeline.inputs.network import host_of
from pipeline.inputs.watch import Watch, watching

MARK = "__evidence_door__"
Given = Callable[[tuple[Any, ...], dict[str, Any]], Iterator[str]]
Found = Callable[[Any], Iterator[str]]


def open_doors() -> None:
    """Set the doors of all libraries that are imported, and of the others when they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name, build in DOORS.items():
        module = sys.modules.get(name)
        if module is not None:
            build(module)


class _Finder(MetaPathFinder):
    """Finds modules as the finders after it do, and sets the doors of some once they are executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        build = DOORS.get(fullname)
        if build is None:
            return None
        spec = found_after(self, fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def executed(module: ModuleType) -> None:
                execute(module)
                build(module)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def _set(
    owner: Any,
    name: str,
    door: str,
    *,
    given: Given | None = None,
    found: Found | None = None,
    written: Given | None = None,
) -> None:
    """Put a door before a function or method.

    What it will read is told by `given` of its arguments, what it will write by `written`; what it has opened by
    `found` of its first argument, for an `__init__`, or of its result.
    """
    function = getattr(owner, name, None)
    if function is None or hasattr(function, MARK):
        return

    @functools.wraps(function)
    def through(*arguments: Any, **named: Any) -> Any:
        if given is not None:
            _tell(door, lambda: given(arguments, named))
        if written is not None:
            _tell(None, lambda: written(arguments, named))
        result = function(*arguments, **named)
        if given is not None:
            _tell(door, lambda: given(arguments, named), answered=True)
        if found is not None:
            _tell(door, lambda: found(arguments[0] if result is None else result))
        return result

    setattr(through, MARK, door)
    setattr(owner, name, through)


def _tell(door: str | None, paths: Callable[[], Iterator[str]], *, answered: bool = False) -> None:
    """Have the watches take note of files, read through a door or written, or, once they `answered`, of hosts."""
    for each in watching():
        each.quietly(_note, each, door, paths, answered)


def _note(watch: Watch, door: str | None, paths: Callable[[], Iterator[str]], answered: bool) -> None:  # noqa: FBT001
    for path in paths():
        host = host_of(path)
        if answered and host is not None:
            watch.network.spoke_to(host)
        elif host is None and door is None:
            watch.wrote(path)
        elif host is None and not answered:
            watch.read(path, str(door))


def _argument(name: str, place: int = 0) -> Given:
    """Return how a reader is told what to read: by an argument in this place, or of this name."""

    def paths(arguments: tuple[Any, ...], named: dict[str, Any]) -> Iterator[str]:
        given = named.get(name)
        if given is None and len(arguments) > place:
            given = arguments[place]
        yield from _files(given)

    return paths


def _url(place: int) -> Given:
    """Return how a reader is told to read from the network: by a URL in this place."""

    def urls(arguments: tuple[Any, ...], _named: dict[str, Any]) -> Iterator[str]:
        if len(arguments) > place and host_of(arguments[place]) is not None:
            yield arguments[place]

    return urls


def _files(given: Any) -> Iterator[str]:
    """Yield the files that a path, or each of a list of them, stands for: itself, or all below a directory."""
    if isinstance(given, str | bytes | os.PathLike):
        path = os.fsdecode(given)
        if host_of(path) is not None:
            yield path
        elif any(sign in path for sign in "*?["):
            yield from sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - what a path is for the library
        elif os.path.isdir(path):  # noqa: PTH112 - what a path is in the words of the library
            yield from (str(file) for file in sorted(Path(path).rglob("*")) if file.is_file())
        else:
            yield path
    elif isinstance(given, list | tuple):
        for item in given:
            yield from _files(item)


def _of_dataset(dataset: Any) -> Iterator[str]:
    """Yield the files of an Arrow dataset; those of another machine are found by nobody here.

    Its filesystem is not asked for: of a dataset over bytes in memory there is none, and Arrow crashes.
    """
    for child in getattr(dataset, "children", None) or ():
        yield from _of_dataset(child)
    yield from getattr(dataset, "files", ())


def _watched_file(kind: Any) -> Any:
    """Return Arrow's class of files, which opens them when it is made, with a door; its instances are those of both."""

    class Same(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, kind)

    def opened(cls: Any, path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        _tell(None if "w" in mode or "a" in mode else "pyarrow.OSFile", lambda: _files(path))
        return kind.__new__(cls, path, mode, *arguments, **named)

    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return Same(kind.__name__, (kind,), {**names, "__new__": opened, MARK: "pyarrow.OSFile"})


def _arrow(module: ModuleType) -> None:
    if not hasattr(module.OSFile, MARK):
        vars(module)["OSFile"] = _watched_file(module.OSFile)
    _set(module, "memory_map", "pyarrow.memory_map", given=_argument("path"))
    _set(module, "input_stream", "pyarrow.input_stream", given=_argument("source"))


def _parquet(module: ModuleType) -> None:
    _set(module.ParquetFile, "__init__", "pyarrow.parquet", given=_argument("source", 1))
    _set(module.ParquetWriter, "__init__", "pyarrow.parquet", written=_argument("where", 1))
    door = "pyarrow.parquet"
    _set(module.ParquetDataset, "__init__", door, given=_url(1), found=lambda made: _of_dataset(made._dataset))


def _dataset(module: ModuleType) -> None:
    _set(module, "dataset", "pyarrow.dataset", given=_url(0), found=_of_dataset)


def _functions(door: str, argument: str, *names: str) -> Callable[[ModuleType], None]:
    def build(module: ModuleType) -> None:
        for name in names:
            _set(module, name, door, given=_argument(argument))

    return build


def _feather(module: ModuleType) -> None:
    _functions("pyarrow.feather", "source", "read_table", "read_feather")(module)
    _set(module, "write_feather", "pyarrow.feather", written=_argument("dest", 1))


def _polars(module: ModuleType) -> None:
    """Set a door before each reader; what a lazy one is to read is digested when it is named."""
    for name in [name for name in dir(module) if name.startswith(("read_", "scan_"))]:
        _set(module, name, f"polars.{name}", given=_argument("source"))
    for name in [name for name in dir(module.DataFrame) if name.startswith("write_")]:
        _set(module.DataFrame, name, f"polars.{name}", written=_argument("file", 1))


def _curl(module: ModuleType) -> None:
    _set(module.Session, "request", "curl_cffi", given=_argument("url", 2))


def _file_class(door: str, argument: str) -> Callable[[ModuleType], None]:
    return lambda module: _set(module.File, "__init__", door, given=_argument(argument, 1))


DOORS: dict[str, Callable[[ModuleType], None]] = {
    "pyarrow": _arrow,
    "pyarrow.parquet.core": _parquet,
    "pyarrow.dataset": _dataset,
    "pyarrow.feather": _feather,
    "pyarrow.csv": _functions("pyarrow.csv", "input_file", "read_csv", "open_csv"),
    "pyarrow.json": _functions("pyarrow.json", "input_file", "read_json", "open_json"),
    "polars": _polars,
    "duckdb": open_door,
    "tables.file": _file_class("tables", "filename"),
    "h5py._hl.files": _file_class("h5py", "name"),
    "curl_cffi.requests.session": _curl,
    "pyarrow.orc": _functions("pyarrow.orc", "source", "read_table"),
}
