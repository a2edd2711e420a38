"""All metrics of a result, computed here from its equity and from what else is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.backtest.metrics import compute_stats, turnover
from pipeline.results.aligned import Aligned, whole
from pipeline.results.contract import Result
from pipeline.results.holding_identities import weights_of

if TYPE_CHECKING:
    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.metrics import Stat

HELD = 1e-12  # weights below this are none


def settled(result: Result) -> Conventions:
    """Return the conventions of a result with what its labels tell: bars a year where none are given."""
    return result.conventions.of_bars(pd.DatetimeIndex(result.equity.index))


def recompute(result: Result) -> dict[str, Stat]:
    """Return the metrics of a result as plain floats, ints and None; what cannot be known from it is None.

    Those of the bundled engine in its conventions (docs/engine.md), and of a result whose weights are known the mean
    gross and net exposure, of several symbols also the mean concentration, sum of w^2 over (sum of |w|)^2, and the mean
    effective number of positions, which is its inverse; both over the labels at which something is held. Turnover and
    exposure come from the fills and positions, else from positions and weights at their prices, else from the trades.
    """
    conventions, aligned, path = settled(result), Aligned(result), path_of(result)
    stats = compute_stats(
        path,
        trades=_trades(aligned),
        fills=result.fills,
        positions=result.positions,
        initial_cash=result.capital,
        periods_per_year=conventions.periods_per_year,
        risk_free_rate=conventions.rate,
    )
    stats["n_bars"] = len(result.equity)
    below = stats["time_in_drawdown"]
    stats["time_in_drawdown"] = None if below is None else below * (len(path) / len(result.equity))
    return stats | _activity(aligned, stats) | _portfolio(aligned)


def path_of(result: Result) -> pd.Series:
    """Return the equity with the capital before it where its first label ends a period: its returns are all there."""
    return with_capital(result.equity, result.capital) if result.first_counts else result.equity


def with_capital(equity: pd.Series, capital: float) -> pd.Series:
    """Return the equity with the capital before it, a usual distance of its labels before the first one.

    A single label has no such distance, and stays alone.
    """
    if len(equity) < 2:
        return equity
    index = pd.DatetimeIndex(equity.index)
    usual = pd.Timedelta(int(np.median(np.diff(index.as_unit("ns").asi8))), unit="ns")
    before = pd.Series([capital], index=index[:1] - usual)
    path: pd.Series = pd.concat([before, equity])
    return path


def _trades(aligned: Aligned) -> pd.DataFrame | None:
    """Return the trades with what follows from their other columns: which are open, return in percent, bars held."""
    frame, trades = aligned.result.trades, aligned.trades
    if frame is None or trades is None:
        return None
    out = frame.assign(is_open=trades.is_open)
    if whole(frame, "return_pct") is None and trades.net_pnl is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            out["return_pct"] = trades.net_pnl / (np.abs(trades.quantity) * trades.entry_price) * 100.0
    if whole(frame, "bars_held") is None:
        out["bars_held"] = trades.exits - trades.enters
    return out


def _activity(aligned: Aligned, stats: dict[str, Stat]) -> dict[str, Stat]:
    """Return exposure, turnover and costs where fills and positions did not tell them but other parts do."""
    trades, equity = aligned.trades, path_of(aligned.result)
    out: dict[str, Stat] = {}
    if trades is not None and not trades.ends_known and not trades.is_open.any():
        out["open_trades"] = None
    if stats["exposure"] is None:
        held = _held(aligned)
        out["exposure"] = None if held is None else float(held.mean())
    if stats["turnover"] is None:
        traded = _traded(aligned)
        out["turnover"] = None if traded is None else turnover(traded, equity)
    if trades is not None:
        for name, column in (("fees_paid", "fees"), ("slippage_paid", "slippage_cost")):
            paid = whole(trades.frame, column)
            if stats[name] is None and paid is not None:
                out[name] = float(paid.sum())
    return out


def _held(aligned: Aligned) -> np.ndarray | None:
    """Return for each label whether something is held, by weights or else by trades."""
    trades, n = aligned.trades, len(aligned.labels)
    if aligned.weights is not None:
        held: np.ndarray = (np.abs(aligned.weights) > HELD).any(axis=1)
        return held
    if trades is None:
        return None
    opened, shut = (np.cumsum(np.bincount(at, minlength=n + 1)[:n]) for at in (trades.enters, trades.exits))
    still: np.ndarray = opened > shut
    return still


def _traded(aligned: Aligned) -> float | None:
    """Return the value of all that was traded: of changes of positions at their prices, or of the trades' two ends."""
    shares, prices, trades = weights_of(aligned), aligned.prices, aligned.trades
    if shares is not None and prices is not None:
        value = shares * aligned.equity[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = np.where(value[:-1] == 0.0, 0.0, value[:-1] * (prices[1:] / prices[:-1]))
        change = np.abs(value - np.vstack([np.zeros((1, value.shape[1])), kept]))
        return None if np.isnan(change).any() else float(change.sum())
    if trades is None:
        return None
    ends = np.abs(trades.quantity) * (trades.entry_price + np.where(trades.is_open, 0.0, trades.exit_price))
    return None if np.isnan(ends).any() else float(ends.sum())


def _portfolio(aligned: Aligned) -> dict[str, Stat]:
    """Return the means over time of what the weights are; concentration only of several symbols."""
    out: dict[str, Stat] = dict.fromkeys(
        ("avg_gross_exposure", "avg_net_exposure", "avg_concentration", "avg_effective_positions")
    )
    shares = weights_of(aligned)
    if shares is None or np.isnan(shares).all():
        return out
    shares = shares[~np.isnan(shares).any(axis=1)]
    gross = np.abs(shares).sum(axis=1)
    out |= {"avg_gross_exposure": float(gross.mean()), "avg_net_exposure": float(shares.sum(axis=1).mean())}
    held = gross > HELD
    if shares.shape[1] > 1 and held.any():
        concentration = (shares[held] ** 2).sum(axis=1) / gross[held] ** 2
        out["avg_concentration"] = float(concentration.mean())
        out["avg_effective_positions"] = float((1.0 / concentration).mean())
    return out
