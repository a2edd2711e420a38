"""A file that one process at a time writes to, on every system; threads of one process take turns as well.

Where there is `flock` (Linux, macOS) the lock is on the file itself, as every version of this package has it: processes
of an older version take part, nothing lies beside the file, and readers need not be able to write there. Elsewhere
(Windows) it is that of `filelock`, on `<name>.lock` beside the file. The system drops either when its holder ends.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:
    fcntl = None

PAUSE = 0.002
BINARY: int = getattr(os, "O_BINARY", 0)  # without it Windows changes line ends


@contextmanager
def locked(path: Path, *, shared: bool = False, append: bool = False, seconds: float | None = None) -> Iterator[int]:
    """Open a file while nobody else has it locked; yield its descriptor.

    `shared` opens it for reading, beside other readers, else it is made when it is not there; `append` writes at its
    end. Waits for at most `seconds`, None as long as it takes. Raises TimeoutError, and OSError where the file cannot
    be opened or its file system has no locks.
    """
    flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT | (os.O_APPEND if append else 0)
    with contextlib.nullcontext() if fcntl else _lock_beside(path, shared=shared, seconds=seconds):
        descriptor = os.open(path, flags | BINARY, 0o644)
        try:
            if fcntl:
                _lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, seconds)
            yield descriptor
        finally:
            os.close(descriptor)


def _lock(descriptor: int, kind: int, seconds: float | None) -> None:
    if seconds is None:
        fcntl.flock(descriptor, kind)
        return
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"others hold its lock for more than {seconds:g} s") from None
            time.sleep(PAUSE)
        else:
            return


@contextmanager
def _lock_beside(path: Path, *, shared: bool, seconds: float | None) -> Iterator[None]:
    """Hold `filelock`'s lock; a reader who may not write beside the file reads without, and may meet half a line."""
    import filelock

    lock = filelock.FileLock(path.with_name(f"{path.name}.lock"), timeout=-1 if seconds is None else seconds)
    try:
        lock.acquire(poll_interval=PAUSE)
    except PermissionError:
        if not shared:
            raise
    try:
        yield
    finally:
        lock.release()
