"""The same run on every back end: SQLite from nothing, file store, server on SQLite and on PostgreSQL, PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_run_tracking import execute
from tracking_checks import assert_mlflow_equals_journal

from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking import MLflowTracker, RunTracking, TrackingWarning, sqlite
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import Store
from tests.servers import postgres_server
from tests.tiers import mostly_slow

Opener = Callable[..., tuple[RunDir, RunTracking]]


def check_run(open_run: Opener, uri: str, tmp_path: Path) -> RunTracking:
    """Execute a run on a back end and compare MLflow with the journal."""
    run, tracking = open_run(uri)
    execute(run, tracking)
    assert tracking.info.status == "tracked", tracking.warnings
    assert tracking.pending == 0
    assert_mlflow_equals_journal(Home.of_run(run), Store(tracking.uri), tmp_path / "read")
    return tracking


@pytest.mark.slow
def test_sqlite_from_nothing(open_run: Opener, tmp_path: Path) -> None:
    """The first run makes the database, its directory, the schema, write-ahead mode and the experiment."""
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    assert check_run(open_run, uri, tmp_path).warnings == []
    assert sqlite.is_ready(tmp_path / "new" / "mlflow.db")
    assert not (tmp_path / "mlruns").exists()


FIRST_USE = """
import sys, uuid
from pathlib import Path
from pipeline.tracking import MLflowTracker
with MLflowTracker(sys.argv[1], "first", mode="strict") as tracker:
    tracker.log_metrics({"x": 1})
"""


@pytest.mark.slow
def test_parallel_first_use(tmp_path: Path) -> None:
    """Six processes that find no database: one makes it, all are recorded, in one experiment."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-c", FIRST_USE, uri]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    errors = [child.communicate()[1] for child in children]
    assert [child.returncode for child in children] == [0] * 6, errors
    store = Store(uri)
    store.connect()
    runs = store._client.search_runs([store.experiment("first")])
    assert [run.info.status for run in runs] == ["FINISHED"] * 6


def test_file_store(open_run: Opener, tmp_path: Path) -> None:
    """MLflow refuses file stores without an opt-in; here they work, with one warning that recommends SQLite."""
    uri = (tmp_path / "runs").as_uri()
    tracking = check_run(open_run, uri, tmp_path)
    (told,) = tracking.warnings
    assert "sqlite:///mlflow.db" in told
    assert "mlflow migrate-filestore" in told
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ
    assert tracking.environment()["MLFLOW_ALLOW_FILE_STORE"] == "true"


@pytest.mark.parametrize("given", mostly_slow(["file://{}", "file:{}", "{}", "runs"], 0, 3))
def test_every_way_to_name_a_file_store(tmp_path: Path, given: str) -> None:
    """URIs and plain paths, absolute and relative; one warning a tracker."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", TrackingWarning)
        with MLflowTracker(given.format(tmp_path / "runs"), "exp") as tracker:
            tracker.log_metrics({"x": 1})
            tracker.log_metrics({"y": 1})
    assert len([item for item in told if issubclass(item.category, TrackingWarning)]) == 1
    assert len(list((tmp_path / "runs").rglob(f"{tracker.run_id}/metrics/x"))) == 1


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A database in a PostgreSQL server of our own."""
    with postgres_server("mlflow") as server:
        yield f"{server}mlflow"


@pytest.mark.postgres
@pytest.mark.slow
def test_postgresql(open_run: Opener, postgres: str, tmp_path: Path, settings: Settings) -> None:
    """Straight into PostgreSQL, with or without its driver named; artifacts in the project, by absolute path."""
    tracking = check_run(open_run, postgres.replace("+psycopg2", ""), tmp_path)
    assert tracking.warnings == []
    assert str(tracking.info.artifact_uri).startswith((settings.root / "mlartifacts").as_uri())


@pytest.mark.postgres
@pytest.mark.server
@pytest.mark.slow
def test_a_server_on_postgresql(
    open_run: Opener, postgres: str, run_server: Callable[[str], str], tmp_path: Path
) -> None:
    """A server over HTTP with PostgreSQL behind it."""
    assert check_run(open_run, run_server(postgres), tmp_path).warnings == []


@pytest.mark.server
@pytest.mark.slow
def test_a_tracker_on_a_server(sqlite_server: str) -> None:
    """The researcher's own tracker over HTTP, artifacts included."""
    with MLflowTracker(sqlite_server, "exp", mode="strict") as tracker:
        tracker.log_params({"a": 1})
        tracker.log_text("hello", "a.txt")
    assert tracker.run_url == f"{sqlite_server}/#/experiments/{tracker._experiment_id}/runs/{tracker.run_id}"
    assert [path for path, _ in tracker._store.artifacts(str(tracker.run_id))] == ["a.txt"]
