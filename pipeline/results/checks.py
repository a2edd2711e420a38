"""Refuse a result that cannot be true, before anything of it is written: what is wrong, where, what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.errors import ResultError
from pipeline.results.contract import FILL_NEEDS, TRADE_NEEDS, Result

if TYPE_CHECKING:
    import pandas as pd

JUMP = 50.0  # equity that changes by more than this factor between two labels has changed its unit
FEW = 3


def check_result(result: Result) -> None:
    """Raise ResultError for a result whose parts have values, labels or columns that the contract refuses."""
    check_series(result.equity, "the equity")
    _check_capital(result)
    for name, curve in result.benchmarks.items():
        check_labels(curve.index, f"the benchmark {name!r}")
    for name in ("cash", "leverage"):
        if (series := getattr(result, name)) is not None:
            check_series(series, f"the {name}")
    for name in ("positions", "weights", "prices"):
        if (frame := getattr(result, name)) is not None:
            check_labels(frame.index, f"the {name}")
    if result.weights is not None:
        check_weights(result.weights, result.prices)
    if result.trades is not None:
        _check_trades(result.trades, result.equity.index)
    if result.fills is not None:
        _check_columns(result.fills, FILL_NEEDS, "the fills")


def check_series(series: pd.Series, what: str) -> None:
    """Raise ResultError for a series with bad labels, or a value that is no finite number."""
    import numpy as np

    check_labels(series.index, what)
    values = series.to_numpy()
    if values.dtype == object or not np.issubdtype(values.dtype, np.number):
        raise ResultError(f"{what.capitalize()} holds {values.dtype}, not numbers. Convert it with .astype(float).")
    odd = ~np.isfinite(values.astype(float))
    if odd.any():
        raise ResultError(
            f"{what.capitalize()} has {odd.sum():,} values that are NaN or infinite, first at "
            f"{_shown(series.index[odd])}. Fill or drop them; a gap at the start is cut with .dropna()."
        )


def check_labels(index: pd.Index, what: str) -> None:
    """Raise ResultError for an index that is empty, no times, not increasing, or holds a time twice."""
    import pandas as pd

    if len(index) == 0:
        raise ResultError(f"{what.capitalize()} has no values.")
    if not isinstance(index, pd.DatetimeIndex):
        raise ResultError(
            f"{what.capitalize()} is labelled by {type(index).__name__} ({index[0]!r} …), not by dates. "
            "Give it a DatetimeIndex: the dates of its bars."
        )
    if index.hasnans:
        raise ResultError(f"{what.capitalize()} has a label that is NaT. Remove that row.")
    if index.has_duplicates:
        raise ResultError(
            f"{what.capitalize()} has a label twice: {_shown(index[index.duplicated()])}. Keep one value a label."
        )
    if not index.is_monotonic_increasing:
        back = [place for place in range(1, len(index)) if index[place] < index[place - 1]]
        raise ResultError(
            f"{what.capitalize()} is not in the order of time: {index[back[0]]} comes after {index[back[0] - 1]}. "
            "Sort it with .sort_index()."
        )


def _check_capital(result: Result) -> None:
    first = result.equity.iloc[0]
    if not math.isfinite(result.capital) or result.capital <= 0.0:
        raise ResultError(f"The capital is {result.capital!r}; a number above zero is needed, as capital=100_000.")
    _check_unit(result.equity, result.capital)
    if result.first_label == "start" and first != result.capital:
        raise ResultError(
            f"The equity begins at {first:,.10g} and the capital is {result.capital:,.10g}, though the first label is "
            'said to be the start. Give the capital it begins with, or first_label="period".'
        )


def _check_unit(equity: pd.Series, capital: float) -> None:
    import numpy as np

    path = np.append(capital, equity.to_numpy(dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((path[:-1] > 0.0) & (path[1:] > 0.0), path[1:] / path[:-1], 1.0)
    odd = np.flatnonzero((ratio > JUMP) | (ratio < 1.0 / JUMP))
    if not len(odd):
        return
    place = int(odd[0])
    if place == 0:
        raise ResultError(
            f"The equity begins at {path[1]:,.6g}, the capital is {capital:,.6g}. Give the capital it starts from, as "
            f"capital={path[1]:.6g}."
        )
    raise ResultError(
        f"The equity jumps from {path[place]:,.6g} to {path[place + 1]:,.6g} at {equity.index[place]}: its unit "
        "changes there. Give one curve, in money or as growth of one unit."
    )


def check_weights(weights: pd.DataFrame, prices: pd.DataFrame | None) -> None:
    """Raise ResultError for blanks in weights, and for symbols of theirs without prices."""
    missing = weights.isna()
    if missing.to_numpy().any():
        row = int(missing.any(axis=1).to_numpy().argmax())
        first, names = weights.index[row], _shown(weights.columns[missing.iloc[row].to_numpy()])
        raise ResultError(
            f"The weights have {int(missing.to_numpy().sum()):,} blanks, first at {first} of {names}. "
            "A symbol that is not held has the weight 0: fill them with .fillna(0)."
        )
    if prices is None:
        return
    unknown = [str(name) for name in weights.columns if name not in prices.columns]
    if unknown:
        raise ResultError(
            f"The weights name symbols without prices: {', '.join(unknown[:FEW])}"
            f"{f' and {len(unknown) - FEW} more' if len(unknown) > FEW else ''}. "
            "Give a column of prices for each, or leave them out of the weights."
        )


def _check_trades(trades: pd.DataFrame, index: pd.Index) -> None:
    import pandas as pd

    _check_columns(trades, TRADE_NEEDS, "the trades")
    odd = trades[~trades["side"].isin(["long", "short"])]
    if len(odd):
        raise ResultError(f"The trades have the side {odd['side'].iloc[0]!r}; needed is long or short.")
    day = pd.Timedelta(days=1)  # daily labels name a day, trades may have a time of it
    for column in ("entry_time", "exit_time"):
        times = pd.to_datetime(trades[column], utc=True)
        outside = times[(times < index[0] - day) | (times >= index[-1] + day)]
        if len(outside):
            raise ResultError(
                f"{len(outside):,} trades lie outside of the equity's time, {index[0]} to {index[-1]}: the first has "
                f"{column} {outside.iloc[0]}. Give the trades of this result only."
            )


def _check_columns(frame: pd.DataFrame, needed: tuple[str, ...], what: str) -> None:
    lacking = [name for name in needed if name not in frame.columns]
    if lacking:
        found = ", ".join(map(str, list(frame.columns)[:8]))
        raise ResultError(f"{what.capitalize()} lack the columns {', '.join(lacking)}; found: {found}.")


def _shown(labels: Any) -> str:
    more = f" and {len(labels) - FEW} more" if len(labels) > FEW else ""
    return ", ".join(str(label) for label in labels[:FEW]) + more
