"""While a tracker's run is active, its store is the one of MLflow's own calls; afterwards, what was set before."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking import MLflowTracker, TrackingWarning


@pytest.fixture
def other_uri(template_database: Path, tmp_path: Path) -> str:
    shutil.copyfile(template_database, tmp_path / "other.db")
    return f"sqlite:///{tmp_path / 'other.db'}"


def test_the_run_is_found_by_mlflow_itself(sqlite_uri: str, tmp_path: Path) -> None:
    """`mlflow.get_run(tracker.run_id)` works during the run and, where nothing else was set, after its end."""
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    tracker = MLflowTracker(sqlite_uri, "exp")
    tracker.start_run("first")
    tracker.log_params({"fast": 20})
    assert tracker.run_id is not None
    assert mlflow.get_run(tracker.run_id).data.params == {"fast": "20"}
    assert mlflow.get_tracking_uri() == sqlite_uri
    tracker.end_run()
    assert mlflow.get_run(tracker.run_id).info.status == "FINISHED"
    assert not mlflow.is_tracking_uri_set()
    del tracker
    gc.collect()
    assert mlflow.get_tracking_uri() == f"sqlite:///{Path.cwd() / 'mlflow.db'}", "MLflow's own default"


@pytest.mark.filterwarnings("ignore::pipeline.tracking.TrackingWarning")
def test_a_file_store_is_read_by_mlflow_too(tmp_path: Path) -> None:
    """MLflow refuses its old file store unless told otherwise; who tracks to one can read it, one after another."""
    for name in ("one", "two"):
        place = tmp_path / name
        with MLflowTracker(f"file://{place}", "exp") as tracker:
            for step in range(3):
                tracker.log_metrics({"equity": 10_000 + step}, step=step)
        assert tracker.run_id is not None
        found = mlflow.get_run(tracker.run_id)
        assert found.data.metrics == {"equity": 10_002.0}
        assert str(place) in str(found.info.artifact_uri)


@pytest.mark.parametrize("how", ["set_tracking_uri", "environment"])
def test_what_was_set_is_set_again(sqlite_uri: str, other_uri: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a call or by the environment: the setting comes back as it was, also when the run fails."""
    if how == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other_uri)
    else:
        mlflow.set_tracking_uri(other_uri)
    with MLflowTracker(sqlite_uri, "exp"):
        assert mlflow.get_tracking_uri() == sqlite_uri
        assert os.environ["MLFLOW_TRACKING_URI"] == other_uri
    assert mlflow.get_tracking_uri() == os.environ["MLFLOW_TRACKING_URI"] == other_uri
    with pytest.raises(ZeroDivisionError), MLflowTracker(sqlite_uri, "exp"):
        raise ZeroDivisionError
    assert mlflow.get_tracking_uri() == other_uri
    if how == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///third.db")
        assert mlflow.get_tracking_uri() == "sqlite:///third.db", "the environment still counts"


def test_two_trackers_at_once(sqlite_uri: str, other_uri: str) -> None:
    """The one started last has MLflow's calls, then the one that is left, in whatever order they end."""
    mlflow.set_tracking_uri("sqlite:///mine.db")
    for first_ends_first in (True, False):
        first, second = MLflowTracker(sqlite_uri, "exp"), MLflowTracker(other_uri, "exp")
        first.start_run()
        second.start_run()
        assert mlflow.get_tracking_uri() == other_uri
        ending = (first, second) if first_ends_first else (second, first)
        ending[0].end_run()
        assert mlflow.get_tracking_uri() == (other_uri if first_ends_first else sqlite_uri)
        ending[1].end_run()
        assert mlflow.get_tracking_uri() == "sqlite:///mine.db"


@pytest.mark.slow
def test_a_tracker_that_is_dropped_gives_back_what_was_set(sqlite_uri: str, other_uri: str) -> None:
    """One that nobody ended does not keep MLflow's calls for ever."""
    mlflow.set_tracking_uri(other_uri)
    tracker = MLflowTracker(sqlite_uri, "exp", auto_start_run=True)
    assert mlflow.get_tracking_uri() == sqlite_uri
    del tracker
    gc.collect()
    assert mlflow.get_tracking_uri() == other_uri


def test_what_is_set_meanwhile_stays(sqlite_uri: str, other_uri: str) -> None:
    """Whoever calls set_tracking_uri during the run meant it."""
    with MLflowTracker(sqlite_uri, "exp"):
        mlflow.set_tracking_uri(other_uri)
    assert mlflow.get_tracking_uri() == other_uri


def test_a_store_that_is_away_is_not_set(tmp_path: Path, other_uri: str) -> None:
    """A run that only its outbox has is in no store that MLflow could read."""
    mlflow.set_tracking_uri(other_uri)
    (tmp_path / "broken.db").write_text("no database, but a text that is long enough to look at")
    with pytest.warns(TrackingWarning, match="The run goes on"), MLflowTracker(f"sqlite:///{tmp_path}/broken.db"):
        assert mlflow.get_tracking_uri() == other_uri
    assert mlflow.get_tracking_uri() == other_uri
