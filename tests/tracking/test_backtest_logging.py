"""Recording backtests: by the engine itself, by hand, and of results that lack things."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.backtest.engine import BacktestEngine, BacktestResult
from pipeline.tracking import (
    MLflowTracker,
    NoopTracker,
    TrackingWarning,
    log_backtest_artifacts,
    log_backtest_metadata,
)
from pipeline.tracking.backtest import git_commit
from tests.tiers import mostly_slow

FILES = {
    "stats.json",
    "conventions.json",
    "equity_curve.csv",
    "trades.csv",
    "trades.parquet",
    "plots/equity_curve.png",
    "reports/trades_summary.json",
    "reports/backtest_report.txt",
}


def bars(count: int = 120) -> pd.DataFrame:
    """Return smooth daily bars that rise and fall."""
    close = 100 + 10 * np.sin(np.arange(count) / 8)
    index = pd.date_range("2020-01-01", periods=count, freq="D", tz="UTC", name="timestamp")
    return pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}, index)


def signals(df: pd.DataFrame, params: Any) -> pd.Series:
    """Long above the moving average."""
    return (df["close"] > df["close"].rolling(params["window"]).mean()).astype(int)


def backtest(tracker: Any = None, **options: Any) -> BacktestResult:
    engine = BacktestEngine(tracker=tracker, **options)
    return engine.run_realistic(df=bars(), strategy_signal_fn=signals, strategy_params={"window": 10}, symbol="SIN")


def files_of(client: mlflow.MlflowClient, run_id: str) -> set[str]:
    root = Path(client.download_artifacts(run_id, ""))
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore::pipeline.tracking.TrackingWarning")
@pytest.mark.parametrize("pipeline", mostly_slow([True, False]))
def test_the_engine_records_by_itself(sqlite_uri: str, client: mlflow.MlflowClient, pipeline: bool) -> None:
    """Both modes: config and strategy params, metrics, commit, files; the same numbers as in the result."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        result = backtest(tracker, use_execution_pipeline=pipeline)
    run = client.get_run(tracker.run_id)
    finite = {k: float(v) for k, v in result.stats.items() if v is not None and np.isfinite(v)}
    assert run.data.metrics == finite
    assert run.data.params["strategy.params.window"] == "10"
    assert run.data.params["initial_cash"] == "100000.0"
    assert run.data.tags["symbol"] == "SIN"
    assert run.data.tags["execution"] == ("pipeline" if pipeline else "simple")
    assert files_of(client, tracker.run_id) == FILES


def test_without_a_tracker_nothing_is_recorded(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """tracker=None and a NoopTracker leave no trace."""
    backtest(None)
    backtest(NoopTracker())
    assert [e.name for e in client.search_experiments()] == ["Default"]


class Spy(NoopTracker):
    """A tracker of the user's own: a NoopTracker with some methods of hers, which take what she needs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, Any] = {}

    def log_params(self, params: Any) -> None:
        self.calls["params"] = params

    def log_metrics(self, metrics: Any) -> None:  # type: ignore[override]
        self.calls["metrics"] = metrics

    def set_tags(self, tags: Any) -> None:
        self.calls["tags"] = tags


class ArtifactSpy(NoopTracker):
    """One that only wants the files."""

    files: tuple[str, ...] = ()

    def log_artifact(self, path: Any, artifact_path: str | None = None) -> None:
        self.files += (Path(artifact_path or "", Path(path).name).as_posix(),)


def test_what_derives_from_a_noop_tracker_is_called() -> None:
    """By the engine and by hand: its own methods get what any tracker gets; a NoopTracker itself records nothing."""
    spy, files = Spy(), ArtifactSpy()
    result = backtest(spy)
    assert spy.calls["params"]["strategy.params"] == {"window": 10}
    assert spy.calls["metrics"]["total_trades"] == result.stats["total_trades"]
    backtest(files)
    assert set(files.files) == FILES
    again = Spy()
    log_backtest_metadata(again, result=result)
    assert again.calls == spy.calls
    assert log_backtest_artifacts(NoopTracker(), result) == []


def test_other_keywords_are_tags() -> None:
    """`strategy_name=…`, `commit_sha=…` and whatever else is said of a backtest; `tags` go before them."""
    spy = Spy()
    log_backtest_metadata(
        tracker=spy, config={"fast_window": 20}, strategy_name="ma", commit_sha="abc", desk="eq", tags={"desk": "fx"}
    )
    assert spy.calls["params"] == {"fast_window": 20}
    labels = {name: spy.calls["tags"][name] for name in ("strategy_name", "commit_sha", "desk")}
    assert labels == {"strategy_name": "ma", "commit_sha": "abc", "desk": "fx"}
    log_backtest_metadata(NoopTracker(), anything=1)
    log_backtest_metadata(None, anything=1)


@pytest.mark.slow
def test_artifacts_in_the_form_of_the_guide(tmp_path: Path) -> None:
    """`log_backtest_artifacts(tracker, result, output_dir=…)` is the same as with `result=` and `artifacts_dir=`."""
    result, spy = backtest(), ArtifactSpy()
    kept = log_backtest_artifacts(spy, result, output_dir=tmp_path / "out")
    assert {path.relative_to(tmp_path / "out").as_posix() for path in kept} == FILES == set(spy.files)
    for tracker in (NoopTracker(), None):
        place = tmp_path / type(tracker).__name__
        assert len(log_backtest_artifacts(tracker, result=result, artifacts_dir=place)) == len(FILES)


@pytest.mark.filterwarnings("ignore::pipeline.tracking.TrackingWarning")
def test_metadata_and_artifacts_by_hand(sqlite_uri: str, client: mlflow.MlflowClient, tmp_path: Path) -> None:
    """Tags and a config of one's own; a local copy where asked."""
    result = backtest()
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        config = {"strategy": "mine", "depth": {"x": 1}}
        log_backtest_metadata(tracker, config=config, result=result, tags={"desk": "fx"})
        kept = log_backtest_artifacts(tracker, result=result, artifacts_dir=tmp_path / "kept")
    run = client.get_run(tracker.run_id)
    assert run.data.params == {"strategy": "mine", "depth.x": "1"}
    assert run.data.tags["desk"] == "fx"
    assert {path.relative_to(tmp_path / "kept").as_posix() for path in kept} == FILES
    assert all(path.is_file() for path in kept)
    assert json.loads((tmp_path / "kept" / "stats.json").read_text())["total_trades"] == result.stats["total_trades"]


def test_files_that_are_there_are_recorded(sqlite_uri: str, client: mlflow.MlflowClient, tmp_path: Path) -> None:
    """Without a result, what lies in the directory counts."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "stats.json").write_text("{}")
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        log_backtest_artifacts(tracker, artifacts_dir=tmp_path / "kept")
        with pytest.warns(TrackingWarning, match="No backtest artifacts"):
            log_backtest_artifacts(tracker)
    assert files_of(client, tracker.run_id) == {"stats.json"}


@pytest.mark.filterwarnings("ignore::pipeline.tracking.TrackingWarning")
@pytest.mark.parametrize(
    "result",
    [
        None,
        7,
        {},
        types.SimpleNamespace(),
        types.SimpleNamespace(stats={"sharpe": float("nan"), "x": object()}, equity_curve=None, trades=3, config="?"),
        types.SimpleNamespace(stats=None, equity_curve=pd.Series([1.0, 2.0]), trades=pd.DataFrame(), config=None),
    ],
)
def test_odd_results_never_raise(sqlite_uri: str, result: Any) -> None:
    """Recording must not cost the caller her backtest."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        log_backtest_metadata(tracker, result=result)
        log_backtest_artifacts(tracker, result=result)
        tracker.log_backtest(result)
    log_backtest_metadata(None, result=result)
    log_backtest_artifacts(object(), result=result)


def test_the_commit_is_read_from_the_repository(tmp_path: Path) -> None:
    """A detached head, a branch and a packed branch; outside of a repository there is none."""
    assert git_commit(tmp_path) is None
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("a" * 40 + "\n")
    assert git_commit(tmp_path) == "a" * 40
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(tmp_path) is None
    (git / "packed-refs").write_text("# pack-refs\n" + "b" * 40 + " refs/heads/main\n")
    assert git_commit(tmp_path / "deep" / "er") == "b" * 40
    (git / "refs" / "heads" / "main").write_text("c" * 40 + "\n")
    assert git_commit(tmp_path) == "c" * 40
