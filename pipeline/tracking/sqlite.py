"""An SQLite store: its schema made once, readers not blocked by the writer, one writer at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pipeline.errors import TrackingError
from pipeline.file_lock import locked


def is_ready(database: Path) -> bool:
    """Return whether the database has MLflow's schema and is in write-ahead mode."""
    if not database.is_file() or database.stat().st_size == 0:
        return False
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return {"alembic_version", "runs", "metrics"} <= names and mode == "wal"


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
