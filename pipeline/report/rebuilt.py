"""The backtest behind a report, rebuilt from the files a run leaves: equity curve and trades."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.engine import BacktestResult

TRADE_NEEDS = {"side", "quantity", "entry_time", "exit_time", "entry_price", "exit_price", "is_open"}


def rebuilt(
    equity: pd.Series | None,
    trades: pd.DataFrame,
    *,
    cash: float | None,
    stats: Mapping[str, float | int | None],
    conventions: Conventions,
) -> BacktestResult | None:
    """Return what equity.csv and the trades say as a backtest: positions at each close, and a fill at both ends.

    Signals are not known and stay 0; the initial cash is the first equity when nothing tells it. None when the curve
    has fewer than two bars or values that are not finite.
    """
    import numpy as np
    import pandas as pd

    from pipeline.backtest.engine import BacktestResult

    if equity is None or len(equity) < 2 or not np.isfinite(equity.to_numpy(dtype=float)).all():
        return None
    index = pd.DatetimeIndex(equity.index)
    if not index.is_monotonic_increasing or float(equity.iloc[0]) <= 0.0:
        return None
    trades = trades if set(trades.columns) >= TRADE_NEEDS else pd.DataFrame()
    positions = pd.Series(_positions(trades, index), index=index, name="position")
    signals = pd.Series(0, index=index, name="signal")
    config = {"initial_cash": cash if cash and cash > 0.0 else float(equity.iloc[0])}
    fills = _fills(trades)
    return BacktestResult(dict(stats), equity, trades, config, fills, positions, signals, conventions)


def open_trades(trades: pd.DataFrame, index: pd.Index) -> pd.Series:
    """Return how many trades are open at each close, whatever their side and symbol."""
    import pandas as pd

    return pd.Series(_positions(trades.assign(side="long", quantity=1.0), pd.DatetimeIndex(index)), index)


def _positions(trades: pd.DataFrame, index: pd.DatetimeIndex) -> Any:
    """Return the signed quantity held at each close: from the bar of entry up to the bar before the exit."""
    import numpy as np

    change = np.zeros(len(index) + 1)
    if len(trades):
        signed = np.where(trades["side"] == "short", -1.0, 1.0) * trades["quantity"].to_numpy(dtype=float)
        stops = index.searchsorted(_stamps(trades["exit_time"]))
        stops = np.where(trades["is_open"].astype(bool), len(index), stops)
        np.add.at(change, index.searchsorted(_stamps(trades["entry_time"])), signed)
        np.add.at(change, stops, -signed)
    held = np.cumsum(change)[:-1]
    scale = float(np.abs(held).max()) if len(held) else math.nan
    return np.where(np.abs(held) > 1e-9 * scale, held, 0.0)


def _fills(trades: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    if not len(trades):
        return pd.DataFrame({"timestamp": pd.DatetimeIndex([], tz="UTC"), "price": [], "quantity": []})
    closed = trades[~trades["is_open"].astype(bool)]
    ends = [trades[["entry_time", "entry_price", "quantity"]], closed[["exit_time", "exit_price", "quantity"]]]
    named = [part.set_axis(["timestamp", "price", "quantity"], axis=1) for part in ends]
    fills = pd.concat(named, ignore_index=True)
    return fills.assign(timestamp=_stamps(fills["timestamp"])).sort_values("timestamp", kind="stable")


def _stamps(values: pd.Series) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(pd.to_datetime(values, utc=True))
