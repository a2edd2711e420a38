"""Timestamps written as one number: Unix epochs in some unit, day numbers of spreadsheets, dates without separators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.backtest.date_formats import all_read
from pipeline.backtest.places import rows_of
from pipeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

UNITS = ("s", "ms", "us", "ns")
FORMATS = (*UNITS, "excel")
_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_FIRST = 1e8  # seconds: 1973; each further unit is a thousand times as much
_EXCEL_EPOCH = "1899-12-30"
_COMPACT = {4: "%Y", 6: "%Y%m", 7: "%Y.%m", 8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def from_epoch(values: pd.Series, places: Sequence[str], unit: str, where: str) -> pd.DatetimeIndex:
    """Return numbers since 1970 in `unit`, or Excel's day numbers, as a DatetimeIndex without a zone.

    Raises DataError for text, for numbers whose unit changes inside the file, and when everything falls into 1970.
    """
    import numpy as np
    import pandas as pd

    numbers = as_numbers(values)
    if numbers.isna().any():
        raise DataError(
            f"{where}: the timestamp {values[numbers.isna()].iloc[0]!r} in {rows_of(numbers.isna(), places)} is not a "
            f"number, as date_format {unit!r} needs it. Take that row out, or give another date_format."
        )
    _check_digits(values, places, where)
    check_one_unit(numbers, places, where)
    if unit == "excel":
        days = np.rint(numbers.to_numpy(dtype=float) * 86_400_000) * 1_000_000  # Excel keeps about milliseconds
        if not (np.abs(days) < 2**63).all():
            raise DataError(f"{where}: {numbers.max():g} is no day number of Excel.{_unit_hint(numbers)}")
        return pd.DatetimeIndex(pd.Timestamp(_EXCEL_EPOCH) + pd.to_timedelta(days.astype("int64"), unit="ns"))
    whole = numbers.astype("int64") if bool((numbers % 1 == 0).all()) else numbers
    stamps = pd.DatetimeIndex(pd.to_datetime(whole, unit=unit)).as_unit("ns")  # type: ignore[call-overload]
    if {stamps.min().year, stamps.max().year} == {1970}:
        raise DataError(
            f"{where}: read with date_format {unit!r}, all timestamps lie in 1970 (first: {stamps[0]})."
            f"{_unit_hint(numbers) or ' Give the date_format they are written in, or ISO dates.'}"
        )
    return stamps


def as_numbers(values: pd.Series) -> pd.Series:
    """Return values as numbers, NaN where they are none; the day numbers of a spreadsheet may have a decimal comma."""
    import pandas as pd

    text = values.astype(str).str.strip()
    points = values.where(~text.str.fullmatch(r"\d{5},\d+"), text.str.replace(",", "."))
    return pd.to_numeric(points, errors="coerce")


def _check_digits(values: pd.Series, places: Sequence[str], where: str) -> None:
    """Raise DataError for epochs that a spreadsheet cut to a few digits, 1.57784E+12."""
    text = values.astype(str).str.strip()
    cut = text.str.fullmatch(r"\d(?:\.\d{1,6})?[eE]\+?\d{2}")
    if cut.any():
        raise DataError(
            f"{where}: the timestamp {text[cut].iloc[0]} in {rows_of(cut, places)} was cut to a few digits, as a "
            "spreadsheet does with long numbers. Export the file again with all digits, or with ISO dates."
        )


def check_one_unit(numbers: pd.Series, places: Sequence[str], where: str) -> None:
    """Raise DataError where epochs change their unit from one row to the next, as Binance's did on 2025-01-01."""
    import numpy as np

    values = numbers.to_numpy(dtype=float)
    usable = (values[1:] >= _FIRST) & (values[:-1] >= _FIRST)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(usable, values[1:] / np.where(values[:-1] == 0.0, 1.0, values[:-1]), 1.0)
    jumps = np.flatnonzero((ratio > 100.0) | (ratio < 0.01))
    if not len(jumps):
        return
    at = int(jumps[0]) + 1
    before, after = _unit(values[at - 1]), _unit(values[at])
    factor = 1000 ** abs(UNITS.index(before) - UNITS.index(after))
    verb = "Divide" if values[at] > values[at - 1] else "Multiply"
    place = places[at] if at < len(places) else f"row {at + 1}"
    raise DataError(
        f"{where}: the unit of the timestamps changes in {place}, from {_NAMES[before]} ({values[at - 1]:.0f}) to "
        f"{_NAMES[after]} ({values[at]:.0f}). {verb} the timestamps from {place} on by {factor:,}, then give "
        f"date_format = {before!r}."
    )


def number_hint(text: pd.Series, numbers: pd.Series, places: Sequence[str], where: str) -> str:
    """Return what to write in the spec for timestamps that are numbers; raises DataError when their unit changes."""
    check_one_unit(numbers, places, where)
    lengths = text.str.len()
    compact = _COMPACT.get(int(lengths.iloc[0])) if lengths.nunique() == 1 else None
    if compact and all_read(text, compact):
        return f"Give date_format = {compact!r}."
    return _unit_hint(numbers).strip() or (
        "Give date_format = 's', 'ms', 'us' or 'ns' for seconds to nanoseconds since 1970, or 'excel' for the day "
        "numbers of a spreadsheet."
    )


def _unit_hint(numbers: pd.Series) -> str:
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 20_000 and high < 80_000:
        return " They look like day numbers of Excel (1 is 1900-01-01): give date_format = 'excel'."
    if low >= 690_000 and high < 780_000:
        return " They look like day numbers of MATLAB: subtract 693960, then give date_format = 'excel'."
    if low >= _FIRST and _unit(low) == _unit(high):
        return f" They look like {_NAMES[_unit(low)]} since 1970: give date_format = {_unit(low)!r}."
    return ""


def _unit(value: float) -> str:
    """Return the unit in which a number of at least 1e8 lies between 1973 and the year 5138."""
    at = sum(value >= _FIRST * 1000.0**step for step in (1, 2, 3))
    return UNITS[at]
