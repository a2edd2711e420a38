"""The rows of all runs, kept from one request to the next as long as their files are as they were."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from pipeline.run import Run
from pipeline.run_row import RunRow
from pipeline.rundir import RunDir, run_ids
from pipeline.settings import Settings

FRESH = 1.0  # seconds for which a list is taken to be as it was
Stamp = tuple[tuple[int, int, int] | None, ...]


class RunRows:
    """All runs of a project as rows, the one started last first. A run that is not sealed is read each time."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Stamp, RunRow]] = {}
        self._rows: list[RunRow] = []
        self._until = float("-inf")

    def all(self) -> Sequence[RunRow]:
        """Return the rows as they were at most FRESH seconds ago."""
        with self._lock:
            if self._clock() >= self._until:
                self._rows = self._read()
                self._until = self._clock() + FRESH
            return self._rows

    def _read(self) -> list[RunRow]:
        known: dict[str, tuple[Stamp, RunRow]] = {}
        for run_id in run_ids(self._settings.results):
            directory = RunDir(self._settings.results, run_id)
            stamp = _stamp(directory)
            before = self._known.get(run_id)
            row = before[1] if before is not None and before[0] == stamp else RunRow.of(Run(directory))
            if row.marks.sealed:
                known[run_id] = (stamp, row)
            else:
                known[run_id] = ((), row)  # equal to no stamp
        self._known = known
        rows = [row for _, row in known.values()]
        return sorted(rows, key=lambda row: (row.record.started_at, row.run_id), reverse=True)


def _stamp(run: RunDir) -> Stamp:
    """Return what changes when a sealed run does: its manifest, its signature, its report, what waits for MLflow."""
    return tuple(_identity(str(path)) for path in (run.manifest, run.signature, run.report, run.outbox))


def _identity(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - thousands a request
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
