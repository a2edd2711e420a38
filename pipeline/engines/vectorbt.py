"""A vectorbt Portfolio as a result.

The first value is that after the fills of the first bar, so its return counts. Of several columns (instruments or
params, the object does not tell) or groups one is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import fills_frame, trades_frame
from pipeline.engines.objects import engine_of, gathered, is_a, number, one_of, relabelled, reported
from pipeline.results.contract import UNNAMED, ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd


class VectorbtAdapter:
    """Takes vectorbt.Portfolio, of one column, or one of several columns or groups."""

    name = "vectorbt Portfolio"

    def recognises(self, value: Any) -> bool:
        """Say whether it is a Portfolio of vectorbt, or of a class that inherits from it."""
        return is_a(value, "vectorbt", "Portfolio")

    def adapt(self, value: Any, given: Given) -> Result:
        """Return the portfolio, one column or group of it."""
        import pandas as pd

        portfolio = _chosen(value, given)
        equity = relabelled(portfolio.value(), "the portfolio")
        symbol = given.symbol or UNNAMED
        prices, positions = (_wide(part, symbol) for part in (portfolio.close, portfolio.assets()))
        worth = _wide(portfolio.asset_value(group_by=False), symbol)
        cash = relabelled(portfolio.cash(), "the cash")
        benchmark = relabelled(portfolio.benchmark_value(), "the benchmark")
        capital = number(portfolio.init_cash)
        capital = float(pd.Series(portfolio.init_cash).sum()) if capital is None else capital
        weights = worth.div(equity.where(equity > 0.0), axis=0).fillna(0.0)
        return Result(
            equity=equity.rename("equity"),
            capital=capital,
            first_label="period",
            engine=engine_of("vectorbt", "vectorbt", "vectorbt"),
            symbols=tuple(name for name in prices.columns if name != UNNAMED),
            benchmarks={"held from the start": benchmark.rename("equity")},
            trades=_trades(portfolio.trades.records_readable, symbol),
            fills=_fills(portfolio.orders.records_readable, symbol),
            positions=positions,
            weights=weights,
            prices=prices,
            cash=cash.rename("cash"),
            leverage=weights.abs().sum(axis=1).rename("leverage"),
            reported=_reported(portfolio),
            notes=("A position that is sold in parts is several trades, one for each exit.",),
        )


ADAPTER = VectorbtAdapter()


def _chosen(portfolio: Any, given: Given) -> Any:
    """Return the portfolio of one column or group."""
    values = portfolio.value()
    if getattr(values, "ndim", 1) == 1:
        return portfolio
    name = one_of(list(values.columns), given.column, "The portfolio")
    return portfolio[name]


def _wide(part: Any, symbol: str) -> pd.DataFrame:
    """Return values a column a symbol; a column without a name is `symbol`."""
    import pandas as pd

    frame = (
        part.to_frame(symbol if _nameless(part.name) or symbol != UNNAMED else part.name) if part.ndim == 1 else part
    )
    frame = pd.DataFrame(relabelled(pd.DataFrame(frame), "the portfolio"))
    frame.columns = pd.Index([_symbol(name, symbol) for name in frame.columns])
    return frame


def _nameless(name: Any) -> bool:
    return name is None or isinstance(name, int)


def _symbol(name: Any, symbol: str) -> str:
    if isinstance(name, tuple):
        return " ".join(str(part) for part in name)
    return symbol if _nameless(name) and symbol != str(name) else str(name)


def _trades(records: pd.DataFrame, symbol: str) -> pd.DataFrame:
    return trades_frame(
        symbol=_symbols(records, symbol),
        side=records["Direction"].str.lower(),
        entry_time=records["Entry Timestamp"],
        exit_time=records["Exit Timestamp"],
        quantity=records["Size"],
        entry_price=records["Avg Entry Price"],
        exit_price=records["Avg Exit Price"],
        net_pnl=records["PnL"],
        fees=records["Entry Fees"] + records["Exit Fees"],
        is_open=records["Status"] == "Open",
    )


def _fills(records: pd.DataFrame, symbol: str) -> pd.DataFrame:
    return fills_frame(
        timestamp=records["Timestamp"],
        symbol=_symbols(records, symbol),
        quantity=records["Size"].where(records["Side"] == "Buy", -records["Size"]),
        price=records["Price"],
        fee=records["Fees"],
    )


def _symbols(records: pd.DataFrame, symbol: str) -> list[str]:
    names = list(records["Column"])
    return [symbol] * len(names) if symbol != UNNAMED and len(set(names)) < 2 else [_symbol(n, symbol) for n in names]


def _reported(portfolio: Any) -> tuple[ReportedMetric, ...]:
    """Return what the portfolio says itself; an index without a regular frequency has no annual figures there."""
    annual = _of(portfolio.get_returns_acc() if hasattr(portfolio, "get_returns_acc") else None, "ann_factor")
    convention = "" if annual is None else f"{annual:,.6g} periods a year, and the first bar counts as a period"
    return gathered(
        (
            reported("Total Return", _of(portfolio, "total_return"), "total_return"),
            reported("Max Drawdown", _of(portfolio, "max_drawdown"), "max_drawdown",
                     "from the first value on, not from the initial cash"),
            reported("Annualized Return", _of(portfolio, "annualized_return"), "cagr", convention),
            reported("Annualized Volatility", _of(portfolio, "annualized_volatility"), "annual_volatility", convention),
            reported("Sharpe Ratio", _of(portfolio, "sharpe_ratio"), "sharpe", convention),
            reported("Sortino Ratio", _of(portfolio, "sortino_ratio"), "sortino", convention),
        )
    )  # fmt: skip


def _of(owner: Any, name: str) -> float | None:
    """Return a metric of the object, None where it refuses it: vectorbt raises without a frequency."""
    try:
        found = getattr(owner, name)
        return number(found() if callable(found) else found)
    except (ValueError, TypeError, AttributeError):
        return None
