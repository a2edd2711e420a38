"""A Result of bt as a result: its first row is the day before the data, where nothing has happened yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import fills_frame
from pipeline.engines.objects import engine_of, gathered, is_a, one_of, relabelled, reported
from pipeline.results.contract import ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd

FFN = "252 periods a year; with the 0 return of the first bar, from the row before the first trade on"


class BtAdapter:
    """Takes what bt.run returns, one of its backtests."""

    name = "bt Result"

    def recognises(self, value: Any) -> bool:
        """Say whether it is a Result or a Backtest of bt that has run."""
        return is_a(value, "bt", "Result", "RandomBenchmarkResult", "RenormalizedFixedIncomeResult", "Backtest")

    def adapt(self, value: Any, given: Given) -> Result:
        """Return one backtest; with flows of money the equity is the index of its growth times the capital."""
        backtests = {value.name: value} if is_a(value, "bt", "Backtest") else value.backtests
        name = one_of(list(backtests), given.column, "The bt Result")
        backtest = backtests[name]
        strategy, capital = backtest.strategy, float(backtest.initial_capital)
        growth, values = relabelled(strategy.prices, "the prices"), relabelled(strategy.values, "the values")
        flows = bool((strategy.flows.iloc[1:] != 0.0).any())
        equity = growth / float(growth.iloc[0]) * capital if flows else values
        positions = relabelled(backtest.positions, "the positions").fillna(0.0)
        prices = relabelled(backtest.data, "the prices").reindex(columns=positions.columns)
        weights = relabelled(backtest.security_weights, "the weights").fillna(0.0)
        fees = float(strategy.fees.sum())
        return Result(
            equity=equity.rename("equity"),
            capital=capital,
            first_label="start",
            engine=engine_of("bt", "bt", "bt"),
            strategy=str(name),
            symbols=tuple(str(symbol) for symbol in positions.columns),
            fills=_fills(backtest),
            positions=None if flows else positions,
            weights=weights,
            prices=prices if not prices.isna().all(axis=None) else None,
            cash=None if flows else relabelled(strategy.cash, "the cash").rename("cash"),
            leverage=weights.abs().sum(axis=1).rename("leverage"),
            reported=_reported(backtest.stats),
            tables={"fees": relabelled(strategy.fees, "the fees").rename("fees").to_frame()},
            notes=_notes(flows=flows, fees=fees, others=len(backtests) - 1),
        )


ADAPTER = BtAdapter()


def _fills(backtest: Any) -> pd.DataFrame:
    """Return what was traded: the changes of each security's position, at the price of the outlay without fees."""
    import numpy as np

    found: dict[str, list[Any]] = {"timestamp": [], "symbol": [], "quantity": [], "price": []}
    for security in backtest.strategy.securities:
        units = security.positions.to_numpy(dtype=float)
        moved = np.diff(units, prepend=0.0)
        rows = np.flatnonzero(moved != 0.0)
        outlay = security.outlays.to_numpy(dtype=float)[rows]
        multiplier = float(getattr(security, "multiplier", 1.0) or 1.0)
        found["timestamp"] += list(security.positions.index[rows])
        found["symbol"] += [str(security.name)] * len(rows)
        found["quantity"] += list(moved[rows])
        found["price"] += list(outlay / moved[rows] / multiplier)
    return fills_frame(**found)


def _notes(*, flows: bool, fees: float, others: int) -> tuple[str, ...]:
    notes = ["The first row is the day before the data: the capital, before anything was traded.",
             f"Fees of {fees:,.2f} are known a label, not a fill; there are no round trips."]  # fmt: skip
    if flows:
        notes.append("Money was paid in or out: the equity is the growth of the capital without these flows.")
    if others:
        notes.append(f"The Result holds {others} more backtests.")
    return tuple(notes)


def _reported(stats: Any) -> tuple[ReportedMetric, ...]:
    import pandas as pd

    found = stats.stats if hasattr(stats, "stats") else pd.Series(dtype=float)
    return gathered(
        (
            reported("total_return", found.get("total_return"), "total_return"),
            reported("cagr", found.get("cagr"), "cagr"),
            reported("daily_vol", found.get("daily_vol"), "annual_volatility", FFN),
            reported("daily_sharpe", found.get("daily_sharpe"), "sharpe", FFN),
            reported("daily_sortino", found.get("daily_sortino"), "sortino", FFN),
            reported("max_drawdown", found.get("max_drawdown"), "max_drawdown"),
            reported("calmar", found.get("calmar"), "calmar"),
        )
    )
