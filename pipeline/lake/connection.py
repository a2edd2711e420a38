"""Open the lake to ask it: a connection that has the tables, and no access to anything else.

Small tables are copied into memory, large ones are read by pyarrow from a fixed list of files, and then DuckDB is told
to open no file at all, and to take no other setting. So nothing a query says can write, or read elsewhere; that it is
one query which only reads, `guard` says before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipeline.errors import LakeError, QueryError
from pipeline.lake.guard import said, tables_of
from pipeline.lake.index import Index, Part, read_index
from pipeline.lake.market_index import NAME, read_market
from pipeline.lake.parts import records_of
from pipeline.lake.place import Place, check_installed
from pipeline.lake.records import COLUMNS, RECORDS
from pipeline.lake.schema import OHLCV, Table, arrow_schema, every_table, tables
from pipeline.settings import Settings

if TYPE_CHECKING:
    import duckdb

MISSING = "There is no lake in {}: `evidence lake ingest` makes one of the runs in results/."
SHUT = (
    "SET temp_directory = ''",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
)


@dataclass(frozen=True)
class Limits:
    """What a query may take: seconds, megabytes of memory, threads; no `threads` are as many as there are cores."""

    seconds: float = 60.0
    memory: int = 2_048
    threads: int | None = None


class Lake:
    """The lake, open to be asked. Each thread needs one of its own.

    What is asked is the state at that time: when runs were taken in since, the next query sees them.
    """

    def __init__(
        self, place: Place, limits: Limits, *, only: Collection[str] | None = None, unsafe: bool = False
    ) -> None:
        self.place, self.limits, self.unsafe = place, limits, unsafe
        self._only = only
        self._state: object = None
        self._connection: Any = None
        self._refresh()

    @classmethod
    def open(cls, settings: Settings, limits: Limits | None = None) -> Self:
        """Open the lake of a project; raises LakeError where there is none, or no DuckDB."""
        return cls(Place.of(settings), limits or Limits())

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of all tables."""
        return (*every_table(),)

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Return what a query finds: `.df()`, `.pl()`, `.to_arrow_table()`, `.fetchall()`; it is asked then.

        Raises QueryError for a query that is wrong, or does more than read; LakeError beyond a limit.
        """
        self._refresh()
        if not self.unsafe:
            tables_of(self._connection, query, self.tables)
        with explained(self.limits):
            relation: duckdb.DuckDBPyRelation = self._connection.sql(query)
            return relation

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._state = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refresh(self) -> None:
        """Open the current state, unless it is open."""
        state = _stamp(self.place)
        if state == self._state and self._connection is not None:
            return
        self.close()
        names = set(self.tables) if self._only is None else set(self._only)
        self._connection = connected(self.place, names, self.limits, unsafe=self.unsafe)
        self._state = state


def connected(place: Place, names: Collection[str], limits: Limits, *, unsafe: bool = False) -> Any:
    """Return a connection that has these tables; shut unless `unsafe`. Raises LakeError."""
    check_installed()
    import duckdb

    index, market = read_index(place), read_market(place)
    if index is None and not market.series:
        raise LakeError(MISSING.format(place.path))
    connection = duckdb.connect()
    try:
        for setting in _settings(limits):
            connection.execute(setting)
        for name, table in tables().items():
            if name in names:
                opened = _copy_records if name == RECORDS else _register if table.bulky else _copy
                opened(connection, place, index or Index(""), table)
        if OHLCV.name in names:
            years = [year.file for series in market.series for year in series.current.years]
            connection.register(OHLCV.name, _dataset(OHLCV, [str(place.ohlcv / file) for file in years]))
        connection.execute(f"SET GLOBAL max_execution_time = {int(limits.seconds * 1000)}")
        for setting in () if unsafe else (*SHUT, "SET lock_configuration = true"):
            connection.execute(setting)
    except (duckdb.Error, OSError, ValueError) as error:
        connection.close()
        raise LakeError(f"The lake {place.path} cannot be opened: {said(error)}") from None
    return connection


def _settings(limits: Limits) -> Iterator[str]:
    yield f"SET memory_limit = '{limits.memory}MiB'"
    if limits.threads is not None:
        yield f"SET threads = {limits.threads}"


def _copy(connection: Any, place: Place, index: Index, table: Table) -> None:
    """Copy a table into memory."""
    names = ", ".join(map(quoted, table.columns))
    parts = [_empty(table), *_sources(place, index.of(table.name))]
    connection.execute(f"CREATE TABLE {table.name} AS SELECT {names} FROM ({' UNION ALL BY NAME '.join(parts)})")


def _empty(table: Table) -> str:
    columns = ", ".join(f"NULL::{column.type} AS {quoted(name)}" for name, column in table.columns.items())
    return f"SELECT {columns} WHERE false"


def _copy_records(connection: Any, place: Place, index: Index, table: Table) -> None:
    """Copy the table `records`, whose files Python reads."""
    connection.execute(f"CREATE TABLE {table.name} AS {_empty(table)}")
    for part in index.of(table.name):
        rows = dict(zip(COLUMNS, zip(*records_of(place, part), strict=True), strict=False))
        if rows:
            places = ", ".join("unnest(?::VARCHAR[])" for _ in table.columns)
            connection.execute(
                f"INSERT INTO {table.name} SELECT {places}", [list(rows[name]) for name in table.columns]
            )


def _sources(place: Place, parts: Collection[Part]) -> Iterator[str]:
    whole = [text(str(place.runs / part.file)) for part in parts if not part.without]
    if whole:
        yield _select_parquet(whole)
    for part in parts:
        if part.without:
            yield f"SELECT * FROM ({_select_parquet([text(str(place.runs / part.file))])}) WHERE {_kept(part)}"


def _select_parquet(files: Sequence[str]) -> str:
    return f"SELECT * FROM read_parquet([{', '.join(files)}], union_by_name = true)"


def _kept(part: Part) -> str:
    return f"(run_id IS NULL OR run_id NOT IN ({', '.join(map(text, part.without))}))"


def _register(connection: Any, place: Place, index: Index, table: Table) -> None:
    """Let a table be read by pyarrow from its files, as it is asked."""
    parts = index.of(table.name)
    whole = [str(place.runs / part.file) for part in parts if not part.without]
    sources = [(_dataset(table, whole), "true")]
    sources += [(_dataset(table, [str(place.runs / part.file)]), _kept(part)) for part in parts if part.without]
    for number, (source, _) in enumerate(sources):
        connection.register(f"{table.name}_{number}", source)
    selects = (f"SELECT * FROM {table.name}_{number} WHERE {kept}" for number, (_, kept) in enumerate(sources))
    connection.execute(f"CREATE TEMP VIEW {table.name} AS {' UNION ALL '.join(selects)}")


def _dataset(table: Table, files: Sequence[str]) -> Any:
    """Return the rows of a table in these files, to be read as they are asked."""
    import pyarrow.dataset as ds

    schema = arrow_schema(table)
    return ds.dataset(files, schema=schema, format="parquet") if files else schema.empty_table()


def quoted(name: str) -> str:
    """Return a name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return text as SQL quotes it."""
    return "'" + value.replace("'", "''") + "'"


def _stamp(place: Place) -> object:
    return tuple(_of_file(path) for path in (place.current, place.ohlcv / NAME))


def _of_file(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


class explained:  # noqa: N801 - used as a statement
    """Turn what DuckDB raises into a QueryError, or beyond a limit into a LakeError."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import duckdb

        if isinstance(error, duckdb.InterruptException):
            raise LakeError(f"The query took longer than {self.limits.seconds:g} s: --timeout gives it more.") from None
        if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
            raise LakeError(
                f"The query needs more than {self.limits.memory:,} MB of memory: --memory gives it more."
            ) from None
        if isinstance(error, duckdb.Error):
            raise QueryError(f"The query cannot be answered: {said(error)}") from None
