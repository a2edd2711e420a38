"""Deliver a run's journal to the store, each entry exactly once, whatever happened before.

One process delivers a run at a time (a lock). The cursor in `state.json` says what has certainly arrived. What
lies behind it may have arrived as well when an earlier attempt was cut short, so a later attempt looks before it
sends: params, tags, artifacts and the end are the same when sent twice, and points of a metric that the store has
already are left out. A run whose id was never written down is found by its tag `evidence.run_id`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import EvidenceError, TrackingError
from pipeline.masking import masked
from pipeline.tracking.children import CHILD_TAG, PARENT_IS_RUN, PARENT_TAG, children_of, start_of
from pipeline.tracking.journal import RAW, Journal, JournalEntry
from pipeline.tracking.load import SKIPPED_TAG, Load, Point, load_of
from pipeline.tracking.outbox import Home, State
from pipeline.tracking.store import RUN_ID_TAG, RejectedError, Store

MAX_FAILED_FILES = 3  # so many in one delivery: the store is at fault, not the files


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
    known = state.mlflow_run_id if state.tracking_uri == masked(store.uri) and not exact else None
    if known is not None and not store.has_run(known):
        state = State()  # the store was lost, or is another one by now: all of it is delivered anew
    state = find_or_create(home, store, state, journal, fresh=exact and state == State())
    run = str(state.mlflow_run_id)
    exact = exact and not journal.of(RAW)  # raw calls were attempts of another process
    todo = [e for e in journal.entries if e.seq > state.journal] + [e for e in late.entries if e.seq > state.late]
    if todo:
        history = [e for e in (*journal.entries, *late.entries) if e.kind == "skipped"]
        load = load_of(todo, run)
        if SKIPPED_TAG in load.tags:
            load.tags[SKIPPED_TAG] = load_of(history).tags[SKIPPED_TAG]
        rejected = send_load(store, run, load, home.base, look_first=not exact)
        rejected += Children(store, home.base, state, [*journal.entries, *late.entries]).send(todo)
        state = replace(state, rejected=(*state.rejected, *rejected))
    ending = any(e.kind == "end" for e in todo)
    if ending:
        _look(home, store, run, [*journal.entries, *late.entries])
    ended = state.ended or ending
    done = replace(state, journal=journal.last, late=late.last, sizes=sizes, ended=ended, error=None)
    return home.save(done) if done != state else state


def _look(home: Home, store: Store, run: str, entries: Iterable[JournalEntry]) -> None:
    """See that a run which has just ended is there, and send again those of its files that are not.

    Files of other machines are not looked for. Raises RejectedError when the run was deleted meanwhile.
    """
    place = store.local_artifacts(store.get_run(run))
    if place is None:
        return
    for target, source in load_of(entries).files.items():
        if not (place / target).is_file() and (home.base / source).is_file():
            send_file(store, run, home.base / source, target)


def find_or_create(home: Home, store: Store, state: State, journal: Journal, *, fresh: bool) -> State:
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
    found = None if fresh else store.find_run(experiment_id, {RUN_ID_TAG: home.run_id})
    tags = {RUN_ID_TAG: home.run_id, **start.data.get("tags", {})}
    if found is None:
        found = store.create_run(experiment_id, start.data["name"], start.data.get("time", start.time), tags)
    else:  # a file store sets tags one by one: the end may have come in between
        store.log(found.info.run_id, {}, [], {**tags, "mlflow.runName": start.data["name"]})
    return home.save(State(place, experiment_id, str(found.info.run_id), found.info.artifact_uri))


def send_load(store: Store, run: str, load: Load, base: Path | None = None, *, look_first: bool = False) -> list[str]:
    """Send a load to an MLflow run; returns a sentence for each thing that was refused for good.

    `look_first` leaves out the points which the store has already. A file that the store cannot take keeps none of the
    rest back, but the error is raised: the load has not arrived as a whole.
    """
    rejected: list[str] = []
    points = missing_points(store, run, list(load.points)) if look_first else list(load.points)
    try:
        store.log(run, load.params, points, load.tags)
    except RejectedError:
        rejected += _send_singly(store, run, load)
    for item in load.datasets.values():
        rejected += _send_dataset(store, run, item)
    failures: list[TrackingError] = []
    for target, source in load.files.items():
        try:
            rejected += send_file(store, run, (base or Path()) / source, target)
        except TrackingError as error:
            failures.append(error)
            store.check()
            if len(failures) == MAX_FAILED_FILES:
                break
    if load.end is not None and len(failures) < MAX_FAILED_FILES:
        store.end_run(run, *load.end)
    if failures:
        raise failures[0]
    return rejected


class Children:
    """The nested runs of one run: found or made again, and sent what they miss."""

    def __init__(self, store: Store, base: Path, state: State, entries: list[JournalEntry]) -> None:
        self._store = store
        self._base = base
        self._state = state
        self._entries = children_of(entries)
        self._over = any(entry.kind == "end" for entry in entries)
        self._ids: dict[str, str] = {}

    def send(self, todo: Iterable[JournalEntry]) -> list[str]:
        """Send what is new of each child; returns a sentence for each thing that was refused for good.

        A child that nobody ended ends as KILLED with its last entry when its run has ended.
        """
        rejected: list[str] = []
        todo = list(todo)
        new, ending = children_of(todo), any(entry.kind == "end" for entry in todo)
        for key, entries in self._entries.items():
            unsent = [e for e in new.get(key, []) if e.data.get("from") != self._state.mlflow_run_id]
            load = load_of(unsent)
            if SKIPPED_TAG in load.tags:
                load.tags[SKIPPED_TAG] = load_of(e for e in entries if e.kind == "skipped").tags[SKIPPED_TAG]
            if self._over and (unsent or ending) and not any(entry.kind == "end" for entry in entries):
                load.end = ("KILLED", entries[-1].time)
            if unsent or load.end:
                rejected += send_load(self._store, self._id(key), load, self._base, look_first=True)
        return rejected

    def _is_there(self, key: str) -> bool:
        """Return whether a child was made in this store by the notebook itself."""
        start = start_of(self._entries[key])
        return "id" in start and start.get("from") == self._state.mlflow_run_id

    def _id(self, key: str) -> str:
        if key not in self._ids:
            start = start_of(self._entries.get(key, []))
            self._ids[key] = (
                str(start["id"]) if key in self._entries and self._is_there(key) else self._open(key, start)
            )
        return self._ids[key]

    def _open(self, key: str, start: dict[str, Any]) -> str:
        experiment_id, run = str(self._state.experiment_id), str(self._state.mlflow_run_id)
        marks = {CHILD_TAG: key}
        if start["parent"] is not None:
            marks[PARENT_TAG] = run if start["parent"] == PARENT_IS_RUN else self._id(start["parent"])
        tags = {**start["tags"], **marks}
        found = self._store.find_run(experiment_id, marks)
        if found is None:
            found = self._store.create_run(experiment_id, start["name"], start["time"], tags)
        else:
            self._store.log(found.info.run_id, {}, [], {**tags, "mlflow.runName": start["name"]})
        return str(found.info.run_id)


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


def _send_dataset(store: Store, run: str, item: dict[str, Any]) -> list[str]:
    try:
        store.log_datasets(run, [item])
    except RejectedError as error:
        return [f"The dataset {item['name']!r} was not recorded: {error}"]
    return []


def send_file(store: Store, run: str, source: Path, target: str) -> list[str]:
    """Send one file under its path in the store; a missing file is told, not raised."""
    if not source.is_file():
        return [f"The artifact {target!r} was not recorded: {source} is gone."]
    store.log_file(run, source, target.rpartition("/")[0] or None)
    return []
