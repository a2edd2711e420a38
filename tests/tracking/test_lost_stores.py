"""A store that is lost, replaced or damaged under a run: the end of tracking notices, and sync delivers all of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from test_run_tracking import notebook, seal
from tracking_checks import assert_mlflow_equals_journal, recorded

from pipeline.errors import TrackingError
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking import MLflowTracker, RunTracking, TrackingWarning, pending, sync_run, sync_runs
from pipeline.tracking.failures import reason
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import Store
from tests.privileges import without_privileges
from tests.tiers import mostly_slow

Opener = Callable[..., tuple[RunDir, RunTracking]]


class Place:
    """An SQLite store, and what can happen to it."""

    def __init__(self, uri: str, template: Path) -> None:
        self.uri, self.template = uri, template
        self.database = Path(uri.removeprefix("sqlite:///"))

    def delete(self) -> None:
        for path in self.database.parent.glob("mlflow.db*"):
            path.unlink()

    def replace(self) -> None:
        self.delete()
        shutil.copyfile(self.template, self.database)

    def corrupt(self) -> None:
        self.database.with_name("mlflow.db-wal").unlink(missing_ok=True)
        with self.database.open("r+b") as file:
            file.write(b"\xff" * 8192)

    def purge(self) -> None:
        """Take the run out for good, as `mlflow gc` does."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            tables = ("metrics", "latest_metrics", "params", "tags", "runs")
            for table in tables:
                connection.execute(f"DELETE FROM {table}")

    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.uri)


@pytest.fixture
def place(sqlite_uri: str, template_database: Path) -> Place:
    return Place(sqlite_uri, template_database)


def end(run: RunDir, tracking: RunTracking) -> None:
    tracking.before_seal()
    tracking.finish("FINISHED", artifacts=seal(run), tags={"evidence.manifest_sha256": "ab"})


@pytest.mark.parametrize("what", mostly_slow(["purge", "replace", "delete", "corrupt"]))
def test_a_store_that_is_lost_meanwhile_is_told_and_delivered_to_again(
    open_run: Opener, place: Place, settings: Settings, tmp_path: Path, what: str
) -> None:
    """Nothing is said to be tracked that is not: one warning, everything pending, and sync makes the run anew."""
    run, tracking = open_run(place.uri)
    tracking.environment()
    notebook(run)
    tracking.deliver()
    getattr(place, what)()
    end(run, tracking)
    told = [text for text in tracking.warnings if "evidence sync" in text]
    assert len(told) == 1
    assert pending(run) > 0
    if what == "corrupt":
        assert sync_run(run, settings).error is not None
        place.delete()
    done = sync_run(run, settings)
    assert (done.error, done.pending, pending(run)) == (None, 0, 0)
    assert_mlflow_equals_journal(Home.of_run(run), Store(place.uri), tmp_path / "read")
    assert recorded(Store(place.uri), run.run_id, tmp_path / "again").status == "FINISHED"


@pytest.mark.parametrize("what", ["delete", "purge"])
def test_strict_fails_when_the_store_is_lost(open_run: Opener, place: Place, what: str) -> None:
    """Before the seal, so that the seal says FAILED."""
    run, tracking = open_run(place.uri, mode="strict")
    notebook(run)
    getattr(place, what)()
    with pytest.raises(TrackingError):
        tracking.before_seal()


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_a_deleted_run_is_left_to_who_deleted_it(
    open_run: Opener, place: Place, settings: Settings, tmp_path: Path, whole: bool
) -> None:
    """A run, or its experiment, in MLflow's bin stays there, the rest pending; restored, it gets all it misses."""
    run, tracking = open_run(place.uri)
    notebook(run)
    tracking.deliver()
    info = tracking.info
    assert info.mlflow_run_id is not None
    client = place.client()
    if whole:
        client.delete_experiment(str(info.experiment_id))
    else:
        client.delete_run(info.mlflow_run_id)
    end(run, tracking)
    assert any("is deleted in" in text for text in tracking.warnings)
    assert "is deleted in" in str(sync_run(run, settings).error)
    assert pending(run) > 0
    if whole:
        client.restore_experiment(str(info.experiment_id))
    else:
        client.restore_run(info.mlflow_run_id)
    done = sync_run(run, settings)
    assert (done.error, done.pending, done.mlflow_run_id) == (None, 0, info.mlflow_run_id)
    assert_mlflow_equals_journal(Home.of_run(run), Store(place.uri), tmp_path / "read")


def test_artifacts_that_were_moved_away_are_sent_again(open_run: Opener, place: Place, tmp_path: Path) -> None:
    """What had arrived before the run's end and is gone from the artifacts is there again after it."""
    run, tracking = open_run(place.uri)
    notebook(run)
    tracking.deliver()
    artifacts = place.database.parent / "mlartifacts"
    assert (next(artifacts.glob("*/*/artifacts")) / "notes" / "hello.txt").is_file()
    artifacts.rename(tmp_path / "moved")
    end(run, tracking)
    assert tracking.warnings == []
    assert_mlflow_equals_journal(Home.of_run(run), Store(place.uri), tmp_path / "read")


@pytest.mark.slow
def test_a_script_whose_store_is_deleted_is_told(place: Place, settings: Settings) -> None:
    """A tracker by hand has no journal of what it sent before: it says at the end that the store is another one."""
    with MLflowTracker(place.uri, "exp") as tracker:
        tracker.log_metrics({"x": 1})
        place.delete()
        with pytest.warns(TrackingWarning, match="no longer the database it was"):
            tracker.end_run()
    assert sync_runs(settings) == []
    found = mlflow.get_run(str(tracker.run_id))
    assert (found.info.run_name, found.info.status, found.data.metrics) == ("run", "FINISHED", {})


@pytest.mark.parametrize("name", ["mlflow.db", "mlflow.db-shm"])
def test_a_database_that_may_only_be_read_is_told_and_left_alone(sqlite_uri: str, name: str) -> None:
    """SQLite would open it for reading, and leave files beside it that stay read-only when the database does not."""
    closed = Path(sqlite_uri.removeprefix("sqlite:///")).with_name(name)
    closed.touch()
    closed.chmod(0o444)
    before = sorted(closed.parent.iterdir())
    printed = without_privileges(f"""if True:
        from pipeline.errors import TrackingError
        from pipeline.tracking.limits import probe
        try:
            probe({sqlite_uri!r})
        except TrackingError as error:
            print(error)""")
    assert f"cannot be reached: {closed} may only be read here; make it writable, or use another store." in printed
    assert sorted(closed.parent.iterdir()) == before


def test_the_reason_is_the_databases() -> None:
    """SQLAlchemy's sentence about itself is not the reason."""
    said = "(raised as a result of Query-invoked autoflush; …)\n(sqlite3.OperationalError) disk I/O error\n[SQL: …]"
    assert reason(OSError(said), 300) == "(sqlite3.OperationalError) disk I/O error"
    assert reason(OSError(""), 300) == "OSError"
