"""How long tracking may hold up a run.

MLflow's own defaults keep a run waiting for minutes: seven HTTP retries of up to 120 s each, 20 s for a locked
SQLite database, ten connection attempts with doubling pauses for an SQL server. Here: `timeout()` seconds for
each, no hidden retries (a call sent twice would be counted twice by a file store).
"""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.errors import TrackingError
from pipeline.masking import masked
from pipeline.tracking.uri import HTTP, scheme, sqlite_path

TIMEOUT_VARIABLE = "EVIDENCE_TRACKING_TIMEOUT"
DEFAULT_TIMEOUT = 10.0
PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mssql": 1433}
_inside: list[None] = []
_added: list[str] = []
_guard = threading.Lock()
_here = threading.local()


def timeout() -> float:
    """Return the seconds one call may wait: EVIDENCE_TRACKING_TIMEOUT, else 10."""
    try:
        return max(0.1, float(os.environ.get(TIMEOUT_VARIABLE, DEFAULT_TIMEOUT)))
    except ValueError:
        return DEFAULT_TIMEOUT


def variables(uri: str, *, retries: int) -> dict[str, str]:
    """Return MLflow's settings for a store; a user's own environment goes before them."""
    values = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(timeout()))),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.1",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    if scheme(uri) == "file":
        values["MLFLOW_ALLOW_FILE_STORE"] = "true"
    return values


@contextmanager
def limited(uri: str) -> Iterator[None]:
    """Set MLflow's limits for the calls made inside, and take them back afterwards."""
    with _guard:
        _enter(uri)
        _inside.append(None)
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
        with _guard:
            _inside.pop()
            if not _inside:
                _leave()


def is_own_call() -> bool:
    """Return whether this thread is in a call that this package makes, not a notebook's own code."""
    return getattr(_here, "depth", 0) > 0


def _enter(uri: str) -> None:
    for name, value in variables(uri, retries=0).items():
        if name not in os.environ:
            os.environ[name] = value
            _added.append(name)
    logging.getLogger("mlflow.store.db.utils").disabled = True


def _leave() -> None:
    while _added:
        os.environ.pop(_added.pop(), None)
    logging.getLogger("mlflow.store.db.utils").disabled = False


def probe(uri: str) -> None:
    """Raise TrackingError when the store cannot take a write now, within `timeout()` seconds."""
    database = sqlite_path(uri)
    try:
        if database is not None:
            if database.exists():
                _probe_sqlite(database)
        elif scheme(uri) in PORTS or scheme(uri) in HTTP:
            _probe_server(uri)
    except (sqlite3.Error, OSError) as error:
        raise TrackingError(f"The tracking store {masked(uri)} cannot be reached: {error}.") from error


def _probe_sqlite(database: Path) -> None:
    """Raise when the database cannot be written now.

    SQLite is not asked about a file that may only be read: it opens it for reading, begins the transaction of a
    writer without an error, and leaves files beside it that are read-only for ever.
    """
    for name in ("", "-wal", "-shm"):
        path = database.with_name(f"{database.name}{name}")
        if path.exists() and not os.access(path, os.W_OK):
            raise OSError(f"{path} may only be read here; make it writable, or use another store")
    with closing(sqlite3.connect(database, timeout=timeout(), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _probe_server(uri: str) -> None:
    parts = urllib.parse.urlsplit(uri)
    default = 443 if parts.scheme == "https" else PORTS.get(scheme(uri), 80)
    if parts.hostname:
        socket.create_connection((parts.hostname, parts.port or default), timeout=timeout()).close()
