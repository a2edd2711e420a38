"""The result of a backtest of Lean (QuantConnect): the JSON file it wrote, or its content; old and new layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import fills_frame, trades_frame
from pipeline.engines.objects import gathered, number, reported
from pipeline.engines.result_files import ResultFile, result_file
from pipeline.errors import ResultError
from pipeline.results.contract import Engine, ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd


class LeanAdapter:
    """Takes a backtest result of Lean."""

    name = "Lean result (json or dict)"

    def recognises(self, value: Any) -> bool:
        """Say whether it has the chart `Strategy Equity`, or is a path to a file with it."""
        found = result_file(value)
        charts = None if found is None else _get(found.content, "charts")
        return isinstance(charts, Mapping) and "Strategy Equity" in charts

    def adapt(self, value: Any, given: Given) -> Result:  # noqa: ARG002 - the file says all
        """Return the last equity of each day, closed trades, and what Lean reports."""
        found = result_file(value)
        if found is None:
            raise ResultError(f"{value} is no result of Lean.")
        content = found.content
        curve = _points(content, "Strategy Equity", "Equity")
        if not len(curve):
            raise ResultError("The Lean result has no equity: its chart Strategy Equity is empty.")
        equity = _daily(curve).rename("equity")
        performance = _get(content, "totalPerformance") or {}
        capital = number(_get(_get(performance, "portfolioStatistics") or {}, "startEquity"))
        capital = capital or number((_get(content, "statistics") or {}).get("Start Equity")) or float(curve.iloc[0])
        settings = _get(content, "algorithmConfiguration") or {}
        trades = _trades(_get(performance, "closedTrades"))
        return Result(
            equity=equity,
            capital=capital,
            engine=Engine("Lean"),
            strategy=_get(settings, "name"),
            params=_get(settings, "parameters"),
            symbols=() if trades is None else tuple(dict.fromkeys(trades["symbol"])),
            currency=_get(settings, "accountCurrency"),
            benchmarks=_benchmark(content, equity, capital),
            trades=trades,
            fills=_fills(found),
            leverage=_leverage(content, equity),
            reported=_reported(content, _get(settings, "tradingDaysPerYear")),
            notes=(
                "The equity is the last sample of each day in New York; Lean's chart holds at most some 4,000 samples.",
                "Lean lists closed trades only, their profit rounded to cents; what is open is in the equity only.",
            ),
        )


ADAPTER = LeanAdapter()


def _daily(values: pd.Series) -> pd.Series:
    """Return the last value of each day in New York; a sample at midnight there ends the day before."""
    import pandas as pd

    wall = pd.DatetimeIndex(values.index).tz_convert("America/New_York").tz_localize(None)
    days = (wall - pd.Timedelta(1, "ns")).normalize().tz_localize("UTC").rename("timestamp")
    return values.groupby(days).last()


def _get(content: Mapping[str, Any], name: str) -> Any:
    """Return a field by its new name in camelCase or its old one in PascalCase; None where it is missing."""
    found = content.get(name)
    return content.get(name[0].upper() + name[1:]) if found is None else found


def _points(content: Mapping[str, Any], chart: str, series: str) -> pd.Series:
    """Return the values of a chart's series by their instants: `[t, v]`, `[t, o, h, l, c]` or `{x, y}` points."""
    import pandas as pd

    found = _get((_get(content, "charts") or {}).get(chart) or {}, "series") or {}
    points = _get(found.get(series) or {}, "values") or []
    rows = [(point["x"], point["y"]) if isinstance(point, Mapping) else (point[0], point[-1]) for point in points]
    rows = [row for row in rows if row[1] is not None]
    stamps = pd.DatetimeIndex(pd.to_datetime([row[0] for row in rows], unit="s", utc=True)).as_unit("ns")
    values = pd.Series([float(row[1]) for row in rows], stamps, dtype=float)
    return values[~values.index.duplicated(keep="last")].sort_index()


def _trades(rows: list[Mapping[str, Any]] | None) -> pd.DataFrame | None:
    """Return closed trades; Lean's profit is before fees."""
    if rows is None:
        return None
    fees = [number(_get(row, "totalFees")) or 0.0 for row in rows]
    gross = [number(_get(row, "profitLoss")) or 0.0 for row in rows]
    return trades_frame(
        symbol=[_symbol(row) for row in rows],
        side=["short" if _get(row, "direction") in (1, "Short", "short") else "long" for row in rows],
        entry_time=_dates([_get(row, "entryTime") for row in rows]),
        exit_time=_dates([_get(row, "exitTime") for row in rows]),
        quantity=[_get(row, "quantity") for row in rows],
        entry_price=[_get(row, "entryPrice") for row in rows],
        exit_price=[_get(row, "exitPrice") for row in rows],
        net_pnl=[profit - fee for profit, fee in zip(gross, fees, strict=True)],
        fees=fees,
    )


def _symbol(row: Mapping[str, Any]) -> str:
    several = _get(row, "symbols")
    one = several[0] if several else _get(row, "symbol")
    return str(_get(one, "value") if isinstance(one, Mapping) else one)


def _dates(values: Any) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(pd.to_datetime(values, utc=True, format="ISO8601"))


def _fills(found: ResultFile) -> pd.DataFrame | None:
    """Return the fills of `<id>-order-events.json` beside the file; None where it is not there."""
    name = next((other for other in found.others if other.endswith("-order-events.json")), None)
    if name is None:
        return None
    events = json.loads(found.bytes_of(name))
    rows = [event for event in events if number(_get(event, "fillQuantity"))]
    stamps = [_get(row, "time") for row in rows]
    import pandas as pd

    instants = pd.to_datetime(stamps, unit="s", utc=True) if all(isinstance(t, int | float) for t in stamps) else None
    return fills_frame(
        timestamp=_dates(stamps) if instants is None else pd.DatetimeIndex(instants),
        symbol=[str(_get(row, "symbolValue") or _get(row, "symbol")) for row in rows],
        quantity=[_get(row, "fillQuantity") for row in rows],
        price=[_get(row, "fillPrice") for row in rows],
        fee=[number(_get(row, "orderFeeAmount")) or 0.0 for row in rows],
    )


def _benchmark(content: Mapping[str, Any], equity: pd.Series, capital: float) -> dict[str, pd.Series]:
    prices = _points(content, "Benchmark", "Benchmark")
    if not len(prices):
        return {}
    daily = _daily(prices).reindex(equity.index).ffill()
    if daily.isna().any() or float(daily.iloc[0]) <= 0.0:
        return {}
    return {"benchmark": (capital * daily / daily.iloc[0]).rename("equity")}


def _leverage(content: Mapping[str, Any], equity: pd.Series) -> pd.Series | None:
    """Return long plus short exposure a day, from the chart Exposure; None where it does not cover the equity."""
    long = _points(content, "Exposure", "Equity - Long Ratio")
    short = _points(content, "Exposure", "Equity - Short Ratio")
    if not len(long):
        return None
    gross = long.add(short.abs(), fill_value=0.0)
    daily = _daily(gross).reindex(equity.index).ffill()
    return None if daily.isna().any() else daily.rename("leverage")


def _reported(content: Mapping[str, Any], days: Any) -> tuple[ReportedMetric, ...]:
    """Return its statistics, which are texts like "11.29%"."""
    found = _get(content, "statistics") or {}
    year = f"{days or 252} days a year, of daily samples"
    drawdown = number(found.get("Drawdown"))
    return gathered(
        (
            reported("Net Profit", found.get("Net Profit"), "total_return", "rounded"),
            reported("Compounding Annual Return", found.get("Compounding Annual Return"), "cagr", "365 days, rounded"),
            reported("Sharpe Ratio", found.get("Sharpe Ratio"), "sharpe",
                     f"annual return less a risk-free rate that varies, over deviation; {year}; rounded"),
            reported("Sortino Ratio", found.get("Sortino Ratio"), "sortino", f"{year}; rounded"),
            reported("Drawdown", None if drawdown is None else -drawdown, "max_drawdown", "rounded; told as positive"),
            reported("Annual Standard Deviation", found.get("Annual Standard Deviation"), "annual_volatility",
                     f"{year}; rounded"),
            reported("Win Rate", found.get("Win Rate"), "win_rate", "rounded"),
        )
    )  # fmt: skip
