"""Digest files beside the notebook's own work: in a thread, each content once, looked at again at the end."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from queue import SimpleQueue

from pipeline.inputs.places import Stamp, stamp_of

PIECE = 1 << 22  # bytes at a time: each piece means waiting for the interpreter twice
LATER = 19  # how nice the thread is to the notebook's own, where threads have a niceness of their own
MOMENT = 0.05  # seconds that the thread is given to end with a digest that is waited for
LATER_ON = 0.25  # seconds after which it begins with one: by then most readers have read, and want no core for it


class Reading:
    """One content of one file that was read: where, what the file was, through which doors; its digest when known."""

    __slots__ = ("asked", "begun", "digested", "doors", "path", "sha256", "stamp")

    def __init__(self, path: str, stamp: Stamp, door: str) -> None:
        self.path = path
        self.stamp = stamp
        self.doors = [door]
        self.sha256: str | None = None
        self.asked = time.monotonic()
        self.begun = False
        self.digested = threading.Event()


class Digester:
    """Digests readings in the order they come; the thread is started by the first one.

    It works when the notebook's threads do not, and a moment after a file was opened, so that it takes no core from who
    reads it; what is left when a digest is needed is done by who needs it.

    `quiet` is called in the thread before it reads anything: what it reads is not to be watched. Contents that are
    `known` are not read.
    """

    def __init__(self, known: Mapping[Stamp, str], quiet: Callable[[], None]) -> None:
        self._digests = dict(known)
        self._quiet = quiet
        self._waiting: SimpleQueue[Reading | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def ask(self, reading: Reading) -> None:
        """Have a reading digested."""
        known = self._digests.get(reading.stamp)
        if known is not None:
            reading.sha256 = known
            reading.digested.set()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="evidence-digests", daemon=True)
            self._thread.start()
        self._waiting.put(reading)

    def digest(self, reading: Reading) -> None:
        """Have a reading digested now, by this thread: the other one may have to wait long for its turn."""
        if not reading.digested.wait(MOMENT if reading.begun else 0):
            self._digest(reading)

    def end(self, readings: Iterable[Reading]) -> None:
        """Digest what is left, and end the thread."""
        self._over.set()
        self._waiting.put(None)
        for reading in readings:
            self.digest(reading)

    def digest_now(self, path: str) -> str | None:
        """Return the digest of what a file holds now, None when it cannot be read."""
        try:
            stamp = stamp_of(os.stat(path))  # noqa: PTH116 - called for every file
        except OSError:
            return None
        return self._digests.get(stamp) or digest_of(path, stamp)

    def _work(self) -> None:
        self._quiet()
        with suppress(AttributeError, OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LATER)
        while (reading := self._waiting.get()) is not None:
            if self._over.wait(max(0.0, reading.asked + LATER_ON - time.monotonic())):
                return  # what is left is done by who ends this
            if not reading.digested.is_set():
                self._digest(reading)

    def _digest(self, reading: Reading) -> None:
        reading.begun = True
        sha256 = self._digests.get(reading.stamp) or digest_of(reading.path, reading.stamp)
        if reading.digested.is_set():
            return
        reading.sha256 = sha256
        if sha256 is not None:
            self._digests[reading.stamp] = sha256
        reading.digested.set()


def digest_of(path: str, stamp: Stamp) -> str | None:
    """Return the SHA-256 of a file; None when it is not, or does not stay, what the stamp says, or cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - called for every file
            before = os.fstat(file.fileno())
            if stamp_of(before) != stamp or not stat.S_ISREG(before.st_mode):
                return None
            digest, buffer = hashlib.sha256(), memoryview(bytearray(min(PIECE, max(1, stamp[2]))))
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
            return digest.hexdigest() if stamp_of(os.fstat(file.fileno())) == stamp else None
    except OSError:
        return None
