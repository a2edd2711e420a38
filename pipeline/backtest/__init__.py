"""Backtests: market data under a contract, strategies with a schema, one engine, metrics with stated conventions.

Names are loaded on first use, so importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.backtest.bars_digest import data_digest
    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.data import (
        load_ohlcv,
        sample_names,
        source_path,
    )
    from pipeline.backtest.engine import BacktestEngine, BacktestResult
    from pipeline.backtest.metrics import compute_stats, drawdown, monthly_returns
    from pipeline.backtest.periods import periods_per_year
    from pipeline.backtest.strategies import (
        Constraint,
        Parameter,
        Strategy,
        as_strategy,
        check_signals,
        get_strategy,
        resolve_params,
        strategy_names,
    )
    from pipeline.backtest.timestamps import time_labels, utc_labels

_HOME = {
    "Conventions": "conventions",
    "data_digest": "bars_digest",
    "load_ohlcv": "data",
    "periods_per_year": "periods",
    "sample_names": "data",
    "source_path": "data",
    "BacktestEngine": "engine",
    "BacktestResult": "engine",
    "compute_stats": "metrics",
    "drawdown": "metrics",
    "monthly_returns": "metrics",
    "Constraint": "strategies",
    "Parameter": "strategies",
    "Strategy": "strategies",
    "as_strategy": "strategies",
    "check_signals": "strategies",
    "get_strategy": "strategies",
    "resolve_params": "strategies",
    "strategy_names": "strategies",
    "time_labels": "timestamps",
    "utc_labels": "timestamps",
}

__all__ = [
    "BacktestEngine",
    "BacktestResult",
    "Constraint",
    "Conventions",
    "Parameter",
    "Strategy",
    "as_strategy",
    "check_signals",
    "compute_stats",
    "data_digest",
    "drawdown",
    "get_strategy",
    "load_ohlcv",
    "monthly_returns",
    "periods_per_year",
    "resolve_params",
    "sample_names",
    "source_path",
    "strategy_names",
    "time_labels",
    "utc_labels",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
