"""Trades from fills: from flat to flat, one a symbol at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.engines.executions import trades_frame

if TYPE_CHECKING:
    import pandas as pd

FLAT = 1e-9  # units, as a share of what was entered
NOTE = (
    "Trades were made here from the fills: each from flat to flat, with mean prices; an open one is at the last price."
)


@dataclass
class _Trip:
    symbol: str
    side: float
    start: Any
    entered: float = 0.0
    paid: float = 0.0
    left: float = 0.0
    got: float = 0.0
    fees: float = 0.0
    end: Any = None
    is_open: bool = False


def round_trips(
    fills: pd.DataFrame, last: Mapping[str, float], end: Any, multipliers: Mapping[str, float] | None = None
) -> pd.DataFrame | None:
    """Return the trades of fills with fees; None where an open one has no last price.

    `last` holds the last price of each symbol, `end` the last label. A fill that turns a position ends one trade and
    starts another, the fee is split by units. Prices are means; money counts `multipliers` (default 1).
    """
    trips: list[_Trip] = []
    for symbol, rows in fills.groupby("symbol", sort=False):
        trips += _of_symbol(str(symbol), rows)
    for trip in trips:
        if trip.end is None:
            if (price := last.get(trip.symbol)) is None or price != price:  # noqa: PLR0124 - NaN
                return None
            rest = trip.entered - trip.left
            trip.left, trip.got, trip.is_open = trip.entered, trip.got + rest * price, True
            trip.end = max(end, trip.start)
    many = {trip.symbol: (multipliers or {}).get(trip.symbol, 1.0) for trip in trips}
    return trades_frame(
        symbol=[trip.symbol for trip in trips],
        side=["long" if trip.side > 0 else "short" for trip in trips],
        entry_time=_times([trip.start for trip in trips]),
        exit_time=_times([trip.end for trip in trips]),
        quantity=[trip.entered for trip in trips],
        entry_price=[trip.paid / trip.entered for trip in trips],
        exit_price=[trip.got / trip.entered for trip in trips],
        net_pnl=[trip.side * (trip.got - trip.paid) * many[trip.symbol] - trip.fees for trip in trips],
        fees=[trip.fees for trip in trips],
        is_open=[trip.is_open for trip in trips],
    )


def _of_symbol(symbol: str, rows: pd.DataFrame) -> list[_Trip]:
    trips: list[_Trip] = []
    trip: _Trip | None = None
    columns = (rows["timestamp"], rows["quantity"], rows["price"], rows["fee"])
    for stamp, quantity, price, fee in zip(*columns, strict=True):
        rest, per_unit = float(quantity), float(fee) / abs(float(quantity)) if quantity else 0.0
        if trip is not None and rest * trip.side < 0.0:
            units = min(abs(rest), trip.entered - trip.left)
            trip.left, trip.got, trip.fees = trip.left + units, trip.got + units * price, trip.fees + units * per_unit
            rest += units * trip.side
            if trip.entered - trip.left <= FLAT * trip.entered:
                trip.end, trip = stamp, None
        if abs(rest) <= FLAT * abs(float(quantity)):
            continue
        if trip is None:
            trip = _Trip(symbol, 1.0 if rest > 0.0 else -1.0, stamp)
            trips.append(trip)
        trip.entered, trip.paid = trip.entered + abs(rest), trip.paid + abs(rest) * price
        trip.fees += abs(rest) * per_unit
    return trips


def _times(values: list[Any]) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(pd.to_datetime(values, utc=True))
