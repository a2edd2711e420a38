"""Raw MLflow calls in a notebook's process land in the notebook's run, in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_run_tracking import seal
from tracking_checks import assert_mlflow_equals_journal, nested_in, recorded

from pipeline.rundir import RunDir
from pipeline.tracking import RunTracking
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import Store

NOTEBOOK = """
import sys, threading
from pathlib import Path
if sys.argv[3] == "imported before":
    import mlflow
from pipeline.rundir import RunDir
from pipeline.tracking import kernel_tracker
tracker = kernel_tracker(RunDir(Path(sys.argv[1]), sys.argv[2]))
tracker.log_metrics({"sharpe": 1.5})
assert ("mlflow" in sys.modules) == (sys.argv[3] == "imported before")
import mlflow
from matplotlib.figure import Figure
mlflow.set_experiment("another")
mlflow.log_metric("raw", 1, step=1)
mlflow.log_metric("raw", 2, step=0)
mlflow.log_figure(Figure(), "raw.png")
def work():
    mlflow.log_metric("thread", 7)
    mlflow.end_run()
for _ in range(2):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
mlflow.end_run()
with mlflow.start_run():
    mlflow.log_metric("inside", 3)
with mlflow.start_run() as again:
    mlflow.log_param("param", "x")
if sys.argv[3] == "autolog":
    import numpy as np
    from sklearn.linear_model import LinearRegression
    mlflow.sklearn.autolog(log_models=False, silent=True)
    LinearRegression().fit(np.arange(6.0).reshape(-1, 1), np.arange(6.0))
    mlflow.log_metric("after_training", 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["imported before", "imported later", "autolog"])
def test_raw_calls_land_in_the_one_run(
    open_run: Callable[..., tuple[RunDir, RunTracking]], sqlite_uri: str, tmp_path: Path, how: str
) -> None:
    """Threads, repeated `with mlflow.start_run()`, set_experiment, autologging: one run, and all of it kept."""
    run, tracking = open_run(sqlite_uri)
    command = [sys.executable, "-c", NOTEBOOK, str(run.results), run.run_id, how]
    environment = {**os.environ, **tracking.environment(), "MPLBACKEND": "agg"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tracking.deliver()
    tracking.finish("FINISHED", artifacts=seal(run))
    found = recorded(Store(sqlite_uri), run.run_id, tmp_path / "found")
    assert {"sharpe", "raw", "thread", "inside"} <= {point[0] for point in found.points}
    assert found.params["param"] == "x"
    assert "raw.png" in found.files
    assert found.status == "FINISHED"
    if how == "autolog":
        assert "fit_intercept" in found.params
        assert "after_training" in {point[0] for point in found.points}
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), tmp_path / "read")
    store = tracking._store
    experiments = [experiment.experiment_id for experiment in store._client.search_experiments()]
    assert len(store._client.search_runs(experiments)) == 1


PARENT = """
import subprocess, sys
from pathlib import Path
from pipeline.rundir import RunDir
from pipeline.tracking import kernel_tracker
kernel_tracker(RunDir(Path(sys.argv[1]), sys.argv[2]))
import mlflow
mlflow.log_metric("before", 1)
with mlflow.start_run(nested=True, run_name="study") as study:
    subprocess.run([sys.executable, "-c", sys.argv[3], study.info.run_id], check=True)
"""
CHILD = """
import sys
import mlflow
with mlflow.start_run(nested=True, run_name="trial", parent_run_id=sys.argv[1]):
    mlflow.log_metric("loss", 1)
with mlflow.start_run(nested=True, run_name="plain"):
    mlflow.log_metric("loss", 2)
mlflow.log_metric("worker", 3, step=4)
mlflow.log_text("hello", "worker.txt")
"""


@pytest.mark.slow
def test_processes_of_a_notebook_log_to_its_run(
    open_run: Callable[..., tuple[RunDir, RunTracking]], sqlite_uri: str, tmp_path: Path
) -> None:
    """What a worker logs is the notebook's, nested runs it starts are children; none lands in a run of its own."""
    run, tracking = open_run(sqlite_uri)
    command = [sys.executable, "-c", PARENT, str(run.results), run.run_id, CHILD]
    environment = {**os.environ, **tracking.environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tracking.deliver()
    tracking.finish("FINISHED", artifacts=seal(run))
    found = recorded(Store(sqlite_uri), run.run_id, tmp_path / "found")
    assert [(point[1], point[3]) for point in found.points if point[0] == "worker"] == [(3.0, 4)]
    assert "worker.txt" in found.files
    assert "loss" not in {point[0] for point in found.points}
    children = nested_in(Store(sqlite_uri), found.id, tmp_path / "children")
    assert {name: [point[1] for point in child.points] for name, child in children.items()} == {
        "study": [],
        "trial": [1.0],
        "plain": [2.0],
    }
    assert set(nested_in(Store(sqlite_uri), children["study"].id, tmp_path / "study")) == {"trial"}
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), tmp_path / "read")
    store = tracking._store
    experiments = [experiment.experiment_id for experiment in store._client.search_experiments()]
    assert len(store._client.search_runs(experiments)) == 1 + len(children)
