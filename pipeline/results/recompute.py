"""All metrics of a result, computed here from its equity and from what else is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.metrics import Stat
    from pipeline.results.contract import Result


def settled(result: Result) -> Conventions:
    """Return the conventions of a result with what its labels tell: bars a year where none are given."""
    import pandas as pd

    return result.conventions.of_bars(pd.DatetimeIndex(result.equity.index))


def recompute(result: Result) -> dict[str, Stat]:
    """Return the metrics of a result; what cannot be known from it is None, never a zero."""
    from pipeline.backtest.metrics import compute_stats

    conventions = settled(result)
    return compute_stats(
        result.equity,
        trades=result.trades,
        fills=result.fills,
        positions=result.positions,
        initial_cash=result.capital,
        periods_per_year=conventions.periods_per_year,
        risk_free_rate=conventions.rate,
    )
