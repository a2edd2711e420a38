"""The one thread of a process that exports, so that nobody waits for a collector, whether it lives or not."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from pipeline.telemetry.span import Item
from pipeline.telemetry.switch import Wanted, wanted

LIMIT = 4_096  # items that wait; more push out the oldest
BATCH = 512
PERIOD = 5.0  # seconds
LAST_WORD = 1.0  # seconds that the end of a process waits for what is left, when the collector answered so far
REST = 30.0  # seconds without a try after one that failed
IN_KERNEL = "EVIDENCE_RUN_ID"  # the owner of a kernel exports what the log of its run says
logger = logging.getLogger("pipeline.telemetry")
_of_process: dict[int, Exporting | None] = {}


class Sink(Protocol):
    """Sends items to where they belong."""

    def send(self, items: list[Item]) -> bool:
        """Send some items; say whether they arrived. Raises nothing."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Exporting:
    """Takes items at once and sends them from a thread of its own.

    What can be imported late is: the libraries are loaded when the process waits for something else (`idle`), when
    there is much to send, after some seconds, or at the end.
    """

    def __init__(self, asked: Wanted) -> None:
        self.asked = asked
        self.failed = False
        self.dropped = 0
        self._waiting: deque[Item] = deque(maxlen=LIMIT)
        self._woken = threading.Event()
        self._sent = threading.Condition()
        self._ending = False
        self._busy = False
        self._rested = 0.0
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def add(self, item: Item) -> None:
        """Take an item; never waits."""
        self.dropped += len(self._waiting) == LIMIT
        self._waiting.append(item)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="evidence-telemetry", daemon=True)
            self._thread.start()
        if len(self._waiting) >= BATCH:
            self._woken.set()

    def idle(self) -> None:
        """Say that this process is about to wait for another one: a good time to load and to send."""
        if self._waiting:
            self._woken.set()

    def flush(self, seconds: float = LAST_WORD) -> bool:
        """Send what is left, and wait so long for it; a collector that did not answer before is not waited for."""
        if self._thread is None or self._pid != os.getpid() or self.failed:
            return not self.failed
        deadline = time.monotonic() + seconds
        self._woken.set()
        with self._sent:
            while (self._waiting or self._busy) and not self.failed:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    break
                self._sent.wait(left)
        return not self._waiting and not self._busy and not self.failed

    def close(self) -> None:
        """Send what is left, then let the thread end."""
        self.flush()
        self._ending = True
        self._woken.set()

    def _work(self) -> None:
        from pipeline.telemetry.sink import open_sink

        self._woken.wait(PERIOD)
        sink = open_sink(self.asked)
        if sink is None:  # said already
            self.failed = True
        while not self._ending:
            self._send(sink)
            self._woken.wait(PERIOD)
            self._woken.clear()
        if sink is not None:
            sink.close()

    def _send(self, sink: Sink | None) -> None:
        """Send what waits, a batch after the other, until nothing is left or one does not arrive."""
        if time.monotonic() < self._rested:
            self._waiting.clear()
            return
        with self._sent:
            self._busy = True
        try:
            while self._waiting:
                items = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self.failed = sink is None or not sink.send(items)
                if self.failed:
                    self._rested = time.monotonic() + REST
                    self._waiting.clear()
        finally:
            with self._sent:
                self._busy = False
                self._sent.notify_all()


def exporting() -> Exporting | None:
    """Return what exports for this process, None when nothing is to be exported; decided at the first call."""
    pid = os.getpid()
    if pid not in _of_process:
        _of_process[pid] = _begin()
    return _of_process[pid]


def _begin() -> Exporting | None:
    asked = None if IN_KERNEL in os.environ else wanted(os.environ)
    if asked is None:
        return None
    if not _is_installed():
        logger.warning(MISSING)
        return None
    import_module("concurrent.futures.thread")  # what it does when it is loaded is refused at the end of a process
    made = Exporting(asked)
    atexit.register(made.flush)
    return made


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.sdk") is not None
    except ImportError:
        return False


MISSING = (
    "Telemetry is switched on, and opentelemetry is not installed, so nothing is exported: "
    "pip install 'evidence-chain[observability]'."
)


def flush() -> None:
    """Send what is left of this process, and wait a moment for it; free where nothing is exported."""
    found = _of_process.get(os.getpid())
    if found is not None:
        found.flush()


def forget() -> None:
    """Decide anew at the next call whether anything is exported, after sending what is left."""
    found = _of_process.pop(os.getpid(), None)
    if found is not None:
        atexit.unregister(found.flush)
        found.close()
