"""Tracking URIs: made absolute, passwords hidden, links to MLflow's web interface."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pipeline.errors import TrackingNotInstalledError
from pipeline.masking import masked

SQLITE = "sqlite:///"
HTTP = ("http", "https")
LOCAL_UI = "http://127.0.0.1:5000"  # where `evidence ui` and `mlflow ui` serve a local store
INSTALL = "pip install 'evidence-chain[tracking]'"


def require_mlflow() -> None:
    """Raise TrackingNotInstalledError, which says what to install, when MLflow is missing."""
    if not mlflow_installed():
        raise TrackingNotInstalledError(f"MLflow is configured but not installed. Install it: {INSTALL}")


def mlflow_installed() -> bool:
    """Return whether MLflow can be imported, without importing it."""
    return _importable("mlflow")


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def absolute_uri(uri: str, base: Path) -> str:
    """Return the URI with a relative path in it taken from `base`, so that a later chdir changes nothing.

    `postgresql://` is given the driver that is installed, where that is psycopg2 (SQLAlchemy 2.1 means psycopg 3).
    """
    if uri.startswith(("postgresql://", "postgres://")) and not _importable("psycopg") and _importable("psycopg2"):
        return f"postgresql+psycopg2://{uri.partition('://')[2]}"
    if uri.startswith(SQLITE) and not uri.startswith(f"{SQLITE}/") and not uri.startswith(f"{SQLITE}:memory:"):
        path, query = _split_query(uri[len(SQLITE) :])
        return f"{SQLITE}{(base / path).resolve()}{query}"
    if uri.startswith("file:"):
        return (base / unquote(urlsplit(uri).path)).resolve().as_uri()
    if ":" not in uri or re.match(r"[A-Za-z]:[\\/]", uri):
        return (base / uri).resolve().as_uri()
    return uri


def _split_query(text: str) -> tuple[str, str]:
    path, mark, query = text.partition("?")
    return path, mark + query


def scheme(uri: str) -> str:
    """Return the URI's scheme without its driver: `postgresql` of `postgresql+psycopg2://…`."""
    return uri.partition(":")[0].partition("+")[0].lower()


def sqlite_path(uri: str) -> Path | None:
    """Return the database file of an SQLite URI, None for other stores."""
    if not uri.startswith(SQLITE) or uri.startswith(f"{SQLITE}:memory:"):
        return None
    return Path(_split_query(uri[len(SQLITE) :])[0])


def store_files(uri: str | None) -> tuple[Path, ...]:
    """Return the file of a SQLite store, and those that SQLite keeps beside it; none of another store."""
    path = sqlite_path(uri) if uri else None
    return () if path is None else tuple(path.with_name(path.name + end) for end in ("", "-journal", "-wal", "-shm"))


def run_url(tracking_uri: str, ui_url: str | None, experiment_id: str, mlflow_run_id: str) -> str | None:
    """Return the address of a run in MLflow's web interface, secrets masked; None when no interface is known."""
    base = masked(ui_url) if ui_url else (_address(tracking_uri) if scheme(tracking_uri) in HTTP else None)
    if not base:
        return None
    return f"{base.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs/{quote(mlflow_run_id)}"


def _address(uri: str) -> str:
    """Return a server's address without the user and the query of its tracking URI."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def artifact_url(url: str | None, path: str) -> str | None:
    """Return the address of one artifact in the web interface, from the run's address."""
    return f"{url}/artifacts/{quote(path)}" if url else None
