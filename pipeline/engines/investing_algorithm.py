"""A run of investing-algorithm-framework: the run.json that it saved, or its content as a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import fills_frame, trades_frame
from pipeline.engines.objects import number
from pipeline.engines.result_files import result_file
from pipeline.errors import ResultError
from pipeline.results.contract import Engine, Result

if TYPE_CHECKING:
    import pandas as pd


class InvestingAlgorithmAdapter:
    """Takes a saved run of investing-algorithm-framework."""

    name = "investing-algorithm-framework run.json (path or dict)"

    def recognises(self, value: Any) -> bool:
        """Say whether it holds snapshots of a portfolio and the money it began with, or is a path to such a file."""
        found = result_file(value)
        return found is not None and {"portfolio_snapshots", "initial_unallocated"} <= set(found.content)

    def adapt(self, value: Any, given: Given) -> Result:  # noqa: ARG002 - the file says all
        """Return the value of each snapshot, trades and fills."""
        import pandas as pd

        found = result_file(value)
        if found is None:
            raise ResultError(f"{value} is no run of investing-algorithm-framework.")
        content = found.content
        rows = content["portfolio_snapshots"]
        stamps = _dates([row["created_at"] for row in rows])
        equity = pd.Series([float(row["total_value"]) for row in rows], stamps, name="equity")
        cash = pd.Series([float(row["unallocated"]) for row in rows], stamps, name="cash")
        kept = ~stamps.duplicated(keep="last")  # the first snapshot is there twice
        return Result(
            equity=equity[kept],
            capital=float(content["initial_unallocated"]),
            engine=Engine("investing-algorithm-framework"),
            symbols=tuple(dict.fromkeys(str(name) for name in content.get("symbols") or ())),
            currency=content.get("trading_symbol") or None,
            trades=_trades(content.get("trades"), stamps[-1]),
            fills=_fills(content.get("orders")),
            cash=cash[kept],
            notes=("The equity is the value of the portfolio's snapshots; the file holds no prices.",),
        )


ADAPTER = InvestingAlgorithmAdapter()


def _dates(values: Any) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(pd.to_datetime(values, utc=True, format="ISO8601")).as_unit("ns").rename("timestamp")


def _trades(rows: list[Mapping[str, Any]] | None, end: Any) -> pd.DataFrame | None:
    """Return the trades; the exit price is the mean of the sales, or the last price that was reported."""
    if rows is None:
        return None
    return trades_frame(
        symbol=[str(row["target_symbol"]) for row in rows],
        side="long",
        entry_time=_dates([row["opened_at"] for row in rows]),
        exit_time=_dates([row.get("closed_at") or end.isoformat() for row in rows]),
        quantity=[row["amount"] for row in rows],
        entry_price=[row["open_price"] for row in rows],
        exit_price=[_sold_at(row) for row in rows],
        net_pnl=[number(row.get("net_gain")) or 0.0 for row in rows],
        is_open=[not row.get("closed_at") for row in rows],
    )


def _sold_at(row: Mapping[str, Any]) -> float:
    sales = [order for order in row.get("orders") or () if str(order.get("order_side")).upper() == "SELL"]
    units = sum(float(order["amount"]) for order in sales)
    if units:
        return sum(float(order["amount"]) * float(order["price"]) for order in sales) / units
    return number(row.get("last_reported_price")) or float("nan")


def _fills(rows: list[Mapping[str, Any]] | None) -> pd.DataFrame | None:
    done = [row for row in rows or () if str(row.get("status", "")).upper() in ("CLOSED", "FILLED")]
    if rows is None:
        return None
    signs = [1.0 if str(row["order_side"]).upper() == "BUY" else -1.0 for row in done]
    return fills_frame(
        timestamp=_dates([row.get("updated_at") or row["created_at"] for row in done]),
        symbol=[str(row["target_symbol"]) for row in done],
        quantity=[sign * float(row["amount"]) for sign, row in zip(signs, done, strict=True)],
        price=[float(row["price"]) for row in done],
        fee=[number(row.get("order_fee")) or 0.0 for row in done],
    )
