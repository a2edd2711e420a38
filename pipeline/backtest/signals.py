"""The signal functions of the bundled strategies: `(df, params) -> Series` of 1 (long), 0 (flat), -1 (short).

A signal at bar t uses bars up to and including t, nothing later. Bars before the first full window are 0.
Every function needs all its params: pipeline.backtest.resolve_params fills in defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def ma_crossover(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
    """Long while the fast average of the close is above the slow one; short, if allowed, while below."""
    averages = []
    for name in ("fast", "slow"):
        bars = params[name]
        if params["average"] == "ema":
            averages.append(df["close"].ewm(span=bars, adjust=False, min_periods=bars).mean())
        else:
            averages.append(df["close"].rolling(bars).mean())
    fast, slow = averages
    return _compare(fast, slow, allow_short=params["allow_short"])


def buy_and_hold(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:  # noqa: ARG001 - it has no params
    """Long from the first bar on."""
    import pandas as pd

    return pd.Series(1, index=df.index, dtype="int8", name="signal")


def rsi_reversion(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
    """Long from an RSI below `lower` until it is above `exit_level`; short, if allowed, from above `upper`.

    RSI by Wilder (1978) with exponential smoothing of weight 1/period from the first change on; 50 when prices
    have not moved at all.
    """
    change = df["close"].diff()
    smoothing = {"alpha": 1.0 / params["period"], "adjust": False, "min_periods": params["period"]}
    gain = change.clip(lower=0.0).ewm(**smoothing).mean()
    loss = (-change).clip(lower=0.0).ewm(**smoothing).mean()
    total = gain + loss
    rsi = (100.0 * gain / total).where(total != 0.0, 50.0).where(total.notna())
    long = _latched(rsi < params["lower"], rsi > params["exit_level"])
    short = _latched(rsi > params["upper"], rsi < params["exit_level"])
    return _combined(long, short, allow_short=params["allow_short"])


def donchian(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
    """Long from a close above the highest high of the `entry` bars before, until below the `exit` bars' low."""
    high, low, close = df["high"].shift(1), df["low"].shift(1), df["close"]
    up, down = close > high.rolling(params["entry"]).max(), close < low.rolling(params["entry"]).min()
    long = _latched(up, close < low.rolling(params["exit"]).min())
    short = _latched(down, close > high.rolling(params["exit"]).max())
    return _combined(long, short, allow_short=params["allow_short"])


def macd(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
    """Long while the MACD line is above its signal line; short, if allowed, while below."""
    close = df["close"]
    fast = close.ewm(span=params["fast"], adjust=False).mean()
    slow = close.ewm(span=params["slow"], adjust=False, min_periods=params["slow"]).mean()
    line = fast - slow
    signal_line = line.ewm(span=params["signal"], adjust=False, min_periods=params["signal"]).mean()
    return _compare(line, signal_line, allow_short=params["allow_short"])


def _compare(upper: pd.Series, lower: pd.Series, *, allow_short: bool) -> pd.Series:
    """1 where `upper` > `lower`, -1 (or 0) where below, 0 where equal or NaN."""
    return _combined(upper > lower, upper < lower, allow_short=allow_short)


def _latched(on: pd.Series, off: pd.Series) -> pd.Series:
    """Return True from a bar with `on` until a bar with `off`; a bar with both turns it on."""
    import numpy as np
    import pandas as pd

    events = np.where(on.to_numpy(), 1.0, np.where(off.to_numpy(), 0.0, np.nan))
    return pd.Series(events, index=on.index).ffill() == 1.0


def _combined(long: pd.Series, short: pd.Series, *, allow_short: bool) -> pd.Series:
    signal = long.astype("int8")
    if allow_short:
        signal = signal - (short & ~long).astype("int8")
    return signal.astype("int8").rename("signal")
