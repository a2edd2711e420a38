"""The stats of backtesting.py as a result, also the pair that `optimize(return_heatmap=True)` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import trades_frame
from pipeline.engines.objects import engine_of, gathered, is_a, labels_of, relabelled, reported
from pipeline.results.contract import UNNAMED, ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-6  # of the capital


class BacktestingAdapter:
    """Takes what Backtest.run and Backtest.optimize of backtesting.py return."""

    name = "backtesting.py stats"

    def recognises(self, value: Any) -> bool:
        """Say whether it is the stats Series, a copy of it, or stats with a heatmap."""
        value = value[0] if isinstance(value, tuple) and len(value) == 2 else value
        if is_a(value, "backtesting", "_Stats"):
            return True
        index = getattr(value, "index", ())
        return type(value).__module__.split(".")[0] == "pandas" and "_equity_curve" in index and "_trades" in index

    def adapt(self, value: Any, given: Given) -> Result:
        """Return equity, trades, and the position where the strategy still holds its data."""
        stats, heatmap = value if isinstance(value, tuple) else (value, None)
        curve = relabelled(stats["_equity_curve"]["Equity"], "the equity curve")
        capital = float(curve.iloc[0])
        symbol = given.symbol or UNNAMED
        trades = _trades(stats["_trades"], symbol, curve)
        strategy = stats.get("_strategy")
        open_trades, closed_all = _open_trades(strategy, symbol, curve)
        if open_trades is not None and len(open_trades):
            trades = _together(trades, open_trades)
        gap = float(curve.iloc[-1]) - capital - float(trades["net_pnl"].sum())
        prices = _prices(strategy, stats["_equity_curve"].index, symbol)
        held = _positions(stats["_trades"], strategy, curve, symbol) if closed_all else None
        return Result(
            equity=curve.rename("equity"),
            capital=capital,
            first_label="start",
            engine=engine_of("backtesting.py", "backtesting", "backtesting"),
            strategy=_strategy_name(strategy),
            params=_params(strategy),
            symbols=(given.symbol,) if given.symbol else (),
            trades=trades,
            positions=held if prices is not None else None,
            prices=prices if held is not None else None,
            reported=_reported(stats),
            tables={} if heatmap is None else {"optimize": heatmap.rename("value").reset_index()},
            notes=_notes(gap, capital),
        )


ADAPTER = BacktestingAdapter()


def _trades(found: pd.DataFrame, symbol: str, curve: pd.Series) -> pd.DataFrame:
    """Return the closed trades; before 0.6 the commission is inside of the entry price, and no column."""
    return trades_frame(
        symbol=symbol,
        side=["long" if size > 0 else "short" for size in found["Size"]],
        entry_time=curve.index[found["EntryBar"].to_numpy(dtype=int)],
        exit_time=curve.index[found["ExitBar"].to_numpy(dtype=int)],
        quantity=found["Size"],
        entry_price=found["EntryPrice"],
        exit_price=found["ExitPrice"],
        net_pnl=found["PnL"],
        fees=found.get("Commission"),
        bars_held=(found["ExitBar"] - found["EntryBar"]).to_numpy(dtype=int),
    )


def _open_trades(strategy: Any, symbol: str, curve: pd.Series) -> tuple[pd.DataFrame | None, bool]:
    """Return the trades that were open at the end, where the strategy still knows them, and whether it does."""
    try:
        active = list(strategy.trades)
        charged = getattr(strategy._broker, "_commission", None) if hasattr(_one(active), "_commissions") else None
        fees = [float(charged(t.size, t.entry_price)) if callable(charged) else 0.0 for t in active]
        rows = [(t.size, t.entry_bar, t.entry_price, t.pl - fee, fee) for t, fee in zip(active, fees, strict=True)]
        last = float(strategy.data.Close[-1])
    except Exception:  # noqa: BLE001 - an object of another library that may be half there
        return None, False
    if not rows:
        return None, True
    size, bar, price, pnl, paid = (list(column) for column in zip(*rows, strict=True))
    return (
        trades_frame(
            symbol=symbol,
            side=["long" if units > 0 else "short" for units in size],
            entry_time=curve.index[bar],
            exit_time=[curve.index[-1]] * len(rows),
            quantity=size,
            entry_price=price,
            exit_price=[last] * len(rows),
            net_pnl=pnl,
            fees=paid if callable(charged) else None,
            is_open=True,
            bars_held=[len(curve) - 1 - start for start in bar],
        ),
        True,
    )


def _one(active: list[Any]) -> Any:
    return active[0] if active else None


def _together(closed: pd.DataFrame, still_open: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    both = pd.concat([closed, still_open], ignore_index=True) if len(closed) else still_open
    both = both.sort_values("entry_time", kind="stable", ignore_index=True)
    both["trade_id"] = range(1, len(both) + 1)
    return both


def _prices(strategy: Any, index: Any, symbol: str) -> pd.DataFrame | None:
    """Return the closes of the strategy's data, where it still holds all of them."""
    import pandas as pd

    frame = getattr(getattr(strategy, "data", None), "df", None)
    if not isinstance(frame, pd.DataFrame) or "Close" not in frame or not frame.index.equals(index):
        return None
    return pd.DataFrame({symbol: frame["Close"].to_numpy(dtype=float)}, index=labels_of(index, "the data"))


def _positions(found: pd.DataFrame, strategy: Any, curve: pd.Series, symbol: str) -> pd.DataFrame:
    """Return the units at the close of each bar: a trade is held from its bar of entry to the one before its exit."""
    import numpy as np
    import pandas as pd

    moved = np.zeros(len(curve) + 1)
    for size, first, stop in zip(found["Size"], found["EntryBar"], found["ExitBar"], strict=True):
        moved[int(first)] += float(size)
        moved[int(stop)] -= float(size)
    for trade in strategy.trades:
        moved[int(trade.entry_bar)] += float(trade.size)
    return pd.DataFrame({symbol: np.cumsum(moved)[:-1]}, index=curve.index)


def _strategy_name(strategy: Any) -> str | None:
    return None if strategy is None else (strategy if isinstance(strategy, str) else type(strategy).__name__)


def _params(strategy: Any) -> dict[str, Any] | None:
    """Return the params of the strategy: its public class attributes that are numbers, text or booleans."""
    if strategy is None or isinstance(strategy, str):
        return None
    names = [
        name
        for kind in reversed(type(strategy).__mro__)
        if kind.__module__.split(".")[0] not in ("builtins", "abc", "backtesting")
        for name, value in vars(kind).items()
        if not name.startswith("_") and isinstance(value, int | float | str)
    ]
    return {name: getattr(strategy, name) for name in dict.fromkeys(names)}


def _notes(gap: float, capital: float) -> tuple[str, ...]:
    notes = ["The object does not name the instrument, its currency or what was charged but for each trade."]
    if abs(gap) > ROUNDING * capital:
        notes.append(
            f"The equity ends {gap:+,.2f} from capital and trades: what is open at the end, fixed commissions of "
            "partial exits or an order at the last bar are in the equity only (finalize_trades=True closes them)."
        )
    return tuple(notes)


def _reported(stats: Any) -> tuple[ReportedMetric, ...]:
    """Return its numbers, percent as decimals."""
    sharpe = "annual return over annual volatility, both geometric, of daily returns"

    def percent(name: str, metric: str, convention: str = "") -> tuple[ReportedMetric, ...]:
        (found,) = reported(name, stats.get(name)) or (None,)
        return () if found is None else reported(name, found.value / 100.0, metric, convention)

    return gathered(
        (
            percent("Return [%]", "total_return"),
            percent("Return (Ann.) [%]", "cagr", "geometric daily mean, 252 days a year (365 with weekends)"),
            percent("CAGR [%]", "cagr", "up to 0.6.5 calendar days are divided by 252"),
            percent("Volatility (Ann.) [%]", "annual_volatility", "of compounded returns, not deviation times √252"),
            percent("Max. Drawdown [%]", "max_drawdown"),
            percent("Win Rate [%]", "win_rate", "closed trades"),
            reported("Sharpe Ratio", stats.get("Sharpe Ratio"), "sharpe", sharpe),
            reported("Sortino Ratio", stats.get("Sortino Ratio"), "sortino", "annual return over downside deviation"),
            reported("Calmar Ratio", stats.get("Calmar Ratio"), "calmar", "of its own annual return"),
            reported("Profit Factor", stats.get("Profit Factor"), "profit_factor", "of trades' returns, not of money"),
        )
    )
