"""Bars like those of a run, but other ones: without a future, with another move of one bar, all replaced.

Bars are a Series of prices, a frame of one instrument with a column `close`, or a frame with a column a symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Bars: TypeAlias = "pd.DataFrame | pd.Series[Any]"
PRICES = ("open", "high", "low", "close", "adj close")


def without_future(
    bars: Bars, labels: pd.DatetimeIndex, cut: int, rng: np.random.Generator
) -> Iterator[tuple[Bars, pd.Timestamp]]:
    """Yield bars without those from `cut` on, and the label before which nothing may change: truncated, then shuffled.

    Of the truncated ones the last label does not count: engines may close there, and a month be cut short.
    """
    yield bars.iloc[:cut], labels[cut - 1]
    order = np.arange(len(bars))
    if len(bars) - cut > 1:
        mixed = rng.permutation(order[cut:])
        order[cut:] = np.roll(order[cut:], 1) if np.array_equal(mixed, order[cut:]) else mixed
        yield bars.iloc[order].set_axis(bars.index, axis=0), labels[cut]


def with_move(bars: Bars, place: int, move: float, *, from_open: bool) -> Bars:
    """Return bars of which one closes at the close before it, moved by `move`; the moves of all others stay.

    The whole bar is scaled; or, `from_open`, its open stays, and high and low are those of open and close.
    """
    prices = closes(bars)
    factors = np.ones_like(prices)
    factors[place:] = prices[place - 1] * (1.0 + move) / prices[place]
    moved = _scaled(bars, factors)
    if from_open and isinstance(bars, pd.DataFrame) and isinstance(moved, pd.DataFrame):
        names = {str(name).lower(): at for at, name in enumerate(bars.columns)}
        ends = bars.iloc[:, names["open"]].to_numpy()[place], moved.iloc[:, names["close"]].to_numpy()[place]
        for name, value in (("open", ends[0]), ("high", max(ends)), ("low", min(ends))):
            if name in names:
                moved.iloc[place, names[name]] = value
    return moved


def replaced(bars: Bars, sign: float, rng: np.random.Generator) -> Bars:
    """Return bars with the moves of the closes in another order, mirrored for -1; columns keep together."""
    logs = np.log(closes(bars))
    moves = rng.permutation(np.nan_to_num(np.diff(logs, axis=0))) * sign
    path = logs[0] + np.concatenate([np.zeros_like(logs[:1]), np.cumsum(moves, axis=0)])
    return _scaled(bars, np.exp(np.clip(path - logs, -50.0, 50.0)))


def usual_move(bars: Bars) -> float:
    """Return the deviation of the logarithmic moves, the mean over columns; 0 of too few bars."""
    moves = np.diff(np.log(closes(bars)), axis=0)
    known = np.isfinite(moves).sum(axis=0) > 1
    return float(np.nanstd(moves[:, known], axis=0).mean()) if known.any() else 0.0


def closes(bars: Bars) -> np.ndarray:
    """Return the closes, n by 1 of one instrument, else a column a symbol; NaN where there is no price above 0."""
    name = _close(bars)
    values = (bars if name is None else bars[name]).to_numpy(dtype=float).reshape(len(bars), -1)
    return np.where(values > 0.0, values, np.nan)


def have_opens(bars: Bars) -> bool:
    """Say whether something can be earned between open and close: one instrument with both."""
    return bars.ndim == 2 and {"open", "close"} <= {str(name).lower() for name in bars.columns}


def have_ranges(bars: Bars) -> bool:
    """Say whether orders can be filled inside of a bar: one instrument with a high and a low."""
    return bars.ndim == 2 and {"high", "low"} <= {str(name).lower() for name in bars.columns}


def _scaled(bars: Bars, factors: np.ndarray) -> Bars:
    """Return bars times factors: of one instrument all prices, of a column a symbol each by its own."""
    if isinstance(bars, pd.Series):
        return pd.Series(bars.to_numpy(dtype=float) * factors[:, 0], bars.index, name=bars.name)
    if _close(bars) is None:
        return pd.DataFrame(bars.to_numpy(dtype=float) * factors, bars.index, bars.columns)
    scaled = bars.copy()
    for name in bars.columns:
        if str(name).lower() in PRICES:
            scaled[name] = bars[name] * factors[:, 0]
    return scaled


def _close(bars: Bars) -> Any:
    """Return the name of the column of closes; None of a Series, and of a frame with a column a symbol."""
    columns = bars.columns if isinstance(bars, pd.DataFrame) else ()
    return next((name for name in columns if str(name).lower() == "close"), None)
