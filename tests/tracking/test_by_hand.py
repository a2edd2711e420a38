"""A notebook opened by hand: cells are executed again, and MLflow goes on being used after the run."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import pytest

import pipeline
from pipeline.session import NotebookRun
from pipeline.settings import Settings
from pipeline.tracking import sync_run

SECTIONS = {
    "data": {"source": "sample:sp500", "symbol": "SPX", "start": "2017-01-03", "end": "2018-12-31"},
    "strategy": {"name": "ma_crossover", "params": {"fast": 5, "slow": 20}},
    "backtest": {},
}
pytestmark = pytest.mark.filterwarnings("ignore::pipeline.tracking.TrackingWarning")


def finish(run: NotebookRun) -> None:
    bars = run.load_data()
    run.save(run.backtest(bars), benchmark=run.benchmark(bars), robustness=False)
    run.finish()


def test_raw_calls_after_the_seal_are_not_of_the_run(
    client: mlflow.MlflowClient, settings: Settings, tmp_path: Path
) -> None:
    """A sealed run gets no more metrics, from whatever is logged in the same notebook later."""
    run = pipeline.start_run(**SECTIONS, settings=settings)
    mlflow.log_metric("raw", 1.0)
    tracked = mlflow.active_run().info.run_id
    finish(run)
    assert mlflow.active_run() is None
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.log_metric("after", 1.0)
    assert mlflow.active_run().info.run_id != tracked
    sealed = client.get_run(tracked)
    assert (sealed.info.status, sealed.data.metrics["raw"]) == ("FINISHED", 1.0)
    assert "after" not in sealed.data.metrics


@pytest.mark.slow
def test_a_cell_executed_again_starts_a_run_in_the_right_store(
    sqlite_uri: str, client: mlflow.MlflowClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run is tracked where the first was meant to be, not in what stood in for that store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    pipeline.start_run(**SECTIONS)
    mlflow.log_metric("given up", 1.0)
    run = pipeline.start_run(**SECTIONS)
    mlflow.log_metric("raw", 2.0)
    finish(run)
    result = sync_run(run.dir, settings, uri=sqlite_uri)
    assert (result.pending, result.error) == (0, None)
    metrics = client.get_run(result.mlflow_run_id).data.metrics
    assert (metrics["raw"], "given up" in metrics) == (2.0, False)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:9"
    assert "MLFLOW_RUN_ID" not in os.environ
