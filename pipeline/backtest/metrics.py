"""Metrics of an equity curve and its trades, each with its convention written down.

Returns are simple, per bar, as decimals. ddof = 1. A ratio without a meaning (no variance, no trades, no loss)
is None, never inf or NaN. Drawdowns are <= 0 and the starting equity counts as a peak.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from pipeline.backtest.conventions import per_period_rate

# A standard deviation of simple returns below this is rounding error of dividing equal prices, so it is none.
NO_VARIANCE = 1e-13
SECONDS_PER_YEAR = 365.25 * 86_400
# Equity below this share of the starting equity, on either side of zero, is rounding error of a total loss.
TOTAL_LOSS = 1e-12

Stat = float | int | None


def compute_stats(
    equity: pd.Series,
    *,
    trades: pd.DataFrame | None = None,
    fills: pd.DataFrame | None = None,
    positions: pd.Series | pd.DataFrame | None = None,
    initial_cash: float | None = None,
    periods_per_year: float | None = None,
    risk_free_rate: float = 0.0,
) -> dict[str, Stat]:
    """Return all metrics of a backtest as plain floats, ints and None.

    `equity` is indexed by UTC timestamps; `trades`, `fills` and `positions` have the columns of BacktestResult.
    What is not given is not known: its metrics are None.
    `initial_cash` is the starting equity (default: the first value). `periods_per_year` None leaves annual
    figures None; `risk_free_rate` is annual. Open trades count in equity, fees and exposure but not in
    total_trades, win_rate, profit_factor and the averages over trades.
    """
    start = float(equity.iloc[0] if initial_cash is None else initial_cash)
    stats: dict[str, Stat] = {"n_bars": len(equity), "periods_per_year": periods_per_year}
    with np.errstate(over="ignore", invalid="ignore"):  # absurd growth overflows: inf and NaN become None below
        returns = simple_returns(equity, start)
        stats |= return_stats(returns, periods_per_year=periods_per_year, risk_free_rate=risk_free_rate)
    growth = _growth(equity, start)
    stats |= {"final_equity": float(equity.iloc[-1]), "total_return": growth - 1.0, "cagr": cagr(equity, start)}
    stats |= _drawdown_stats(equity, start, stats["cagr"])
    stats |= _trade_stats(trades)
    stats |= _activity_stats(equity, fills, positions)
    return {name: _plain(value) for name, value in stats.items()}


def simple_returns(equity: pd.Series, initial: float | None = None) -> np.ndarray:
    """Return the n - 1 simple returns of n values; the first one is measured from `initial`.

    So the product of 1 + r is final equity / initial. Once the account is at or below zero, returns are 0.
    """
    values = equity.to_numpy(dtype=np.float64, copy=True)
    if initial is not None:
        values[0] = initial
    before = values[:-1]
    alive = before > 0.0
    return np.where(alive, values[1:] / np.where(alive, before, 1.0) - 1.0, 0.0)


def return_stats(
    returns: np.ndarray, *, periods_per_year: float | None, risk_free_rate: float = 0.0
) -> dict[str, Stat]:
    """Return annual_volatility, sharpe, sortino, skewness and kurtosis of simple returns per bar.

    With excess e = r - per_period_rate(risk_free_rate, periods_per_year):
    sharpe = mean(e) / std(e, ddof=1) * sqrt(periods_per_year); sortino divides by sqrt(mean(min(e, 0)^2)) over
    all n returns; skewness and kurtosis are population moments, kurtosis is not excess (normal = 3).
    """
    names = ("annual_volatility", "sharpe", "sortino", "skewness", "kurtosis")
    n = len(returns)
    if n < 2:
        return dict.fromkeys(names)
    deviation = float(np.std(returns, ddof=1))
    volatile = deviation >= NO_VARIANCE
    out: dict[str, Stat] = dict.fromkeys(names)
    if periods_per_year is not None:
        root = math.sqrt(periods_per_year)
        excess = returns - per_period_rate(risk_free_rate, periods_per_year)
        downside = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2)))
        mean = float(np.mean(excess))
        out["annual_volatility"] = deviation * root if volatile else 0.0
        out["sharpe"] = mean / deviation * root if volatile else None
        out["sortino"] = mean / downside * root if downside >= NO_VARIANCE else None
    if volatile:
        scores = (returns - returns.mean()) / np.std(returns)
        squares = scores * scores
        out["skewness"] = float(np.mean(squares * scores))
        out["kurtosis"] = float(np.mean(squares * squares))
    return out


def cagr(equity: pd.Series, initial: float | None = None) -> float | None:
    """Return the compound annual growth rate by calendar time: (end / start)^(1 / years) - 1.

    A year is 365.25 days. None when the curve spans no time or ends below zero.
    """
    start = float(equity.iloc[0] if initial is None else initial)
    years = calendar_years(equity.index)
    growth = _growth(equity, start)
    if years <= 0.0 or growth < 0.0:
        return None
    try:
        return float(growth ** (1.0 / years) - 1.0)
    except OverflowError:  # a few seconds of data raised to a whole year
        return None


def _growth(equity: pd.Series, start: float) -> float:
    """Return the last value over the start; 0 where rounding is all that a total loss left."""
    growth = float(equity.iloc[-1]) / start
    return 0.0 if abs(growth) < TOTAL_LOSS else growth


def calendar_years(index: pd.Index) -> float:
    """Return the years of 365.25 days between the first and the last timestamp."""
    return float((index[-1] - index[0]).total_seconds()) / SECONDS_PER_YEAR


def drawdown(equity: pd.Series, initial: float | None = None) -> pd.Series:
    """Return equity / highest equity so far - 1 at every bar, <= 0; `initial` (default: first value) is a peak too."""
    values = equity.to_numpy(dtype=np.float64)
    start = float(values[0] if initial is None else initial)
    peak = np.maximum(np.maximum.accumulate(values), start)
    return pd.Series(values / peak - 1.0, index=equity.index, name="drawdown")


def monthly_returns(equity: pd.Series, initial: float | None = None) -> pd.DataFrame:
    """Return simple returns by calendar month (UTC): one row a year, columns 1 to 12, NaN where there is no data.

    The first month counts from `initial` (default: the first value); compounding all cells gives total_return.
    """
    start = float(equity.iloc[0] if initial is None else initial)
    stamps = pd.DatetimeIndex(equity.index)
    last = equity.groupby([stamps.year, stamps.month]).last()
    before = last.shift(1).fillna(start)
    table = (last / before - 1.0).where(before > 0.0, 0.0).unstack()
    table.index.name, table.columns.name = "year", "month"
    return table.reindex(columns=pd.RangeIndex(1, 13, name="month"))


def _drawdown_stats(equity: pd.Series, start: float, growth: Any) -> dict[str, Stat]:
    """max_drawdown <= 0; time_in_drawdown: share of bars below a peak; calmar = cagr / |max_drawdown|."""
    depth = drawdown(equity, start).to_numpy()
    worst = min(float(depth.min()), 0.0)
    calmar = growth / abs(worst) if growth is not None and worst < -NO_VARIANCE else None
    return {"max_drawdown": worst, "time_in_drawdown": float((depth < 0.0).mean()), "calmar": calmar}


def _trade_stats(trades: pd.DataFrame | None) -> dict[str, Stat]:
    """Closed trades only. Returns of trades are net P&L over entry notional, as decimals.

    All are None without trades, and those whose column is missing or has gaps.
    """
    names = ("win_rate", "profit_factor", "best_trade", "worst_trade", "avg_trade", "avg_bars_held")
    out: dict[str, Stat] = dict.fromkeys(("total_trades", "open_trades", *names))
    if trades is None or "is_open" not in trades:
        return out
    is_open = trades["is_open"].to_numpy(dtype=bool)
    out["open_trades"] = int(is_open.sum())
    out["total_trades"] = len(trades) - int(is_open.sum())
    if not out["total_trades"]:
        return out
    closed = trades[~is_open]
    if (pnl := _whole(closed, "net_pnl")) is not None:
        lost = float(-pnl[pnl < 0.0].sum())
        out["win_rate"] = float((pnl > 0.0).mean())
        out["profit_factor"] = float(pnl[pnl > 0.0].sum()) / lost if lost > 0.0 else None
    if (percent := _whole(closed, "return_pct")) is not None:
        gains = percent / 100.0
        out |= {
            "best_trade": float(gains.max()),
            "worst_trade": float(gains.min()),
            "avg_trade": float(gains.mean()),
        }
    if (bars := _whole(closed, "bars_held")) is not None:
        out["avg_bars_held"] = float(bars.mean())
    return out


def _activity_stats(
    equity: pd.Series, fills: pd.DataFrame | None, positions: pd.Series | pd.DataFrame | None
) -> dict[str, Stat]:
    """exposure: share of bars with a position at the close; turnover: notional traded / mean equity / years.

    Several positions (a frame) count as one exposure; quantities of fills may be signed.
    """
    out: dict[str, Stat] = {"exposure": None, "turnover": None, "fees_paid": None, "slippage_paid": None}
    if positions is not None:
        held = positions.to_numpy() != 0.0
        out["exposure"] = float((held if held.ndim == 1 else held.any(axis=1)).mean())
    if fills is not None:
        out["turnover"] = turnover(float((fills["price"] * fills["quantity"]).abs().sum()), equity)
        for name, column in (("fees_paid", "fee"), ("slippage_paid", "slippage_cost")):
            paid = _whole(fills, column)
            out[name] = None if paid is None else float(paid.sum())
    return out


def turnover(traded: float, equity: pd.Series) -> float | None:
    """Return the notional traded over the mean equity, a year; None when there is no time or no equity."""
    years, mean = calendar_years(equity.index), float(equity.mean())
    return traded / mean / years if years > 0.0 and mean > 0.0 else None


def _whole(frame: pd.DataFrame, column: str) -> np.ndarray | None:
    """Return a column as floats; None where it is missing or has gaps."""
    if column not in frame:
        return None
    values: np.ndarray = frame[column].to_numpy(dtype=float, na_value=np.nan)
    return None if np.isnan(values).any() else values


def _plain(value: Any) -> Stat:
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
