"""Turn a column of dates as people write them into UTC instants, or say why that would be a guess."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_EPOCH_UNITS = ("s", "ms", "us", "ns")
_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:?\d{2}(?::?\d{2}(?:[.,]\d{1,9})?)? ?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?"
_OFFSET = r"[T ].*(?:Z|[+-]\d{2}(?::?\d{2})?)$"


def to_utc(
    values: pd.Series, places: list[str], *, timezone: str | None, date_format: str | None, where: str
) -> pd.DatetimeIndex:
    """Return `values` as a UTC DatetimeIndex in nanoseconds, in the given order.

    ISO-8601 text and date-time columns need nothing more. Without an offset, values that all fall on midnight
    are calendar dates and become midnight UTC; other times of day need `timezone`. Any other notation
    (03/04/2020) needs `date_format`. Raises DataError naming the first lines in question.
    """
    import pandas as pd

    if values.isna().any():
        raise DataError(
            f"{where}: the timestamp is missing in {_rows(values.isna(), places)}. Fill it or remove the rows."
        )
    try:
        index = pd.DatetimeIndex(_parse(values, places, date_format, where)).as_unit("ns")
    except (ValueError, OverflowError, pd.errors.OutOfBoundsDatetime) as error:
        hint = f"with date_format {date_format!r}" if date_format else "as ISO-8601"
        what = str(error).partition(" You might want")[0]  # the rest is pandas' advice on its own arguments
        raise DataError(f"{where}: the timestamps cannot be read {hint}: {what}") from None
    index = index.tz_convert("UTC") if index.tz is not None else _localize(index, timezone, where)
    return index.rename("timestamp")


def _parse(values: pd.Series, places: list[str], date_format: str | None, where: str) -> Any:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values
    if date_format in _EPOCH_UNITS:
        return pd.to_datetime(pd.to_numeric(values), unit=date_format, utc=True)  # type: ignore[call-overload]
    text = values.astype(str).str.strip()
    if date_format is not None:
        return pd.to_datetime(text, format=date_format, utc="%z" in date_format)
    odd = ~text.str.fullmatch(_ISO)
    if odd.any():
        first = text[odd].iloc[0]
        raise DataError(
            f"{where}: the timestamp {first!r} in {_rows(odd, places)} is not ISO-8601 (2020-04-03 or "
            f"2020-04-03T14:30:00Z), so its meaning would be a guess. Give date_format, {_format_hint(first)}."
        )
    offset = text.str.contains(_OFFSET)
    if offset.any() and not offset.all():
        raise DataError(f"{where}: some timestamps carry an offset from UTC, {_rows(~offset, places)} do not.")
    return pd.to_datetime(text, format="ISO8601", utc=bool(offset.all()))


def _localize(index: pd.DatetimeIndex, timezone: str | None, where: str) -> pd.DatetimeIndex:
    if (index == index.normalize()).all():
        return index.tz_localize("UTC")
    if timezone is None:
        raise DataError(
            f"{where}: the timestamps have a time of day but no zone (first: {index[0]}). "
            "Say which zone they are in with timezone, as 'America/New_York' or 'UTC'."
        )
    try:
        zone = zoneinfo.ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):  # unknown, malformed, a folder of the zone database
        raise DataError(f"{timezone!r} is not a time zone. Write it as 'America/New_York' or 'UTC'.") from None
    local = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if local.hasnans:
        first = index[local.isna()][0]
        raise DataError(
            f"{where}: {first} has no single meaning in {timezone}, where the clock changes then. "
            "Give the timestamps in UTC, or with their offset."
        )
    return local.tz_convert("UTC")


def _format_hint(text: str) -> str:
    if text.replace(".", "", 1).isdigit():
        if len(text) == 8:
            return "as '%Y%m%d'"
        return "as 's', 'ms', 'us' or 'ns' for seconds to nanoseconds since 1970"
    return "as '%d/%m/%Y' (day first) or '%m/%d/%Y' (month first)"


def _rows(mask: pd.Series, places: list[str]) -> str:
    hits = [place for place, hit in zip(places, mask, strict=True) if hit]
    return ", ".join(hits[:3]) + (f" and {len(hits) - 3:,} more" if len(hits) > 3 else "")
