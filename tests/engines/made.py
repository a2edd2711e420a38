"""Objects with the class names and modules of engines' own, made by hand: for tests without the libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SAMPLES = Path(__file__).parent / "samples"
DAYS = pd.bdate_range("2022-01-03", periods=5)


def kind(module: str, name: str, *bases: type) -> type:
    """Return an empty class of this name that says it is of this module."""
    return type(name, bases or (object,), {"__module__": module})


def of(module: str, name: str, /, **attributes: Any) -> Any:
    """Return an object of such a class with these attributes; a user's own class inherits from the engine's."""
    made = kind("__main__", "Mine", kind(module, name))()
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def backtesting_stats(**changes: Any) -> pd.Series:
    """Return the stats of backtesting.py 0.6.6 that the samples hold, as a Series that lost its class."""
    stats = json.loads((SAMPLES / "backtesting_stats.json").read_text())
    stats |= {
        "_equity_curve": pd.read_parquet(SAMPLES / "backtesting_equity_curve.parquet"),
        "_trades": pd.read_parquet(SAMPLES / "backtesting_trades.parquet"),
    }
    return pd.Series(stats | changes, dtype=object)


def zipline_perf() -> pd.DataFrame:
    """Return the perf frame of the samples as zipline gives it: lists of dicts with timestamps."""
    perf = pd.read_parquet(SAMPLES / "zipline_perf.parquet")
    for column in ("orders", "transactions", "positions"):
        perf[column] = pd.Series([json.loads(text) for text in perf[column]], perf.index, dtype=object)
    return perf


def vectorbt_portfolio(**changes: Any) -> Any:
    """Return a Portfolio of one column: 10 units bought at 10 on the first bar for a fee of 1, sold at 12 for 1."""
    close = pd.Series([10.0, 11.0, 12.0, 12.0, 12.0], DAYS, name="AAA")
    held = pd.Series([10.0, 10.0, 0.0, 0.0, 0.0], DAYS, name="AAA")
    cash = pd.Series([899.0, 899.0, 1018.0, 1018.0, 1018.0], DAYS, name="AAA")
    trades = pd.DataFrame(
        {"Column": ["AAA"], "Size": [10.0], "Entry Timestamp": [DAYS[0]], "Avg Entry Price": [10.0],
         "Entry Fees": [1.0],
         "Exit Timestamp": [DAYS[2]], "Avg Exit Price": [12.0], "Exit Fees": [1.0], "PnL": [18.0], "Return": [0.18],
         "Direction": ["Long"], "Status": ["Closed"]}
    )  # fmt: skip
    orders = pd.DataFrame(
        {"Column": ["AAA"] * 2, "Timestamp": DAYS[[0, 2]], "Size": [10.0, 10.0], "Price": [10.0, 12.0],
         "Fees": [1.0, 1.0], "Side": ["Buy", "Sell"]}
    )  # fmt: skip

    def refused() -> float:
        raise ValueError("<BusinessDay> is a non-fixed frequency")

    parts: dict[str, Any] = {
        "value": lambda: held * close + cash,
        "close": close,
        "assets": lambda: held,
        "asset_value": lambda group_by=None: held * close,
        "cash": lambda: cash,
        "benchmark_value": lambda: close * 100.0,
        "init_cash": 1000.0,
        "trades": of("vectorbt.portfolio.trades", "Trades", records_readable=trades),
        "orders": of("vectorbt.portfolio.orders", "Orders", records_readable=orders),
        "total_return": lambda: 0.018,
        "max_drawdown": refused,
        "sharpe_ratio": refused,
    }
    return of("vectorbt.portfolio.base", "Portfolio", **(parts | changes))


def skfolio_portfolio(name: str = "mine", kind_: str = "Portfolio", **changes: Any) -> Any:
    """Return a Portfolio of two assets, fixed weights, a cost of 1 bp a period."""
    moves = pd.DataFrame({"A": [0.01, -0.02, 0.03, 0.0, 0.01], "B": [0.0, 0.01, -0.01, 0.02, 0.0]}, DAYS)
    weights = np.array([0.6, 0.4])
    returns = moves @ weights - 0.0001
    parts: dict[str, Any] = {
        "name": name, "returns_df": returns.rename("returns"), "X": moves.to_numpy(), "assets": np.array(["A", "B"]),
        "weights": weights, "weights_per_observation": pd.DataFrame([weights] * 5, DAYS, ["A", "B"]),
        "total_cost": 0.0001, "total_fee": 0.0, "compounded": False, "annualized_factor": 252.0,
        "annualized_mean": float(returns.mean() * 252), "annualized_standard_deviation": 0.2,
        "annualized_sharpe_ratio": 1.0, "annualized_sortino_ratio": 1.0, "max_drawdown": 0.02, "sharpe_ratio": 0.1,
    }  # fmt: skip
    return of("skfolio.portfolio._portfolio", kind_, **(parts | changes))


def nautilus_reports() -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return reports of a cash account that bought 100 at 10 and sold 100 at 12, as text, and the prices."""
    fills = pd.DataFrame(
        {"instrument_id": ["AAA.X"] * 2, "order_side": ["BUY", "SELL"], "last_qty": ["100", "100"],
         "last_px": ["10.00", "12.00"], "commission": ["1.00 USD", "1.50 USD"], "currency": ["USD"] * 2,
         "ts_event": [DAYS[1].tz_localize("UTC"), DAYS[3].tz_localize("UTC")]}
    )  # fmt: skip
    account = pd.DataFrame({"total": ["10000.00", "8999.00", "10197.50"], "currency": ["USD"] * 3})
    prices = pd.DataFrame({"AAA.X": [10.0, 10.0, 11.0, 12.0, 12.0]}, DAYS)
    return {"fills": fills, "account": account}, prices


def bt_result(*, flows: float = 0.0, names: tuple[str, ...] = ("s",)) -> Any:
    """Return a Result of bt: a row before the data, 5 units of AAA bought at 10 on the first bar, a fee of 1."""
    days = DAYS.insert(0, DAYS[0] - pd.Timedelta(days=1))
    units = pd.Series([0.0, 5.0, 5.0, 5.0, 5.0, 5.0], days)
    close = pd.Series([np.nan, 10.0, 11.0, 9.0, 10.0, 12.0], days)
    cash = pd.Series([100.0, 49.0, 49.0, 49.0, 49.0 + flows, 49.0 + flows], days)
    values = (units * close).fillna(0.0) + cash
    moved = pd.Series([100.0, 0.0, 0.0, 0.0, flows, 0.0], days)
    growth = (1.0 + ((values - moved.mask(moved == 100.0, 0.0)) / values.shift(1) - 1.0).fillna(0.0)).cumprod() * 100.0
    outlays = pd.Series([0.0, 50.0, 0.0, 0.0, 0.0, 0.0], days)
    security = of("bt.core", "Security", name="AAA", positions=units, outlays=outlays, multiplier=1)
    strategy = of("bt.core", "Strategy", prices=growth, values=values, flows=moved, cash=cash,
                  fees=pd.Series([0.0, 1.0, 0.0, 0.0, 0.0, 0.0], days), securities=[security])  # fmt: skip
    stats = of("ffn.core", "PerformanceStats", stats=pd.Series({"total_return": 0.09, "daily_sharpe": 1.0}))
    backtests = {
        name: of("bt.backtest", "Backtest", name=name, strategy=strategy, initial_capital=100.0, stats=stats,
                 positions=units.to_frame("AAA"), data=close.to_frame("AAA"),
                 security_weights=(units * close / values).to_frame("AAA"))
        for name in names
    }  # fmt: skip
    return of("bt.backtest", "Result", backtests=backtests)
