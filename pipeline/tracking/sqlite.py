"""An SQLite store: its schema made once, readers not blocked by the writer, one writer at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pipeline.errors import TrackingError
from pipeline.file_lock import locked

Identity = tuple[int, int]
_opened: dict[str, Identity] = {}  # which file MLflow's connections of this process lead to


def is_ready(database: Path) -> bool:
    """Return whether the database has MLflow's schema and is in write-ahead mode."""
    if not database.is_file() or database.stat().st_size == 0:
        return False
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return {"alembic_version", "runs", "metrics"} <= names and mode == "wal"


def identity(database: Path) -> Identity | None:
    """Return what tells a database from another of the same name; None when there is none."""
    try:
        found = database.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def note_opened(uri: str, database: Path) -> Identity | None:
    """Note that MLflow's connections lead to the database that is there now, and return its identity."""
    found = identity(database)
    if found is not None:
        _opened[uri] = found
    return found


def leave_old_file(uri: str, database: Path) -> None:
    """Have MLflow open the database anew when its connections lead to a file that is gone.

    It keeps them for the life of the process, and what is written to a deleted file is lost without an error.
    """
    if uri not in _opened or _opened[uri] == identity(database):
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    engine = SqlAlchemyStore._engine_map.pop(uri, None)
    if engine is not None:
        engine.dispose()
    _tracking_store_registry._get_store_with_resolved_uri.cache_clear()
    del _opened[uri]


def use_wal(database: Path) -> None:
    """Put the database in write-ahead mode, which it keeps: writers and readers no longer block each other."""
    with closing(sqlite3.connect(database, timeout=10.0)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def turn(database: Path, seconds: float) -> Iterator[None]:
    """Wait for our turn to write, at most `seconds`; raises TrackingError.

    SQLite lets one process write and makes the others poll, some of them for ever. A lock file beside the
    database queues this package's writers before they get there.
    """
    lock = database.with_name(f"{database.name}.lock")
    with ExitStack() as held:
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(lock, seconds=seconds))
        except TimeoutError:
            raise TrackingError(f"The tracking store {database} is busy: others keep writing to it.") from None
        except OSError as error:
            raise TrackingError(f"The tracking store {database} cannot be written: {error.strerror}.") from error
        yield
