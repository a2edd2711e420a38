"""The tables of the lake: their columns, types and meanings. What a row of `runs` has comes from the listings' columns
and from the catalogue of metrics, so that a new one of either is here, too.

A column that is added leaves what was written readable; for anything else `VERSION` is raised, and the lake is made
again from `results/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import METRICS
from pipeline.listing.columns import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
TEXT, NUMBER, WHOLE, FLAG, TIME, TEXTS = "VARCHAR", "DOUBLE", "BIGINT", "BOOLEAN", "TIMESTAMP", "VARCHAR[]"
TIMES = frozenset({"started", "finished", "first", "last"})  # columns of a listing that hold times
MEANING: Mapping[str, str] = {
    "run_id": "id of the run",
    "status": "RUNNING, FINISHED, FAILED, KILLED or UNREADABLE",
    "started": "when it began, UTC",
    "finished": "when it ended, UTC",
    "symbol": "its instruments, joined by commas",
    "source": "where its data came from",
    "first": "first time of the result, else of the bars, UTC",
    "last": "last time of the same, UTC",
    "data": "SHA-256 of the data file",
    "bars": "SHA-256 of the bars, whatever file they were in",
    "spec": "SHA-256 of the spec",
    "manifest": "SHA-256 of the manifest",
    "sweep": "run_id of the sweep that it is a trial of",
    "mlflow": "id of its MLflow run",
    "family": "what its trials are counted by",
}


@dataclass(frozen=True)
class Column:
    """A column: its SQL type, and what it says."""

    type: str
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """A table: what a row is, and its columns by name. Rows of a `bulky` one are read from files as they are asked."""

    name: str
    row: str
    columns: Mapping[str, Column]
    bulky: bool = False


def _text(*names: str) -> dict[str, Column]:
    return {name: Column(TEXT, MEANING.get(name, "")) for name in names}


def _numbers(*names: str) -> dict[str, Column]:
    return {name: Column(NUMBER) for name in names}


def _runs() -> dict[str, Column]:
    kinds = {"text": TEXT, "flag": FLAG, "number": NUMBER, "any": TEXT}
    listed = {
        name: Column(TIME if name in TIMES else kinds[column.kind], MEANING.get(name, ""))
        for name, column in COLUMNS.items()
    }
    more = {
        "symbols": Column(TEXTS, "its instruments"),
        "is_sweep": Column(FLAG, "whether it is a search, not one of its trials"),
        "gone": Column(FLAG, "whether its directory is no longer there"),
    }
    return {**listed, **more, **{name: Column(NUMBER, metric.meaning) for name, metric in METRICS.items()}}


OHLCV = Table(
    "ohlcv", "a bar of market data",
    {
        "symbol": Column(TEXT), "freq": Column(TEXT, "length of a bar, as 1d"),
        "timestamp": Column(TIME, "UTC, as labelled in the file"),
        **_numbers("open", "high", "low", "close"), "volume": Column(NUMBER, "empty where the file has none"),
    },
    bulky=True,
)  # fmt: skip


def every_table() -> Mapping[str, Table]:
    """Return the tables that a query may read: those over runs, and market data."""
    return {**tables(), OHLCV.name: OHLCV}


@cache
def tables() -> Mapping[str, Table]:
    """Return the tables over runs, by name."""
    run_id, at = _text("run_id"), {"timestamp": Column(TIME, "UTC")}
    value = {"name": Column(TEXT), "value": Column(TEXT)}
    scope = {
        **_text("strategy", "data", "family"),
        "instruments": Column(TEXTS),
        **_text("first", "last", "code"),
    }
    found = (
        Table("runs", "a run", _runs()),
        Table(
            "params", "a param of a run", {**run_id, **value, "number": Column(NUMBER, "the value, where it is one")}
        ),
        Table("metrics", "a metric of a run", {**run_id, "name": Column(TEXT), "value": Column(NUMBER)}),
        Table("tags", "a tag of a run", {**run_id, **value}),
        Table(
            "inputs", "something that a run was made from",
            {**run_id, **_text("name", "uri", "sha256"), "found": Column(TEXT, "declared or observed")},
        ),
        Table("artifacts", "a sealed file", {**run_id, **_text("path", "sha256"), "size": Column(WHOLE, "bytes")}),
        Table(
            "trials", "a run, or a batch of a sweep's trials, as the ledger counts it",
            {
                "seq": Column(WHOLE, "the entry that counted it first"), **run_id, **scope,
                "trials": Column(WHOLE, "how many"), "ended": Column(WHOLE, "of how many the outcome is known"),
                "without": Column(WHOLE, "how many of these have no Sharpe ratio"),
            },
        ),
        Table(
            "trial_results", "a result of trials that the ledger tells; equal ones are told once",
            {
                "seq": Column(WHOLE, "of its row in trials"), **run_id,
                "sharpe": Column(NUMBER, "per bar, without a risk-free rate"),
                "deviation": Column(NUMBER, "of returns per bar"), "bars": Column(WHOLE),
                **_numbers("skewness", "kurtosis"), "configuration": Column(TEXT, "start of a digest of the request"),
            },
        ),
        Table(
            "ledger", "an entry of the ledger",
            {
                "seq": Column(WHOLE), "time": Column(TIME, "UTC"), **_text("kind", "run_id", "strategy", "data"),
                "subject": Column(TEXT, "SHA-256 of what it is about"), "signer": Column(TEXT, "id of the key"),
                **_text("previous", "digest"), "details": Column(TEXT, "JSON"),
            },
        ),
        Table(
            "records", "what is known of a run, as JSON",
            {
                **run_id, "record": Column(TEXT, "as `evidence list --json`"),
                "state": Column(TEXT, "of what it is read from"),
            },
        ),
        Table(
            "states", "the state of a run directory when it was taken in",
            {
                **run_id, "state": Column(TEXT, "of what a row is read from"),
                "curves": Column(TEXT, "of equity, trades and positions"),
            },
        ),
        Table(
            "equity", "a point of a run's equity",
            {**run_id, **at, "equity": Column(NUMBER, "money"), "drawdown": Column(NUMBER, "never above 0"),
             "benchmark_equity": Column(NUMBER, "money")},
            bulky=True,
        ),
        Table(
            "trades", "a trade of a run, as in trades.parquet",
            {
                **run_id, "trade_id": Column(WHOLE), **_text("symbol", "side"), "entry_time": Column(TIME, "UTC"),
                "exit_time": Column(TIME, "UTC"),
                **_numbers("entry_price", "exit_price", "quantity", "gross_pnl", "fees", "slippage_cost", "net_pnl"),
                "return_pct": Column(NUMBER), "bars_held": Column(WHOLE), **_numbers("mae", "mfe"),
                "exit_reason": Column(TEXT), "is_open": Column(FLAG),
            },
            bulky=True,
        ),
        Table(
            "positions", "what a run held of an instrument at a time",
            {**run_id, **at, "symbol": Column(TEXT), "units": Column(NUMBER)}, bulky=True,
        ),
    )  # fmt: skip
    return {table.name: table for table in found}


def arrow_schema(table: Table) -> pa.Schema:
    """Return the columns of a table as pyarrow has them."""
    import pyarrow as pa

    types: dict[str, Any] = {
        TEXT: pa.string(), NUMBER: pa.float64(), WHOLE: pa.int64(), FLAG: pa.bool_(), TIME: pa.timestamp("us"),
        TEXTS: pa.list_(pa.string()),
    }  # fmt: skip
    return pa.schema([(name, types[column.type]) for name, column in table.columns.items()])
