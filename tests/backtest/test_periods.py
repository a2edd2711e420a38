"""How many bars a year holds: what people mean by it where the bars agree, else what the file holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import periods_per_year

HOLIDAYS = ("01-01", "01-18", "02-15", "04-02", "05-31", "07-05", "09-06", "11-25", "12-24")
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6


def every(freq: str, first: str = "2010-01-01", last: str = "2020-12-31 23:59") -> pd.DatetimeIndex:
    return pd.date_range(first, last, freq=freq, tz="UTC")


def exchange() -> pd.DatetimeIndex:
    """Weekdays from 2010 to 2020 without nine holidays a year."""
    days = every("D")
    closed = pd.to_datetime([f"{year}-{day}" for year in range(2010, 2021) for day in HOLIDAYS], utc=True)
    return days[(days.day_of_week < SATURDAY) & ~days.isin(closed)]


def sessions(days: pd.DatetimeIndex, opened: str, freq: str, bars: int, zone: str = "UTC") -> pd.DatetimeIndex:
    """Bars that begin at `opened`, a local time, on each of the days."""
    times = pd.to_timedelta(np.arange(bars) * pd.Timedelta(freq)) + pd.Timedelta(opened)
    local = days.tz_localize(None).to_numpy()[:, None] + times.to_numpy()
    return pd.DatetimeIndex(local.ravel()).tz_localize(zone).tz_convert("UTC")


def fx(freq: str) -> pd.DatetimeIndex:
    """Bars from Sunday 22:00 to Friday 22:00 UTC, as spot currencies trade."""
    stamps = few(every(freq))
    weekday, hour = stamps.day_of_week, stamps.hour
    closed = (weekday == SATURDAY) | ((weekday == FRIDAY) & (hour >= 22)) | ((weekday == SUNDAY) & (hour < 22))
    return stamps[~closed]


def without(stamps: pd.DatetimeIndex, weekdays: Sequence[int]) -> pd.DatetimeIndex:
    return stamps[~stamps.day_of_week.isin(weekdays)]


def few(days: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Four of the years: enough for bars of a day."""
    return days[(days.year >= 2014) & (days.year < 2018)]


MEANT: dict[str, tuple[Callable[[], pd.DatetimeIndex], float]] = {
    "daily stocks": (exchange, 252.0),
    "daily crypto": (lambda: every("D"), 365.0),
    "weekly": (lambda: every("W-FRI"), 52.0),
    "monthly": (lambda: every("MS"), 12.0),
    "hourly crypto": (lambda: few(every("h")), 8760.0),
    "four-hour crypto": (lambda: every("4h"), 2190.0),
    "hourly stocks": (lambda: sessions(few(exchange()), "14:30:00", "60min", 7), 1764.0),
    "two bars a session": (lambda: sessions(few(exchange()), "13:30:00", "4h", 2), 504.0),
    "Sunday to Thursday": (lambda: without(every("D"), [FRIDAY, SATURDAY]), 252.0),
    "eight hours every day": (lambda: sessions(few(every("D")), "09:00:00", "60min", 8), 2920.0),
}
COUNTED: dict[str, tuple[Callable[[], pd.DatetimeIndex], float]] = {
    "daily FX with a bar on Sundays": (lambda: without(every("D"), [SATURDAY]), 313.0),
    "hourly crypto cut to weekdays": (lambda: without(few(every("h")), [SATURDAY, SUNDAY]), 24 * 261.0),
    "hourly FX": (lambda: fx("h"), 120 * 52.18),
    "four-hour FX": (lambda: fx("4h"), 30 * 52.18),
    "hourly stocks of Sydney, across midnight UTC": (
        lambda: sessions(few(exchange()), "10:00:00", "60min", 7, "Australia/Sydney"),
        7 * 252.0,
    ),
    "three days a week": (lambda: without(every("D"), [1, 3, SATURDAY, SUNDAY]), 3 * 52.18),
}


@cache
def calendar(name: str) -> tuple[pd.DatetimeIndex, float]:
    make, expected = {**MEANT, **COUNTED}[name]
    return make(), expected


@pytest.mark.parametrize("name", MEANT)
def test_what_is_meant_is_exact(name: str) -> None:
    """252, 365, 52, 12, and these times the bars of a day, are no averages: holidays do not move them."""
    stamps, expected = calendar(name)
    assert periods_per_year(stamps) == expected


def test_a_lunch_break_is_no_holiday() -> None:
    """Sixteen bars of a quarter of an hour in two halves of a day are sixteen bars a session."""
    halves = [sessions(few(exchange()), opened, "15min", 8) for opened in ("01:30:00", "05:00:00")]
    assert periods_per_year(halves[0].append(halves[1]).sort_values()) == 16 * 252.0


@pytest.mark.parametrize("name", COUNTED)
def test_other_calendars_are_counted(name: str) -> None:
    """Where no number is meant, a year has the bars that the years of the file have."""
    stamps, expected = calendar(name)
    assert periods_per_year(stamps) == pytest.approx(expected, rel=0.02)


def test_lost_days_are_no_days() -> None:
    """A file without a fifth of its days holds a fifth fewer bars a year, whatever its market is called."""
    lost = every("D")[np.random.default_rng(0).random(4018) > 0.2]
    assert periods_per_year(lost) == pytest.approx(0.8 * 365.25, rel=0.02)


def test_the_count_is_of_whole_years() -> None:
    """A number that is counted is the median of the whole calendar years, none of the partial ones."""
    stamps = without(every("D", "2011-03-10", "2017-11-05"), [SATURDAY])
    years = stamps[(stamps.year > 2011) & (stamps.year < 2017)]
    assert periods_per_year(stamps) == np.median(years.year.value_counts())


@pytest.mark.parametrize("name", [*MEANT, *COUNTED])
@settings(max_examples=10)
@given(data=st.data())
def test_a_part_tells_about_the_same(name: str, data: st.DataObject) -> None:
    """Any stretch of twelve weeks or more tells the number of the whole within the 15 % that holidays may move it."""
    stamps, _ = calendar(name)
    first = data.draw(st.integers(0, len(stamps) // 2))
    weeks = data.draw(st.integers(12, 200))
    part = stamps[(stamps >= stamps[first]) & (stamps < stamps[first] + pd.Timedelta(weeks=weeks))]
    assert periods_per_year(part) == pytest.approx(periods_per_year(stamps), rel=0.15)


@pytest.mark.parametrize("name", ["daily stocks", "daily crypto", "hourly crypto", "hourly stocks"])
@settings(max_examples=10)
@given(start=st.integers(0, 900), length=st.integers(60, 200), share=st.floats(0.0, 0.03), seed=st.integers(0, 99))
def test_holes_and_lost_bars_change_nothing(name: str, start: int, length: int, share: float, seed: int) -> None:
    """A hole of months, partial years and a few bars lost at random leave the number that is meant as it is."""
    stamps, expected = calendar(name)
    day = stamps[0].normalize() + pd.Timedelta(days=start)
    kept = stamps[(stamps < day) | (stamps >= day + pd.Timedelta(days=length))]
    kept = kept[np.random.default_rng(seed).random(len(kept)) >= share]
    assert periods_per_year(kept) == expected


@pytest.mark.parametrize("bars", [5, 8, 20, 60, 250, 600])
def test_short_files_of_the_sample_have_its_number(sp500: pd.DataFrame, bars: int) -> None:
    """Whichever days a short file of daily stocks begins with, around Christmas too, it has 252 bars a year."""
    for first in range(0, len(sp500) - bars, 61):
        assert periods_per_year(sp500.index[first : first + bars]) == 252.0


def test_one_week_of_currencies_is_enough() -> None:
    """Six days in the only week of a file are six days a week."""
    week = without(every("D", "2020-03-02", "2020-03-08"), [SATURDAY])
    assert periods_per_year(week) == pytest.approx(313.07, abs=0.01)
    assert periods_per_year(fx("h")[:600]) == pytest.approx(120 * 52.18, rel=1e-3)
