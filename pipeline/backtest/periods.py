"""How many bars a year holds, inferred from their timestamps.

Two answers are held against each other. One counts the bars of whole calendar years, or of whole weeks where there is
no such year. The other is the number that people mean: 252 days of an exchange, 365 of a market that never closes, 52
weeks, 12 months, times the bars of a day. The number that is meant holds as long as the count comes near it: holidays,
half days and lost bars then change nothing. Where it does not (a stub of a bar each Sunday, round the clock from Monday
to Friday), or no such number is meant, the count holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SESSIONS, DAYS = 252.0, 365.0
WEEKS = 365.25 / 7.0
NEAR = 0.05  # how far the count of whole years may be from the number that is meant
NEAR_FEW_WEEKS = 0.15  # the same for the count of some weeks, which holidays move more
FEWEST_WEEKS = 8
HOLE_DAYS = 12.0  # longer than any holiday of an exchange: bars are missing
EDGE_DAYS = 5.0  # a year counts as whole when its bars begin and end so near to its ends
REGULAR = 0.5  # a weekday trades when it has bars in half as many weeks as the busiest one
ROUND_THE_CLOCK = 0.9  # share of the bars that fit into a day
_NAMED = (52, 26, 12, 6, 4, 3, 2, 1)  # weekly, every two weeks, monthly, … yearly
_DAY_NS = 86_400_000_000_000


def periods_per_year(index: pd.DatetimeIndex) -> float:
    """Infer how many bars a year holds; give the index of the whole file, as a part of it says less.

    From 5 days between bars on: the nearest of 52, 26, 12, 6, 4, 3, 2 and 1 when within a tenth, else as many as fit
    into 365.25 days. Below: 252 or 365 days a year times the bars of a day, unless the count of the bars is more than
    5 % away from it; then the median count of the whole calendar years in the file, without a whole year the mean of
    its weeks times 52.18. Dates and years are those of UTC. Raises DataError for fewer than two bars.
    """
    import numpy as np

    if len(index) < 2:
        raise DataError("The number of bars in a year needs at least 2 bars to be inferred; give periods_per_year.")
    stamps = index.as_unit("ns").asi8
    days = float(np.median(np.diff(stamps))) / _DAY_NS
    if days >= 5.0:
        fit = 365.25 / days
        named = min(_NAMED, key=lambda number: abs(fit / number - 1.0))
        return float(named) if abs(fit / named - 1.0) <= 0.1 else fit
    bars = _Bars(stamps, days)
    return _settled(bars.meant, bars.counted_by_years, bars.counted_by_weeks, bars.a_week)


def _settled(meant: float | None, years: float | None, weeks: float | None, a_week: float) -> float:
    """Return the number that is meant where a count confirms it or there is none, else the count."""
    if meant is not None:
        if years is not None:
            return meant if abs(years / meant - 1.0) <= NEAR else years
        return meant if weeks is None or abs(weeks / meant - 1.0) <= NEAR_FEW_WEEKS else weeks
    return next((count for count in (years, weeks) if count is not None), a_week * WEEKS)


@dataclass(frozen=True, eq=False)
class _Bars:
    """Timestamps (int64 nanoseconds, increasing) of bars less than 5 days apart; `spacing` is their median in days."""

    stamps: np.ndarray
    spacing: float

    @cached_property
    def _dates(self) -> tuple[np.ndarray, np.ndarray]:
        """The dates with bars, as days since 1970, and how many bars each has."""
        import numpy as np

        dates, count = np.unique(self.stamps // _DAY_NS, return_counts=True)
        return dates, count

    @cached_property
    def _weekdays(self) -> tuple[np.ndarray, np.ndarray]:
        """For Monday to Sunday: how many such days the span has, and whether the weekday regularly has bars."""
        import numpy as np

        dates, _ = self._dates
        span = np.bincount(_weekday(np.arange(dates[0], dates[-1] + 1)), minlength=7)
        seen = np.bincount(_weekday(dates), minlength=7)
        share = seen / np.maximum(span, 1)
        return span, share >= REGULAR * share.max()

    @property
    def _never_closes(self) -> bool:
        span, regular = self._weekdays
        return bool(span[5] and span[6] and regular[span > 0].all())

    @cached_property
    def _a_date(self) -> float:
        """Median number of bars of a date; the first and the last one may be cut and are left out where they can be."""
        import numpy as np

        _, count = self._dates
        return float(np.median(count[1:-1])) if len(count) > 2 else float(count.max())

    @cached_property
    def meant(self) -> float | None:
        """The number that is usual for such bars; None for a week of six days, or five days round the clock."""
        import numpy as np

        _, regular = self._weekdays
        shortest = float(np.quantile(np.diff(self.stamps), 0.25)) / _DAY_NS  # inside a session, not across a night
        a_date = self._a_date
        whole_days = a_date >= ROUND_THE_CLOCK / shortest
        if self._never_closes:
            if a_date > 1.0 and not whole_days:
                return DAYS * a_date
            return DAYS if 20 / 24 < self.spacing < 1.25 else DAYS / self.spacing
        if regular.sum() > 5:
            return None
        if a_date > 1.0:
            return None if whole_days else SESSIONS * a_date
        dates, _ = self._dates
        apart = np.busday_count(dates[:-1].astype("datetime64[D]"), dates[1:].astype("datetime64[D]"))
        return SESSIONS / max(1.0, float(np.median(apart)))

    @cached_property
    def counted_by_years(self) -> float | None:
        """Median count of the calendar years that the file covers from end to end, those without a hole if possible."""
        import numpy as np

        when = self.stamps.astype("datetime64[ns]")
        years, first, count = np.unique(when.astype("datetime64[Y]"), return_index=True, return_counts=True)
        last = first + count - 1
        early = (when[first] - years.astype("datetime64[ns]")) / np.timedelta64(1, "D")
        late = ((years + np.timedelta64(1, "Y")).astype("datetime64[ns]") - when[last]) / np.timedelta64(1, "D")
        whole = (early < EDGE_DAYS) & (late < EDGE_DAYS)
        after = np.append(np.diff(self.stamps), 0) / _DAY_NS  # the distance of each bar to the next one
        holes = np.array([bool((after[a:b] > HOLE_DAYS).any()) for a, b in zip(first, last, strict=True)])
        chosen = count[whole & ~holes]
        return float(np.median(chosen)) if len(chosen) else None

    @cached_property
    def counted_by_weeks(self) -> float | None:
        """Bars a year by the mean of the weeks before the last bar, without those that miss half of their bars."""
        import numpy as np

        back = (self.stamps[-1] - self.stamps) // (7 * _DAY_NS)
        whole = int((self.stamps[-1] - self.stamps[0]) // (7 * _DAY_NS))
        count = np.bincount(back[back < whole], minlength=whole) if whole else np.empty(0)
        count = count[count > 0.5 * np.median(count[count > 0])] if whole else count
        return float(count.mean()) * WEEKS if len(count) >= FEWEST_WEEKS else None

    @property
    def a_week(self) -> float:
        """Bars of a week: of each weekday the median of its dates, of a Monday to Friday not seen that of all dates."""
        import numpy as np

        dates, count = self._dates
        weekday, (span, regular) = _weekday(dates), self._weekdays
        seen = sum(float(np.median(count[weekday == day])) for day in np.flatnonzero(regular))
        return seen + self._a_date * int((span[:5] == 0).sum())


def _weekday(dates: np.ndarray) -> np.ndarray:
    """Return 0 for Monday to 6 for Sunday of days since 1970, which began on a Thursday."""
    weekday: np.ndarray = (dates + 3) % 7
    return weekday
