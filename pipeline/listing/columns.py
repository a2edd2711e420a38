"""The columns of a run's row by name: what is shown, compared and sorted by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.backtest.catalogue import METRICS
from pipeline.errors import UsageError, nearest, shown
from pipeline.run_row import RunRow

Value = str | float | bool | tuple[str, ...] | None
Kind = Literal["text", "number", "flag", "any"]
TABLES: Mapping[str, Kind] = {"params": "any", "tags": "text", "digests": "text"}


@dataclass(frozen=True)
class Column:
    """One column: its name, what its values are, and how to get one; None is unknown."""

    name: str
    kind: Kind
    of: Callable[[RunRow], Value]


def _text(name: str, of: Callable[[RunRow], Value]) -> tuple[str, Column]:
    return name, Column(name, "text", of)


def _flag(name: str, of: Callable[[RunRow], Value]) -> tuple[str, Column]:
    return name, Column(name, "flag", of)


COLUMNS: dict[str, Column] = dict(
    (
        _text("run_id", lambda row: row.run_id),
        _text("name", lambda row: row.name or None),
        _text("experiment", lambda row: row.experiment),
        _text("status", lambda row: row.status),
        _text("started", lambda row: row.record.started_at or None),
        _text("finished", lambda row: row.record.finished_at),
        _text("origin", lambda row: row.record.origin or None),
        _text("engine", lambda row: str(row.engine) if row.engine else None),
        _text("strategy", lambda row: row.strategy),
        _text("family", lambda row: row.family),
        _text("symbol", lambda row: row.symbols or None),
        _text("source", lambda row: row.what.source or None),
        _text("first", lambda row: row.period.first if row.period else None),
        _text("last", lambda row: row.period.last if row.period else None),
        _text("data", lambda row: row.digests.get("data")),
        _text("bars", lambda row: row.bars_sha256),
        _text("spec", lambda row: row.spec_sha256),
        _text("manifest", lambda row: row.manifest_sha256),
        _text("look_ahead", lambda row: row.marks.look_ahead),
        _text("reconciled", lambda row: row.marks.reconciled),
        _flag("sealed", lambda row: row.marks.sealed),
        _flag("signed", lambda row: row.marks.signed),
        _text("sweep", lambda row: row.sweep),
        _text("mlflow", lambda row: row.tracking.mlflow_run_id if row.tracking else None),
        _text("directory", lambda row: row.directory),
        _text("report", lambda row: row.report),
    )
)


def columns_named(names: Iterable[str], rows: Sequence[RunRow]) -> list[Column]:
    """Return the columns of these names; raises UsageError for none, and for what is neither one nor a metric."""
    metrics = {*METRICS, *(name for row in rows for name in row.stats)}
    if found := [_column(name, rows, metrics) for name in names]:
        return found
    raise UsageError("No column is named. As in: started,strategy,sharpe")


def named(text: str, rows: Sequence[RunRow]) -> list[Column]:
    """Return the columns of a text, separated by commas; raises what `columns_named` does."""
    return columns_named(separated(text), rows)


def separated(text: str) -> list[str]:
    """Return the names in a text, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _column(name: str, rows: Sequence[RunRow], metrics: set[str]) -> Column:
    if name in COLUMNS:
        return COLUMNS[name]
    if name in metrics:
        return Column(name, "number", lambda row: _number(row.stats.get(name)))
    table, dot, key = name.partition(".")
    if dot and key and table in TABLES:
        return Column(name, TABLES[table], lambda row: _value(getattr(row, table).get(key)))
    if not rows:
        return Column(name, "any", lambda _row: None)  # of no runs nobody knows the metrics
    known = [*COLUMNS, *sorted(metrics)]
    raise UsageError(
        f"There is no column {shown(name)}. {nearest(name, known)} A param is params.NAME, a tag tags.NAME, the digest "
        "of an input digests.NAME."
    )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _value(value: object) -> Value:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
