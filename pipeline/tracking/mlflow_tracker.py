"""A tracker for scripts and notebooks that work by themselves: straight to MLflow, explicit run ids.

When the store fails in mode `warn`, the run goes on: this and all later calls go to a journal in the outbox, and
`end_run` or `evidence sync` delivers it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import EvidenceError, TrackingError
from pipeline.masking import masked
from pipeline.settings import Settings
from pipeline.tracking.delivery import deliver, send_load
from pipeline.tracking.fluent import is_kept
from pipeline.tracking.fluent_store import FluentStore
from pipeline.tracking.journal import JournalEntry, JournalWriter, now_ms
from pipeline.tracking.journal_tracker import JournalTracker
from pipeline.tracking.load import Load
from pipeline.tracking.outbox import ADOPTED, Home, State, write_owner
from pipeline.tracking.protocol import Mode, Status
from pipeline.tracking.recording_tracker import RecordingTracker
from pipeline.tracking.store import RUN_ID_TAG, RejectedError, Store
from pipeline.tracking.uri import absolute_uri, require_mlflow, run_url

DEFAULT_EXPERIMENT = "evidence-chain"


class MLflowTracker(RecordingTracker):
    """Records a run in MLflow.

    `tracking_uri` None means MLFLOW_TRACKING_URI, else the project's SQLite store. `auto_start_run` starts in
    the constructor. While its run is active, its store is that of MLflow's fluent calls, too; inside `evidence run`
    those stay in the notebook's run. `outbox` is the results directory whose outbox takes what cannot be delivered.
    Raises TrackingNotInstalledError (also a RuntimeError) without MLflow; in mode `strict`, TrackingError when
    the store fails.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment_name: str | None = DEFAULT_EXPERIMENT,
        auto_start_run: bool = False,  # noqa: FBT001, FBT002 - existing code passes it by position
        run_name: str = "run",
        *,
        tags: dict[str, str] | None = None,
        mode: Mode = "warn",
        ui_url: str | None = None,
        outbox: Path | None = None,
    ) -> None:
        require_mlflow()
        super().__init__(mode)
        settings = Settings.load()
        self.tracking_uri = str(tracking_uri) if tracking_uri else settings.default_tracking_uri
        self.experiment_name = str(experiment_name or DEFAULT_EXPERIMENT)
        self.run_name = run_name
        self.ui_url = ui_url
        self._uri = absolute_uri(self.tracking_uri, Path.cwd())
        self._tags = dict(tags or {})
        self._results = outbox or settings.results
        self._store = Store(self._uri, artifact_root=_artifact_root(self._uri, settings))
        self._fluent = FluentStore(self._uri)
        self._experiment_id: str | None = None
        self._adopted = False
        self._start: tuple[str, int] = (run_name, 0)
        self._spill: JournalTracker | None = None
        self._batch: list[JournalEntry] | None = None
        if auto_start_run:
            self.start_run()

    @property
    def run_url(self) -> str | None:
        """The run's address in MLflow's web interface, when one is known."""
        if self._run_id is None or self._experiment_id is None:
            return None
        return run_url(self._uri, self.ui_url, self._experiment_id, self._run_id)

    def _begin(self, run_name: str | None) -> str | None:
        self._spill, self._batch = None, None
        self._start = (run_name or self.run_name, now_ms())
        active = _active_run_id()
        self._adopted = active is not None
        try:
            self._store.check()
            self._told()
            if active is None or not self._adopt(active):
                self._experiment_id = self._store.experiment(self.experiment_name)
                active = self._store.create_run(self._experiment_id, *self._start, self._start_tags()).info.run_id
            if not is_kept():
                self._fluent.enter()
            return str(active)
        except TrackingError as error:
            adopted = active if self._adopted else None
            self._failed(error, adopted)
            return adopted

    def _told(self) -> None:
        while self._store.notes:
            self._warn(self._store.notes.pop(0))

    def _adopt(self, active: str) -> bool:
        """Take up the active run; one that is not in this store cannot be, and a warning says so."""
        try:
            found = self._store.get_run(active)
        except RejectedError as error:
            if self.mode == "strict":
                raise
            self._adopted = False
            self._warn(f"The active run is not adopted: {error} A run of its own is started.")
            return False
        self._experiment_id = found.info.experiment_id
        self._params.update(found.data.params)
        return True

    def _start_tags(self) -> dict[str, str]:
        from mlflow.tracking.context.registry import resolve_tags

        return {**{key: str(value) for key, value in resolve_tags().items()}, **self._tags}

    def _finish(self, status: Status) -> None:
        try:
            self._end(status)
        finally:
            self._fluent.leave()

    def _end(self, status: Status) -> None:
        if self._adopted:
            self._deliver_spilled()
            return
        entry = JournalEntry(0, now_ms(), "end", {"status": status})
        if self._spill is None:
            self._send(entry)
        else:
            JournalWriter(self._spill.home.late).append("end", entry.data, at=entry.time)
        self._deliver_spilled()

    @contextmanager
    def batched(self) -> Iterator[None]:
        """Send what is logged inside as one batch at the end."""
        with self._lock:
            if self._batch is not None:
                yield
                return
            self._batch = []
            try:
                yield
            finally:
                entries, self._batch = self._batch, None
                if entries:
                    self._send(*entries)

    def _put(self, kind: str, data: dict[str, Any]) -> None:
        if self._spill is not None:
            self._spill._put(kind, data)
        elif self._batch is not None:
            self._batch.append(JournalEntry(0, now_ms(), kind, data))
        else:
            self._send(JournalEntry(0, now_ms(), kind, data))

    def _send(self, *entries: JournalEntry) -> None:
        load = Load()
        for entry in entries:
            load.add(entry, None)
        try:
            if load.end is not None:
                self._store.check()
            for problem in send_load(self._store, str(self._run_id), load):
                self._warn(problem)
        except TrackingError as error:
            self._failed(error, self._run_id, *entries)

    def _put_file(self, path: Path, target: str) -> None:
        name = target.rpartition("/")[2]
        if self._spill is None and path.name != name:
            with tempfile.TemporaryDirectory() as directory:
                self._put_file(Path(shutil.copyfile(path, Path(directory) / name)), target)
            return
        if self._spill is None:
            try:
                self._store.log_file(str(self._run_id), path, target.rpartition("/")[0] or None)
            except TrackingError as error:
                self._failed(error, self._run_id)
            else:
                return
        if self._spill is not None:
            self._spill._put_file(path, target)

    def _put_bytes(self, content: bytes, target: str) -> None:
        if self._spill is not None:
            self._spill._put_bytes(content, target)
            return
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / target.rpartition("/")[2]
            path.write_bytes(content)
            self._put_file(path, target)

    # When the store fails.

    def _failed(self, error: TrackingError, mlflow_run_id: str | None, *entries: JournalEntry) -> None:
        """Raise in mode `strict`; else open a journal in the outbox and put `entries` there."""
        if self.mode == "strict":
            raise error
        home = Home.of_script(self._results, str(uuid.uuid4()))
        start = {"name": self._start[0], "experiment": self.experiment_name, "time": self._start[1]}
        tags = {**self._tags, RUN_ID_TAG: home.run_id}
        others = {ADOPTED: True} if self._adopted else {}
        writer = JournalWriter(home.journal)
        try:
            writer.append("start", {**start, "uri": masked(self._uri), "tags": tags, **others})
            if mlflow_run_id is not None:
                home.save(State(masked(self._uri), self._experiment_id, mlflow_run_id))
            for entry in entries:
                place = JournalWriter(home.late) if entry.kind == "end" else writer
                place.append(entry.kind, entry.data, at=entry.time)
        except EvidenceError as second:
            self._warn(f"{error} {second} What is logged now is lost.")
            return
        write_owner(home)
        self._spill = JournalTracker(home, mode=self.mode)
        self._spill.start_run()
        self._warn(f"{error} The run goes on; `evidence sync {home.run_id}` delivers later what is logged now.")

    def _deliver_spilled(self) -> None:
        """Deliver what went to the outbox; what still cannot be delivered stays there."""
        if self._spill is None:
            return
        home = self._spill.home
        home.owner.unlink(missing_ok=True)
        try:
            state = deliver(home, self._store)
        except EvidenceError:
            return
        self._run_id, self._experiment_id = state.mlflow_run_id, state.experiment_id
        shutil.rmtree(home.outbox, ignore_errors=True)


def _active_run_id() -> str | None:
    """Return the id of the run that `mlflow.log_metric` would use: the active one, or MLFLOW_RUN_ID."""
    fluent = sys.modules.get("mlflow.tracking.fluent")
    active = fluent.active_run() if fluent is not None else None
    if active is not None:
        return str(active.info.run_id)
    return os.environ.get("MLFLOW_RUN_ID") or None


def _artifact_root(uri: str, settings: Settings) -> Path | None:
    return None if uri.startswith("sqlite:") else settings.root / "mlartifacts"
