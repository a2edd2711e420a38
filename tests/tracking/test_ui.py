"""`evidence ui`: it says when it answers, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.tracking.ui import serve_ui
from tests.servers import free_port

EVIDENCE = str(Path(sys.executable).with_name("evidence"))


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_processes_end_with_it(sqlite_uri: str, tmp_path: Path, number: signal.Signals) -> None:
    """ "ready" is true when it is said; after a signal no process of the server is left, and the exit code is 0."""
    port = free_port()
    command = [EVIDENCE, "ui", "--uri", sqlite_uri, "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env=dict(os.environ), stdout=subprocess.PIPE, text=True) as ui:
        assert ui.stdout is not None
        line = next((line for line in ui.stdout if line.startswith("ready: ")), "")
        assert f"http://127.0.0.1:{port}" in line
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).close()
        tree = psutil.Process(ui.pid).children(recursive=True)
        assert tree
        ui.send_signal(number)
        assert ui.wait(60) == 0
    assert psutil.wait_procs(tree, timeout=5)[1] == []
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)


@pytest.mark.slow
@pytest.mark.server
def test_a_server_that_cannot_start_is_not_ready(tmp_path: Path) -> None:
    """A store that MLflow cannot open: its own message, no "ready", a failure."""
    (tmp_path / "broken.db").write_text("no database, but text that is long enough to be looked at as one")
    command = [EVIDENCE, "ui", "--uri", "sqlite:///broken.db", "--port", str(free_port())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert "ready: " not in done.stdout
    assert done.returncode != 0


def test_a_port_that_is_taken_is_refused(settings: Settings, sqlite_uri: str) -> None:
    """Somebody else's server there would answer, and be taken for this one."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UsageError, match="--port"):
            serve_ui(sqlite_uri, settings, port=other.getsockname()[1], ready=pytest.fail)
