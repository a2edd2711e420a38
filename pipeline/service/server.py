"""Serve the API over HTTP until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable

from pipeline.errors import UsageError
from pipeline.service.settings import ServiceSettings
from pipeline.settings import Settings

INSTALL = "pip install 'evidence-chain[service]'"
BACKLOG = 2048


def require_service() -> None:
    """Raise UsageError, which says what to install, where the extra `service` is missing."""
    import importlib.util

    missing = [
        name
        for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "mlflow", "optuna")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UsageError(f"The service needs {', '.join(missing)}, which is not installed. Install it: {INSTALL}")


def serve(settings: Settings, service: ServiceSettings, *, started: Callable[[str], None]) -> None:
    """Serve a project until SIGINT or SIGTERM; `started` is told the address. Raises UsageError.

    Requests that are being answered may end within `service.shutdown_seconds`.
    """
    require_service()
    import uvicorn

    from pipeline.service.app import build_app

    _set_limits(service)
    app = build_app(settings, service)
    listener = listen_at(service)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=service.shutdown_seconds,
        ws="none",
        proxy_headers=False,
    )
    host, port = listener.getsockname()[:2]
    started(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def _set_limits(service: ServiceSettings) -> None:
    """Set, for this process, what MLflow reads from the environment; what a user has set stays."""
    limits = {
        "EVIDENCE_TRACKING_TIMEOUT": str(service.seconds),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(service.seconds))),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(service.threads + 20),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    for name, value in limits.items():
        os.environ.setdefault(name, value)
    warnings.simplefilter("ignore")  # Optuna's notes that a part of it is experimental, once for each request
    logging.getLogger("pipeline.service").setLevel(logging.INFO)


def listen_at(service: ServiceSettings) -> socket.socket:
    """Return a socket at the address that is asked for; raises UsageError when it cannot be had."""
    family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
    # Of a socket without its protocol asyncio does not know that it is TCP, and each answer waits 40 ms (Nagle).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((service.host.strip("[]"), service.port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{service.host} port {service.port} cannot be used: {reason}. Give another with --host, --port."
        ) from None
    return listener
