"""A notebook that names another store or another run: its own run stays where it was started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from scenes import Scene
from tracking_checks import nested_in, recorded

from pipeline.rundir import RunDir
from pipeline.tracking.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]
SWITCHES: dict[str, Callable[[str], None]] = {
    "set_tracking_uri": mlflow.set_tracking_uri,
    "the environment": lambda uri: os.environ.update(MLFLOW_TRACKING_URI=uri),
}


def other_store(scene: Scene) -> str:
    """Make another store with a run in it."""
    shutil.copyfile(scene.template, scene.root / "other.db")
    uri = f"sqlite:///{scene.root / 'other.db'}"
    client = mlflow.MlflowClient(uri)
    client.set_terminated(client.create_run("0", run_name="foreign").info.run_id)
    return uri


def found_in(scene: Scene, run: RunDir) -> set[str]:
    return {point[0] for point in recorded(Store(scene.uri), run.run_id, scene.root / "found").points}


@pytest.mark.parametrize("how", SWITCHES)
@pytest.mark.parametrize("when", ["before the first call", "in the middle"])
def test_another_store_does_not_take_the_run_away(scene: Scene, how: str, when: str) -> None:
    """One warning; everything, nested runs too, lands in the notebook's run. Other runs are read where asked."""

    def notebook(scene: Scene) -> None:
        other = other_store(scene)
        if when == "in the middle":
            mlflow.log_metric("first", 1)
        SWITCHES[how](other)
        mlflow.log_metric("x", 1)
        mlflow.log_params({"p": np.int64(1)})
        mlflow.log_text("t", "deep/t.txt")
        mlflow.log_table({"a": [1]}, "table.json")
        mlflow.log_input(mlflow.data.from_numpy(np.zeros(2), name="prices"))
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("loss", 2)
        mlflow.end_run()
        with mlflow.start_run() as again:
            mlflow.log_metric("again", 1)
        assert mlflow.get_run(again.info.run_id).data.metrics["x"] == 1
        assert list(mlflow.search_runs(["0"])["tags.mlflow.runName"]) == ["foreign"]
        mlflow.set_registry_uri(other)
        mlflow.log_metric("registry", 1)

    run = scene.run(notebook)
    assert [text.partition(",")[0] for text in scene.told] == ["mlflow.set_tracking_uri()"]
    scene.check(run)
    found = recorded(Store(scene.uri), run.run_id, scene.root / "found")
    assert {"x", "again", "registry"} <= {point[0] for point in found.points}
    assert (found.params["p"], found.files["deep/t.txt"]) == ("1", b"t")
    assert [item[0] for item in found.datasets] == ["prices"]
    assert set(nested_in(Store(scene.uri), found.id, scene.root / "children")) == {"child"}
    other = mlflow.MlflowClient(f"sqlite:///{scene.root / 'other.db'}")
    assert [found.info.run_name for found in other.search_runs(["0"])] == ["foreign"]


@pytest.mark.parametrize("other", ["http://127.0.0.1:9", "sqlite:////nowhere/at/all/mlflow.db"])
def test_another_store_that_is_not_there_costs_the_run_nothing(scene: Scene, other: str) -> None:
    """Reading from it is an error; logging to the notebook's run is not."""

    def notebook(scene: Scene) -> None:
        mlflow.set_tracking_uri(other)
        mlflow.log_metric("x", 1)

    run = scene.run(notebook)
    assert len(scene.told) == 1
    assert "x" in found_in(scene, run)
    scene.check(run)


def test_the_same_store_in_other_words_is_the_same(scene: Scene) -> None:
    """`sqlite:///` with a path relative to the working directory is no other store: no warning, nothing lost."""

    def notebook(scene: Scene) -> None:
        mlflow.set_tracking_uri(f"sqlite:///{os.path.relpath(scene.place / 'mlflow.db')}")
        mlflow.log_metric("x", 1)
        mlflow.MlflowClient(mlflow.get_tracking_uri()).log_metric(mlflow.active_run().info.run_id, "y", 1)

    run = scene.run(notebook)
    assert scene.told == []
    assert {"x", "y"} <= found_in(scene, run)
    scene.check(run)


def test_a_client_of_another_store_is_left_alone(scene: Scene) -> None:
    """MlflowClient(tracking_uri=other) does what it says, there; the notebook's run is not known to it."""

    def notebook(scene: Scene) -> None:
        client = mlflow.MlflowClient(tracking_uri=other_store(scene))
        own = mlflow.start_run().info.run_id
        copy = client.create_run("0", tags={"mlflow.parentRunId": own}, run_name="copy").info.run_id
        client.log_metric(copy, "elsewhere", 1)
        with pytest.raises(MlflowException, match="not found"):
            client.log_metric(own, "elsewhere", 1)
        mlflow.log_metric("here", 1)

    run = scene.run(notebook)
    assert scene.told == []
    assert found_in(scene, run) == {"here"}
    scene.check(run)
    other = mlflow.MlflowClient(f"sqlite:///{scene.root / 'other.db'}")
    assert {run.info.run_name: run.data.metrics for run in other.search_runs(["0"])}["copy"] == {"elsewhere": 1.0}


def test_another_run_taken_up_by_its_id_is_told(scene: Scene) -> None:
    """start_run(run_id=…) of a foreign run works as in MLflow, with a warning; afterwards all is as before."""

    def notebook(scene: Scene) -> None:
        client = mlflow.MlflowClient(scene.uri)
        foreign = client.create_run("0", run_name="foreign").info.run_id
        with mlflow.start_run(run_id=foreign):
            mlflow.log_metric("there", 1)
        with mlflow.start_run() as own:
            mlflow.log_metric("here", 1)
        with mlflow.start_run(run_id=own.info.run_id):
            mlflow.log_metric("again", 1)
        with mlflow.start_run(nested=True) as child:
            pass
        with mlflow.start_run(run_id=child.info.run_id):
            mlflow.log_metric("loss", 1)

    run = scene.run(notebook)
    assert len(scene.told) == 1
    assert "another run" in scene.told[0]
    assert found_in(scene, run) == {"here", "again"}
    scene.check(run)


WORKER = "import mlflow; mlflow.log_metric('worker', 1)"


def test_a_process_started_after_the_switch_finds_the_run(scene: Scene) -> None:
    """The environment that a worker inherits names the other store; the run is still the notebook's."""

    def notebook(scene: Scene) -> None:
        mlflow.set_tracking_uri(other_store(scene))
        subprocess.run([sys.executable, "-c", WORKER], check=True)

    assert "worker" in found_in(scene, scene.run(notebook))
