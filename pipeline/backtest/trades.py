"""The event log of fills and the list of trades, as frames with fixed columns and types."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.backtest.kernel import REASONS, Simulation

FILL_COLUMNS = {
    "bar": "0-based position of the bar",
    "timestamp": "UTC timestamp of the bar",
    "side": "buy or sell",
    "price": "price paid or received, slippage included",
    "quantity": "units traded, > 0",
    "fee": "fee in money",
    "slippage_cost": "money lost to slippage, already inside price",
    "cash_after": "cash after the fill",
    "position_after": "signed quantity held after the fill",
    "reason": "signal, stop or liquidation",
}

TRADE_COLUMNS = {
    "trade_id": "1, 2, … in order of entry",
    "symbol": "instrument",
    "side": "long or short",
    "entry_time": "UTC timestamp of the bar of entry",
    "exit_time": "UTC timestamp of the bar of exit; of the last bar when open",
    "entry_price": "entry fill, slippage included",
    "exit_price": "exit fill, slippage included; the last close when open",
    "quantity": "units, > 0",
    "gross_pnl": "quantity * (exit_price - entry_price), sign turned for shorts: slippage is inside",
    "fees": "entry fee plus exit fee (only the entry's when open)",
    "slippage_cost": "money lost to slippage at both fills; told for information, not subtracted again",
    "net_pnl": "gross_pnl - fees",
    "return_pct": "net_pnl in percent of quantity * entry_price",
    "bars_held": "bars from entry to exit",
    "mae": "worst excursion as a decimal of entry_price, <= 0",
    "mfe": "best excursion as a decimal of entry_price, >= 0",
    "exit_reason": "signal, stop, liquidation or end_of_data",
    "is_open": "True for the trade still open on the last bar, marked to its close",
}


def fills_frame(done: Simulation, index: pd.DatetimeIndex) -> pd.DataFrame:
    """Return one row a fill, in order; columns as in FILL_COLUMNS."""
    return pd.DataFrame(
        {
            "bar": done.bar,
            "timestamp": index[done.bar],
            "side": _text(np.where(done.quantity > 0.0, "buy", "sell")),
            "price": done.price,
            "quantity": np.abs(done.quantity),
            "fee": done.fee,
            "slippage_cost": _slippage(done),
            "cash_after": done.cash,
            "position_after": done.holding,
            "reason": _reasons(done.reason),
        }
    )


def trades_frame(
    done: Simulation,
    index: pd.DatetimeIndex,
    *,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    symbol: str,
    next_open: bool,
) -> pd.DataFrame:
    """Return one row a trade; columns as in TRADE_COLUMNS. Fills alternate: entry, exit, entry, …

    mae and mfe cover the prices a trade certainly saw: the entry and exit prices and the highs and lows of the
    bars between. The bar of entry counts when entry is at its open; the bar of exit counts when the exit is at
    its close, else only the exit price does, because the bar's extremes may lie after it.
    """
    entry, n = slice(0, None, 2), len(close)
    is_open = np.zeros(len(done.bar[entry]), dtype=bool)
    is_open[:] = [False] * (len(done.bar) // 2) + [True] * (len(done.bar) % 2)
    tail = is_open[-1:]  # one element when there are trades, to extend the exits of an open trade

    def exits(values: np.ndarray, when_open: float) -> np.ndarray:
        return np.append(values[1::2], [when_open] * int(tail.sum()))

    direction = np.sign(done.quantity[entry])
    quantity = np.abs(done.quantity[entry])
    entry_bar, exit_bar = done.bar[entry], exits(done.bar, n - 1).astype(np.int64)
    entry_price, exit_price = done.price[entry], exits(done.price, close[-1])
    fees = done.fee[entry] + exits(done.fee, 0.0)
    slippage = _slippage(done)
    gross = direction * quantity * (exit_price - entry_price)
    reason = exits(done.reason, len(REASONS)).astype(np.int64)
    # first bar whose extremes count, and the first after the last one that counts
    first = entry_bar + (0 if next_open else 1)
    at_close = is_open | ((reason == 0) & (not next_open))
    mae, mfe = _excursions(direction, entry_price, exit_price, (first, exit_bar + at_close), (high, low))
    return pd.DataFrame(
        {
            "trade_id": np.arange(1, len(quantity) + 1),
            "symbol": _text(np.full(len(quantity), symbol, dtype=object)),
            "side": _text(np.where(direction > 0, "long", "short")),
            "entry_time": index[entry_bar],
            "exit_time": index[exit_bar],
            "entry_price": entry_price,
            "exit_price": exit_price,
            "quantity": quantity,
            "gross_pnl": gross,
            "fees": fees,
            "slippage_cost": slippage[entry] + exits(slippage, 0.0),
            "net_pnl": gross - fees,
            "return_pct": (gross - fees) / (quantity * entry_price) * 100.0,
            "bars_held": exit_bar - entry_bar,
            "mae": mae,
            "mfe": mfe,
            "exit_reason": _reasons(reason),
            "is_open": is_open,
        }
    )


def _slippage(done: Simulation) -> np.ndarray:
    cost: np.ndarray = np.abs(done.price - done.raw) * np.abs(done.quantity)
    return cost


def _reasons(codes: np.ndarray) -> pd.Series:
    return _text(np.array([*REASONS, "end_of_data"], dtype=object)[codes])


def _text(values: np.ndarray) -> pd.Series:
    """Return text in pandas' own text type, also when there is none: object before pandas 3, str from 3 on."""
    return pd.Series(values.astype(object), dtype=str)


def _excursions(
    direction: np.ndarray,
    entry: np.ndarray,
    exit_: np.ndarray,
    span: tuple[np.ndarray, np.ndarray],
    extremes: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return worst and best move as decimals of `entry`, over bars span[0] <= t < span[1] and the exit price."""
    top = np.maximum(np.maximum(entry, exit_), _over(np.maximum, extremes[0], span, -np.inf))
    bottom = np.minimum(np.minimum(entry, exit_), _over(np.minimum, extremes[1], span, np.inf))
    up, down = top / entry - 1.0, bottom / entry - 1.0
    long = direction > 0
    return np.where(long, down, -up), np.where(long, up, -down)


def _over(ufunc: np.ufunc, values: np.ndarray, span: tuple[np.ndarray, np.ndarray], empty: float) -> np.ndarray:
    """Reduce `values` over each half-open span; `empty` where a span holds no bar."""
    first, stop = span
    if len(first) == 0:
        return np.zeros(0)
    padded = np.append(values, [empty, empty])
    edges = np.column_stack([first, np.maximum(stop, first)]).ravel()
    return np.where(stop > first, ufunc.reduceat(padded, edges)[::2], empty)
