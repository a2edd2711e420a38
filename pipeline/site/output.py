"""Write the files of a website: each whole or not at all, and only when it differs from what is there."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.files import PARTIAL, partial_name, replace_file


class Output:
    """A directory that files are put into. `written` and `removed` count what changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written = 0
        self.removed = 0

    def put(self, path: str, content: str | bytes) -> int:
        """Write a file unless it has this content already; return its size."""
        data = content.encode() if isinstance(content, str) else content
        target = self.root / path
        if not _same(target, data):
            _place(target, lambda partial: partial.write_bytes(data))
            self.written += 1
        return len(data)

    def copy(self, source: Path, path: str) -> None:
        """Copy a file unless an equal copy is there; never a link, so that each lives on its own."""
        target = self.root / path
        if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            _place(target, lambda partial: _copy(source, partial))
            self.written += 1

    def remove(self, path: str) -> None:
        """Remove a file or a folder with everything in it; nothing when it is not there."""
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        elif target.exists() or target.is_symlink():
            target.unlink()
        else:
            return
        self.removed += 1

    def keep_only(self, folder: str, wanted: set[str]) -> None:
        """Remove what is in a folder, at any depth, and is not one of the wanted paths (relative to the site)."""
        base = self.root / folder
        for directory, _, files in os.walk(base, topdown=False):
            place = Path(directory)
            for name in files:
                path = (place / name).relative_to(self.root).as_posix()
                if path not in wanted:
                    self.remove(path)
            if place != self.root and not any(place.iterdir()):
                place.rmdir()

    def remove_unfinished(self) -> None:
        """Remove what a build that was killed had begun to write at the top; folders are cleared by `keep_only`."""
        for name in self.names("."):
            if name.startswith(PARTIAL):
                self.remove(name)

    def names(self, folder: str) -> set[str]:
        """Return the names in a folder; none when it is not there."""
        base = self.root / folder
        return {entry.name for entry in os.scandir(base)} if base.is_dir() else set()


def _same(target: Path, data: bytes) -> bool:
    try:
        return target.stat().st_size == len(data) and target.read_bytes() == data
    except OSError:
        return False


def _place(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside the target and move it there; raises StorageError."""
    partial = partial_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        replace_file(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{target} could not be written: {error.strerror}. Free space or check permissions."
        ) from error


def _copy(source: Path, target: Path) -> None:
    """Copy bytes, where the file system can do it without storing them twice."""
    if hasattr(os, "copy_file_range"):
        with contextlib.suppress(OSError):
            _clone(source, target)
            return
    shutil.copyfile(source, target)


def _clone(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        left = os.fstat(reading.fileno()).st_size
        while left > 0:
            done = os.copy_file_range(reading.fileno(), writing.fileno(), left)
            if done == 0:
                raise OSError("the file became shorter")
            left -= done
