"""Raw MLflow calls of a notebook whose store dies: no cell fails, and everything arrives once, nested runs too."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from scenes import Scene
from tracking_checks import nested_in, recorded

from pipeline.errors import TrackingError
from pipeline.rundir import RunDir
from pipeline.tracking import kernel_tracker, pending, sync_run
from pipeline.tracking.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def log_everything(name: str) -> None:
    """Use every kind of raw call."""
    mlflow.log_param(f"{name}.param", 1)
    mlflow.log_params({f"{name}.a": "x", f"{name}.b": [1, 2]})
    mlflow.log_metric(f"{name}.one", np.float32(0.5), step=3)
    mlflow.log_metric(f"{name}.later", 2, synchronous=False).wait()
    mlflow.log_metrics({f"{name}.two": 2.5, f"{name}.three": 3}, step=1)
    mlflow.set_tag(f"{name}.tag", "t")
    mlflow.set_tags({f"{name}.u": 1, "last": name})
    mlflow.log_text(name, f"{name}/text.txt")
    mlflow.log_dict({"a": name}, f"{name}/dict.json")
    mlflow.log_figure(Figure(), f"{name}/figure.png")
    mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), f"{name}/image.png")
    mlflow.log_image(np.zeros((4, 4, 3), dtype=np.uint8), key=name, step=1)
    folder = Path(f"folder-{name}")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file.txt").write_text(name)
    mlflow.log_artifact(str(folder / "deep" / "file.txt"), name)
    mlflow.log_artifact(str(folder), "whole")
    mlflow.log_artifacts(str(folder), f"{name}/all")
    mlflow.log_table({"x": [1]}, "table.json")
    client = mlflow.MlflowClient()
    run_id = mlflow.active_run().info.run_id
    client.log_batch(run_id, [Metric(f"{name}.batch", 1.0, 1000, 5)], [Param(f"{name}.c", "d")], [RunTag("v", name)])
    client.log_metric(run_id, f"{name}.direct", 1)


def everything_of(name: str) -> tuple[set[str], set[str]]:
    params = {f"{name}.{part}" for part in ("param", "a", "b", "c")}
    return params, {f"{name}.{part}" for part in ("one", "later", "two", "three", "batch", "direct")}


def test_a_store_that_dies_fails_no_cell(scene: Scene) -> None:
    """Every kind of raw call before, at and after the store's death: one warning, all of it delivered by sync, once."""

    def notebook(scene: Scene) -> None:
        log_everything("before")
        scene.hide()
        log_everything("after")
        thread = threading.Thread(target=mlflow.log_metric, args=("thread", 1.0))
        thread.start()
        thread.join()
        mlflow.log_input(mlflow.data.from_numpy(np.zeros(3), name="prices"), context="training")
        mlflow.set_experiment("another")
        mlflow.end_run()
        with mlflow.start_run() as again:
            mlflow.log_metric("again", 1.0)
        assert mlflow.get_run(again.info.run_id).data.metrics["after.two"] == 2.5

    run = scene.run(notebook)
    assert sum("The tracking store failed" in text for text in scene.told) == 1
    assert pending(run) > 10
    scene.check(run)
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    for name in ("before", "after"):
        params, metrics = everything_of(name)
        assert params <= set(found.params)
        assert metrics <= {point[0] for point in found.points}
        assert {f"{name}/{file}" for file in ("text.txt", "figure.png", "all/deep/file.txt")} <= set(found.files)
    assert {"thread", "again"} <= {point[0] for point in found.points}
    assert (found.tags["last"], found.tags["v"]) == ("after", "after")
    assert found.files["table.json"].count(b"1") > 1, "the second table is appended to the first"
    assert len([name for name in found.files if name.startswith("images/")]) == 4
    assert [(item[0], *item[6:]) for item in found.datasets] == [("prices", ("mlflow.data.context", "training"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "dies",
    ["never", "in a child", "before a child", "before all"],
)
def test_nested_runs_arrive_once(scene: Scene, dies: str) -> None:
    """Nested runs, also nested twice, keep parent, status, times, steps and files, whenever the store dies."""

    def notebook(scene: Scene) -> None:
        if dies == "before all":
            scene.hide()
        mlflow.start_run()
        with mlflow.start_run(nested=True, run_name="first"):
            mlflow.log_metric("loss", 0.5, step=1)
            if dies == "in a child":
                scene.hide()
            mlflow.log_metric("loss", 0.25, step=2)
            mlflow.log_text("inner", "inner.txt")
        if dies == "before a child":
            scene.hide()
        with suppress(KeyError), mlflow.start_run(nested=True, run_name="second", tags={"mine": "yes"}) as second:
            mlflow.log_params({"depth": 1})
            with mlflow.start_run(nested=True, run_name="deep"):
                mlflow.log_metrics({"loss": 1.0}, step=7)
            assert mlflow.get_run(second.info.run_id).data.params == {"depth": "1"}
            raise KeyError
        mlflow.start_run(nested=True, run_name="unended")
        mlflow.log_metric("loss", 9.0)
        mlflow.tracking.fluent._active_run_stack.get().clear()  # as when the kernel dies here

    run = scene.run(notebook)
    scene.check(run)
    found = nested_in(Store(scene.uri), recorded(Store(scene.uri), run.run_id, scene.root).id, scene.root / "found")
    statuses = {"first": "FINISHED", "second": "FAILED", "deep": "FINISHED", "unended": "KILLED"}
    assert {name: child.status for name, child in found.items()} == statuses
    assert sorted((value, step) for _, value, _, step in found["first"].points) == [(0.25, 2), (0.5, 1)]
    assert found["first"].files == {"inner.txt": b"inner"}
    assert found["deep"].tags["mlflow.parentRunId"] == found["second"].id
    assert found["second"].tags["mine"] == "yes"


@pytest.mark.slow
def test_a_lost_answer_makes_nothing_twice(scene: Scene) -> None:
    """The call took effect and its answer was lost: neither a point nor a nested run is there twice."""

    def notebook(scene: Scene) -> None:
        service = mlflow.tracking._tracking_service.client.TrackingServiceClient
        mlflow.log_metric("steps", 0.0, step=0)
        with pytest.MonkeyPatch.context() as patch:
            original = service.create_run

            def lost(*given: Any, **named: Any) -> None:
                original(*given, **named)
                scene.hide()
                raise ConnectionError("the answer was lost")

            patch.setattr(service, "create_run", lost)
            with mlflow.start_run(nested=True, run_name="child"):
                mlflow.log_metric("loss", 1.0)
        mlflow.log_metric("steps", 1.0, step=1)

    run = scene.run(notebook)
    scene.check(run)
    recorded_run = recorded(Store(scene.uri), run.run_id, scene.root)
    assert set(nested_in(Store(scene.uri), recorded_run.id, scene.root / "found")) == {"child"}


@pytest.mark.slow
def test_a_database_that_is_gone_before_the_first_raw_call(scene: Scene) -> None:
    """No client can be opened any more: the first cell that uses MLflow does not fail either, in no time."""

    def notebook(scene: Scene) -> None:
        scene.hide()
        mlflow.tracking._tracking_service.utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()
        mlflow.set_experiment("another")
        log_everything("late")
        with pytest.raises(TrackingError, match="is away: search_runs"):
            mlflow.search_runs()

    run = scene.run(notebook)
    scene.check(run)
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    assert everything_of("late")[0] <= set(found.params)


@pytest.mark.slow
def test_what_is_wrong_is_still_an_error(scene: Scene) -> None:
    """A changed param or a missing file is the caller's mistake and raises as MLflow raises; the store goes on."""

    def notebook(scene: Scene) -> None:
        mlflow.log_param("fast", 1)
        with pytest.raises(mlflow.MlflowException, match="hanging param"):
            mlflow.log_param("fast", 2)
        with pytest.raises(OSError, match="nowhere"):
            mlflow.log_artifact("nowhere.txt")
        with pytest.raises(mlflow.MlflowException):
            mlflow.log_metric("text", "many")
        mlflow.log_metric("fine", 1)

    run = scene.run(notebook)
    assert scene.told == []
    assert pending(run) == 0
    scene.check(run)


@pytest.mark.slow
def test_strict_raises_in_the_cell(scene: Scene) -> None:
    """Mode strict: the first raw call that fails is the cell's error."""

    def notebook(scene: Scene) -> None:
        mlflow.log_metric("before", 1)
        scene.hide()
        with pytest.raises(mlflow.MlflowException):
            mlflow.log_metric("after", 1)
        scene.back()

    scene.check(scene.run(notebook, mode="strict"))


@pytest.mark.slow
def test_undefined_raw_metrics(scene: Scene) -> None:
    """NaN and infinities, which JSON cannot hold, do not stop the run: listed, like those of the tracker."""

    def notebook(scene: Scene) -> None:
        mlflow.log_metric("ratio", math.nan)
        mlflow.log_metrics({"finite": 1.0, "endless": math.inf})

    run = scene.run(notebook)
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    assert found.tags["evidence.skipped_metrics"] == "ratio = nan, endless = inf"
    assert sync_run(run, scene.settings).error is None


def test_after_the_seal_the_journal_is_closed(scene: Scene) -> None:
    """Raw calls after the run's end go to MLflow only: what was sealed does not change."""

    def notebook(scene: Scene) -> None:
        mlflow.log_metric("in", 1)
        home = next(scene.settings.results.glob("*-*"))
        journal = home / "debug" / "tracking.jsonl"
        before = journal.read_bytes()
        (home / "manifest.json").write_text("{}")
        mlflow.log_metric("out", 1)
        assert journal.read_bytes() == before
        (home / "manifest.json").unlink()

    scene.run(notebook)


@pytest.mark.slow
def test_threads_start_nested_runs_of_their_own(scene: Scene) -> None:
    """`nested=True` in a thread, where MLflow knows of no active run, is a child of this run with its own numbers."""

    def notebook(scene: Scene) -> None:
        parent = mlflow.start_run().info.run_id

        def train(number: int) -> None:
            named = {"parent_run_id": parent} if number % 2 else {}
            with mlflow.start_run(nested=True, run_name=f"trial {number}", **named):
                mlflow.log_metric("loss", number)

        threads = [threading.Thread(target=train, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        mlflow.log_metric("after", 1.0)

    run = scene.run(notebook)
    scene.check(run)
    own = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    assert "loss" not in {point[0] for point in own.points}
    assert own.tags["mlflow.runName"] == "backtest"
    children = nested_in(Store(scene.uri), own.id, scene.root / "children")
    assert {name: [point[1] for point in child.points] for name, child in children.items()} == {
        f"trial {number}": [float(number)] for number in range(4)
    }


@pytest.mark.slow
def test_numbers_that_no_store_can_hold_are_the_callers_mistake(scene: Scene) -> None:
    """A step beyond 64 bits raises as in MLflow; it is not taken for a store that failed, and holds nothing up."""

    def notebook(scene: Scene) -> None:
        with pytest.raises(MlflowException, match="beyond 64 bits"):
            mlflow.log_metric("x", 1.0, step=2**63)
        with pytest.raises(MlflowException, match="beyond 64 bits"):
            mlflow.MlflowClient().log_batch(mlflow.active_run().info.run_id, [Metric("x", 1.0, 2**63, 0)])
        mlflow.log_metric("y", 1.0)

    run = scene.run(notebook)
    assert scene.told == []
    scene.check(run)


@pytest.mark.slow
def test_the_last_of_many_values_is_the_latest(scene: Scene) -> None:
    """Values logged within a millisecond keep their order; MLflow would show the largest, and drop equal ones."""

    def notebook(scene: Scene) -> None:
        tracker = kernel_tracker(RunDir(scene.settings.results, next(scene.settings.results.glob("*-*")).name))
        for value in (3.0, 2.0, 3.0, 1.0):
            tracker.log_metrics({"loss": value})
            tracker.log_metrics({"step": value}, step=7)

    run = scene.run(notebook)
    scene.check(run)
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    client = mlflow.MlflowClient(scene.uri)
    assert client.get_run(found.id).data.metrics == {"loss": 1.0, "step": 1.0}
    assert [point[1] for point in sorted(found.points, key=lambda point: point[2]) if point[0] == "loss"] == [
        3,
        2,
        3,
        1,
    ]
