"""A result as arrays on the labels of its equity, so that its parts can be held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.backtest.timestamps import time_labels
from pipeline.results.contract import Result

Between = Literal["later", "earlier"]
_DAY = 86_400_000_000_000


@dataclass(frozen=True, eq=False)
class Aligned:
    """The parts of a result on the n labels of its equity; n x k arrays have a column for each of `symbols`.

    What happens between two labels counts to the later one; with `between` = "earlier" to the one before, for bars that
    are labelled by their begin. Times of a day count to the label of that day when labels name days. A value that is
    not known is NaN; a part that is not there is None.
    """

    result: Result
    between: Between = "later"

    @cached_property
    def labels(self) -> np.ndarray:
        """Nanoseconds since 1970, UTC."""
        return _nanoseconds(self.result.equity.index)

    @cached_property
    def equity(self) -> np.ndarray:
        """Money, or units of the capital."""
        return self.result.equity.to_numpy(dtype=float)

    @cached_property
    def before(self) -> np.ndarray:
        """The equity at the label before, the capital at the first."""
        return np.append(self.result.capital, self.equity[:-1])

    @cached_property
    def days(self) -> bool:
        """Whether labels name days."""
        return time_labels(pd.DatetimeIndex(self.result.equity.index)) == "days"

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol of positions, weights, fills and trades, as text; prices of others do not count."""
        frames = (self.result.positions, self.result.weights)
        named = [list(frame.columns) for frame in frames if frame is not None]
        events = (self.result.fills, self.result.trades)
        named += [frame["symbol"].unique().tolist() for frame in events if frame is not None]
        return tuple(dict.fromkeys(str(name) for names in named for name in names))

    @cached_property
    def positions(self) -> np.ndarray | None:
        """Units held; a symbol that the positions do not name is not held."""
        return self._frame(self.result.positions, absent=0.0)

    @cached_property
    def weights(self) -> np.ndarray | None:
        """Shares of equity; a symbol that the weights do not name has none."""
        return self._frame(self.result.weights, absent=0.0)

    @cached_property
    def prices(self) -> np.ndarray | None:
        """What a unit is valued at; NaN of a symbol without prices."""
        return self._frame(self.result.prices, absent=np.nan)

    @cached_property
    def cash(self) -> np.ndarray | None:
        """Cash at each label."""
        return None if self.result.cash is None else self.of_series(self.result.cash)

    @cached_property
    def leverage(self) -> np.ndarray | None:
        """Gross exposure over equity, as it was saved."""
        return None if self.result.leverage is None else self.of_series(self.result.leverage)

    @cached_property
    def values(self) -> np.ndarray | None:
        """The value of each position; 0 of none, whatever its price."""
        if self.positions is None or self.prices is None:
            return None
        return np.where(self.positions == 0.0, 0.0, self.positions * self.prices)

    @cached_property
    def fills(self) -> Fills | None:
        """The fills on the labels."""
        return None if self.result.fills is None else Fills.of(self, self.result.fills)

    @cached_property
    def trades(self) -> Trades | None:
        """The trades on the labels."""
        return None if self.result.trades is None else Trades.of(self, self.result.trades)

    def place(self, times: np.ndarray) -> np.ndarray:
        """Return for times in nanoseconds the position of the label that counts them first; n after the last."""
        stamps = times - times % _DAY if self.days else times
        if self.between == "later":
            return np.searchsorted(self.labels, stamps, side="left")
        return np.maximum(np.searchsorted(self.labels, stamps, side="right") - 1, 0)

    @property
    def events_between(self) -> bool:
        """Whether something happened between two labels."""
        times = [part.times for part in (self.fills, self.trades) if part is not None]
        stamps = np.concatenate(times) if times else np.zeros(0, dtype=np.int64)
        stamps = stamps - stamps % _DAY if self.days else stamps
        return bool((~np.isin(stamps, self.labels)).any())

    def per_label(self, place: np.ndarray, amounts: np.ndarray) -> np.ndarray:
        """Return the sum of amounts at each label; those after the last one are left out."""
        n = len(self.labels)
        return np.bincount(place, weights=amounts, minlength=n + 1)[:n]

    def per_cell(self, place: np.ndarray, column: np.ndarray, amounts: np.ndarray) -> np.ndarray:
        """Return the sum of amounts at each label and symbol."""
        n, k = len(self.labels), len(self.symbols)
        return np.bincount(place * k + column, weights=amounts, minlength=(n + 1) * k)[: n * k].reshape(n, k)

    def columns(self, symbols: pd.Series) -> np.ndarray:
        """Return the position of each symbol in `symbols`."""
        codes, names = pd.factorize(symbols)
        known = {name: number for number, name in enumerate(self.symbols)}
        found: np.ndarray = np.array([known[str(name)] for name in names], dtype=np.int64)[codes]
        return found

    def time(self, row: int) -> str:
        """Return the label of a row as ISO 8601: a date where labels name days."""
        return iso(self.labels[row])

    def of_series(self, series: pd.Series) -> np.ndarray:
        """Return a series on the labels, NaN where it has none."""
        same = series.index.equals(self.result.equity.index)
        values: np.ndarray = (series if same else series.reindex(self.result.equity.index)).to_numpy(dtype=float)
        return values

    def _frame(self, frame: pd.DataFrame | None, *, absent: float) -> np.ndarray | None:
        if frame is None:
            return None
        index = self.result.equity.index
        if not frame.index.equals(index):
            frame = frame.reindex(index)
        names, values = [str(name) for name in frame.columns], frame.to_numpy(dtype=float)
        if tuple(names) == self.symbols:
            return values
        out = np.full((len(index), len(self.symbols)), absent)
        places = {name: number for number, name in enumerate(names)}
        for number, name in enumerate(self.symbols):
            if name in places:
                out[:, number] = values[:, places[name]]
        return out


@dataclass(frozen=True, eq=False)
class Fills:
    """Fills as arrays; `fee` None where it is not known of every one."""

    times: np.ndarray
    place: np.ndarray
    column: np.ndarray
    quantity: np.ndarray
    price: np.ndarray
    fee: np.ndarray | None

    @classmethod
    def of(cls, aligned: Aligned, frame: pd.DataFrame) -> Fills:
        """Return the fills of a frame on the labels."""
        times = _nanoseconds(frame["timestamp"])
        return cls(
            times,
            aligned.place(times),
            aligned.columns(frame["symbol"]),
            frame["quantity"].to_numpy(dtype=float),
            frame["price"].to_numpy(dtype=float),
            whole(frame, "fee"),
        )


@dataclass(frozen=True, eq=False)
class Trades:
    """Trades as arrays. `enters` and `exits` are the labels that first count entry and exit, n for no exit.

    `direction` is 1 of a long, -1 of a short; `net_pnl` and `fees` are None where they are not known of every trade;
    `ends_known` says whether the trades tell which of them are open.
    """

    frame: pd.DataFrame
    times: np.ndarray
    entered: np.ndarray
    exited: np.ndarray
    enters: np.ndarray
    exits: np.ndarray
    is_open: np.ndarray
    ends_known: bool
    column: np.ndarray
    direction: np.ndarray
    quantity: np.ndarray
    entry_price: np.ndarray
    exit_price: np.ndarray
    net_pnl: np.ndarray | None
    fees: np.ndarray | None

    @classmethod
    def of(cls, aligned: Aligned, frame: pd.DataFrame) -> Trades:
        """Return the trades of a frame on the labels."""
        n = len(aligned.labels)
        ends_known = "is_open" in frame
        is_open = frame["exit_time"].isna().to_numpy()
        if ends_known:
            is_open = is_open | frame["is_open"].to_numpy(dtype=bool, na_value=False)
        entered, exited = (_nanoseconds(frame[name]) for name in ("entry_time", "exit_time"))
        exits = np.where(is_open, n, aligned.place(np.where(is_open, entered, exited)))
        quantity, entry_price, exit_price = (
            frame[name].to_numpy(dtype=float, na_value=np.nan) for name in ("quantity", "entry_price", "exit_price")
        )
        return cls(
            frame=frame,
            times=np.concatenate([entered, exited[~is_open]]),
            entered=entered,
            exited=exited,
            enters=aligned.place(entered),
            exits=exits,
            is_open=is_open,
            ends_known=ends_known,
            column=aligned.columns(frame["symbol"]),
            direction=np.where(frame["side"] == "short", -1.0, 1.0),
            quantity=quantity,
            entry_price=entry_price,
            exit_price=exit_price,
            net_pnl=whole(frame, "net_pnl"),
            fees=whole(frame, "fees"),
        )

    def at(self, rows: np.ndarray) -> str:
        """Name the trades of these rows: the first one, by its id or else its row from 1, and how many more."""
        if not len(rows):
            return ""
        first = self.frame.iloc[int(rows[0])]
        more = f" or {len(rows) - 1} more" if len(rows) > 1 else ""
        return f"trade {first.get('trade_id', int(rows[0]) + 1)} ({first['symbol']}){more}"


def whole(frame: pd.DataFrame, column: str) -> np.ndarray | None:
    """Return a column as floats; None where it is missing or has gaps."""
    if column not in frame:
        return None
    values: np.ndarray = frame[column].to_numpy(dtype=float, na_value=np.nan)
    return None if np.isnan(values).any() else values


def iso(stamp: int) -> str:
    """Return nanoseconds since 1970 as ISO 8601: a date at midnight, else with the time."""
    when = pd.Timestamp(int(stamp), tz="UTC")
    return when.date().isoformat() if when == when.normalize() else when.isoformat()


def _nanoseconds(times: pd.Index | pd.Series) -> np.ndarray:
    stamps: np.ndarray = pd.DatetimeIndex(pd.to_datetime(times, utc=True)).as_unit("ns").asi8
    return stamps
