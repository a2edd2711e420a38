"""A tracker that only writes the journal: no MLflow, no network, so a notebook waits for neither."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipeline.errors import StorageError, TrackingError
from pipeline.files import write_atomic
from pipeline.tracking.journal import RAW, JournalWriter, now_ms, read_journal
from pipeline.tracking.outbox import Home
from pipeline.tracking.protocol import Mode, Status
from pipeline.tracking.recording_tracker import RecordingTracker


class JournalTracker(RecordingTracker):
    """Appends to the journal of one run; who owns the run delivers it and decides how it ends."""

    def __init__(
        self,
        home: Home,
        *,
        mode: Mode = "warn",
        mlflow_run_id: str | None = None,
    ) -> None:
        """`mlflow_run_id` is the MLflow run's id where known."""
        super().__init__(mode)
        self.home = home
        self.mlflow_run_id = mlflow_run_id
        self._writer = JournalWriter(home.journal)
        self._raw_used = False
        self._times: dict[tuple[str, int | None], int] = {}
        self._waiting: list[tuple[str, dict[str, Any], int]] = []

    def _begin(self, run_name: str | None) -> str | None:
        journal = read_journal(self.home.journal)
        for entry in journal.of("params"):
            self._params.update(entry.data["items"])
        if not journal.of("start"):
            self._put("start", {"name": run_name or "run", "experiment": "evidence-chain", "tags": {}})
        return self.mlflow_run_id or self.home.run_id

    def _finish(self, status: Status) -> None:  # noqa: ARG002 - how a run ends is its owner's decision
        self._flush()

    def _put(self, kind: str, data: dict[str, Any]) -> None:
        self._waiting.append((kind, data, self._moment(data) if kind == "metrics" else now_ms()))
        self._flush()

    def _moment(self, data: dict[str, Any]) -> int:
        """Return the time of a metrics entry: after that of any earlier point of the same name and step.

        MLflow shows the largest of the values that have one time and step, and keeps only one of equal ones.
        """
        points = [(name, data.get("step")) for name in data["items"]] if isinstance(data["items"], dict) else []
        at = max([now_ms(), *(self._times[point] + 1 for point in points if point in self._times)])
        self._times.update(dict.fromkeys(points, at))
        return at

    def _flush(self) -> None:
        """Append what waits; what cannot be written now is tried again with the next call."""
        try:
            while self._waiting:
                kind, data, at = self._waiting[0]
                self._writer.append(kind, data, at=at)
                del self._waiting[0]
        except StorageError as error:
            self._failed(error)

    def record(self, kind: str, data: dict[str, Any]) -> None:
        """Append one ready entry."""
        with self._lock:
            self._put(kind, data)

    def warn(self, message: str) -> None:
        """Tell whoever logs, and note it."""
        self._warn(message)

    def keep(self, path: Path, target: str) -> dict[str, Any] | None:
        """Return the data of an artifact entry for a file, copied when it lies elsewhere; None when that failed."""
        resolved, base = path.resolve(), self.home.base.resolve()
        if resolved.is_relative_to(base) and resolved.name == target.rpartition("/")[2]:
            return {"path": target, "file": resolved.relative_to(base).as_posix()}
        try:
            place = self._place(target)
            shutil.copyfile(path, place)
        except OSError as error:
            self._failed(StorageError(f"{path} could not be copied to {self.home.files}: {error.strerror}."))
            return None
        return {"path": target, "file": place.relative_to(self.home.base).as_posix()}

    def _put_file(self, path: Path, target: str) -> None:
        kept = self.keep(path, target)
        if kept is not None:
            self._put("artifact", kept)

    def _put_bytes(self, content: bytes, target: str) -> None:
        try:
            place = write_atomic(self._place(target), content)
        except (StorageError, OSError) as error:
            self._failed(error if isinstance(error, StorageError) else StorageError(str(error)))
            return
        self._put("artifact", {"path": target, "file": place.relative_to(self.home.base).as_posix()})

    def _place(self, target: str) -> Path:
        """Return a path for a file of that name, in a directory made for it alone; raises OSError."""
        self.home.files.mkdir(parents=True, exist_ok=True)
        number = len(list(self.home.files.iterdir())) + 1
        while True:
            try:
                (self.home.files / str(number)).mkdir()
            except FileExistsError:
                number += 1
            else:
                return self.home.files / str(number) / target.rpartition("/")[2]

    def _failed(self, error: StorageError) -> None:
        if self.mode == "strict":
            raise TrackingError(str(error)) from error
        self._warn(str(error), stacklevel=5)

    def note_raw_use(self) -> None:
        """Record, once, that raw MLflow calls were made past this journal."""
        with self._lock:
            if not self._raw_used:
                self._raw_used = True
                self._put(RAW, {})

    @property
    def known_params(self) -> frozenset[str]:
        """Names of the params that the run's owner recorded from the spec."""
        return frozenset(self._params)

    def log_backtest(self, result: Any) -> None:
        """Record a backtest's config and stats; its files are in the run directory, whose owner records them."""
        from pipeline.tracking.backtest import log_backtest_metadata

        log_backtest_metadata(self, result=result)
