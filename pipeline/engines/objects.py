"""What adapters share: recognise an object, read its labels, numbers and version, choose one of several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, ResultError
from pipeline.results.contract import Engine, ReportedMetric

if TYPE_CHECKING:
    import pandas as pd


def is_a(value: object, root: str, *names: str) -> bool:
    """Say whether a class of `value`, or one it inherits from, has this module root and one of these names."""
    return any(kind.__name__ in names and kind.__module__.split(".")[0] == root for kind in type(value).__mro__)


def engine_of(name: str, distribution: str, root: str) -> Engine:
    """Return the engine with the version that is installed, where its library is the one in use."""
    import importlib.metadata
    import sys

    if root not in sys.modules:
        return Engine(name)
    try:
        return Engine(name, importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return Engine(name)


def labels_of(index: Any, what: str) -> pd.DatetimeIndex:
    """Return an index of dates, times, periods or ISO text as UTC labels; days are midnight UTC.

    A period is named by its last day, one shorter than a day by its start. Raises ResultError for numbers, for times
    of more than one zone, and for text that is no date.
    """
    import pandas as pd

    from pipeline.backtest.timestamps import to_utc, utc_labels

    if isinstance(index, pd.PeriodIndex):
        start, end = index.to_timestamp(how="start"), index.to_timestamp(how="end").normalize()
        index = end if bool((start == start.normalize()).all()) else start
    if not isinstance(index, pd.DatetimeIndex):
        _check_dates(index, what)
        values = pd.Series(list(index))
        if not all(isinstance(value, str) for value in values):
            return utc_labels(_from_objects(values, what))
        try:
            return to_utc(values, [f"row {row}" for row in range(1, len(values) + 1)], timezone=None, date_format=None,
                          where=what.capitalize())  # fmt: skip
        except DataError as error:
            raise ResultError(f"{error} Or give it a DatetimeIndex.") from None
    return utc_labels(index)


def _check_dates(index: Any, what: str) -> None:
    import datetime as dt

    if len(index) == 0:
        raise ResultError(f"{what.capitalize()} has no values.")
    odd = [label for label in index if not isinstance(label, dt.date | str)]
    if odd:
        raise ResultError(
            f"{what.capitalize()} is labelled by {type(index).__name__} ({odd[0]!r} …), not by dates. "
            "Give it a DatetimeIndex: the dates of its bars."
        )


def _from_objects(values: pd.Series, what: str) -> pd.DatetimeIndex:
    """Return dates and times held as Python objects."""
    import pandas as pd

    zones = {str(zone) if (zone := getattr(value, "tzinfo", None)) is not None else "none" for value in values}
    if len(zones) > 1:
        raise ResultError(
            f"{what.capitalize()} has labels of several zones: {', '.join(sorted(zones))}. "
            "Convert them to one, as pd.to_datetime(index, utc=True)."
        )
    return pd.DatetimeIndex(pd.to_datetime(list(values)))


def relabelled(data: Any, what: str) -> Any:
    """Return a copy of a Series or frame with its index as UTC labels, see `labels_of`."""
    copy = data.copy()
    copy.index = labels_of(data.index, what)
    return copy


def times(values: Any) -> pd.DatetimeIndex:
    """Return times of trades or fills as UTC labels in nanoseconds; without a zone they are UTC."""
    import pandas as pd

    from pipeline.backtest.timestamps import utc_labels

    return utc_labels(pd.DatetimeIndex(values))


def one_of(names: Sequence[Any], given: Any, what: str) -> Any:
    """Return the only name, or the given one; raises ResultError that lists them when it is needed or unknown."""
    listed = ", ".join(repr(name) for name in names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    if given is None:
        if len(names) == 1:
            return names[0]
        raise ResultError(
            f"{what} holds {len(names)} results: {listed}. Say which one, as run.save(result, column={names[0]!r})."
        )
    for name in names:
        if name == given or str(name) == str(given):
            return name
    raise ResultError(f"{what} has no {given!r}; it holds {listed}.")


def number(value: Any) -> float | None:
    """Return a finite number as float, also of text as "1,234.50 USD", "$2.00" or "11.29%" (0.1129); else None."""
    if isinstance(value, str):
        return _of_text(value)
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _of_text(text: str) -> float | None:
    import re

    found = re.search(r"-?\d[\d,_]*\.?\d*(?:[eE][-+]?\d+)?", text.replace("−", "-"))
    if not found:
        return None
    plain = float(found.group().replace(",", "").replace("_", ""))
    sign = -1.0 if plain >= 0.0 and re.match(r"\s*-\D*\d", text) else 1.0
    return sign * (plain / 100.0 if text.rstrip().endswith("%") else plain)


def reported(name: str, value: Any, metric: str | None = None, convention: str = "") -> tuple[ReportedMetric, ...]:
    """Return the engine's number as a tuple of one, or of none when it has no value."""
    found = number(value)
    return () if found is None else (ReportedMetric(name, found, metric, convention),)


def gathered(parts: Iterable[tuple[ReportedMetric, ...]]) -> tuple[ReportedMetric, ...]:
    """Return the tuples one after the other."""
    return tuple(metric for part in parts for metric in part)
