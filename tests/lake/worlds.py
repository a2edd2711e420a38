"""Sealed runs of many kinds in a moment, for the tests of the lake."""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pd

from pipeline.digest import canonical_json
from pipeline.lake.index import read_index
from pipeline.lake.parts import read_table
from pipeline.lake.place import Place
from pipeline.lake.schema import tables
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from tests.evidence.sealed_runs import FILES, World

STRATEGIES = ("ma_crossover", "rsi", "donchian")


def spec_of(number: int) -> dict[str, Any]:
    return {
        "run": {"name": f"run {number}", "experiment": "lake", "tags": {"desk": "fx" if number % 2 else "eq"}},
        "data": {"source": "sample:sp500", "symbol": "EURUSD" if number % 3 else "SPX"},
        "strategy": {"name": STRATEGIES[number % 3], "params": {"fast": number, "mode": "a'b"}},
    }


def equity_of(number: int, bars: int = 4) -> bytes:
    rows = (f"2020-01-0{day + 1}T00:00:00Z,{100 + number + day}.5,{-0.01 * day},\n" for day in range(bars))
    return f"timestamp,equity,drawdown,benchmark_equity\n{''.join(rows)}".encode()


def parquet_of(table: pd.DataFrame, *, index: bool) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out, index=index)
    return out.getvalue()


def trades_of(number: int) -> bytes:
    times = pd.date_range("2020-01-01", periods=2, tz="UTC").as_unit("ns")
    trades = {"trade_id": [1, 2], "symbol": ["SPX", "SPX"], "entry_time": times, "net_pnl": [1.5, float(number)]}
    return parquet_of(pd.DataFrame(trades), index=False)


def positions_of(number: int) -> bytes:
    index = pd.date_range("2020-01-01", periods=3, tz="UTC", name="timestamp").as_unit("ns")
    return parquet_of(pd.DataFrame({"SPX": [0.0, number, 1.0], "EURUSD": [0.0, 0.0, 2.0]}, index=index), index=True)


def files_of(number: int) -> dict[str, bytes]:
    stats = {"sharpe": None if number == 4 else number / 10, "total_return": 0.1 * number, "own_metric": number}
    return {
        **FILES,
        "config_snapshot.json": canonical_json(spec_of(number)),
        "stats.json": json.dumps(stats).encode(),
        "equity.csv": equity_of(number),
        "trades.parquet": trades_of(number),
        "positions.parquet": positions_of(number),
    }


def make_runs(settings: Settings, count: int, first: int = 0) -> list[RunDir]:
    """Make sealed runs, each with a spec, metrics and curves of its own; every other one has a report."""
    world = World(settings.results, None)
    numbers = range(first, first + count)
    return [world.run(files=files_of(number), report=b"<p>" if number % 2 else None) for number in numbers]


def everything(settings: Settings) -> dict[str, list[str]]:
    """Return the rows of all tables as sorted text."""
    place = Place.of(settings)
    index = read_index(place)
    assert index is not None
    return {name: sorted(map(str, read_table(place, index, name).to_pylist())) for name in tables()}


def rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    """Return the rows of one table."""
    place = Place.of(settings)
    index = read_index(place)
    assert index is not None
    found: list[dict[str, Any]] = read_table(place, index, table).to_pylist()
    return found
