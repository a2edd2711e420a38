"""Fixtures of the tracking tests: real MLflow stores, made once and copied."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.store.db import utils

from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.spec import ENGINE_SECTIONS, RunSpec
from pipeline.tracking.run_tracking import RunTracking, open_tracking
from tests.servers import free_port

# MLflow's own code uses what SQLAlchemy, alembic and others have deprecated; and leaves connections to the collector.
FOREIGN_WARNINGS = (
    "ignore::DeprecationWarning",
    "ignore::PendingDeprecationWarning",
    "ignore::FutureWarning:mlflow",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the warnings of MLflow's own code pass in this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for warning in FOREIGN_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session", autouse=True)
def migrations_read_once() -> Iterator[None]:
    """MLflow reads all its migration scripts for every store it opens; here once, they do not change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_get_latest_schema_revision", functools.cache(utils._get_latest_schema_revision))
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of the machine, and no run left active by another test, reaches a test."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "EVIDENCE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EVIDENCE_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def sqlite_uri(template_database: Path, tmp_path: Path) -> str:
    """A fresh SQLite store."""
    shutil.copyfile(template_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project in a temporary directory."""
    return Settings(tmp_path, tmp_path / "results")


@pytest.fixture
def client(sqlite_uri: str) -> mlflow.MlflowClient:
    """MLflow's own client on the fresh SQLite store."""
    return mlflow.MlflowClient(tracking_uri=sqlite_uri)


@pytest.fixture
def open_run(settings: Settings) -> Callable[..., tuple[RunDir, RunTracking]]:
    """Open the tracking of a new run, as the runner does."""

    def opened(uri: str, **section: Any) -> tuple[RunDir, RunTracking]:
        spec = RunSpec.from_mapping(
            {"strategy": {"params": {"fast": 10}}, "tracking": {"uri": uri, **section}, "run": {"tags": {"desk": "fx"}}}
        ).asking(ENGINE_SECTIONS)
        run = RunDir.create(settings.results, str(uuid.uuid4()))
        tags = {"symbol": "SPX", "strategy": "ma_crossover"}
        return run, open_tracking(spec.tracking, run=run, spec=spec, settings=settings, tags=tags)

    return opened


@pytest.fixture
def scene(
    template_database: Path, tmp_path: Path, open_run: Callable[..., tuple[RunDir, RunTracking]], settings: Settings
) -> Any:
    """A notebook whose store can go away; skips where its process cannot be forked."""
    if not hasattr(os, "fork"):
        pytest.skip("the notebook's process is a fork of the test's")
    from scenes import Scene  # its module imports this folder's tests, which need this file first

    return Scene(template_database, tmp_path, open_run, settings)


@pytest.fixture(scope="session")
def run_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Start `mlflow server` on a back end and return its address; all are stopped at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(backend: str) -> str:
        directory = tmp_path_factory.mktemp("server")
        port = free_port()
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--host", "127.0.0.1"]
        command += ["--port", str(port), "--artifacts-destination", str(directory / "artifacts"), "--workers", "1"]
        environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        log = (directory / "log.txt").open("wb")
        running.append(subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, env=environ))
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, running[-1], directory / "log.txt")
        return address

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text()[-2000:])


@pytest.fixture(scope="session")
def sqlite_server(run_server: Callable[[str], str], template_database: Path, tmp_path_factory: Any) -> str:
    """An `mlflow server` on SQLite."""
    database = tmp_path_factory.mktemp("server-db") / "mlflow.db"
    shutil.copyfile(template_database, database)
    return run_server(f"sqlite:///{database}")
