"""Which strptime formats read a column of dates that is not ISO-8601: advice for a message, never a guess."""

from __future__ import annotations

import re
import zoneinfo
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_DATES = (
    "%Y-%m-%d", "%Y.%m.%d", "%Y/%m/%d", "%Y%m%d",
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y",
    "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y",
    "%a %b %d %Y", "%a %d %b %Y", "%a, %d %b %Y", "%a %d/%m/%Y", "%a %m/%d/%Y",
    "%d%m%y", "%y%m%d",
)  # fmt: skip
_MONTHS = (
    "%Y-%m", "%Y/%m", "%Y.%m", "%m/%Y", "%m.%Y", "%b %Y", "%b-%Y", "%B %Y", "%b %y", "%b-%y", "%b'%y", "%Y",
)  # fmt: skip
_TIMES = (
    "%H:%M:%S", "%H:%M", "%H%M%S", "%H%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p", "%H:%M:%S:%f", "%H.%M",
)  # fmt: skip
_BETWEEN = (" ", "T", ", ", ";", "_", "-")
_ZONES = ("", "%z", " %z", " GMT%z", "Z")
_SAMPLE = 40


def suggestion(text: pd.Series) -> str:
    """Return a sentence that says what to write in the spec, with the formats that read every value."""
    ending = re.search(r" ?([A-Za-z][A-Za-z_]*(?:/[A-Za-z_]+)*)$", str(text.iloc[0]))
    literal = ending.group(0) if ending and ending.group(1).upper() not in {"AM", "PM"} else ""
    if literal and text.str.endswith(literal).all() and (found := _reading(text.str.removesuffix(literal))):
        formats = [f"{name}{literal}" for name in found]
        zone = ending.group(1) if ending else ""
        return _sentence(formats, zone=zone if _is_zone(zone) else "", text=text)
    if text.str.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?").all():
        return "These are times of day: name the column of dates too, as columns.timestamp beside columns.time."
    if text.str.contains(r":\d\d [A-Z]{3,4}$").all():
        return "Names of zones that change have no single meaning: write the times in UTC, or with their offset."
    found = _reading(text)
    if not found:
        return "No usual date_format reads them: write them as 2020-04-03, or give the strptime format that does."
    return _sentence(found, zone="", text=text)


def _sentence(formats: list[str], *, zone: str, text: pd.Series) -> str:
    said = f"Give date_format = {formats[0]!r}"
    if len(formats) > 1:
        meant = [f"{name!r}{_meaning(name)}" for name in formats[:3]]
        said = f"Give date_format = {' or '.join(meant)}, whichever is meant"
    if zone:
        return f"{said}, and timezone = {zone!r}."
    timed = "%H" in formats[0] or "%I" in formats[0]
    if timed and "%z" not in formats[0] and not _midnights(text, formats[0]):
        return f"{said}, and timezone, as 'America/New_York' or 'UTC', as the times carry no zone."
    return f"{said}."


def _meaning(date_format: str) -> str:
    day, month = date_format.find("%d"), date_format.find("%m")
    return "" if min(day, month) < 0 else " (day first)" if day < month else " (month first)"


def _reading(text: pd.Series) -> list[str]:
    """Return the formats that read every value, those first that are tried first; two that say the same count once."""
    import pandas as pd

    few, found = text.iloc[:_SAMPLE], []
    read: list[pd.Series] = []
    for name in _candidates(str(text.iloc[0])):
        if not all_read(few, name) or not all_read(text, name):
            continue
        values = pd.to_datetime(text, format=name, utc=True)
        if not any(values.equals(other) for other in read):
            read.append(values)
            found.append(name)
    return found


def _candidates(first: str) -> list[str]:
    """Return formats that have the separators of a text, dates alone first."""
    signs = re.sub(r"[A-Za-z0-9+]", "", first)
    timed = [f"{date}{between}{time}{zone}" for date, time, between, zone in product(_DATES, _TIMES, _BETWEEN, _ZONES)]
    made = []
    for name in (*_DATES, *_MONTHS, *timed):
        plain = re.sub(r"%z", "", name)
        left = re.sub(r"%[A-Za-z]|[A-Za-z0-9+]", "", plain)
        if left == signs or ("%z" in name and signs in {left, left + "-", left + ":", left + "-:"}):
            made.append(name)
    return made


def all_read(text: pd.Series, name: str) -> bool:
    """Say whether a format reads every value, as a date of the years 1800 to 2200."""
    import pandas as pd

    try:
        read = pd.to_datetime(text, format=name, utc=True, errors="coerce")
    except ValueError:
        return False
    return bool(read.notna().all()) and bool(read.dt.year.between(1800, 2200).all())


def _midnights(text: pd.Series, name: str) -> bool:
    import pandas as pd

    read = pd.to_datetime(text, format=name)
    return bool((read == read.dt.normalize()).all())


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
