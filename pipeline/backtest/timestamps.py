"""Turn dates as people write them into labels of bars, or say why that would be a guess.

A bar is labelled by an instant, or by a day. Bars whose times all are the first instant of a day where they come from
are labelled by days, and a day is written as midnight UTC of its date: `2017-03-01 00:00+01:00` is 1 March.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pipeline.backtest.date_formats import suggestion
from pipeline.backtest.epochs import FORMATS as EPOCHS
from pipeline.backtest.epochs import as_numbers, from_epoch, number_hint
from pipeline.backtest.places import rows_of
from pipeline.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TimeLabels = Literal["days", "instants"]

_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:?\d{2}(?::?\d{2}(?:[.,]\d{1,9})?)? ?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?"
_OFFSET = r"[T ].*?(Z|[+-]\d{2}(?::?\d{2})?)$"
_ENDS_WITH_OFFSET = r"()?(Z|[+-]\d{2}(?::?\d{2}){1,2})$"
_IN_UTC = re.compile(r" ?(?:UTC|GMT)$")
FEW = 0.2  # fewer rows than this are odd ones in a column, not its notation
_DAILY = 20 * 3_600_000_000_000  # nanoseconds from which on bars count as daily or slower


def time_labels(index: pd.DatetimeIndex) -> TimeLabels:
    """Say whether bars are labelled by days (all at midnight UTC, see `utc_labels`) or by instants."""
    stamps = utc_labels(index)
    return "days" if len(stamps) and bool((stamps == stamps.normalize()).all()) else "instants"


def is_daily(index: pd.DatetimeIndex) -> bool:
    """Say whether bars usually lie at least 20 hours apart, in either order: daily ones, or slower."""
    import numpy as np

    return len(index) > 1 and float(np.median(np.abs(np.diff(index.as_unit("ns").asi8)))) >= _DAILY


def utc_labels(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Return an index of any kind as UTC labels in nanoseconds, named `timestamp`.

    Without a zone it is taken as UTC. With one, an index whose values all begin a day there becomes those days, as
    midnight UTC; any other keeps its instants.
    """
    stamps = index.as_unit("ns").rename("timestamp")
    if stamps.tz is None:
        return stamps.tz_localize("UTC")
    if str(stamps.tz) == "UTC" or not len(stamps):
        return stamps.tz_convert("UTC")
    wall = stamps.tz_localize(None)
    return _days(wall) if bool(_begins_day(stamps).all()) else stamps.tz_convert("UTC")


def to_utc(
    values: pd.Series, places: Sequence[str], *, timezone: str | None, date_format: str | None, where: str
) -> pd.DatetimeIndex:
    """Return `values` as UTC labels (DatetimeIndex, nanoseconds), in the given order.

    ISO-8601 text and date-time columns need nothing more. Values that all begin a day, without an offset, at their
    offset or in `timezone`, are days and become midnight UTC. Other times of day need an offset or `timezone`. Any
    other notation (03/04/2020) needs `date_format`. Raises DataError naming the first lines in question.
    """
    import pandas as pd

    zone = _zone(timezone)
    if len(values) == 0:
        raise DataError(f"{where} has no rows.")
    if values.isna().any():
        raise DataError(
            f"{where}: the timestamp is missing in {rows_of(values.isna(), places)}. Fill it or remove the rows."
        )
    try:
        stamps, wall = _parse(values, places, date_format, where)
    except (ValueError, OverflowError, pd.errors.OutOfBoundsDatetime) as error:
        raise _unread(values, places, date_format, str(error), where) from None
    return _labelled(stamps, wall, zone, places, where).rename("timestamp")


def _zone(name: str | None) -> zoneinfo.ZoneInfo | None:
    if name is None:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, malformed, a folder of the zone database
        raise DataError(f"{name!r} is not a time zone. Write it as 'America/New_York' or 'UTC'.") from None


def _parse(
    values: pd.Series, places: Sequence[str], date_format: str | None, where: str
) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex | None]:
    """Return the values as they are written, and for text with offsets the clock's reading at each offset."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        stamps = pd.DatetimeIndex(values).as_unit("ns")
        _check_unit_of_column(stamps, where)
        return stamps, None
    if date_format in EPOCHS:
        stamps = from_epoch(values, places, date_format, where)
        return (stamps if date_format == "excel" else stamps.tz_localize("UTC")), None
    if date_format is None and (plain := _plain(values)) is not None:
        return plain, None
    text = _as_text(values)
    if date_format is not None:
        return _with_format(text, date_format)
    if _IN_UTC.search(text.iloc[0]):
        text = text.str.replace(_IN_UTC, "Z", regex=True)
    odd = ~text.str.fullmatch(_ISO)
    if odd.any():
        raise _not_iso(text, odd, places, where)
    found = text.str.extract(_OFFSET, expand=False) if len(text.iloc[0]) > 10 or text.str.len().max() > 10 else None
    if found is None or not found.notna().any():
        return pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601")).as_unit("ns"), None
    if found.isna().any():
        raise DataError(f"{where}: some timestamps carry an offset from UTC, {rows_of(found.isna(), places)} do not.")
    stamps = pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601", utc=True)).as_unit("ns")
    return stamps, _wall(stamps, found)


def _plain(values: pd.Series) -> pd.DatetimeIndex | None:
    """Return text that is dates alone or instants in UTC, the most usual kinds, at a glance; None for any other."""
    import pandas as pd

    first = values.iloc[0]
    shape = re.sub(r"\d", "9", first) if isinstance(first, str) else ""
    if shape == "9999-99-99":
        date_format = "%Y-%m-%d"
    elif shape == "9999-99-99T99:99:99Z" and values.str.len().eq(20).all() and values.str.endswith("Z").all():
        date_format = "ISO8601"
    else:
        return None
    try:
        return pd.DatetimeIndex(pd.to_datetime(values, format=date_format)).as_unit("ns")
    except ValueError:
        return None


def _as_text(values: pd.Series) -> pd.Series:
    """Return text as it stands in the file; whole numbers that a blank elsewhere made decimal lose their `.0`."""
    import pandas as pd

    if pd.api.types.is_float_dtype(values.dtype) and bool((values % 1 == 0).all()):
        values = values.astype("int64")
    text = values.astype(str).str.strip()
    wide = any(text.str.contains(blank, regex=False).any() for blank in ("  ", "\t", "\xa0"))
    return text.str.replace(r"\s+", " ", regex=True) if wide else text


def _with_format(text: pd.Series, date_format: str) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex | None]:
    import pandas as pd

    if "%z" not in date_format:
        return pd.DatetimeIndex(pd.to_datetime(text, format=date_format)).as_unit("ns"), None
    stamps = pd.DatetimeIndex(pd.to_datetime(text, format=date_format, utc=True)).as_unit("ns")
    offsets = text.str.extract(_ENDS_WITH_OFFSET)[1]
    return stamps, _wall(stamps, offsets) if offsets.notna().all() else None


def _wall(stamps: pd.DatetimeIndex, offsets: pd.Series) -> pd.DatetimeIndex:
    """Return what the clocks showed at the offsets, without a zone."""
    import pandas as pd

    known = {text: _seconds(text) for text in offsets.unique()}
    return stamps.tz_localize(None) + pd.to_timedelta(offsets.map(known).to_numpy(), unit="s")


def _seconds(offset: str) -> int:
    if offset == "Z":
        return 0
    digits = offset[1:].replace(":", "").ljust(6, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6])
    return -seconds if offset[0] == "-" else seconds


def _labelled(
    stamps: pd.DatetimeIndex,
    wall: pd.DatetimeIndex | None,
    zone: zoneinfo.ZoneInfo | None,
    places: Sequence[str],
    where: str,
) -> pd.DatetimeIndex:
    """Return days where all values begin one, else instants; refuse a file that is neither."""
    import numpy as np

    if stamps.tz is None:
        if bool((stamps == stamps.normalize()).all()):
            return stamps.tz_localize("UTC")
        _check_mixed(np.asarray(stamps == stamps.normalize()), stamps, places, where)
        stamps = _localize(stamps, zone, where)
    elif zone is not None:
        stamps = stamps.tz_convert(zone)
    begins = _begins_day(stamps)
    if begins.all():
        return _days(stamps.tz_localize(None))
    if wall is not None:
        begins_there = _begins_day_at(stamps, wall)
        if begins_there.all():
            return _days(wall)
        begins = max(begins, begins_there, key=lambda found: found.sum())
    utc = stamps.tz_convert("UTC")
    if not bool((utc == utc.normalize()).all()):
        _check_mixed(begins, utc, places, where)
    return utc


def _begins_day(stamps: pd.DatetimeIndex) -> np.ndarray:
    """Say of each value with a zone whether a day begins with it there; not every day begins at midnight."""
    import numpy as np

    wall = stamps.tz_localize(None)
    begins = np.asarray(wall == wall.normalize())
    late = np.flatnonzero(~begins)
    if 0 < len(late) <= len(begins) // 2 and str(stamps.tz) != "UTC":
        some = stamps[late]
        first = some.tz_localize(None).normalize().tz_localize(some.tz, nonexistent="shift_forward", ambiguous=True)
        begins[late] = np.asarray(first == some)
    return begins


def _begins_day_at(stamps: pd.DatetimeIndex, wall: pd.DatetimeIndex) -> np.ndarray:
    """The same for clocks at written offsets: where a change of the offset skips midnight, the day begins after it."""
    import numpy as np

    begins = np.asarray(wall == wall.normalize())
    offsets = wall.asi8 - stamps.asi8
    before = wall.asi8[1:] - np.diff(offsets)  # the clock, had it not been put forward since the bar before
    begins[1:] |= (before == wall.normalize().asi8[1:]) & (np.diff(offsets) > 0)
    return begins


def _days(wall: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return wall.normalize().tz_localize("UTC").rename("timestamp")


def _check_mixed(begins: np.ndarray, stamps: pd.DatetimeIndex, places: Sequence[str], where: str) -> None:
    """Raise DataError for daily bars of which most, but not all, are labelled by a day."""
    if begins.all() or begins.mean() <= 0.5 or not is_daily(stamps):
        return
    raise DataError(
        f"{where}: most timestamps are midnights, so they name days, but not in {rows_of(~begins, places)} "
        f"({stamps[~begins][0]}). Remove these rows or their time of day; or, where all are "
        "midnights of one place, say which with timezone, as 'Europe/Berlin'."
    )


def _localize(index: pd.DatetimeIndex, zone: zoneinfo.ZoneInfo | None, where: str) -> pd.DatetimeIndex:
    if zone is None:
        raise DataError(
            f"{where}: the timestamps have a time of day but no zone (first: {index[0]}). "
            "Say which zone they are in with timezone, as 'America/New_York' or 'UTC'."
        )
    local = index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if local.hasnans:
        first = index[local.isna()][0]
        raise DataError(
            f"{where}: {first} has no single meaning in {zone.key}, where the clock changes then. "
            "Give the timestamps in UTC, or with their offset."
        )
    return local


def _not_iso(text: pd.Series, odd: pd.Series, places: Sequence[str], where: str) -> DataError:
    first = text[odd].iloc[0]
    numbers = as_numbers(text)
    if numbers.notna().all():
        hint = number_hint(text, numbers, places, where)
    elif odd.mean() < FEW:
        hint = "The others are: take these rows out, or write their dates alike."
    else:
        hint = _without_odd_rows(text, places)
    return DataError(
        f"{where}: the timestamp {first!r} in {rows_of(odd, places)} is not ISO-8601 (2020-04-03 or "
        f"2020-04-03T14:30:00Z), so its meaning would be a guess. {hint}"
    )


def _unread(values: pd.Series, places: Sequence[str], date_format: str | None, error: str, where: str) -> DataError:
    """Say which timestamps cannot be read, and what to try."""
    import pandas as pd

    how = f"with date_format {date_format!r}" if date_format else "as ISO-8601"
    what = error.partition(" You might want")[0].rstrip(".")  # the rest is pandas' advice on its own arguments
    text = _as_text(values)
    numbers = as_numbers(text)
    hint = ""
    if numbers.notna().all():
        hint = number_hint(text, numbers, places, where)
    elif date_format and date_format not in EPOCHS:
        try:
            odd = pd.to_datetime(text, format=date_format, errors="coerce", utc=True).isna()
        except ValueError:  # it is no format at all
            return DataError(f"{where}: the timestamps cannot be read {how}: {what}. {suggestion(text)}")
        what = f"{text[odd].iloc[0]!r} in {rows_of(odd, places)}" if odd.any() else what
        hint = "Take these rows out." if 0 < odd.mean() < FEW else _without_odd_rows(text, places)
    return DataError(f"{where}: the timestamps cannot be read {how}: {what}. {hint}".rstrip())


def _without_odd_rows(text: pd.Series, places: Sequence[str]) -> str:
    """Return which date_format fits; a few rows of another notation, as a line below the table, are named first."""
    signs = text.str.replace(r"[A-Za-z0-9]+", "a", regex=True)
    odd = signs != signs.mode().iloc[0]
    if not 0 < odd.mean() < 0.5:
        return suggestion(text)
    rest = "" if text[~odd].str.fullmatch(_ISO).all() else f" {suggestion(text[~odd])}"
    return f"Take out {rows_of(odd, places)}, {text[odd].iloc[0]!r}.{rest}"


def _check_unit_of_column(stamps: pd.DatetimeIndex, where: str) -> None:
    """Raise DataError for a date-time column that was written in one unit and is declared in another."""
    import numpy as np

    if len(stamps) < 2 or {stamps.min().year, stamps.max().year} != {1970}:
        return
    if np.median(np.abs(np.diff(stamps.asi8))) < 60_000_000_000:
        raise DataError(
            f"{where}: all timestamps lie in 1970, {stamps[0]} to {stamps[-1]}: the column holds another unit than it "
            "says. Write it again from the right unit, as pandas.to_datetime(column, unit='ms')."
        )
