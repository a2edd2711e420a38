"""Files written so that their final name only ever holds all of them; JSON read and written strictly."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.digest import pretty_json
from pipeline.errors import StorageError

PARTIAL = ".partial-"
WINDOWS = os.name == "nt"
PATIENCE = 2.0  # seconds to wait for whoever has a file open that Windows does not replace meanwhile


def list_files(directory: Path) -> list[str]:
    """Return the sorted POSIX paths of everything below a directory but directories; links are not followed."""
    return sorted(path.relative_to(directory).as_posix() for path in _walk(directory))


def _walk(directory: Path) -> Iterator[Path]:
    waiting = [directory]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path)


def partial_name(path: Path) -> Path:
    """Return what a file is called while this process writes it: never longer than a system lets names be."""
    short = path.name if len(path.name) <= 50 else f"{zlib.crc32(os.fsencode(path.name)):08x}-{path.name[-40:]}"
    return path.parent / f"{PARTIAL}{os.getpid()}-{short}"


def replace_file(source: Path, target: Path) -> None:
    """Give a finished file its final name, in one step; raises OSError.

    Windows replaces no file that somebody has open: there, readers get a moment to end.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            source.replace(target)
        except PermissionError:
            if not WINDOWS or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def write_atomic(path: Path, data: bytes) -> Path:
    """Write a file so that its final name only ever holds all of `data`; raises StorageError."""
    partial = partial_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace_file(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageError(
            f"{path} could not be written: {error.strerror}. Free space or check permissions."
        ) from error
    return path


def append(path: Path, data: bytes) -> None:
    """Add bytes at the end of a file; raises StorageError, after which a part of them may be there."""
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror}. Free space or check permissions."
        ) from error


def move_into_place(source: Path, target: Path) -> None:
    """Move a finished file to its final name, when there is one; raises StorageError."""
    try:
        if source.is_file():
            target.parent.mkdir(exist_ok=True)
            replace_file(source, target)
    except OSError as error:
        raise StorageError(f"{target} could not be written: {error.strerror}.") from error


def write_json(path: Path, value: Any) -> Path:
    """Write strict, readable JSON atomically; NaN raises ValueError."""
    return write_atomic(path, pretty_json(value))


def read_json(path: Path) -> Any:
    """Read a strict JSON file: NaN and nesting beyond all bounds raise ValueError, as what is no JSON does.

    Raises OSError for what cannot be read, or is no file.
    """
    try:
        with open_file(path) as file:
            return json.loads(file.read(), parse_constant=_no_number)
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None


def open_file(path: Path) -> BinaryIO:
    """Open a file to read it; raises OSError for what is none: to open a pipe is to wait for its other end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no file", str(path))
    return path.open("rb")


def number(value: object) -> float | None:
    """Return a finite number of a JSON file as float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
    return found if math.isfinite(found) else None


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
