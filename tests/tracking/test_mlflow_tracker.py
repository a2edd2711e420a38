"""MLflowTracker on a real SQLite store: what a researcher's own script or notebook sees."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from tracking_checks import assert_mlflow_equals_journal
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.errors import TrackingError, TrackingNotInstalledError
from pipeline.settings import Settings
from pipeline.tracking import MLflowTracker, TrackingWarning, mlflow_tracker, sync_runs
from pipeline.tracking.outbox import Home, tracked_runs
from pipeline.tracking.store import Store

AWAY = "http://127.0.0.1:9"


def test_a_run_arrives_complete(sqlite_uri: str, client: mlflow.MlflowClient, tmp_path: Path) -> None:
    """Params, metrics with steps, tags, files, status and name are what was logged."""
    (tmp_path / "notes.txt").write_text("hello")
    with MLflowTracker(sqlite_uri, "exp", run_name="first", tags={"desk": "fx"}) as tracker:
        tracker.log_params({"a": {"b": 1, "c": [1, 2]}, "n": None})
        tracker.log_metrics({"loss": 0.5}, step=1)
        tracker.log_metrics({"loss": 0.25, "other": 1}, step=2)
        tracker.set_tags({"symbol": "SPX"})
        tracker.set_tags({"symbol": "NDX"})
        tracker.log_artifact(tmp_path / "notes.txt", "texts")
    run = client.get_run(tracker.run_id)
    assert run.data.params == {"a.b": "1", "a.c": "[1, 2]", "n": "null"}
    assert [(m.value, m.step) for m in client.get_metric_history(tracker.run_id, "loss")] == [(0.5, 1), (0.25, 2)]
    assert {"symbol": "NDX", "desk": "fx", "mlflow.runName": "first"}.items() <= run.data.tags.items()
    assert [f.path for f in client.list_artifacts(tracker.run_id, "texts")] == ["texts/notes.txt"]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert client.get_experiment(run.info.experiment_id).artifact_location.startswith(f"file://{tmp_path}/mlartifacts")


def test_constructor_starts_when_asked(sqlite_uri: str) -> None:
    """auto_start_run, also by position; attributes are what was given."""
    tracker = MLflowTracker(sqlite_uri, "exp", True, "auto")
    assert tracker._run_started
    assert tracker.run_id is not None
    assert (tracker.tracking_uri, tracker.experiment_name) == (sqlite_uri, "exp")
    tracker.end_run()
    assert MLflowTracker(sqlite_uri, "exp").run_id is None


@pytest.mark.parametrize(
    ("raised", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_the_end_status_says_how_it_went(
    sqlite_uri: str, client: mlflow.MlflowClient, raised: type[BaseException] | None, status: str
) -> None:
    """An exception ends the run as FAILED, an interruption as KILLED; both go on upwards."""
    tracker = MLflowTracker(sqlite_uri, "exp")
    if raised is None:
        with tracker:
            pass
    else:
        with pytest.raises(raised), tracker:
            raise raised
    assert client.get_run(tracker.run_id).info.status == status


def test_a_tracker_can_be_used_again(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """A second start after an end is a new run, with params of its own."""
    tracker = MLflowTracker(sqlite_uri, "exp")
    ids = set()
    for fast in (10, 20):
        with tracker:
            tracker.log_params({"fast": fast})
            ids.add(tracker.run_id)
        assert client.get_run(tracker.run_id).data.params == {"fast": str(fast)}
    assert len(ids) == 2


def test_an_active_run_is_adopted_and_left_to_its_owner(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """Never "already active", no second run; who started the run ends it."""
    mlflow.set_tracking_uri(sqlite_uri)
    with mlflow.start_run() as active:
        with MLflowTracker(sqlite_uri, "exp") as tracker:
            assert tracker.run_id == active.info.run_id
            tracker.log_metrics({"x": 1})
        assert client.get_run(tracker.run_id).info.status == "RUNNING"
        mlflow.log_metric("y", 2)
    assert client.get_run(tracker.run_id).data.metrics == {"x": 1.0, "y": 2.0}
    assert len(client.search_runs(["0"])) == 1
    assert client.get_experiment_by_name("exp") is None


def test_a_run_in_the_environment_is_adopted(
    sqlite_uri: str, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracker built inside an orchestrated notebook joins the notebook's run."""
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    tracker = MLflowTracker(sqlite_uri, "exp", auto_start_run=True)
    assert tracker.run_id == run_id


def test_a_changed_param_is_told_with_both_values(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """Params are immutable; the other params of the same call are recorded."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        tracker.log_params({"fast": 10})
        with pytest.warns(TrackingWarning, match="'fast' stays '10', not '20'"):
            tracker.log_params({"fast": 20, "slow": 30})
    assert client.get_run(tracker.run_id).data.params == {"fast": "10", "slow": "30"}


def test_a_param_that_others_set_costs_only_itself(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """A param changed behind the tracker's back is refused by the store; all else in the batch arrives."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        client.log_param(tracker.run_id, "fast", "99")
        batch = tracker.batched()
        batch.__enter__()
        tracker.log_params({"fast": 10, "slow": 30})
        tracker.log_metrics({"x": 1})
        with pytest.warns(TrackingWarning, match="'fast' keeps its value '99'; '10' was not recorded"):
            batch.__exit__(None, None, None)
    run = client.get_run(tracker.run_id)
    assert (run.data.params, run.data.metrics) == ({"fast": "99", "slow": "30"}, {"x": 1.0})
    assert len(client.get_metric_history(tracker.run_id, "x")) == 1


def test_undefined_metrics_are_listed_not_recorded(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """NaN and infinities: one warning, a tag that names them, the rest recorded; booleans are refused."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        with pytest.warns(TrackingWarning, match="Undefined metrics.*calmar = inf, sortino = nan") as told:
            tracker.log_metrics({"calmar": math.inf, "sortino": math.nan, "sharpe": 1})
        assert len(told) == 1
        with pytest.warns(TrackingWarning, match=r"Not numbers.*flag \(bool\)"):
            tracker.log_metrics({"flag": True})
    run = client.get_run(tracker.run_id)
    assert run.data.metrics == {"sharpe": 1.0}
    assert run.data.tags["evidence.skipped_metrics"] == "calmar = inf, sortino = nan"


def test_long_values_are_kept_in_an_artifact(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """MLflow cuts silently; here the value says where all of it is."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        tracker.log_params({"universe": "x" * 7000})
        tracker.set_tags({"note": "y" * 9000})
    run = client.get_run(tracker.run_id)
    assert len(run.data.params["universe"]) == 6000
    assert "params/universe.txt" in run.data.params["universe"]
    assert Path(client.download_artifacts(tracker.run_id, "params/universe.txt")).read_text() == "x" * 7000
    assert Path(client.download_artifacts(tracker.run_id, "tags/note.txt")).read_text() == "y" * 9000


def test_figures_texts_tables(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """matplotlib and plotly figures, JSON, YAML, CSV and MLflow's own table form."""
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2])
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        tracker.log_figure(figure, "a", "plots")
        tracker.log_figure(figure.axes[0], "b.svg")
        tracker.log_figure(go.Figure(go.Scatter(y=[1, 2])), "c.html")
        tracker.log_dict({"a": math.nan}, "d.json")
        tracker.log_dict({"a": [1]}, "e.yaml")
        tracker.log_table(pd.DataFrame({"a": [1, 2], "b": [0.5, math.nan]}), "f.json")
        tracker.log_table([{"a": 1}, {"b": 2}], "g.csv")
    path = Path(client.download_artifacts(tracker.run_id, ""))
    assert (path / "plots" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (path / "b.svg").read_bytes()
    page = (path / "c.html").read_text()
    assert "<script src=" not in page
    assert json.loads((path / "d.json").read_text()) == {"a": None}
    assert (path / "e.yaml").read_text() == "a:\n- 1\n"
    assert json.loads((path / "f.json").read_text()) == {"columns": ["a", "b"], "data": [[1, 0.5], [2, None]]}
    assert (path / "g.csv").read_text() == "a,b\n1,\n,2\n"
    tables = json.loads(client.get_run(tracker.run_id).data.tags["mlflow.loggedArtifacts"])
    assert tables == [{"path": "f.json", "type": "table"}]


def test_threads_log_to_the_one_run(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """Explicit run ids: MLflow's thread-local active run plays no part."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        threads = [threading.Thread(target=tracker.log_metrics, args=({f"m{i}": i},)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert client.get_run(tracker.run_id).data.metrics == {f"m{i}": float(i) for i in range(6)}
    assert len(client.search_runs([client.get_experiment_by_name("exp").experiment_id])) == 1


def test_a_relative_store_survives_a_chdir(template_database: Path, tmp_path: Path) -> None:
    """A relative URI is taken from where the tracker was made."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mlflow.db").write_bytes(template_database.read_bytes())
    tracker = MLflowTracker("sqlite:///mlflow.db", "exp")
    os.chdir(tmp_path / "elsewhere")
    with tracker:
        tracker.log_text("a", "a.txt")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_of_the_process_is_changed(sqlite_uri: str) -> None:
    """No environment variable, tracking URI or active run stays behind."""
    before = dict(os.environ)
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        tracker.log_metrics({"x": 1})
        assert dict(os.environ) == before
        assert mlflow.active_run() is None
    assert not mlflow.is_tracking_uri_set()
    assert dict(os.environ) == before


def test_what_an_absent_store_misses_is_delivered_later(
    sqlite_uri: str, client: mlflow.MlflowClient, settings: Settings, tmp_path: Path
) -> None:
    """A script whose store is away goes on, and `evidence sync` delivers to a store that is there."""
    tracker = MLflowTracker(AWAY, "exp")
    with pytest.warns(TrackingWarning, match=r"cannot be reached.*evidence sync"):
        tracker.start_run()
    with tracker:
        tracker.log_params({"fast": 10, "long": "v" * 9000})
        tracker.log_metrics({"x": 1}, step=3)
        tracker.log_text("hello", "notes/a.txt")
        assert tracker.run_id is None
        (run_id,) = tracked_runs(settings.results)
        assert "executed" in str(sync_runs(settings, [run_id])[0].error)
    asked = CliRunner().invoke(app, ["sync", run_id])  # as the warning says
    assert "http://127.0.0.1:9 cannot be reached" in asked.output
    (result,) = sync_runs(settings, uri=sqlite_uri)
    assert (result.pending, result.error) == (0, None)
    assert_mlflow_equals_journal(Home.find(settings.results, run_id), Store(sqlite_uri), tmp_path / "read")
    run = client.get_run(result.mlflow_run_id)
    assert (run.data.params["fast"], run.info.status) == ("10", "FINISHED")


def test_strict_mode_raises_at_the_first_failure(settings: Settings) -> None:
    """In mode strict the store's failure is the caller's, and nothing is left in the outbox."""
    tracker = MLflowTracker(AWAY, "exp", mode="strict")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9 cannot be reached"):
        tracker.start_run()
    assert tracked_runs(settings.results) == []


def test_a_store_that_goes_away_in_between(sqlite_uri: str, client: mlflow.MlflowClient, settings: Settings) -> None:
    """What fails half-way goes to the outbox with all that follows, and end_run delivers it when it can."""
    database = Path(sqlite_uri.removeprefix("sqlite:///"))
    tracker = MLflowTracker(sqlite_uri, "exp")
    tracker.start_run()
    tracker.log_metrics({"x": 1}, step=1)
    with sqlite3.connect(database) as connection:
        connection.execute("ALTER TABLE metrics RENAME TO hidden")
        connection.commit()
        with pytest.warns(TrackingWarning, match="delivers later"):
            tracker.log_metrics({"x": 2}, step=2)
        tracker.log_text("a", "a.txt")
        tracker.log_metrics({"x": 3}, step=3)
        connection.execute("ALTER TABLE hidden RENAME TO metrics")
        connection.commit()
    connection.close()
    tracker.end_run()
    assert [(m.value, m.step) for m in client.get_metric_history(tracker.run_id, "x")] == [(1, 1), (2, 2), (3, 3)]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"
    assert [f.path for f in client.list_artifacts(tracker.run_id)] == ["a.txt"]
    assert tracked_runs(settings.results) == []


def test_missing_mlflow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is a RuntimeError and names the extra. (Uninstalling MLflow for one test would be the real thing.)"""

    def missing() -> None:
        raise TrackingNotInstalledError("pip install 'evidence-chain[tracking]'")

    monkeypatch.setattr(mlflow_tracker, "require_mlflow", missing)
    with pytest.raises(RuntimeError, match=r"evidence-chain\[tracking\]"):
        MLflowTracker()


def test_the_link_to_a_run(sqlite_uri: str) -> None:
    """With a base for links the tracker knows its run's address."""
    tracker = MLflowTracker(sqlite_uri, "exp", ui_url="http://mlflow.example:5000/")
    assert tracker.run_url is None
    with tracker:
        assert tracker.run_url == f"http://mlflow.example:5000/#/experiments/1/runs/{tracker.run_id}"


def test_odd_steps_and_texts_hold_nothing_up(sqlite_uri: str, client: mlflow.MlflowClient, settings: Settings) -> None:
    """What no store can take is told and left out; the rest arrives, nothing waits for ever."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        for step in ("abc", 2**63, math.nan):
            with pytest.warns(TrackingWarning, match="no whole number of 64 bits, are not recorded.*'x'"):
                tracker.log_metrics({"x": 1}, step=step)  # type: ignore[arg-type]
        tracker.log_metrics({"x": 2}, step=-(2**63))
        tracker.log_params({"half": "a\ud800b", "nul": "a\0b"})
        tracker.log_text("x", "a\udcff.txt")
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"x": 2.0})
    assert run.data.params == {"half": "a?b", "nul": "a\ufffdb"}
    assert [file.path for file in client.list_artifacts(tracker.run_id)] == ["a?.txt"]
    assert tracked_runs(settings.results) == []


@pytest.mark.parametrize(("given", "recorded"), [("failed", "FAILED"), (None, "FINISHED"), ("DONE", "FAILED")])
def test_an_odd_end_status_ends_the_run(
    sqlite_uri: str, client: mlflow.MlflowClient, given: str | None, recorded: str
) -> None:
    """An unknown status is told and counts as a failure; the run does not stay RUNNING."""
    tracker = MLflowTracker(sqlite_uri, "exp", auto_start_run=True)
    if given == "DONE":
        with pytest.warns(TrackingWarning, match="'DONE' is not an end status"):
            tracker.end_run(given)  # type: ignore[arg-type]
    else:
        tracker.end_run(given)  # type: ignore[arg-type]
    assert client.get_run(tracker.run_id).info.status == recorded


def test_a_file_whose_name_changes_is_recorded(sqlite_uri: str, client: mlflow.MlflowClient, tmp_path: Path) -> None:
    """A backslash separates directories in MLflow; the file is recorded all the same."""
    (tmp_path / "a\\b.txt").write_text("hello")
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        tracker.log_artifact(tmp_path / "a\\b.txt", "texts")
    assert [file.path for file in client.list_artifacts(tracker.run_id, "texts/a")] == ["texts/a/b.txt"]


def test_a_store_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """A directory that cannot be made does not end the script."""
    (tmp_path / "file").write_text("")
    tracker = MLflowTracker(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", "exp")
    with pytest.warns(TrackingWarning, match=r"mlflow\.db cannot be written.*evidence sync"), tracker:
        tracker.log_metrics({"x": 1})


def test_an_active_run_of_another_store_is_not_adopted(
    sqlite_uri: str, client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be: what is logged goes to a run in the tracker's own store, and a warning says so."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    tracker = MLflowTracker(sqlite_uri, "exp")
    with pytest.warns(TrackingWarning, match="The active run is not adopted.*not found"), tracker:
        tracker.log_metrics({"x": 1})
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"x": 1.0})


def test_an_adopted_run_is_not_ended_by_a_late_delivery(
    sqlite_uri: str, client: mlflow.MlflowClient, settings: Settings
) -> None:
    """What the tracker of an adopted run could not deliver arrives later; how the run ended is its owner's."""
    mlflow.set_tracking_uri(sqlite_uri)
    database = sqlite3.connect(sqlite_uri.removeprefix("sqlite:///"), isolation_level=None)
    with closing(database), mlflow.start_run() as active:
        tracker = MLflowTracker(sqlite_uri, "exp", auto_start_run=True)
        database.execute("ALTER TABLE metrics RENAME TO hidden")
        with pytest.warns(TrackingWarning, match="evidence sync"):
            tracker.log_metrics({"x": 1})
        tracker.end_run()
        database.execute("ALTER TABLE hidden RENAME TO metrics")
    assert client.get_run(active.info.run_id).info.status == "FINISHED"
    (result,) = sync_runs(settings)
    assert (result.pending, result.error) == (0, None)
    run = client.get_run(active.info.run_id)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"x": 1.0})
