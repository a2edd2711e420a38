"""What the service talks to: one that is away is known to be for a moment, so that nobody else waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from pipeline.service.problems import Refusal

MOMENT = 1.0  # seconds for which a store that was away is taken to be


class Away:
    """Whether a store was found to be away a moment ago, and why."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._clock = what, clock
        self._lock = threading.Lock()
        self._until, self._why = 0.0, ""

    def check(self) -> None:
        """Raise Refusal when the store was away a moment ago: nobody is kept waiting for it again."""
        with self._lock:
            if self._clock() < self._until:
                raise self._refusal()

    def note(self, why: str) -> Refusal:
        """Note that the store is away, and return what is answered."""
        with self._lock:
            self._until, self._why = self._clock() + MOMENT, why
            return self._refusal()

    def _refusal(self) -> Refusal:
        return Refusal(503, f"{self._what} cannot be reached: {self._why}", {"Retry-After": "1"})


class Store(Protocol):
    """What `/health` asks."""

    def check(self) -> None:
        """Raise EvidenceError when the store does not answer."""
