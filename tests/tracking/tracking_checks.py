"""What the tracking tests compare: an MLflow run, completely, with the journal it came from."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.tracking.children import CHILD_TAG, PARENT_IS_RUN, PARENT_TAG, children_of, start_of
from pipeline.tracking.journal import JournalEntry
from pipeline.tracking.load import Load, load_of
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import RUN_ID_TAG, Store


@dataclass(frozen=True)
class Recorded:
    """A run as MLflow has it."""

    id: str
    params: dict[str, str]
    points: list[tuple[str, float, int, int]]
    tags: dict[str, str]
    datasets: list[tuple[str, ...]]
    files: dict[str, bytes]
    status: str
    start: int
    end: int | None


def recorded(store: Store, run_id: str, directory: Path) -> Recorded:
    """Read back the one MLflow run of an evidence run, completely; fails when there is none or two."""
    store.connect()
    client = store._client
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    with_tag = client.search_runs(ids, f"tags.`{RUN_ID_TAG}` = '{run_id}'")
    assert len(with_tag) == 1, f"{len(with_tag)} MLflow runs for one run"
    run = with_tag[0]
    return _all_of(store, run, directory)


def nested_in(store: Store, run_id: str, directory: Path) -> dict[str, Recorded]:
    """Read back all runs nested in an MLflow run, at any depth, by their names; fails when two share a name."""
    found: dict[str, Recorded] = {}
    store.connect()
    for experiment in store._client.search_experiments():
        for run in store.runs_with(experiment.experiment_id, {PARENT_TAG: run_id}):
            assert run.info.run_name not in found, f"two runs named {run.info.run_name}"
            found[run.info.run_name] = _all_of(store, run, directory)
            found |= nested_in(store, run.info.run_id, directory)
    return found


def _all_of(store: Store, run: Any, directory: Path) -> Recorded:
    points = [point for name in run.data.metrics for point in store.history(run.info.run_id, name)]
    files: dict[str, bytes] = {}
    if any(store._client.list_artifacts(run.info.run_id)):
        target = directory / uuid.uuid4().hex
        target.mkdir(parents=True)
        root = store.download(run.info.run_id, "", target)
        files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    info = run.info
    return Recorded(
        info.run_id,
        run.data.params,
        points,
        run.data.tags,
        _datasets(run),
        files,
        info.status,
        info.start_time,
        info.end_time,
    )


def _datasets(run: Any) -> list[tuple[str, ...]]:
    described = [(given.dataset, [(tag.key, tag.value) for tag in given.tags]) for given in run.inputs.dataset_inputs]
    return sorted(
        (of.name, of.digest, of.source_type, of.source, of.schema, of.profile, *tags) for of, tags in described
    )


def assert_mlflow_equals_journal(home: Home, store: Store, directory: Path) -> Load:
    """Check that MLflow has exactly what the journal says: each thing once, nothing more."""
    journal, late = home.read()
    assert journal.damaged == late.damaged == 0
    expected = load_of([*journal.entries, *late.entries])
    found = recorded(store, home.run_id, directory)
    start = journal.of("start")[0]
    own = {"mlflow.runName": start.data["name"], RUN_ID_TAG: home.run_id}
    assert found.params == expected.params
    assert sorted(found.points) == sorted(expected.points)
    assert found.tags == {**own, **start.data["tags"], **expected.tags}
    assert [item[:2] for item in found.datasets] == sorted(expected.datasets)
    assert found.files == {target: (home.base / source).read_bytes() for target, source in expected.files.items()}
    assert found.start == start.data.get("time", start.time)
    if expected.end is not None:
        assert (found.status, found.end) == expected.end
    _assert_children_equal([*journal.entries, *late.entries], home, store, found.id, directory)
    return expected


def _assert_children_equal(entries: list[JournalEntry], home: Home, store: Store, run_id: str, directory: Path) -> None:
    children = children_of(entries)
    found = nested_in(store, run_id, directory)
    assert len(found) == sum(start_of(own)["parent"] is not None for own in children.values())
    for key, own in children.items():
        start, expected = start_of(own), load_of(own)
        if start["parent"] is None:
            continue
        child = found[start["name"]]
        parent = start["parent"]
        marks = {
            "mlflow.runName": start["name"],
            PARENT_TAG: run_id if parent == PARENT_IS_RUN else found[start_of(children[parent])["name"]].id,
        }
        tags = {name: text for name, text in child.tags.items() if (name, text) != (CHILD_TAG, key)}
        assert tags == {**marks, **start["tags"], **expected.tags}
        assert child.params == expected.params
        assert sorted(child.points) == sorted(expected.points)
        assert child.files == {target: (home.base / source).read_bytes() for target, source in expected.files.items()}
        assert child.start == start["time"]
        assert (child.status, child.end) == (expected.end or ("KILLED", own[-1].time))
