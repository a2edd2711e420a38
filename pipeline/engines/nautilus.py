"""A backtest of nautilus_trader as a result: its engine, or a dict of the reports of its trader with prices.

The account report tells balances at events, without what is held, so the equity is made here: capital less what the
fills paid, plus positions at prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import fills_frame, positions_of
from pipeline.engines.objects import engine_of, is_a, number, relabelled, times
from pipeline.engines.round_trips import NOTE, round_trips
from pipeline.errors import ResultError
from pipeline.results.contract import Result

if TYPE_CHECKING:
    import pandas as pd

MADE_HERE = (
    "The equity was made here of fills and prices: nautilus_trader's account tells balances at events only, and "
    "on a cash account without what is held. Its own statistics rest on those, so none is shown."
)


class NautilusAdapter:
    """Takes a BacktestEngine that has run and is not disposed of, or its reports `fills` and `account`."""

    name = "nautilus_trader BacktestEngine, or {'fills': …, 'account': …} of its reports with prices"

    def recognises(self, value: Any) -> bool:
        """Say whether it is such an engine, or a dict of its reports."""
        if is_a(value, "nautilus_trader", "BacktestEngine"):
            return True
        fills = value.get("fills") if isinstance(value, Mapping) else None
        return "account" in value and "last_qty" in getattr(fills, "columns", ()) if fills is not None else False

    def adapt(self, value: Any, given: Given) -> Result:
        """Return equity at the labels of the prices, with fills, positions and trades; one account, one currency."""
        import pandas as pd

        fills_report, account, prices, many = _parts(value, given)
        capital, currency = _capital(account)
        fills = _fills(fills_report, currency)
        if not len(fills):
            raise ResultError("nautilus_trader filled no order: there is no result. Look at the log of its strategy.")
        labels = pd.DatetimeIndex(prices.index)
        missing = [name for name in fills["symbol"].unique() if name not in prices]
        if missing:
            raise ResultError(
                f"There are no prices of {', '.join(missing)}, so its position has no value. Give them, a column each: "
                "run.save(engine, prices=closes)."
            )
        prices = prices[list(dict.fromkeys(fills["symbol"]))]
        scale = pd.Series({str(name): many.get(str(name), 1.0) for name in prices})
        positions = positions_of(fills, labels).reindex(columns=prices.columns, fill_value=0.0)
        cash = capital - _paid(fills, labels, scale)
        worth = positions * prices * scale
        equity = (cash + worth.sum(axis=1)).rename("equity")
        weights = worth.div(equity.where(equity > 0.0), axis=0).fillna(0.0)
        plain = bool((scale == 1.0).all())
        last = {str(name): float(price) for name, price in prices.iloc[-1].items()}
        return Result(
            equity=equity,
            capital=capital,
            engine=engine_of("nautilus_trader", "nautilus_trader", "nautilus_trader"),
            strategy=_strategies(value),
            symbols=tuple(prices.columns),
            currency=currency,
            trades=round_trips(fills, last, labels[-1], many),
            fills=fills,
            positions=positions if plain else None,
            weights=weights,
            prices=prices,
            cash=cash.rename("cash") if plain else None,
            leverage=weights.abs().sum(axis=1).rename("leverage"),
            notes=(MADE_HERE, NOTE),
        )


ADAPTER = NautilusAdapter()


def _parts(value: Any, given: Given) -> tuple[Any, Any, pd.DataFrame, dict[str, float]]:
    """Return the reports of fills and of the account, prices a symbol, and multipliers."""
    if isinstance(value, Mapping):
        if given.prices is None:
            raise ResultError(
                "Reports of nautilus_trader hold no prices. Give them, a column an instrument: "
                "run.save(reports, prices=closes)."
            )
        return value["fills"], value["account"], relabelled(given.prices, "the prices").ffill(), {}
    venues = list(value.list_venues())
    if len(venues) != 1:
        names = ", ".join(str(venue) for venue in venues)
        raise ResultError(
            f"The engine has {len(venues)} venues ({names}), each with an account. Give the equity of all as a Series."
        )
    prices = _cached(value) if given.prices is None else relabelled(given.prices, "the prices")
    many = {str(one.id): float(one.multiplier) for one in value.cache.instruments()}
    return value.trader.generate_fills_report(), value.trader.generate_account_report(venues[0]), prices.ffill(), many


def _cached(engine: Any) -> pd.DataFrame:
    """Return the closes of the bars that the engine still holds, of each instrument those with the most bars."""
    import pandas as pd

    found: dict[str, pd.Series] = {}
    for bar_type in engine.cache.bar_types():
        bars = engine.cache.bars(bar_type)
        stamps = times(pd.to_datetime([bar.ts_event for bar in bars], unit="ns", utc=True))
        series = pd.Series([float(bar.close) for bar in bars], stamps).sort_index()
        series = series[~series.index.duplicated(keep="last")]
        name = str(bar_type.instrument_id)
        if len(series) > len(found.get(name, ())):
            found[name] = series
    if not found:
        raise ResultError(
            "The engine of nautilus_trader holds no bars. Give the prices: run.save(engine, prices=closes), a column "
            "an instrument, before engine.dispose()."
        )
    return pd.DataFrame(found).sort_index()


def _capital(account: pd.DataFrame) -> tuple[float, str]:
    """Return the first balance and its currency; raises ResultError for several currencies."""
    currencies = list(dict.fromkeys(str(one) for one in account["currency"])) if "currency" in account else []
    if len(currencies) != 1:
        raise ResultError(
            f"The account holds {len(currencies)} currencies: {', '.join(currencies)}. Give its equity in one of them "
            "as a Series."
        )
    capital = number(account["total"].iloc[0])
    if capital is None:
        raise ResultError("The first balance of the account is no number. Give the equity as a Series.")
    return capital, currencies[0]


def _fills(report: pd.DataFrame, currency: str) -> pd.DataFrame:
    """Return the fills; all numbers of the report are text, a commission says its currency."""
    other = {text.split()[-1] for text in map(str, report.get("commission", ())) if " " in text} - {currency}
    other |= {str(one) for one in report.get("currency", ())} - {currency}
    if other:
        raise ResultError(
            f"Fills are in {', '.join(sorted(other))} and the account in {currency}: nothing is converted here. "
            "Give the equity as a Series."
        )
    buys = [str(side).upper() == "BUY" for side in report["order_side"]]
    units = [number(str(text)) or 0.0 for text in report["last_qty"]]
    return fills_frame(
        timestamp=times(report["ts_event"]),
        symbol=[str(name) for name in report["instrument_id"]],
        quantity=[one if bought else -one for one, bought in zip(units, buys, strict=True)],
        price=[number(str(text)) or 0.0 for text in report["last_px"]],
        fee=[number(str(text)) or 0.0 for text in report["commission"]],
    )


def _paid(fills: pd.DataFrame, labels: pd.DatetimeIndex, scale: pd.Series) -> pd.Series:
    """Return what all fills until each label paid, fees included."""
    outlay = fills["quantity"] * fills["price"] * fills["symbol"].map(scale) + fills["fee"]
    moved = outlay.to_frame("quantity").assign(symbol="paid", timestamp=fills["timestamp"])
    return positions_of(moved, labels)["paid"]


def _strategies(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return None
    names = [str(one) for one in value.trader.strategy_ids()]
    return ", ".join(names) or None
