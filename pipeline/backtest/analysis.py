"""Tables and series behind a report's figures: drawdowns, rolling statistics, distribution, activity, trades, crises.

Equity curves are indexed by UTC timestamps; returns are simple, per bar, decimals. Tables hold NaN (or NaT) where a
value is undefined. Annual figures take `periods_per_year`; ddof is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.backtest.conventions import per_period_rate
from pipeline.backtest.engine import BacktestResult
from pipeline.backtest.metrics import NO_VARIANCE, drawdown, simple_returns
from pipeline.backtest.significance import NORMAL, finite_returns
from pipeline.backtest.windows import at_last, windows_of
from pipeline.errors import UsageError

_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Crisis:
    """A well-known fall of the US stock market, from the close of `start` to the close of `end` (ISO dates)."""

    name: str
    start: str
    end: str


# The closing high before each fall and the closing low that ended it, of the S&P 500 index, from its published daily
# closes; for 11 September 2001 the last close before it. A test checks those from 1999 to 2018 on the bundled sample.
CRISES = (
    Crisis("Black Monday", "1987-08-25", "1987-12-04"),
    Crisis("Gulf war", "1990-07-16", "1990-10-11"),
    Crisis("Russian default and LTCM", "1998-07-17", "1998-08-31"),
    Crisis("Dot-com bust", "2000-03-24", "2002-10-09"),
    Crisis("11 September 2001", "2001-09-10", "2001-09-21"),
    Crisis("Global financial crisis", "2007-10-09", "2009-03-09"),
    Crisis("Flash crash and Greek debt", "2010-04-23", "2010-07-02"),
    Crisis("US downgrade and euro debt", "2011-04-29", "2011-10-03"),
    Crisis("Yuan devaluation and oil", "2015-05-21", "2016-02-11"),
    Crisis("Volatility shock", "2018-01-26", "2018-02-08"),
    Crisis("Rate fears, end of 2018", "2018-09-20", "2018-12-24"),
    Crisis("Covid-19", "2020-02-19", "2020-03-23"),
    Crisis("Inflation and rates", "2022-01-03", "2022-10-12"),
    Crisis("US tariffs", "2025-02-19", "2025-04-08"),
)


def worst_drawdowns(equity: pd.Series, *, initial: float | None = None, most: int = 10) -> pd.DataFrame:
    """Return the deepest falls, deepest first: start, trough, recovery, depth, length_bars, length_days.

    start is the bar of the peak (the first bar when that is `initial`, the starting equity), recovery the first bar
    at or above the peak again, NaT while there is none. depth <= 0. Lengths run from start to recovery, or to the
    last bar; days are calendar days.
    """
    depth = drawdown(equity, initial).to_numpy()
    below = np.concatenate([[False], depth < 0.0, [False]])
    starts, stops = np.flatnonzero(below[1:] & ~below[:-1]), np.flatnonzero(~below[1:] & below[:-1])
    peak, recovered = np.maximum(starts - 1, 0), stops < len(depth)
    last = np.where(recovered, stops, len(depth) - 1)
    places = zip(starts, stops, strict=True)
    trough = np.array([start + depth[start:stop].argmin() for start, stop in places], dtype=np.int64)
    index = pd.DatetimeIndex(equity.index)
    table = pd.DataFrame({
        "start": index[peak],
        "trough": index[trough],
        "recovery": pd.Series(index[last]).where(recovered),
        "depth": depth[trough],
        "length_bars": last - peak,
        "length_days": (index[last] - index[peak]) / _DAY,
    })  # fmt: skip
    return table.sort_values("depth", kind="stable").head(most).reset_index(drop=True)


def rolling_stats(
    equity: pd.Series,
    *,
    window: int,
    periods_per_year: float,
    benchmark: pd.Series | None = None,
    initial: float | None = None,
    risk_free_rate: float = 0.0,
) -> pd.DataFrame:
    """Return annualised sharpe and volatility over the last `window` returns, and beta to a benchmark's returns.

    One row a bar, NaN before a full window. Where there is no variance volatility is 0 and the ratio, or for the
    benchmark beta, is NaN. `benchmark` is an equity or price series
    on the same bars; beta = covariance / variance of the benchmark. The risk-free rate is annual.
    """
    if window < 2:
        raise UsageError(f"window = {window}: must be at least 2 bars.")
    if benchmark is not None and not benchmark.index.equals(equity.index):
        raise UsageError("The benchmark of rolling_stats must be on the bars of the equity curve.")
    n, root = len(equity), math.sqrt(periods_per_year)
    returns = simple_returns(equity, initial)
    own = windows_of(returns, returns, window)
    deviation = np.sqrt(own.covariance)
    moves = deviation >= NO_VARIANCE
    excess = own.x - per_period_rate(risk_free_rate, periods_per_year)
    found = {
        "sharpe": excess / np.where(moves, deviation, math.nan) * root,
        "volatility": np.where(moves, deviation, 0.0) * root,
    }
    if benchmark is not None:
        market = simple_returns(benchmark)
        variance = windows_of(market, market, window).covariance
        together = windows_of(returns, market, window).covariance
        found["beta"] = together / np.where(variance >= NO_VARIANCE**2, variance, math.nan)
    return pd.DataFrame({name: at_last(values, n) for name, values in found.items()}, index=equity.index)


def yearly_returns(equity: pd.Series, initial: float | None = None) -> pd.Series:
    """Return simple returns by calendar year (UTC), indexed by year; the first counts from `initial`.

    Compounding them gives the total return. A year that begins at or below zero has a return of 0.
    """
    last = equity.groupby(pd.DatetimeIndex(equity.index).year).last()
    before = last.shift(1).fillna(float(equity.iloc[0] if initial is None else initial))
    returns = (last / before - 1.0).where(before > 0.0, 0.0)
    return returns.rename("return").rename_axis("year")


def return_histogram(returns: np.ndarray, *, bins: int = 60) -> pd.DataFrame:
    """Return equal bins over the returns: left, right, count, and normal, the count a normal distribution expects.

    The normal one has the mean and deviation of the returns; it is NaN without variance. No returns: no rows.
    """
    values = finite_returns(returns)
    if not len(values):
        return pd.DataFrame(columns=["left", "right", "count", "normal"], dtype=np.float64)
    count, edges = np.histogram(values, bins=bins)
    expected = np.full(bins, math.nan)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    if deviation >= NO_VARIANCE:
        below = np.array([NORMAL.cdf((edge - values.mean()) / deviation) for edge in edges])
        expected = np.diff(below) * len(values)
    return pd.DataFrame({"left": edges[:-1], "right": edges[1:], "count": count, "normal": expected})


def qq_points(returns: np.ndarray, *, most: int = 200) -> pd.DataFrame:
    """Return points of a normal QQ plot: theoretical and sample quantiles, both in standard deviations.

    Plotting positions are (i - 1/2) / n. Of more than `most` returns, evenly spaced ranks are kept, and the 20
    largest and smallest. Empty without variance.
    """
    values = np.sort(finite_returns(returns))
    n = len(values)
    deviation = float(np.std(values, ddof=1)) if n > 1 else 0.0
    if deviation < NO_VARIANCE:
        return pd.DataFrame(columns=["theoretical", "sample"], dtype=np.float64)
    ranks = np.arange(n)
    if n > most:
        inner = np.linspace(0, n - 1, max(most - 40, 2)).round().astype(int)
        ranks = np.unique(np.concatenate([ranks[:20], inner, ranks[-20:]]))
    theoretical = [NORMAL.inv_cdf((rank + 0.5) / n) for rank in ranks]
    return pd.DataFrame({"theoretical": theoretical, "sample": (values[ranks] - values.mean()) / deviation})


def monthly_activity(result: BacktestResult) -> pd.DataFrame:
    """Return, by calendar month (UTC, indexed by its first instant): bars, exposure, long, short, turnover, fills.

    exposure, long and short are shares of bars with such a position at the close; turnover is the notional traded in
    the month over its mean equity (not annualised), NaN when that is not positive.
    """
    equity, held = result.equity_curve, result.positions.to_numpy()
    month = _month(equity.index)
    table = pd.DataFrame({"exposure": held != 0.0, "long": held > 0.0, "short": held < 0.0}, index=equity.index)
    out = table.astype(float).groupby(month).mean()
    traded = (result.fills["price"] * result.fills["quantity"]).groupby(_month(result.fills["timestamp"]))
    mean = equity.groupby(month).mean()
    out["turnover"] = traded.sum().reindex(out.index, fill_value=0.0) / mean.where(mean > 0.0)
    out["fills"] = traded.size().reindex(out.index, fill_value=0)
    out.insert(0, "bars", equity.groupby(month).size())
    return out.rename_axis("month")


def trade_summary(trades: pd.DataFrame) -> pd.DataFrame:
    """Return closed trades by side, rows long, short, all; open trades are left out.

    trades, win_rate, net_pnl, gross_pnl, fees, slippage_cost (money); avg_return, median_return, best, worst, avg_win,
    avg_loss (decimals of the entry notional, after costs); payoff = avg_win / |avg_loss|; profit_factor = gains /
    losses; avg_bars_held, avg_mae, avg_mfe. NaN where there is nothing to average or no loss.
    """
    closed = trades[~trades["is_open"].astype(bool)]
    sides = {"long": closed[closed["side"] == "long"], "short": closed[closed["side"] == "short"], "all": closed}
    return pd.DataFrame({side: _side_summary(part) for side, part in sides.items()}).T.rename_axis("side")


def crisis_windows(
    equity: pd.Series, *, benchmark: pd.Series | None = None, crises: tuple[Crisis, ...] = CRISES
) -> pd.DataFrame:
    """Return how the curve went through each crisis that it holds at least two bars of, in order of time.

    Columns: name, start, end (bars used: the last one up to the crisis' first day, or the first one there is, to the
    last one on its last day), is_whole (False when the curve begins or ends inside), bars, total_return, max_drawdown,
    and benchmark_return for an equity or price series on the same bars.
    """
    index = pd.DatetimeIndex(equity.index)
    rows: list[dict[str, Any]] = []
    for crisis in crises:
        begin, after = (pd.Timestamp(crisis.start, tz="UTC") + _DAY, pd.Timestamp(crisis.end, tz="UTC") + _DAY)
        first, stop = max(int(index.searchsorted(begin)) - 1, 0), int(index.searchsorted(after))
        if stop - first < 2 or index[stop - 1] < begin:
            continue
        part = equity.iloc[first:stop]
        row: dict[str, Any] = {
            "name": crisis.name, "start": index[first], "end": index[stop - 1],
            "is_whole": bool(index[0] < begin and index[-1] >= after - _DAY), "bars": stop - first,
            "total_return": _growth(part), "max_drawdown": min(float(drawdown(part).min()), 0.0),
        }  # fmt: skip
        if benchmark is not None:
            row["benchmark_return"] = _growth(benchmark.iloc[first:stop])
        rows.append(row)
    names = ["name", "start", "end", "is_whole", "bars", "total_return", "max_drawdown"]
    return pd.DataFrame(rows, columns=[*names, *(["benchmark_return"] if benchmark is not None else [])])


def _month(stamps: Any) -> pd.DatetimeIndex:
    days = pd.DatetimeIndex(stamps).normalize()
    return days - pd.to_timedelta(days.day - 1, unit="D")


def _growth(values: pd.Series) -> float:
    first, last = float(values.iloc[0]), float(values.iloc[-1])
    return last / first - 1.0 if first > 0.0 else math.nan


def _side_summary(part: pd.DataFrame) -> dict[str, float]:
    pnl, gains = part["net_pnl"].to_numpy(dtype=np.float64), part["return_pct"].to_numpy(dtype=np.float64) / 100.0
    won, lost = gains[pnl > 0.0], gains[pnl < 0.0]
    losses = float(-pnl[pnl < 0.0].sum())
    avg_win, avg_loss = _mean(won), _mean(lost)
    out = {"trades": float(len(part)), "win_rate": _mean(pnl > 0.0)}
    out |= {name: float(part[name].sum()) for name in ("net_pnl", "gross_pnl", "fees", "slippage_cost")}
    out |= {
        "avg_return": _mean(gains),
        "median_return": float(np.median(gains)) if len(gains) else math.nan,
        "best": float(gains.max()) if len(gains) else math.nan,
        "worst": float(gains.min()) if len(gains) else math.nan,
        "avg_win": avg_win,
        "avg_loss": avg_loss,
        "payoff": avg_win / abs(avg_loss) if avg_loss < 0.0 else math.nan,
        "profit_factor": float(pnl[pnl > 0.0].sum()) / losses if losses > 0.0 else math.nan,
    }
    return out | {f"avg_{name}": _mean(part[name].to_numpy(dtype=np.float64)) for name in ("bars_held", "mae", "mfe")}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan
