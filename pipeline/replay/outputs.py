"""Compare what two runs produced: status, stats, equity, trades, executed cells, other files, and by how much."""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_file
from pipeline.layout import CELLS_BY_HAND, SCRIPT_BY_HAND
from pipeline.replay.cells import CellDifference, Executed, compare_notebooks
from pipeline.replay.closeness import apart, close
from pipeline.run import Run

BY_HAND = frozenset({CELLS_BY_HAND, SCRIPT_BY_HAND})
DECIDED_BY_NAME = BY_HAND | {"config_snapshot.toml", "config_snapshot.json", "notebook.ipynb", "tracking.json"}
COMPARED_BY_VALUE = frozenset({"stats.json", "equity.csv", "trades.csv"})
RECORDS = ("debug/", "tracking/")
NOT_ALWAYS_RECORDED = frozenset({"conventions.json", "data.json"})  # runs of earlier versions have none


@dataclass(frozen=True)
class StatDifference:
    """One metric of two runs; `relative` is to the larger of the two. None: undefined."""

    name: str
    before: float | None
    after: float | None
    absolute: float | None
    relative: float | None

    def __str__(self) -> str:
        size = "" if self.absolute is None else f" (absolute {self.absolute:.3g}, relative {self.relative:.3g})"
        return f"{self.name}: {_number_text(self.before)} -> {_number_text(self.after)}{size}"


@dataclass(frozen=True)
class TableDifference:
    """Rows of a table that differ. `first` is the key of the first one, `column` the first column that differs in it,
    the sizes are the largest in that column.
    """

    key: str
    rows_before: int
    rows_after: int
    differing: int
    first: str
    column: str
    absolute: float | None
    relative: float | None

    def __str__(self) -> str:
        rows = f"{self.differing} of {max(self.rows_before, self.rows_after)} rows differ"
        count = "" if self.rows_before == self.rows_after else f" ({self.rows_before} -> {self.rows_after} rows)"
        size = "" if self.absolute is None else f", at most {self.absolute:.3g} (relative {self.relative:.3g})"
        return f"{rows}{count}, first at {self.key} {self.first} in {self.column}{size}"


@dataclass(frozen=True)
class OutputDifferences:
    """Everything two runs produced differently; falsy when there is nothing."""

    status: tuple[str, str] | None = None
    stats: tuple[StatDifference, ...] = ()
    equity: TableDifference | None = None
    trades: TableDifference | None = None
    cells: tuple[CellDifference, ...] = ()
    files: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.status, self.stats, self.equity, self.trades, self.cells, self.files))


def compare_outputs(before: Run, after: Run, *, tolerance: float | None = None) -> OutputDifferences:
    """Compare what two runs produced: exactly, or with `tolerance` relative to the larger number.

    With a tolerance, images and the other files, which hold the same numbers in another form, are not compared.
    """
    status = before.status, after.status
    told = before.dir.notebook.is_file() or not by_hand(before)  # of a run by hand no output of cells is kept
    return OutputDifferences(
        status=None if status[0] == status[1] else status,
        stats=tuple(_stats(before.stats, after.stats, tolerance)),
        equity=compare_tables(before.dir.equity, after.dir.equity, "timestamp", tolerance),
        trades=compare_tables(before.dir.trades_csv, after.dir.trades_csv, "trade_id", tolerance),
        cells=compare_notebooks(_executed(before), _executed(after), tolerance=tolerance) if told else (),
        files=tuple(_files(before, after)) if tolerance is None else (),
    )


def by_hand(run: Run) -> bool:
    """Say whether a run kept its code as one by hand does."""
    return any((run.dir.path / name).is_file() for name in BY_HAND)


def _stats(before: Mapping[str, Any], after: Mapping[str, Any], tolerance: float | None) -> Iterator[StatDifference]:
    """Compare numbers by size; anything else, which only a failed run may have left, is the same or not."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if isinstance(old, int | float) and isinstance(new, int | float):
            if not close(old, new, tolerance):
                yield StatDifference(name, old, new, *apart(old, new))
        elif (name in before) != (name in after) or old != new:
            yield StatDifference(name, old, new, None, None)


def compare_tables(before: Path, after: Path, key: str, tolerance: float | None) -> TableDifference | None:
    """Compare two CSV tables row by row, rows found by the column `key`; None when nothing differs."""
    if before.is_file() and after.is_file() and before.read_bytes() == after.read_bytes():
        return None
    old, new = _rows(before, key), _rows(after, key)
    found = []
    for name in list(dict.fromkeys([*old, *new])):
        columns = [*_columns(old.get(name), new.get(name), tolerance)]
        if columns:
            found.append((name, columns))
    if not found:
        return None
    first, columns = min(found) if key == "timestamp" else found[0]
    column = columns[0][0]
    sizes = [apart(_number(x), _number(y)) for _, differing in found for name, x, y in differing if name == column]
    absolute = max((size for size, _ in sizes if size is not None), default=None)
    relative = max((size for _, size in sizes if size is not None), default=None)
    return TableDifference(key, len(old), len(new), len(found), first, column, absolute, relative)


def _rows(path: Path, key: str) -> dict[str, dict[str, str]]:
    """Return the rows by their key; a repeated or missing key is made unique by the row's place."""
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for place, row in enumerate(csv.DictReader(file, restkey="no column")):
            name = row.get(key) or f"row {place}"
            rows[name if name not in rows else f"{name} (row {place})"] = row
    return rows


def _columns(
    old: Mapping[str, str] | None, new: Mapping[str, str] | None, tolerance: float | None
) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield name and both values of each column that differs; a row that only one table has differs as a whole."""
    if old is None or new is None:
        yield "the whole row", None, None
        return
    for name in dict.fromkeys([*old, *new]):
        x, y = old.get(name), new.get(name)
        numbers = _number(x), _number(y)
        if x != y and (math.isnan(numbers[0]) or not close(*numbers, tolerance)):
            yield name, x, y


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except (ValueError, TypeError):
        return math.nan


def _files(before: Run, after: Run) -> Iterator[str]:
    names = {name for run in (before, after) for name in run.dir.sealed_paths()} - DECIDED_BY_NAME - COMPARED_BY_VALUE
    for name in sorted(name for name in names if not name.startswith(RECORDS)):
        paths = before.dir.path / name, after.dir.path / name
        if not all(path.is_file() for path in paths):
            if name in NOT_ALWAYS_RECORDED:
                continue
            yield f"{name}: only in {'the first' if paths[0].is_file() else 'the second'}"
        elif sha256_file(paths[0]) != sha256_file(paths[1]) and not _same_table(*paths):
            yield name


def _same_table(before: Path, after: Path) -> bool:
    """Say whether two Parquet files hold the same rows, whatever library version wrote them."""
    if before.suffix != ".parquet":
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_table(before).to_pandas().equals(pq.read_table(after).to_pandas()))
    except (OSError, pa.ArrowException):
        return False


def _executed(run: Run) -> Executed:
    return Executed(run.dir.notebook, run.run_id, _moment(run.record.started_at), _moment(run.record.finished_at))


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None


def _number_text(value: float | None) -> str:
    return "undefined" if value is None else repr(value)
