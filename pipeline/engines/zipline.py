"""The performance frame of zipline's run_algorithm as a result: known by its columns, as the frame is plain pandas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import fills_frame
from pipeline.engines.objects import engine_of, gathered, reported
from pipeline.engines.round_trips import NOTE, round_trips
from pipeline.results.contract import ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("portfolio_value", "ending_cash", "capital_used", "positions", "transactions", "algorithm_period_return")


class ZiplineAdapter:
    """Takes the perf frame of zipline-reloaded; labels are sessions."""

    name = "zipline perf frame"

    def recognises(self, value: Any) -> bool:
        """Say whether it is a frame with the columns of zipline's performance."""
        columns = getattr(value, "columns", ())
        return type(value).__name__ == "DataFrame" and all(name in columns for name in COLUMNS)

    def adapt(self, value: Any, given: Given) -> Result:  # noqa: ARG002 - the frame says all
        """Return equity, positions, prices and cash a session; fees are those of the orders."""
        import pandas as pd

        sessions = _sessions(value)
        equity = pd.Series(value["portfolio_value"].to_numpy(dtype=float), sessions, name="equity")
        capital = float(value["starting_cash"].iloc[0] + value["starting_value"].iloc[0])
        held, prices = _held(value["positions"], sessions)
        fills = _fills(value["transactions"], value.get("orders", ()))
        last = {str(name): float(price) for name, price in prices.ffill().iloc[-1].items()}
        weights = (held * prices).div(equity.where(equity > 0.0), axis=0).fillna(0.0)
        return Result(
            equity=equity,
            capital=capital,
            first_label="period",
            engine=engine_of("zipline", "zipline-reloaded", "zipline"),
            symbols=tuple(held.columns),
            benchmarks=_benchmark(value, sessions, capital),
            trades=round_trips(fills, last, sessions[-1]),
            fills=fills,
            positions=held,
            weights=weights,
            prices=prices.ffill(),
            cash=pd.Series(value["ending_cash"].to_numpy(dtype=float), sessions, name="cash"),
            leverage=pd.Series(value["gross_leverage"].to_numpy(dtype=float), sessions, name="leverage"),
            reported=_reported(value.iloc[-1]),
            notes=(
                "Labels are sessions. A fee is that of a whole order, told at its first fill.",
                "Prices are known of what is held.",
                NOTE,
            ),
        )


ADAPTER = ZiplineAdapter()


def _sessions(perf: pd.DataFrame) -> pd.DatetimeIndex:
    """Return the day of each session: rows are labelled by the instant of its close, the day is that of its middle."""
    import pandas as pd

    closes = pd.DatetimeIndex(perf.index)
    closes = closes.tz_localize("UTC") if closes.tz is None else closes.tz_convert("UTC")
    if "period_open" not in perf:
        return closes.as_unit("ns").normalize()
    opens = pd.DatetimeIndex(perf["period_open"])
    opens = opens.tz_localize("UTC") if opens.tz is None else opens.tz_convert("UTC")
    return (opens + (closes - opens) / 2).as_unit("ns").normalize().rename("timestamp")


def _symbol(sid: Any) -> str:
    return str(getattr(sid, "symbol", sid))


def _each(column: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for row, entries in enumerate(column):
        for entry in entries if isinstance(entries, list | tuple) else ():
            yield row, entry


def _held(column: pd.Series, sessions: pd.DatetimeIndex) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return units and last prices a session, a column a symbol; prices of what is not held are NaN."""
    import pandas as pd

    found = [(row, _symbol(entry["sid"]), float(entry["amount"]), float(entry["last_sale_price"]))
             for row, entry in _each(column)]  # fmt: skip
    frame = pd.DataFrame(found, columns=["row", "symbol", "amount", "price"])
    wide = [
        frame.pivot_table(index="row", columns="symbol", values=name, aggfunc="last") for name in ("amount", "price")
    ]
    wide = [part.reindex(range(len(sessions))).set_axis(sessions).rename_axis(columns=None) for part in wide]
    return wide[0].fillna(0.0), wide[1]


def _fills(transactions: pd.Series, orders: Any) -> pd.DataFrame:
    """Return the transactions; their own commission is always None, so it is taken from the last state of the order."""
    fees = {str(entry["id"]): float(entry["commission"] or 0.0) for _, entry in _each(orders)}
    found = [entry for _, entry in _each(transactions)]
    charged = [fees.pop(str(entry["order_id"]), 0.0) for entry in found]
    return fills_frame(
        timestamp=_instants([entry["dt"] for entry in found]),
        symbol=[_symbol(entry["sid"]) for entry in found],
        quantity=[entry["amount"] for entry in found],
        price=[entry["price"] for entry in found],
        fee=charged,
    )


def _instants(values: list[Any]) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(pd.to_datetime(values, utc=True))


def _benchmark(perf: pd.DataFrame, sessions: pd.DatetimeIndex, capital: float) -> dict[str, pd.Series]:
    import pandas as pd

    if "benchmark_period_return" not in perf or perf["benchmark_period_return"].isna().any():
        return {}
    growth = 1.0 + perf["benchmark_period_return"].to_numpy(dtype=float)
    if bool((growth == 1.0).all()):  # zipline's stand-in where no benchmark was given
        return {}
    return {"benchmark": pd.Series(capital * growth, sessions, name="equity")}


def _reported(last: pd.Series) -> tuple[ReportedMetric, ...]:
    convention = "252 periods a year, the first session counts"
    return gathered(
        (
            reported("algorithm_period_return", last.get("algorithm_period_return"), "total_return"),
            reported("algo_volatility", last.get("algo_volatility"), "annual_volatility", convention),
            reported("sharpe", last.get("sharpe"), "sharpe", convention),
            reported("sortino", last.get("sortino"), "sortino", convention),
            reported("max_drawdown", last.get("max_drawdown"), "max_drawdown"),
        )
    )
