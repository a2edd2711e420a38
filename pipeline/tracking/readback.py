"""Read back what a notebook logged past the journal, with raw MLflow calls, so that the run directory has it all.

Two cases. The MLflow run was there: what the journal does not have is added to it, marked with the run it came
from, and needs no delivery. The store was away: the kernel was given a stand-in, a small file store in the
outbox; everything in it is added and delivered later like the rest.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.tracking.delivery import SKIPPED_TAG, Load, load_of
from pipeline.tracking.journal import Entry, JournalWriter
from pipeline.tracking.journal_tracker import RAW, JournalTracker
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import RUN_ID_TAG, Point, Store

MAX_FILES_BYTES = 100_000_000
OWN_TAGS = ("mlflow.runName", "mlflow.user", "mlflow.artifactLocation", RUN_ID_TAG, SKIPPED_TAG)


@dataclass(frozen=True)
class Found:
    """What an MLflow run has and the journal has not."""

    params: dict[str, str]
    points: list[Point]
    tags: dict[str, str]
    files: list[str]
    left_out: list[str]


def read_back(home: Home, store: Store, mlflow_run_id: str, *, stand_in: bool = False) -> list[str]:
    """Add to the journal what only the MLflow run has; returns the artifacts that were too large to keep.

    Raises TrackingError or StorageError.
    """
    journal, late = home.read()
    entries = [*journal.entries, *late.entries]
    found = _compare(store, mlflow_run_id, entries, thorough=stand_in or bool(journal.of(RAW)))
    mark = {} if stand_in else {"from": mlflow_run_id}
    writer = JournalWriter(home.journal)
    if found.params:
        writer.append("params", {"items": found.params, **mark})
    if found.points:
        writer.append("metrics", {"items": [list(point) for point in found.points], **mark})
    if found.tags:
        writer.append("tags", {"items": found.tags, **mark})
    if found.files:
        _keep_files(home, store, mlflow_run_id, found.files, mark)
    return found.left_out


def _compare(store: Store, run_id: str, entries: Iterable[Entry], *, thorough: bool) -> Found:
    known = _everything(entries)
    run = store.get_run(run_id)
    params = {name: value for name, value in run.data.params.items() if name not in known.params}
    tags = {
        name: value
        for name, value in run.data.tags.items()
        if known.tags.get(name) != value and name not in OWN_TAGS and not name.startswith("mlflow.source.")
    }
    names = [name for name, value in run.data.metrics.items() if thorough or not _has(known, name, value)]
    points = [point for name in names for point in store.history(run_id, name) if point not in known.points]
    files: list[str] = []
    left_out: list[str] = []
    size = 0
    for path, count in store.artifacts(run_id):
        if path not in known.files:
            size += count
            (files if size <= MAX_FILES_BYTES else left_out).append(path)
    return Found(params, points, tags, files, left_out)


def _everything(entries: Iterable[Entry]) -> Load:
    """Return what the journal knows of, start tags and what was read back before included."""
    entries = list(entries)
    known = load_of(entries)
    starts: dict[str, Any] = {}
    for entry in entries:
        if entry.kind == "start":
            starts |= entry.data.get("tags", {})
    known.tags = {**starts, **known.tags}
    return known


def _has(known: Load, name: str, latest: float) -> bool:
    own = [point for point in known.points if point[0] == name]
    return bool(own) and max(own, key=lambda point: (point[3], point[2], point[1]))[1] == latest


def _keep_files(home: Home, store: Store, run_id: str, paths: list[str], mark: dict[str, str]) -> None:
    tracker = JournalTracker(home, mode="strict", extra=mark)
    tracker.start_run()
    with tempfile.TemporaryDirectory() as directory:
        for path in paths:
            tracker._put_file(store.download(run_id, path, Path(directory)), path)


@dataclass(frozen=True)
class StandIn:
    """A file store in the outbox that takes a notebook's raw MLflow calls while the real store is away."""

    store: Store
    mlflow_run_id: str
    experiment_id: str

    @classmethod
    def create(cls, home: Home) -> StandIn:
        """Make the stand-in and its run; raises TrackingError."""
        store = Store((home.outbox / "stand_in").as_uri())
        store.connect()
        experiment_id = store.experiment("stand-in")
        run = store.create_run(experiment_id, home.run_id, 0, {})
        return cls(store, str(run.info.run_id), experiment_id)

    def take(self, home: Home) -> list[str]:
        """Move everything into the journal and remove the stand-in; returns what could not be kept."""
        left_out = read_back(home, self.store, self.mlflow_run_id, stand_in=True)
        left_out += [f"the nested run {name!r}" for name in self.store.other_runs(self.mlflow_run_id)]
        shutil.rmtree(home.outbox / "stand_in", ignore_errors=True)
        return left_out
