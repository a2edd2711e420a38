"""MLflow's own web interface, on the store the runs are tracked in."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from pipeline.errors import TrackingNotInstalledError
from pipeline.settings import Settings
from pipeline.tracking.uri import absolute_uri


def serve_ui(uri: str, settings: Settings, *, port: int) -> int:
    """Run `mlflow server` on a store, bound to the loopback address, until it is ended; return its exit code.

    Raises TrackingNotInstalledError when only MLflow's client is installed.
    """
    if importlib.util.find_spec("flask") is None or importlib.util.find_spec("mlflow") is None:
        raise TrackingNotInstalledError(
            "MLflow's web interface is not installed. Install it: pip install 'evidence-chain[ui]'."
        )
    store = absolute_uri(uri, settings.root)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"}
    return subprocess.run(command, check=False, env=environment).returncode  # noqa: S603 - fixed arguments, no shell
