"""Deliver a run's journal to the store, each entry exactly once, whatever happened before.

One process delivers a run at a time (a lock). The cursor in `state.json` says what has certainly arrived. What
lies behind it may have arrived as well when an earlier attempt was cut short, so a later attempt looks before it
sends: params, tags, artifacts and the end are the same when sent twice, and points of a metric that the store has
already are left out. A run whose id was never written down is found by its tag `evidence.run_id`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.errors import EvidenceError, TrackingError
from pipeline.tracking.journal import Entry, Journal
from pipeline.tracking.outbox import Home, State
from pipeline.tracking.store import RUN_ID_TAG, Point, RejectedError, Store
from pipeline.tracking.uri import masked
from pipeline.tracking.values import MAX_TAG, shorten

SKIPPED_TAG = "evidence.skipped_metrics"


@dataclass
class Load:
    """What a stretch of journal comes to: one value for each param and tag, all points, all files, the end."""

    params: dict[str, str] = field(default_factory=dict)
    points: dict[Point, None] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # path in the store -> path below the home's base
    end: tuple[str, int] | None = None

    def add(self, entry: Entry, mlflow_run_id: str | None) -> None:
        """Add one entry; what was read back from this very MLflow run needs no sending."""
        if mlflow_run_id is not None and entry.data.get("from") == mlflow_run_id:
            return
        if entry.kind == "params":
            for name, value in entry.data["items"].items():
                self.params.setdefault(name, value)
        elif entry.kind == "metrics":
            self.points.update(dict.fromkeys(points_of(entry)))
        elif entry.kind == "tags":
            self.tags.update(entry.data["items"])
        elif entry.kind == "skipped":
            self._skipped(entry.data["items"])
        elif entry.kind == "artifact":
            self.files[entry.data["path"]] = entry.data["file"]
        elif entry.kind == "end":
            self.end = (entry.data["status"], entry.data.get("time", entry.time))

    def _skipped(self, items: dict[str, str]) -> None:
        told = ", ".join(f"{name} = {value}" for name, value in items.items())
        text = f"{self.tags[SKIPPED_TAG]}, {told}" if SKIPPED_TAG in self.tags else told
        self.tags[SKIPPED_TAG] = text if len(text) <= MAX_TAG else shorten(text, MAX_TAG, "debug/tracking.jsonl")


def points_of(entry: Entry) -> list[Point]:
    """Return the points of a `metrics` entry; without a step it is 0, as in MLflow."""
    rows = entry.data["items"]
    step = entry.data.get("step") or 0
    if isinstance(rows, dict):
        return [(name, float(value), entry.time, step) for name, value in rows.items()]
    return [(name, float(value), int(time), int(at)) for name, value, time, at in rows]


def load_of(entries: Iterable[Entry], mlflow_run_id: str | None = None) -> Load:
    """Return what `entries` come to."""
    load = Load()
    for entry in entries:
        load.add(entry, mlflow_run_id)
    return load


def deliver(home: Home, store: Store, *, exact: bool = False) -> State:
    """Send everything behind the cursor and return the new state; raises TrackingError or StorageError.

    `exact` says that this process made all earlier attempts and knows none was cut short. What the store refused
    for good is named in the state's `rejected`.
    """
    with home.locked():
        state = home.load()
        try:
            return _deliver(home, store, state, exact=exact)
        except EvidenceError as error:
            home.save(replace(home.load(), error=str(error)))
            raise


def _deliver(home: Home, store: Store, state: State, *, exact: bool) -> State:
    store.check()
    sizes = home.sizes()
    journal, late = home.read()
    state = open_run(home, store, state, journal, fresh=exact and state == State())
    run = str(state.mlflow_run_id)
    todo = [e for e in journal.entries if e.seq > state.journal] + [e for e in late.entries if e.seq > state.late]
    if todo:
        history = [e for e in (*journal.entries, *late.entries) if e.kind == "skipped"]
        load = load_of(todo, run)
        if SKIPPED_TAG in load.tags:
            load.tags[SKIPPED_TAG] = load_of(history).tags[SKIPPED_TAG]
        rejected = send_load(store, run, load, home.base, look_first=not exact)
        state = replace(state, rejected=(*state.rejected, *rejected))
    ended = state.ended or any(e.kind == "end" for e in todo)
    done = replace(state, journal=journal.last, late=late.last, sizes=sizes, ended=ended, error=None)
    return home.save(done) if done != state else state


def open_run(home: Home, store: Store, state: State, journal: Journal, *, fresh: bool) -> State:
    """Return the state with the MLflow run: the one known, the one found by its tag, or a new one.

    `fresh` says that no run can be there yet, which saves the search.
    """
    place = masked(store.uri)
    if state.mlflow_run_id is not None and state.tracking_uri == place:
        return state
    starts = journal.of("start")
    if not starts:
        raise TrackingError(f"The journal {home.journal} has no start: nothing of this run can be delivered.")
    start = starts[0]
    experiment_id = store.experiment(start.data["experiment"])
    found = None if fresh else store.find_run(experiment_id, home.run_id)
    tags = {RUN_ID_TAG: home.run_id, **start.data.get("tags", {})}
    if found is None:
        found = store.create_run(experiment_id, start.data["name"], start.data.get("time", start.time), tags)
    else:  # a file store sets tags one by one: the end may have come in between
        store.log(found.info.run_id, {}, [], {**tags, "mlflow.runName": start.data["name"]})
    return home.save(State(place, experiment_id, str(found.info.run_id), found.info.artifact_uri))


def send_load(store: Store, run: str, load: Load, base: Path | None = None, *, look_first: bool = False) -> list[str]:
    """Send a load to an MLflow run; returns a sentence for each thing that was refused for good.

    `look_first` leaves out the points which the store has already.
    """
    rejected: list[str] = []
    points = missing_points(store, run, list(load.points)) if look_first else list(load.points)
    try:
        store.log(run, load.params, points, load.tags)
    except RejectedError:
        rejected += _send_singly(store, run, load)
    for target, source in load.files.items():
        rejected += send_file(store, run, (base or Path()) / source, target)
    if load.end is not None:
        store.end_run(run, *load.end)
    return rejected


def missing_points(store: Store, run: str, points: Sequence[Point]) -> list[Point]:
    """Return the points which the store does not have yet."""
    names = dict.fromkeys(point[0] for point in points)
    there = {point for name in names for point in store.history(run, name)}
    return [point for point in points if point not in there]


def _send_singly(store: Store, run: str, load: Load) -> list[str]:
    """Send what the store accepts and return a sentence for each thing it refuses."""
    try:
        there = store.get_run(run).data.params
    except RejectedError as error:
        raise TrackingError(str(error)) from error
    rejected = [
        f"The param {name!r} keeps its value {there[name]!r}; {value!r} was not recorded (params never change)."
        for name, value in load.params.items()
        if name in there and there[name] != value
    ]
    params = {name: value for name, value in load.params.items() if name not in there}
    points = missing_points(store, run, list(load.points))
    return rejected + _halve(store, run, params, points, load.tags)


def _halve(store: Store, run: str, params: dict[str, str], points: list[Point], tags: dict[str, str]) -> list[str]:
    """Send all; when that is refused, send both halves; a single refused thing is told."""
    count = len(params) + len(points) + len(tags)
    try:
        store.log(run, params, points, tags)
    except RejectedError as error:
        if count == 1:
            name = next(iter([*params, *(point[0] for point in points), *tags]))
            return [f"{name!r} was not recorded: {error}"]
    else:
        return []
    items: list[tuple[int, object]] = [
        *((0, pair) for pair in params.items()),
        *((1, point) for point in points),
        *((2, pair) for pair in tags.items()),
    ]
    told: list[str] = []
    for half in (items[: count // 2], items[count // 2 :]):
        parts: list[list[object]] = [[item for kind, item in half if kind == wanted] for wanted in range(3)]
        told += _halve(store, run, dict(parts[0]), list(parts[1]), dict(parts[2]))  # type: ignore[arg-type]
    return told


def send_file(store: Store, run: str, source: Path, target: str) -> list[str]:
    """Send one file under its path in the store; a missing file is told, not raised."""
    if not source.is_file():
        return [f"The artifact {target!r} was not recorded: {source} is gone."]
    store.log_file(run, source, target.rpartition("/")[0] or None)
    return []
