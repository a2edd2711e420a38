"""Numbers, steps and times of raw MLflow calls, whatever library made them; and calls that are simply wrong."""

from __future__ import annotations

import contextlib
import decimal
import fractions
import math
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from scenes import Scene
from tracking_checks import recorded

from pipeline.rundir import RunDir
from pipeline.tracking import MLflowTracker, TrackingWarning, kernel_tracker
from pipeline.tracking.points import stored_step
from pipeline.tracking.store import Store
from pipeline.tracking.values import whole
from tests.tiers import mostly_slow

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


class Tensor:
    """What matters of a tensor of another library: no Python number, but it holds one."""

    shape = ()

    def __init__(self, value: float) -> None:
        self.value = value

    def item(self) -> float:
        return self.value

    def __float__(self) -> float:
        return float(self.value)


STEPS = [np.int64(7), np.int32(7), np.uint8(7), np.array(7), 7.0, np.float64(7.0), decimal.Decimal(7), Tensor(7)]
VALUES = {
    "np_bool": (np.bool_(True), 1.0),
    "bool": (True, 1.0),
    "float32": (np.float32(0.5), 0.5),
    "decimal": (decimal.Decimal("0.25"), 0.25),
    "array": (np.array([0.75]), 0.75),
    "text": ("1.5", 1.5),
    "tensor": (Tensor(2.5), 2.5),
    "fraction": (fractions.Fraction(1, 8), 0.125),
}


@pytest.mark.slow
@pytest.mark.parametrize("away", [False, True])
def test_numbers_of_any_library_arrive(scene: Scene, away: bool) -> None:
    """Steps, times and values are what MLflow makes of them, in every kind of call, also while the store is away."""

    def notebook(scene: Scene) -> None:
        run_id = mlflow.start_run().info.run_id
        if away:
            scene.hide()
        for number, step in enumerate(STEPS):
            mlflow.log_metrics({f"fluent.{number}": 1.0}, step=step)
            mlflow.log_metric(f"single.{number}", np.float64(1.0), step=step)
            mlflow.MlflowClient().log_metric(run_id, f"client.{number}", 1, timestamp=np.int64(1000), step=step)
            point = Metric(f"batch.{number}", np.int64(1), np.float64(1000.9), step)
            mlflow.MlflowClient().log_batch(run_id, [point])
            kernel_tracker(RunDir(scene.settings.results, next(scene.settings.results.glob("*-*")).name)).log_metrics(
                {f"tracker.{number}": 1.0}, step=step
            )
        mlflow.log_metrics({name: value for name, (value, _) in VALUES.items()})
        mlflow.log_param("window", np.int64(20))
        mlflow.log_params({"ratio": np.float32(0.5), "since": pd.Timestamp("2020-01-02", tz="UTC")})

    run = scene.run(notebook)
    scene.check(run)
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    steps = {name: step for name, _, _, step in found.points if name not in VALUES}
    kinds = ("fluent", "single", "client", "batch", "tracker")
    assert steps == {f"{kind}.{number}": 7 for kind in kinds for number in range(len(STEPS))}
    assert {name: value for name, value, *_ in found.points if name in VALUES} == {
        name: value for name, (_, value) in VALUES.items()
    }
    times = {time for name, _, time, _ in found.points if name.startswith(("client.", "batch."))}
    assert times == {1000}
    assert {name: found.params[name] for name in ("window", "ratio", "since")} == {
        "window": "20",
        "ratio": "0.5",
        "since": "2020-01-02 00:00:00+00:00",
    }


BAD_STEPS = [1.5, np.float32(0.5), math.nan, math.inf, "7", pd.Timestamp("2020-01-02"), np.datetime64("2020"), [1], 1j]


@pytest.mark.slow
@pytest.mark.parametrize("away", [False, True])
def test_what_is_no_point_raises_as_in_mlflow(scene: Scene, away: bool) -> None:
    """A step of 1.5 is no step: refused like a bad name, a value or a time that is none; the next call works."""

    def notebook(scene: Scene) -> None:
        run_id = mlflow.start_run().info.run_id
        if away:
            scene.hide()
            mlflow.log_metric("falls", 1)
        for step in BAD_STEPS:
            with pytest.raises(MlflowException, match="not a whole number") as caught:
                mlflow.log_metrics({"x": 1.0}, step=step)
            assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
            with pytest.raises(MlflowException, match="not a whole number"):
                mlflow.log_metric("x", 1.0, step=step)
        for name, value, time in [("win rate %", 1, 0), ("x", None, 0), ("x", "many", 0), ("x", 1, -5)]:
            with pytest.raises(MlflowException):
                mlflow.MlflowClient().log_metric(run_id, name, value, timestamp=time)
        for value in (pd.Timestamp("2020-01-02"), np.array([1.0, 2.0]), [1.0]):
            with pytest.raises((TypeError, MlflowException)):
                mlflow.log_metric("x", value)
        mlflow.log_metric("fine", 1)

    run = scene.run(notebook)
    assert len(scene.told) == away
    scene.check(run)
    assert {point[0] for point in recorded(Store(scene.uri), run.run_id, scene.root / "found").points} >= {"fine"}


def test_mistakes_leave_the_store_on(scene: Scene) -> None:
    """Paths outside of the artifacts, names, files that are not there, also to be read: errors, and no more."""

    def notebook(scene: Scene) -> None:
        mlflow.log_param("k", 1)
        run_id = mlflow.active_run().info.run_id
        client = mlflow.MlflowClient()
        for path in ("../x.txt", "a/../../x.txt", "/x/y.txt"):
            with pytest.raises(MlflowException, match="Invalid artifact path"):
                mlflow.log_text("t", path)
        for call in (
            lambda: mlflow.log_artifact(__file__, "../up"),
            lambda: mlflow.log_artifacts(str(scene.root / "store"), "../up"),
            lambda: mlflow.log_artifact(str(scene.root / "store"), "../up"),
            lambda: mlflow.log_metric("win rate %", 1),
            lambda: mlflow.log_param("k", 2),
            lambda: mlflow.set_tag("a//b", 1),
            lambda: client.list_artifacts(run_id, "../up"),
            lambda: client.download_artifacts(run_id, "nowhere.txt"),
            lambda: client.get_run("0" * 32),
        ):
            with pytest.raises((MlflowException, OSError)):
                call()
        mlflow.log_metric("after", 1)
        mlflow.log_text("inside", "deep/x.txt")

    run = scene.run(notebook)
    assert scene.told == []
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    assert "after" in {point[0] for point in found.points}
    assert found.files["deep/x.txt"] == b"inside"
    scene.check(run)


@pytest.mark.slow
def test_a_run_deleted_under_the_notebook_fails_no_cell(scene: Scene) -> None:
    """Whoever deletes the run meanwhile costs the notebook nothing: what it logs is kept, and a warning says why."""

    def notebook(scene: Scene) -> None:
        run_id = mlflow.start_run().info.run_id
        mlflow.MlflowClient(scene.uri).delete_run(run_id)
        mlflow.log_metric("kept", 1)
        mlflow.log_params({"also": 1})

    run = scene.run(notebook)
    assert any("The tracking store failed" in text for text in scene.told)
    client = mlflow.MlflowClient(scene.uri)
    deleted = client.search_runs(["1"], run_view_type=mlflow.entities.ViewType.DELETED_ONLY)
    client.restore_run(deleted[0].info.run_id)
    scene.check(run)
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    assert found.params["also"] == "1"


@pytest.mark.parametrize("step", mostly_slow([1.5, math.nan, "7", np.datetime64("2020")]))
def test_trackers_refuse_what_is_no_step(sqlite_uri: str, client: mlflow.MlflowClient, step: Any) -> None:
    """1.5 is not recorded as 1: a warning names the metrics, nothing is recorded."""
    with MLflowTracker(sqlite_uri, "exp") as tracker:
        with pytest.warns(TrackingWarning, match="no whole number of 64 bits"):
            tracker.log_metrics({"x": 1.0}, step=step)
        tracker.log_metrics({"y": np.array([1.0])}, step=np.int64(7))
    assert tracker.run_id is not None
    assert set(client.get_run(tracker.run_id).data.metrics) == {"y"}
    assert client.get_metric_history(tracker.run_id, "y")[0].step == 7


def test_steps_that_sqlite_kept_as_bytes_are_read(sqlite_uri: str, client: mlflow.MlflowClient) -> None:
    """A process without our hooks leaves a numpy step as eight bytes; reading it back gives the number."""
    run_id = client.create_run("0").info.run_id
    with contextlib.suppress(Exception):  # newer versions may refuse it
        client.log_metric(run_id, "x", 1.0, timestamp=1000, step=np.int64(-7))
    store = Store(sqlite_uri)
    store.connect()
    assert store.history(run_id, "x") in ([], [("x", 1.0, 1000, -7)])
    assert stored_step(np.int64(-7).tobytes()) == -7


def test_whole_numbers_are_told_from_others() -> None:
    """Integers of any library and floats without a fraction; nothing else, nothing beyond 64 bits."""
    assert [whole(step) for step in STEPS] == [7] * len(STEPS)
    assert [whole(step) for step in BAD_STEPS] == [None] * len(BAD_STEPS)
    assert (whole(-(2**63)), whole(2**63), whole(True), whole(None)) == (-(2**63), None, 1, None)
