"""The door of DuckDB: its own log of the files it opens, asked for now and then and at the end.

What a statement reads stands in no argument of Python. DuckDB writes it down when its log of file systems is on, which
it is for each connection that is made while somebody watches.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pipeline.inputs.network import host_of
from pipeline.inputs.watch import at_end, watching

DOOR = "duckdb"
SECONDS = 0.5  # between two looks at one log, as long as its connection is in use
ENABLE = "CALL enable_logging('FileSystem')"
ASK = "SELECT DISTINCT path FROM duckdb_logs_parsed('FileSystem') WHERE op = 'OPEN'"
FORGET = "CALL truncate_duckdb_logs()"
STATEMENTS = ("execute", "executemany", "sql", "query", "from_query")
READERS = ("read_csv", "read_parquet", "read_json", "from_parquet", "from_csv_auto")


class _Logs:
    """The connections whose logs are to be read, and when each was read last."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain = plain
        self.read: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

    def begin(self, connection: Any) -> None:
        """Have a connection write down what it opens."""
        if connection not in self.read:
            self.plain(connection, ENABLE)
            self.read[connection] = 0.0

    def look(self, connection: Any, *, always: bool = False) -> None:
        """Tell the watches which files a connection has opened; results that it still holds are left alone."""
        now = time.monotonic()
        if connection not in self.read or (not always and now - self.read[connection] < SECONDS):
            return
        with connection.cursor() as cursor:
            paths = [path for (path,) in self.plain(cursor, ASK).fetchall()]
            self.plain(cursor, FORGET)
        self.read[connection] = now
        for watch in watching():
            for path in paths:
                if (host := host_of(path)) is not None:
                    watch.network.spoke_to(host)
                else:
                    watch.read(path, DOOR)

    def look_at_all(self) -> None:
        """Look at the logs of all connections that are there."""
        for connection in list(self.read):
            _quietly(functools.partial(self.look, always=True), connection)


def open_door(module: ModuleType) -> None:
    """Set the doors of DuckDB."""
    kind = module.DuckDBPyConnection
    logs = _Logs(kind.execute)
    own = functools.cache(module.default_connection)  # DuckDB makes another object of it each time
    at_end(logs.look_at_all)
    for name in (*STATEMENTS, *READERS):
        if hasattr(kind, name):
            setattr(kind, name, _through(getattr(kind, name), before=logs.begin, after=logs.look))
        if hasattr(module, name):
            setattr(module, name, _of_default(getattr(module, name), own, logs))
    kind.close = _through(kind.close, before=functools.partial(logs.look, always=True))
    kind.__exit__ = _through(kind.__exit__, before=functools.partial(logs.look, always=True))


def _through(
    method: Any, *, before: Callable[[Any], None], after: Callable[[Any], None] | None = None
) -> Callable[..., Any]:
    @functools.wraps(method)
    def through(connection: Any, *arguments: Any, **named: Any) -> Any:
        _quietly(before, connection)
        result = method(connection, *arguments, **named)
        if after is not None:
            _quietly(after, connection)
        return result

    return through


def _of_default(function: Any, own: Callable[[], Any], logs: _Logs) -> Callable[..., Any]:
    """Return a function of the module with a door; without another connection it uses the module's own."""

    @functools.wraps(function)
    def through(*arguments: Any, **named: Any) -> Any:
        if "connection" in named:
            return function(*arguments, **named)
        _quietly(lambda _: logs.begin(own()), None)
        result = function(*arguments, **named)
        _quietly(lambda _: logs.look(own()), None)
        return result

    return through


def _quietly(act: Callable[[Any], None], connection: Any) -> None:
    for watch in watching()[:1]:
        watch.quietly(act, connection)
