"""What is in the lake: its tables, how many rows they have, their columns."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import QueryError, nearest
from pipeline.lake.index import read_index
from pipeline.lake.market_index import read_market
from pipeline.lake.place import Place
from pipeline.lake.schema import OHLCV, every_table, tables
from pipeline.settings import Settings


@dataclass(frozen=True)
class TableFacts:
    """A table: what a row is, how many files it has and rows in them; rows that no longer count are among these."""

    name: str
    row: str
    rows: int
    files: int


@dataclass(frozen=True)
class ColumnFacts:
    """A column of a table, its SQL type, and what it says."""

    table: str
    name: str
    type: str
    meaning: str


def table_facts(settings: Settings) -> list[TableFacts]:
    """Return what the tables hold; without a lake nothing. Raises LakeError for one that cannot be read."""
    index = read_index(Place.of(settings))
    found = []
    for name, table in tables().items():
        parts = () if index is None else index.of(name)
        found.append(TableFacts(name, table.row, sum(part.rows for part in parts), len(parts)))
    versions = [series.current for series in read_market(Place.of(settings)).series]
    files = sum(len(version.years) for version in versions)
    return [*found, TableFacts(OHLCV.name, OHLCV.row, sum(version.rows for version in versions), files)]


def column_facts(table: str | None = None) -> list[ColumnFacts]:
    """Return the columns of a table, or of all; raises QueryError for a table that there is not."""
    known = every_table()
    if table is not None and table not in known:
        raise QueryError(f"There is no table {table!r} in the lake. {nearest(table, known)}")
    chosen = known.values() if table is None else [known[table]]
    return [
        ColumnFacts(one.name, name, column.type, column.meaning)
        for one in chosen
        for name, column in one.columns.items()
    ]
