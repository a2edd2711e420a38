"""Read back what a notebook logged past the journal, with raw MLflow calls, so that the run directory has it all.

Two cases. The MLflow run was there: what the journal does not have is added to it, marked with the run it came
from, and needs no delivery. The store was away: the kernel was given a stand-in, a small file store in the
outbox; everything in it is added and delivered later like the rest. Nested runs are read back with their run.
"""

from __future__ import annotations

import functools
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.tracking.children import CHILD_TAG, PARENT_IS_RUN, PARENT_TAG, child_entry, children_of
from pipeline.tracking.datasets import described
from pipeline.tracking.journal import RAW, JournalEntry
from pipeline.tracking.journal_tracker import JournalTracker
from pipeline.tracking.load import SKIPPED_TAG, Load, Point, load_of
from pipeline.tracking.outbox import Home
from pipeline.tracking.raw_calls import MAX_FILES_BYTES
from pipeline.tracking.store import RUN_ID_TAG, Store

OWN_TAGS = (
    *("mlflow.runName", "mlflow.user", "mlflow.artifactLocation"),
    *(RUN_ID_TAG, SKIPPED_TAG, PARENT_TAG, CHILD_TAG),
)


@dataclass(frozen=True)
class Found:
    """What an MLflow run has and the journal has not."""

    params: dict[str, str]
    points: list[Point]
    undefined: dict[str, str]
    tags: dict[str, str]
    datasets: list[dict[str, Any]]
    files: list[str]
    left_out: list[str]


def read_back(home: Home, store: Store, mlflow_run_id: str, *, stand_in: bool = False) -> list[str]:
    """Add to the journal what only the MLflow runs have; returns the artifacts that were too large to keep.

    Raises TrackingError or StorageError.
    """
    journal, late = home.read()
    entries = [*journal.entries, *late.entries]
    raw = stand_in or bool(journal.of(RAW))
    tracker = JournalTracker(home, mode="strict")

    def record(kind: str, data: dict[str, Any], key: str | None = None) -> None:
        if not stand_in and kind != "skipped":  # the tag that lists them has to be delivered
            data = {**data, "from": mlflow_run_id}
        tracker.record(*((kind, data) if key is None else child_entry(key, kind, data)))

    run = store.get_run(mlflow_run_id)
    found = _compare(store, run, load_of(entries), _starts(entries), thorough=raw)
    _add(tracker, store, mlflow_run_id, found, record)
    if not raw:
        return found.left_out
    return found.left_out + _read_children(tracker, store, run, entries, record, everything=stand_in)


def _read_children(
    tracker: JournalTracker,
    store: Store,
    run: Any,
    entries: list[JournalEntry],
    record: Callable[..., None],
    *,
    everything: bool,
) -> list[str]:
    """Read back nested runs, parents first; `everything` takes all other runs of the experiment too."""
    known = children_of(entries)
    keys = {run.info.run_id: PARENT_IS_RUN}
    left_out: list[str] = []
    for child in _descendants(store, run, everything=everything):
        tags = dict(child.data.tags)
        parent = keys.get(tags.pop(PARENT_TAG, ""))
        key = keys[child.info.run_id] = tags.pop(CHILD_TAG, child.info.run_id)
        own, put = known.get(key, []), functools.partial(record, key=key)
        if not own:
            name = tags.pop("mlflow.runName", child.info.run_name)
            start = {"name": name, "time": child.info.start_time, "tags": tags}
            put("start", {**start, "parent": parent, "id": child.info.run_id})
        found = _compare(store, child, load_of(own), _starts(own) if own else tags, thorough=True)
        _add(tracker, store, child.info.run_id, found, put)
        left_out += [f"{child.info.run_name}/{path}" for path in found.left_out]
        if child.info.end_time and load_of(own).end is None:
            put("end", {"status": child.info.status, "time": child.info.end_time})
    return left_out


def _descendants(store: Store, run: Any, *, everything: bool) -> list[Any]:
    """Return the runs nested in a run, parents before their children; with `everything` all others follow."""
    experiment_id, found, parents = run.info.experiment_id, [], [run.info.run_id]
    for parent in parents:
        children = store.runs_with(experiment_id, {PARENT_TAG: parent})
        found += children
        parents += [child.info.run_id for child in children]
    if everything:
        found += [other for other in store.runs_with(experiment_id, {}) if other.info.run_id not in parents]
    return found


def _compare(store: Store, run: Any, known: Load, starts: dict[str, Any], *, thorough: bool) -> Found:
    run_id, told = run.info.run_id, {**starts, **known.tags}
    params = {name: value for name, value in run.data.params.items() if name not in known.params}
    tags = {
        name: value
        for name, value in run.data.tags.items()
        if told.get(name) != value and name not in OWN_TAGS and not name.startswith("mlflow.source.")
    }
    names = [name for name, value in run.data.metrics.items() if thorough or not _has(known, name, value)]
    points = [point for name in names for point in store.history(run_id, name) if point not in known.points]
    undefined = {point[0]: str(point[1]) for point in points if not math.isfinite(point[1])}
    undefined = {name: text for name, text in undefined.items() if f"{name} = " not in told.get(SKIPPED_TAG, "")}
    given = described(run.inputs.dataset_inputs if run.inputs else [])
    datasets = [item for item in given if (item["name"], item["digest"]) not in known.datasets]
    files: list[str] = []
    left_out: list[str] = []
    size = 0
    for path, count in store.artifacts_of(run):
        if path not in known.files:
            size += count
            (files if size <= MAX_FILES_BYTES else left_out).append(path)
    finite = [point for point in points if math.isfinite(point[1])]
    return Found(params, finite, undefined, tags, datasets, files, left_out)


def _starts(entries: Iterable[JournalEntry]) -> dict[str, Any]:
    """Return the tags a run was started with."""
    return {
        name: text for entry in entries if entry.kind == "start" for name, text in entry.data.get("tags", {}).items()
    }


def _has(known: Load, name: str, latest: float) -> bool:
    own = [point for point in known.points if point[0] == name]
    return bool(own) and max(own, key=lambda point: (point[3], point[2], point[1]))[1] == latest


def _add(tracker: JournalTracker, store: Store, run_id: str, found: Found, put: Callable[..., None]) -> None:
    items = {
        "params": found.params,
        "metrics": [list(point) for point in found.points],
        "skipped": found.undefined,
        "tags": found.tags,
        "inputs": found.datasets,
    }
    for kind, values in items.items():
        if values:
            put(kind, {"items": values})
    with tempfile.TemporaryDirectory() as directory:
        for path in found.files:
            kept = tracker.keep(store.download(run_id, path, Path(directory)), path)
            if kept is not None:
                put("artifact", kept)


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
        """Move everything into the journal and remove the stand-in; returns what could not be kept.

        Models and traces, which the journal cannot hold, stay where they are: in the stand-in.
        """
        left_out = read_back(home, self.store, self.mlflow_run_id, stand_in=True)
        place = home.outbox / "stand_in"
        for kind in ("models", "traces"):
            if count := len([path for path in place.glob(f"*/{kind}/*") if path.is_dir()]):
                left_out.append(f"{count} {kind} (they stay in {place}, a file store)")
        if not left_out:
            shutil.rmtree(place, ignore_errors=True)
        return left_out
