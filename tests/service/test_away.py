"""A store that is away, slow or replaced: answered quickly, and used again when it is back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.servers import free_port
from tests.service.conftest import make_project
from tests.service.problems import check_problem
from tests.service.process import SECONDS, serving

pytestmark = [pytest.mark.slow, pytest.mark.server]
LIST = "/api/mlflow/experiments/list"


@contextmanager
def mlflow_server(root: Path, port: int) -> Iterator[None]:
    """Start an MLflow server on a port; it is ended with all of its processes."""
    program = str(Path(sys.executable).with_name("mlflow"))
    store = ("--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}", "--default-artifact-root", str(root / "kept"))
    process = subprocess.Popen(
        [program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
            except httpx.HTTPError:
                assert time.monotonic() < deadline, "the MLflow server did not start"
                time.sleep(0.2)
            else:
                break
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(SECONDS)


def test_mlflow_may_go_and_come_back(tmp_path: Path, template_database: Path) -> None:
    """503 with the reason while it is away, and no restart when it is back; what it said is not lost."""
    root, port = make_project(tmp_path / "project", template_database), free_port()
    with serving(root, "--no-auth", environ={"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}) as api:
        problem = check_problem(api.get(LIST), 503)
        assert "MLflow cannot be reached" in problem["detail"]
        check_problem(api.get("/ready"), 503)
        health = api.get("/health")
        assert (health.status_code, health.json()["status"], health.json()["mlflow"]) == (200, "degraded", "unhealthy")
        with mlflow_server(root, port):
            wait_until_answered(api)
            made = api.post("/api/mlflow/experiments/create", json={"name": "over a server"})
            assert made.status_code == 201, made.text
        check_problem(api.get(LIST), 503)
        with mlflow_server(root, port):
            wait_until_answered(api)
            assert "over a server" in api.get(LIST).text


def wait_until_answered(api: httpx.Client) -> None:
    deadline = time.monotonic() + SECONDS
    while api.get(LIST).status_code != 200:
        assert time.monotonic() < deadline, "the service does not find MLflow again"
        time.sleep(0.2)


def test_a_silent_server_keeps_nobody_waiting(tmp_path: Path, template_database: Path) -> None:
    """The first request waits as long as `seconds` says; those right after it do not wait again."""
    root = make_project(tmp_path / "project", template_database)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environ = {"MLFLOW_TRACKING_URI": uri, "EVIDENCE_SERVICE_SECONDS": "1"}
        with serving(root, "--no-auth", environ=environ) as api:
            started = time.monotonic()
            check_problem(api.get(LIST), 503)
            assert time.monotonic() - started < 30  # MLflow's own limits make it minutes


def test_a_database_that_was_replaced_is_used(tmp_path: Path, template_database: Path) -> None:
    """What is written then is in the new file, not in the one that is gone."""
    root = make_project(tmp_path / "project", template_database)
    with serving(root, "--no-auth") as api:
        assert api.post("/api/mlflow/experiments/create", json={"name": "old"}).status_code == 201
        fresh = root / "fresh.db"
        fresh.write_bytes(template_database.read_bytes())
        for name in ("mlflow.db-wal", "mlflow.db-shm"):
            (root / name).unlink(missing_ok=True)
        fresh.replace(root / "mlflow.db")
        assert api.post("/api/mlflow/experiments/create", json={"name": "new"}).status_code == 201
        names = [one["name"] for one in api.get(LIST).json()["experiments"]]
        assert "new" in names
        assert "old" not in names
