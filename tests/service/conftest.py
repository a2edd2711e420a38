"""A project whose service is up, with an MLflow store of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.conftest import REPOSITORY
from tests.service.process import serving


def make_project(root: Path, database: Path) -> Path:
    """Make a project with an empty MLflow store."""
    for folder in ("notebooks", "config"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    shutil.copy(database, root / "mlflow.db")
    return root


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, template_database: Path) -> Path:
    """Return the root of the project that `api` serves."""
    return make_project(tmp_path_factory.mktemp("served"), template_database)


@pytest.fixture(scope="module")
def api(served: Path) -> Iterator[httpx.Client]:
    """Return a client of a service in a process of its own."""
    with serving(served, "--no-auth") as client:
        yield client


@pytest.fixture
def experiment(api: httpx.Client, request: pytest.FixtureRequest) -> str:
    """Return the id of a new experiment that has the test's name."""
    made = api.post("/api/mlflow/experiments/create", json={"name": f"of {request.node.name}"})
    assert made.status_code == 201, made.text
    return str(made.json()["experiment_id"])


@pytest.fixture
def run(api: httpx.Client, experiment: str) -> str:
    """Return the id of a new run in MLflow."""
    made = api.post("/api/mlflow/runs/create", json={"experiment_id": experiment, "run_name": "first"})
    assert made.status_code == 200, made.text
    return str(made.json()["run_id"])
