"""Files on their way through the service: on disk, never whole in memory, and gone when their request ends."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import UploadFile
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from pipeline.file_names import is_plain_name
from pipeline.service.problems import Refusal

PREFIX = "request-"
FORGOTTEN = 86_400  # seconds after which a directory belongs to a process that was killed
LONGEST = 200
BYTES = "application/octet-stream"
SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"


class Transfers:
    """The directory in which files are on their way."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._clear()

    @contextmanager
    def received(self, file: UploadFile) -> Iterator[Path]:
        """Yield an uploaded file under its own name; raises Refusal for what is no name."""
        name = checked_name(file.filename or "")
        with self.folder() as folder:
            target = folder / name
            with target.open("wb") as out:
                shutil.copyfileobj(file.file, out, 2**20)
            yield target

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a directory that is removed afterwards."""
        made = self.keep()
        try:
            yield made
        finally:
            self.discard(made)

    def keep(self) -> Path:
        """Return a new directory, which whoever asked for it removes."""
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.directory))

    @staticmethod
    def discard(folder: Path) -> None:
        """Remove a directory that was kept."""
        shutil.rmtree(folder, ignore_errors=True)

    def _clear(self) -> None:
        """Remove what processes left that were killed."""
        for left in self.directory.glob(f"{PREFIX}*"):
            if time.time() - left.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(left, ignore_errors=True)


class PassingFile(FileResponse):
    """A file that is sent to be saved, not shown; its directory is removed however the answer ends."""

    def __init__(self, path: Path, folder: Path) -> None:
        super().__init__(path, filename=path.name, media_type=BYTES, headers={"content-security-policy": SANDBOX})
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def checked_name(name: str) -> str:
    """Return the name of a file that is one; raises Refusal."""
    if "/" in name or not is_plain_name(name) or not _is_printable(name):
        raise Refusal(400, f"{name[:LONGEST]!r} is no name of a file: give one without directories.")
    return name


def checked_path(path: str) -> str:
    """Return a relative path that stays below its directory; raises Refusal."""
    if not is_plain_name(path) or not _is_printable(path):
        raise Refusal(400, f"{path[:LONGEST]!r} is no path of an artifact: give a relative one, without `..`.")
    return path


def _is_printable(path: str) -> bool:
    names = path.split("/")
    return not re.search(r"[\x00-\x1f\x7f]", path) and all(len(name.encode()) <= LONGEST for name in names)
