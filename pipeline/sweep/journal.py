"""A journal of an Optuna study that one process writes: trials added together reach the disk together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend


class GatheringBackend(BaseJournalBackend):
    """The file of JournalFileBackend, with one lock and one wait for the disk for all that is written in `gather`."""

    def __init__(self, path: Path) -> None:
        self._file = JournalFileBackend(str(path))
        self._in_file = 0
        self._waiting: list[dict[str, Any]] | None = None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries, or keep them until the end of `gather`."""
        if self._waiting is None:
            self._file.append_logs(logs)
        else:
            self._waiting += logs

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from a number on, those that wait among them."""
        if self._waiting is not None:
            yield from self._waiting[log_number_from - self._in_file :]
            return
        self._in_file = log_number_from
        for entry in self._file.read_logs(log_number_from):
            self._in_file += 1
            yield entry

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Write everything that is appended inside at the end, in one piece."""
        self._waiting = []
        try:
            yield
        finally:
            waiting, self._waiting = self._waiting, None
            if waiting:
                self._file.append_logs(waiting)
