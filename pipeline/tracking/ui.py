"""MLflow's own web interface, on the store the runs are tracked in."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import TrackingNotInstalledError, UsageError
from pipeline.settings import Settings
from pipeline.tracking.uri import absolute_uri

GRACE = 10.0  # seconds the server has to end by itself
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def serve_ui(uri: str, settings: Settings, *, port: int, ready: Callable[[str], None]) -> int:
    """Run `mlflow server` on a store, bound to the loopback address, until it is ended; return its exit code.

    `ready` is told its address once it answers. SIGINT, SIGTERM and SIGHUP end all of its processes, with exit code 0.
    Raises TrackingNotInstalledError when only MLflow's client is installed, UsageError when the port is taken.
    """
    if importlib.util.find_spec("flask") is None or importlib.util.find_spec("mlflow") is None:
        raise TrackingNotInstalledError(
            "MLflow's web interface is not installed. Install it: pip install 'evidence-chain[ui]'."
        )
    _require_free(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": absolute_uri(uri, settings.root),  # a password in it is not for `ps`
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # jobs of MLflow's GenAI part: eight processes more
    }
    with _signals_as_exceptions():
        process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603 - fixed arguments
        try:
            if _answers(f"http://127.0.0.1:{port}", process):
                ready(f"http://127.0.0.1:{port}")
            return process.wait()
        except _EndedError:
            return 0
        finally:
            _end_group(process)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: connections of before may linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"Port {port} cannot be used: {error.strerror}. Give another one with --port.") from None


class _EndedError(Exception):
    """A signal asked for the end."""


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    def ended(_number: int, _frame: Any) -> None:
        raise _EndedError

    before = {number: signal.signal(number, ended) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers; return False when it has ended before."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).close()  # noqa: S310 - the loopback address
        except OSError:
            time.sleep(0.1)
        else:
            return process.poll() is None
    return False


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End all processes of the server: MLflow's own leaves its workers behind."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    if not hasattr(os, "killpg"):  # pragma: no cover - Windows
        process.terminate()
        return
    deadline = time.monotonic() + GRACE
    _signal_group(process.pid, signal.SIGTERM)
    while time.monotonic() < deadline and _signal_group(process.pid, 0):
        process.poll()
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; return False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
