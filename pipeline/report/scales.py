"""Axes of static figures: where a value lies, which ticks a range gets, what they say."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

FORMAT = re.compile(r"(?P<comma>,?)\.(?P<decimals>\d+)(?P<trim>~?)(?P<kind>[f%])")
DAY = 86_400.0
YEAR = 365.25 * DAY
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        span = self.high - self.low or 1.0
        return self.start + (self.end - self.start) * (value - self.low) / span

    def inside(self, value: float) -> bool:
        """Say whether a value lies on the axis."""
        slack = (self.high - self.low) * 1e-9
        return self.low - slack <= value <= self.high + slack


def seconds_of(text: str) -> float:
    """Return ISO-8601 text as seconds since 1970, taken as UTC when it has no offset; raises ValueError."""
    stamp = dt.datetime.fromisoformat(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=dt.UTC)).timestamp()


def number_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values inside a range, about `most` of them at the most."""
    span = high - low
    if not span > 0.0:
        return [low]
    raw = span / max(most, 1)
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * factor for factor in STEPS if scale * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number_text(value: float, given: str | None) -> str:
    """Return a tick's text in d3's notation `,.0f`, `.1%` or `.4~%` (without zeros at the end).

    Without a notation it has up to four significant digits.
    """
    found = FORMAT.fullmatch(given or "")
    if found is None:
        text = f"{value:,.4g}"
    else:
        shown = value * 100 if found["kind"] == "%" else value
        text = f"{shown:{found['comma']}.{found['decimals']}f}"
        text = text.rstrip("0").rstrip(".") if found["trim"] and "." in text else text
        text += "%" if found["kind"] == "%" else ""
    if not text.strip("-0.,%"):
        text = text.removeprefix("-")
    return text.replace("-", "\u2212")


def date_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return starts of years, months, days or hours inside a range, with their texts."""
    span = high - low
    if span > 2.5 * YEAR:
        step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 1_000) if span / YEAR / s <= most)
        return _inside(((_stamp(year), str(year)) for year in _multiples(low, high, step)), low, high)
    if span > 70 * DAY:
        step = next(s for s in (1, 2, 3, 6, 12) if span / (YEAR / 12) / s <= most)
        months = (m for m in _months(low, high) if m[1] % step == 1 % step)
        return _inside(((_stamp(y, m), f"{dt.date(y, m, 1):%b %Y}") for y, m in months), low, high)
    step_seconds = next(
        (s for s in (3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY, 2 * DAY, 7 * DAY, 14 * DAY) if span / s <= most),
        28 * DAY,
    )
    shape = "%d %b" if step_seconds >= DAY else "%d %b %H:%M"
    first = math.ceil(low / step_seconds)
    places = (i * step_seconds for i in range(first, math.floor(high / step_seconds) + 1))
    return [(place, f"{dt.datetime.fromtimestamp(place, dt.UTC):{shape}}") for place in places]


def _inside(ticks: Iterator[tuple[float, str]], low: float, high: float) -> list[tuple[float, str]]:
    return [(place, text) for place, text in ticks if low <= place <= high]


def _stamp(year: int, month: int = 1) -> float:
    return dt.datetime(year, month, 1, tzinfo=dt.UTC).timestamp()


def _year(seconds: float) -> int:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).year


def _multiples(low: float, high: float, step: int) -> Iterator[int]:
    first = -(-_year(low) // step) * step
    return iter(range(first, _year(high) + 1, step))


def _months(low: float, high: float) -> Iterator[tuple[int, int]]:
    for year in range(_year(low), _year(high) + 1):
        yield from ((year, month) for month in range(1, 13))
