"""Parts of tables as Parquet files: written whole, read without what no longer counts, many put together into few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import LakeError, StorageError
from pipeline.files import partial_name, replace_file, write_atomic
from pipeline.lake.index import AGAIN, Index, Part, new_file
from pipeline.lake.place import Place
from pipeline.lake.records import COLUMNS, RECORDS, Record, pack, unpack
from pipeline.lake.schema import Table, arrow_schema, tables

if TYPE_CHECKING:
    import pyarrow as pa

MANY = 20  # parts from which on a query takes longer than the tables themselves need
FULL = 100  # runs of a part that is left as it is
GROUP = 5_000  # rows of a row group of curves, which has whole runs only


def write_part(place: Place, name: str, table: pa.Table) -> Part:
    """Write rows, sorted by run_id where they are curves, as a part of a table; raises StorageError."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = new_file(name)
    path = place.runs / file
    if name == RECORDS:
        columns = [table[column].to_pylist() for column in COLUMNS]
        write_atomic(path, pack(zip(*columns, strict=True)))
        return Part(file, len(table), len(table))
    partial = partial_name(path)
    about = tables()[name]
    try:
        place.runs.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(partial, table.schema, compression="zstd", **_encodings(about)) as writer:
            for group in _groups(table) if about.bulky else [table]:
                writer.write_table(group, row_group_size=max(1, len(group)))
        replace_file(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path} could not be written: {error.strerror or error}.") from error
    return Part(file, len(table), int(pc.count_distinct(table["run_id"]).as_py()))


def _encodings(table: Table) -> dict[str, Any]:
    """Return how columns of curves are kept: in half the bytes that dictionaries take."""
    if not table.bulky:
        return {}
    words = [name for name, column in table.columns.items() if column.type == "VARCHAR"]
    numbers = {name: "BYTE_STREAM_SPLIT" for name, column in table.columns.items() if column.type == "DOUBLE"}
    times = {name: "DELTA_BINARY_PACKED" for name, column in table.columns.items() if column.type == "TIMESTAMP"}
    return {"use_dictionary": words, "column_encoding": {**numbers, **times}}


def _groups(table: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of whole runs, enough of them to be worth a row group of their own."""
    import pyarrow.compute as pc

    counts = pc.value_counts(table["run_id"].combine_chunks())
    start = rows = 0
    for count in counts.field("counts").to_pylist():
        rows += count
        if rows >= GROUP:
            yield table.slice(start, rows)
            start, rows = start + rows, 0
    if rows or not len(table):
        yield table.slice(start, rows)


def read_part(place: Place, name: str, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a part that count; columns that are newer than the file are unknown."""
    import pyarrow.dataset as ds

    if name == RECORDS:
        return _records(place, part, columns)
    kept = ~ds.field("run_id").isin(list(part.without)) | ds.field("run_id").is_null() if part.without else None
    table = tables()[name]
    try:
        dataset = ds.dataset([str(place.runs / part.file)], schema=arrow_schema(table))
        return dataset.to_table(columns=columns, filter=kept, use_threads=table.bulky)
    except (OSError, ValueError) as error:
        raise LakeError(f"{place.runs / part.file} cannot be read: {error}. {AGAIN}") from None


def _records(place: Place, part: Part, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    try:
        rows = records_of(place, part)
    except (OSError, ValueError) as error:
        raise LakeError(f"{place.runs / part.file} cannot be read: {error}. {AGAIN}") from None
    found = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * len(COLUMNS), strict=True))
    schema = arrow_schema(tables()[RECORDS])
    table = pa.table({name: list(found[name]) for name in schema.names}, schema=schema)
    return table if columns is None else table.select(list(columns))


def records_of(place: Place, part: Part) -> list[Record]:
    """Return the records of a part that count; raises OSError or ValueError for a file that cannot be read."""
    gone = set(part.without)
    found = [*unpack(place.runs / part.file)]
    if len(found) != part.rows:
        raise ValueError(f"it holds {len(found):,} of {part.rows:,} records")
    return [record for record in found if record[0] not in gone]


def read_table(place: Place, index: Index, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return all rows of a table."""
    import pyarrow as pa

    parts = [read_part(place, name, part, columns) for part in index.of(name)]
    schema = arrow_schema(tables()[name])
    empty = schema.empty_table() if columns is None else schema.empty_table().select(list(columns))
    return pa.concat_tables([empty, *parts])


def compacted(place: Place, index: Index, *, every: bool = False) -> Index:
    """Return the state in which a table of many parts has few; `every` also where it has but some."""
    for name, table in tables().items():
        small = [part for part in index.of(name) if not table.bulky or part.runs < FULL or part.without]
        if len(small) < (2 if every else MANY) and not (every and any(part.without for part in small)):
            continue
        left = [part for part in index.of(name) if part not in small]
        rows = (read_part(place, name, part) for part in small)
        index = index.with_parts(name, [*left, *_together(place, name, rows, _pieces if table.bulky else _whole)])
    return index


def _together(
    place: Place, name: str, parts: Iterable[pa.Table], cut: Callable[[pa.Table], Iterator[pa.Table]]
) -> Iterator[Part]:
    import pyarrow as pa

    key = "seq" if name in ("ledger", "trials", "trial_results") else "run_id"
    table = pa.concat_tables(parts)
    yield from (write_part(place, name, piece) for piece in cut(table.sort_by(key)) if len(piece))


def _whole(table: pa.Table) -> Iterator[pa.Table]:
    yield table


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    """Yield a sorted table in pieces of as many runs as a full part has."""
    import pyarrow.compute as pc

    counts = pc.value_counts(table["run_id"].combine_chunks()).field("counts").to_pylist()
    start = 0
    for at in range(0, len(counts), FULL):
        rows = sum(counts[at : at + FULL])
        yield table.slice(start, rows)
        start += rows
