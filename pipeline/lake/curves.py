"""Equity, trades and positions of runs as tables of the lake; of what cannot be read a sentence, never an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import open_file
from pipeline.lake.schema import arrow_schema, tables
from pipeline.lake.state import curve_files
from pipeline.rundir import RunDir

if TYPE_CHECKING:
    import pyarrow as pa

CURVES = ("equity", "trades", "positions")


def read_curves(run: RunDir) -> tuple[dict[str, pa.Table], list[str]]:
    """Return the tables that a run has of these, with its id as their first column, and what could not be read."""
    found, problems = {}, []
    for name, path in zip(CURVES, curve_files(run), strict=True):
        try:
            if path.is_file():
                found[name] = _of_run(READERS[name](path), name, run.run_id)
        except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors and KeyErrors
            what = str(error).strip().partition("\n")[0][:200]
            problems.append(f"run {run.run_id}: {path.name} was left out, it cannot be read: {what}")
    return found, problems


def _of_run(table: Any, name: str, run_id: str) -> pa.Table:
    """Return a table in the columns of the lake; a column that it lacks is unknown, others are left out."""
    import pyarrow as pa

    schema = arrow_schema(tables()[name])
    columns = [pa.repeat(run_id, len(table))]
    for field in list(schema)[1:]:
        lacking = field.name not in table.column_names
        columns.append(pa.nulls(len(table), field.type) if lacking else _cast(table[field.name], field.type))
    return pa.table(columns, schema=schema)


def _cast(column: Any, wanted: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(wanted):
        if pa.types.is_timestamp(column.type) and column.type.tz is not None:
            column = column.cast(pa.timestamp(column.type.unit, "UTC")).cast(pa.timestamp(column.type.unit))
        return pc.cast(column, wanted, safe=False)  # nanoseconds are more than microseconds hold
    return column.cast(wanted)


def _equity(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    numbers = dict.fromkeys(("equity", "drawdown", "benchmark_equity"), pa.float64())
    types = {"timestamp": pa.timestamp("us", "UTC"), **numbers}
    with open_file(path) as file:
        data = pa.BufferReader(file.read())
    reading = csv.ReadOptions(use_threads=False)  # the files are small, and there are many
    return csv.read_csv(data, reading, convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=True))


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    with open_file(path) as file:
        return pq.read_table(file)


def _positions(path: Path) -> Any:
    """Return units held, a row a time and instrument, from a column an instrument; what is 0 or unknown is left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wide = _parquet(path)
    index = _index_of(wide)
    times, held = wide[index], [name for name in wide.column_names if name != index]
    parts = []
    for name in held:
        units = wide[name].cast(pa.float64())
        table = pa.table({"timestamp": times, "symbol": pa.repeat(name, len(wide)), "units": units})
        parts.append(table.filter(pc.fill_null(pc.not_equal(units, 0.0), fill_value=False)))
    return pa.concat_tables(parts) if parts else pa.table({"timestamp": times[:0]})


def _index_of(table: Any) -> str:
    """Return the name of the column of times: the index that pandas wrote, or the only column of times."""
    import pyarrow as pa

    named = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if not named:
        raise ValueError("it has no column of times")
    return str(named[-1] if "timestamp" not in named else "timestamp")


READERS: Mapping[str, Callable[[Path], Any]] = {"equity": _equity, "trades": _parquet, "positions": _positions}
