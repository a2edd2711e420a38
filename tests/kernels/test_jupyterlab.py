"""JupyterLab executes in forked kernels, by the name of their kernelspec."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.kernels import ForkServer
from pipeline.kernels.__main__ import install
from tests.servers import free_port

websocket = pytest.importorskip("websocket")
pytest.importorskip("jupyterlab")
pytestmark = [pytest.mark.slow, pytest.mark.server]
NAME, TOKEN = "forked-in-lab", "only-for-this-test"


@pytest.fixture
def lab(tmp_path: Path, kernels: ForkServer) -> Iterator[str]:
    """JupyterLab on a free port, beside the session's fork server; yields its address."""
    install(NAME, str(tmp_path), user=False)
    port = free_port()
    environment = {
        **os.environ,
        "JUPYTER_PATH": str(tmp_path / "share" / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "FORKED_KERNELS_SOCKET": kernels.address,
    }
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={TOKEN}"]
    with (tmp_path / "lab.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def ask(address: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask JupyterLab's server; wait until it is there."""
    request = urllib.request.Request(
        f"http://{address}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {TOKEN}"},
    )
    for attempt in range(300):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert attempt < 299, f"no answer from {address}"
            time.sleep(0.1)
    return None


def execute(address: str, kernel: str, code: str) -> str:
    """Execute code as JupyterLab's page does, over its websocket; return what it printed."""
    connection = websocket.create_connection(f"ws://{address}/api/kernels/{kernel}/channels?token={TOKEN}", timeout=30)
    header = {
        "msg_id": "1",
        "msg_type": "execute_request",
        "session": "s",
        "username": "u",
        "version": "5.4",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    connection.send(json.dumps(request))
    printed = ""
    try:
        while True:
            message = json.loads(connection.recv())
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["msg_type"] == "execute_reply":
                assert message["content"]["status"] == "ok", message["content"]
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle" and printed:
                return printed
    finally:
        connection.close()


def test_jupyterlab_starts_forked_kernels(lab: str, kernels: ForkServer) -> None:
    """A kernel started by JupyterLab is a child of the fork server, restarts as one, and ends with it."""
    assert NAME in ask(lab, "GET", "/api/kernelspecs")["kernelspecs"]
    kernel = ask(lab, "POST", "/api/kernels", {"name": NAME})["id"]
    where = "import os; print(os.getppid(), os.getpid())"
    parent, first = execute(lab, kernel, where).split()
    assert int(parent) == kernels.wait_ready()["pid"]
    ask(lab, "POST", f"/api/kernels/{kernel}/restart")
    parent, second = execute(lab, kernel, where).split()
    assert int(parent) == kernels.wait_ready()["pid"]
    assert second != first
    ask(lab, "DELETE", f"/api/kernels/{kernel}")
    assert ask(lab, "GET", "/api/kernels") == []
    assert not Path(f"/proc/{second}").exists()
