"""A frame of weights with a frame of prices as a result: the portfolio is computed here.

Each row of the weights is a rebalance; between two rows the positions stay and the weights drift. An order spends what
lies between the target and the held value, its cost included: of an amount A at the cost c a buy trades A / (1 + c), a
sale A / (1 - c). A weight of 0 sells all that is held. Units are fractions, cash earns nothing, borrowing is free.
These are the conventions of bt.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.book import Book
from pipeline.engines.objects import relabelled
from pipeline.errors import ResultError
from pipeline.results.checks import check_labels, check_weights
from pipeline.results.contract import Engine, Result

if TYPE_CHECKING:
    import pandas as pd

ONE_ALLOCATION = (
    "One allocation was given, without a date: it was bought at the first price and held. Whether it was fitted on "
    "these very prices is not known."
)
MOST_GROSS = 20.0  # positions of more than this many times the equity are percent
MOST_FILLS = 250_000  # more single executions than this are not listed; the positions hold them all


def portfolio(weights: Any, given: Given) -> Result:
    """Return the portfolio of target weights, a row a rebalance, at the given prices; raises ResultError.

    Weights without a date, as an optimiser gives them (a weight for each symbol), are one row at the first price.
    """
    import numpy as np
    import pandas as pd

    allocation = _one_allocation(weights, given.prices)
    weights = weights if allocation is None else allocation
    frame, prices, opens = _frames(weights, given)
    cost = _cost(given.costs_bps)
    at_open = _fill_at_open(given, opens)
    targets, notes = _scheduled(frame, pd.DatetimeIndex(prices.index), at_open=at_open)
    start = int(targets.index[0]) - at_open
    targets.index = targets.index - start
    prices = prices.iloc[start:]
    fill_prices = prices if opens is None or not at_open else opens.iloc[start:]
    _check_prices(prices, fill_prices, targets)
    book = Book.of(given.capital or 1.0, prices.to_numpy(), fill_prices.to_numpy(), cost, at_open=at_open)
    for row, target in zip(targets.index, np.ascontiguousarray(targets.to_numpy()), strict=True):
        book.rebalance(int(row), target)
    book.hold_until(len(prices))
    notes = notes if allocation is None else (*notes, ONE_ALLOCATION)
    return _result(book, prices, given, (*_conventions(given, len(targets), at_open=at_open), *notes))


def is_allocation(value: Any) -> bool:
    """Say whether it is a mapping of names to numbers: the weights that an optimiser gives."""
    named = isinstance(value, Mapping) and bool(value)
    return named and all(isinstance(name, str) and isinstance(number, Real) for name, number in value.items())


def _one_allocation(weights: Any, prices: Any) -> pd.DataFrame | None:
    """Return weights by symbol, a Series or one column, as a row at the first price; None for others."""
    import pandas as pd

    if not isinstance(prices, pd.DataFrame) or prices.empty:
        return None
    one = weights.iloc[:, 0] if isinstance(weights, pd.DataFrame) and len(weights.columns) == 1 else weights
    if not isinstance(one, pd.Series) or prices.columns.intersection(one.index).empty:
        return None
    return pd.DataFrame([one.to_numpy()], prices.index[:1], one.index)


def _frames(weights: Any, given: Given) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """Return weights, prices and opens with UTC labels and the columns of the weights, as floats."""
    import pandas as pd

    if not isinstance(weights, pd.DataFrame) or not isinstance(given.prices, pd.DataFrame):
        raise ResultError(
            "Weights with prices are two frames, a column a symbol: run.save(weights, prices=prices). "
            f"Given were a {type(weights).__name__} and a {type(given.prices).__name__}."
        )
    frames: list[Any] = []
    for name, frame in (("the weights", weights), ("the prices", given.prices), ("the opens", given.opens)):
        if frame is None:
            frames.append(None)
            continue
        if frame.columns.has_duplicates:
            twice = frame.columns[frame.columns.duplicated()][0]
            raise ResultError(f"{name.capitalize()} have the column {twice!r} twice.")
        labelled = relabelled(frame, name)
        check_labels(labelled.index, name)
        frames.append(_floats(labelled, name))
    found, prices, opens = frames
    check_weights(found, prices)
    if (gross := found.abs().sum(axis=1)).max() > MOST_GROSS:
        raise ResultError(
            f"The weights of {gross.idxmax()} add up to {gross.max():,.4g} times the equity: they look like percent or "
            "units. Needed are decimals of the equity, 0.6 for 60 percent."
        )
    if opens is not None:
        check_weights(found, opens)
        if not opens.index.equals(prices.index):
            raise ResultError("The opens have other labels than the prices. Give both on the same ones.")
    names = list(found.columns)
    return found, prices[names], None if opens is None else opens[names]


def _floats(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    try:
        return frame.astype("float64")
    except (TypeError, ValueError) as error:
        raise ResultError(f"{name.capitalize()} hold what is no number: {error}.") from None


def _cost(bps: float | None) -> float:
    cost = (bps or 0.0) / 10_000.0
    if not 0.0 <= cost < 1.0:
        raise ResultError(f"costs_bps is {bps!r}; needed are basis points of what is traded, 0 to 9,999.")
    return cost


def _fill_at_open(given: Given, opens: pd.DataFrame | None) -> bool:
    if given.fill == "next_open" and opens is None:
        raise ResultError('fill="next_open" needs the open prices: run.save(weights, prices=prices, opens=opens, …).')
    return given.fill == "next_open"


def _scheduled(
    weights: pd.DataFrame, index: pd.DatetimeIndex, *, at_open: bool
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the weights by the position of the label they are traded at, and what is to be said of it.

    That is the label of the row, or the first one after it; at the open always the first one after it.
    """
    import numpy as np
    import pandas as pd

    rows = pd.DatetimeIndex(weights.index)
    places = index.searchsorted(rows, side="right" if at_open else "left")
    late = int((places >= len(index)).sum())
    between = int((~rows.isin(index) & (places < len(index))).sum())
    targets = weights.set_axis(pd.Index(np.asarray(places)))[places < len(index)]
    targets = targets[~targets.index.duplicated(keep="last")]
    if not len(targets) or (at_open and int(targets.index[0]) == 0):
        raise ResultError(
            f"The weights, {rows[0]} to {rows[-1]}, and the prices, {index[0]} to {index[-1]}, do not overlap as "
            "needed: each rebalance trades at a price of its label or a later one."
        )
    notes = []
    if between:
        notes.append(f"{between:,} rows of weights have a label without prices; they trade at the next one.")
    if late:
        notes.append(f"{late:,} rows of weights come after the last price and were not traded.")
    return targets, tuple(notes)


def _check_prices(prices: pd.DataFrame, fill_prices: pd.DataFrame, targets: pd.DataFrame) -> None:
    """Refuse a missing price, or one that is not above zero, of what is held or traded."""
    import numpy as np

    close, fill = prices.to_numpy(), fill_prices.to_numpy()
    if bool((close > 0.0).all()) and bool((fill > 0.0).all()) and bool(np.isfinite(close).all()):
        return
    rows = np.searchsorted(targets.index.to_numpy(), np.arange(len(close)), side="right") - 1
    wanted = targets.to_numpy()[np.maximum(rows, 0)] * (rows >= 0)[:, None] != 0.0
    sold = np.zeros_like(wanted)
    sold[1:] = wanted[:-1]
    at_rebalance = np.zeros(len(close), dtype=bool)
    at_rebalance[targets.index.to_numpy()] = True
    for values, needed in ((close, wanted), (fill, (wanted | sold) & at_rebalance[:, None])):
        odd = needed & ~((values > 0.0) & np.isfinite(values))
        if odd.any():
            row, column = np.argwhere(odd)[0]
            raise ResultError(
                f"{prices.columns[column]} is held or traded at {prices.index[row]}, where its price is "
                f"{values[row, column]}. Fill a gap with the last price, prices.ffill(), or give it the weight 0 there."
            )


def _conventions(given: Given, rebalances: int, *, at_open: bool) -> tuple[str, ...]:
    price = "the open of the label after the weights'" if at_open else "the close of the weights' own label"
    charged = "no costs were given and none charged" if given.costs_bps is None else f"{given.costs_bps:g} bps charged"
    text = (
        f"The portfolio was computed here from {rebalances:,} rows of weights: each is a rebalance at {price}, "
        f"between them the weights drift; {charged} on what is traded; fractions of units; cash earns nothing."
    )
    return (text,)


def _result(book: Book, prices: pd.DataFrame, given: Given, notes: tuple[str, ...]) -> Result:
    import numpy as np
    import pandas as pd

    labels, names = prices.index, prices.columns
    equity = pd.Series(book.equity, labels, name="equity")
    with np.errstate(divide="ignore", invalid="ignore"):
        held = np.where(book.equity[:, None] > 0.0, book.positions * book.close / book.equity[:, None], 0.0)
    weights = pd.DataFrame(held, labels, names)
    if book.ruined is not None:
        notes = (*notes, f"At {labels[book.ruined]} nothing was left: all was closed, and nothing traded after it.")
    fills = _fills(book, pd.DatetimeIndex(labels), names)
    if fills is None:
        notes = (*notes, f"More than {MOST_FILLS:,} fills are not listed: the positions show them.")
    return Result(
        equity=equity,
        capital=book.capital,
        first_label="start" if book.equity[0] == book.capital else "period",
        engine=Engine("weights at prices"),
        symbols=tuple(str(name) for name in names),
        costs={"fee_bps": float(given.costs_bps or 0.0)},
        fills=fills,
        positions=pd.DataFrame(book.positions, labels, names),
        weights=weights,
        prices=prices,
        cash=pd.Series(book.cashes, labels, name="cash"),
        leverage=weights.abs().sum(axis=1).rename("leverage"),
        tables={"turnover": _turnover(book, labels)},
        notes=notes,
    )


def _fills(book: Book, labels: pd.DatetimeIndex, names: pd.Index) -> pd.DataFrame | None:
    import numpy as np
    import pandas as pd

    rows, units, prices = book.all_trades()
    if np.count_nonzero(units) > MOST_FILLS:
        return None
    which, symbol = np.nonzero(units)
    quantity, price = units[which, symbol], prices[which, symbol]
    return pd.DataFrame(
        {
            "timestamp": labels[rows[which]],
            "symbol": pd.Series(names.astype(str).to_numpy()[symbol], dtype=str),
            "quantity": quantity,
            "price": price,
            "fee": np.abs(quantity) * price * book.cost,
        }
    )


def _turnover(book: Book, labels: pd.Index) -> pd.DataFrame:
    """Return what was traded at each label with a trade: money, as a share of the equity after it, and its cost."""
    import numpy as np
    import pandas as pd

    rows, units, prices = book.all_trades()
    money = np.abs(units * prices).sum(axis=1)
    frame = pd.DataFrame({"traded": money, "turnover": money / book.equity[rows], "costs": money * book.cost})
    return frame.set_axis(labels[rows])
