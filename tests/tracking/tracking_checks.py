"""What the tracking tests compare: an MLflow run, completely, with the journal it came from."""

from __future__ import annotations

import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from pipeline.tracking.delivery import Load, load_of
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import RUN_ID_TAG, Store


@dataclass(frozen=True)
class Recorded:
    """A run as MLflow has it."""

    id: str
    params: dict[str, str]
    points: list[tuple[str, float, int, int]]
    tags: dict[str, str]
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
    points = [point for name in run.data.metrics for point in store.history(run.info.run_id, name)]
    files = {}
    for path, _ in store.artifacts(run.info.run_id):
        target = directory / uuid.uuid4().hex
        target.mkdir(parents=True)
        files[path] = store.download(run.info.run_id, path, target).read_bytes()
    info = run.info
    return Recorded(
        info.run_id, run.data.params, points, run.data.tags, files, info.status, info.start_time, info.end_time
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
    assert found.files == {target: (home.base / source).read_bytes() for target, source in expected.files.items()}
    assert found.start == start.data.get("time", start.time)
    if expected.end is not None:
        assert (found.status, found.end) == expected.end
    return expected


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
