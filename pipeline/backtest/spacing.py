"""What the spacing and the leaps of bars say against them: gaps, splits, days that look shifted.

Nothing here changes bars. What is found is told as warnings of the run, with dates, and stands in the report.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self

from pipeline.backtest.timestamps import TimeLabels, is_daily, time_labels, utc_labels
from pipeline.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SCHEMA_VERSION = 1
SHOWN = 5
RISE, FALL = 1.5, 0.55  # one bar to the next: more than half up, or nearly half down, which a 2:1 split comes to
GAP_WEEKS, GAP_SLOW = 4.0, 1.9  # times the usual longest gap of a week; times the usual distance of slower bars
_DAY = 86_400_000_000_000
_WEEK = 7 * _DAY


@dataclass(frozen=True)
class Gap:
    """Two bars beside each other with more time between them than usual; `usual` and `days` are calendar days."""

    after: str
    before: str
    days: float
    is_unusual: bool


@dataclass(frozen=True)
class Move:
    """A leap from one close to the next open or close; `ratio` is the later price over the earlier."""

    at: str
    before: str
    ratio: float
    split: str | None


@dataclass(frozen=True)
class Spacing:
    """What was found in the bars of a run: `gaps` are the longest, `moves` the largest, the counts are of all."""

    bars: int
    first: str
    last: str
    time_labels: TimeLabels
    usual_days: float | None
    gaps: tuple[Gap, ...]
    unusual_gaps: int
    moves: tuple[Move, ...]
    large_moves: int
    evening: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """Return what is to be warned of."""
        found = []
        if self.unusual_gaps:
            shown = "; ".join(
                f"{gap.days:.4g} day{'' if gap.days == 1 else 's'} from {gap.after} to {gap.before}"
                for gap in self.gaps
                if gap.is_unusual
            )
            found.append(f"GAPS: the bars stop {_times(self.unusual_gaps)} for unusually long: {shown}.")
        if self.large_moves:
            shown = "; ".join(_said(move) for move in self.moves)
            found.append(
                f"LARGE MOVES: the price leaps {_times(self.large_moves)} by more than 50 % up or 45 % down from one "
                f"bar to the next, as at a split that prices were not adjusted for: {shown}."
            )
        if self.evening:
            found.append(self.evening)
        return found


@dataclass(frozen=True)
class DataFacts:
    """The content of data.json: what was found in the bars of a run, and how they were read.

    `bars_sha256` is the digest of the bars themselves, None of a run from before; `warnings` is what of all this is a
    warning of the run.
    """

    spacing: Spacing
    notes: tuple[str, ...] = ()
    benchmark: str | None = None
    warnings: tuple[str, ...] = ()
    bars_sha256: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file, as JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "bars_sha256": self.bars_sha256,
            **self.spacing.to_dict(),
            "notes": list(self.notes),
            "benchmark": self.benchmark,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read what `to_dict` wrote; raises ValueError for anything else."""
        try:
            if values["schema_version"] != SCHEMA_VERSION:
                raise ValueError("data.json is of another version")
            known = {each.name: values[each.name] for each in fields(Spacing)}
            gaps, moves = (tuple(Gap(**gap) for gap in known["gaps"]), tuple(Move(**move) for move in known["moves"]))
            read = cls(
                Spacing(**known | {"gaps": gaps, "moves": moves}),
                tuple(values["notes"]),
                values["benchmark"],
                tuple(values["warnings"]),
                values.get("bars_sha256"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"data.json has another form ({error!r})") from None
        read.check_types()
        return read

    def check_types(self) -> None:
        """Raise ValueError for values that are of another type than they are said to be."""
        found = self.spacing
        texts = (found.first, found.last, *self.notes, *self.warnings, self.benchmark or "", self.bars_sha256 or "")
        texts += tuple(text for gap in found.gaps for text in (gap.after, gap.before))
        texts += tuple(text for move in found.moves for text in (move.at, move.before, move.split or ""))
        numbers = [found.bars, found.unusual_gaps, found.large_moves, found.usual_days or 0.0]
        numbers += [*(gap.days for gap in found.gaps), *(move.ratio for move in found.moves)]
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, int | float) for n in numbers):
            raise ValueError("data.json holds a value of another type")


@dataclass(frozen=True)
class DataRecord:
    """What was found while a run read its data: `notes` on the file, how the benchmark was matched to the bars."""

    notes: tuple[str, ...] = ()
    benchmark: str | None = None

    def facts(self, bars: pd.DataFrame) -> DataFacts:
        """Return what is known of these bars."""
        from pipeline.backtest.bars_digest import data_digest

        found = examine_spacing(bars)
        warned = (*found.sentences(), *([self.benchmark] if self.benchmark else []))
        return DataFacts(found, self.notes, self.benchmark, warned, data_digest(bars))

    def with_benchmark(self, note: str | None) -> DataRecord:
        """Return the record with a sentence on the benchmark."""
        return replace(self, benchmark=note)


def examine_spacing(bars: pd.DataFrame) -> Spacing:
    """Return gaps, leaps and odd days of bars in the loaded form."""
    import numpy as np
    import pandas as pd

    index = utc_labels(pd.DatetimeIndex(bars.index))
    labels = time_labels(index)
    steps = np.diff(index.asi8)
    usual = float(np.median(steps)) if len(steps) else None
    longest = np.argsort(-steps, kind="stable")[:SHOWN]
    unusual = steps > _threshold(index, steps)
    order = np.sort(longest)
    gaps = tuple(
        Gap(_label(index[at], labels), _label(index[at + 1], labels), round(steps[at] / _DAY, 4), bool(unusual[at]))
        for at in order
    )
    moves, count = _moves(bars, index, labels)
    return Spacing(
        len(index), _label(index[0], labels), _label(index[-1], labels), labels,
        None if usual is None else round(usual / _DAY, 6),
        gaps, int(unusual.sum()), moves, count, _evening(index, labels),
    )  # fmt: skip


def check_span(index: pd.DatetimeIndex, where: str) -> None:
    """Raise DataError when bars cover less than a tenth of their calendar span, as where a date was misread.

    Their days lie some distance apart as a rule; what they span at that distance is compared with what they span.
    """
    import numpy as np

    days = np.unique(index.asi8 // _DAY)
    if len(days) < 3 or days[-1] - days[0] <= 366:
        return
    steps = np.diff(days)
    usual = float(np.median(steps))
    covered = usual * len(steps) / float(days[-1] - days[0])
    if covered >= 0.1:
        return
    at = int(np.argmax(steps))
    gap = [str(np.datetime64(int(day), "D")) for day in days[at : at + 2]]
    raise DataError(
        f"{where}: {len(index):,} bars span {(days[-1] - days[0]) / 365.25:.1f} years, but lie {usual:g} days apart, "
        f"which comes to {covered:.1%} of that: between {gap[0]} and {gap[1]} there is nothing. Look at the "
        "timestamps; use a part with start and end, or another date_format."
    )


def _threshold(index: pd.DatetimeIndex, steps: np.ndarray) -> float:
    """Return from which distance on two bars lie unusually far apart."""
    import numpy as np

    if len(steps) < 3:
        return float("inf")
    usual = float(np.median(steps))
    if usual >= 5 * _DAY:
        return GAP_SLOW * usual
    weeks = index.asi8[:-1] // _WEEK
    begins = np.flatnonzero(np.diff(weeks, prepend=weeks[0] - 1))
    return GAP_WEEKS * float(np.median(np.maximum.reduceat(steps, begins)))


def _moves(bars: pd.DataFrame, index: pd.DatetimeIndex, labels: TimeLabels) -> tuple[tuple[Move, ...], int]:
    import numpy as np

    close, opened = bars["close"].to_numpy(dtype=float), bars["open"].to_numpy(dtype=float)
    overnight, whole = opened[1:] / close[:-1], close[1:] / close[:-1]
    ratio = np.where(np.abs(np.log(overnight)) > np.abs(np.log(whole)), overnight, whole)
    large = np.flatnonzero((ratio > RISE) | (ratio < FALL))
    first = np.sort(large[np.argsort(-np.abs(np.log(ratio[large])), kind="stable")[:SHOWN]])
    moves = tuple(
        Move(
            _label(index[at + 1], labels), _label(index[at], labels), float(f"{ratio[at]:.6g}"),
            _split(float(overnight[at])),
        )
        for at in first
    )  # fmt: skip
    return moves, len(large)


def _split(overnight: float) -> str | None:
    """Return the split whose ratio the open has to the close before, within 5 %; None when there is none."""
    if not 1 / 60 < overnight < 60 or RISE > overnight > FALL:
        return None
    near = Fraction(1 / overnight).limit_denominator(1 if overnight < 1 else 60)
    if overnight > 1:
        near = Fraction(1, max(1, round(overnight)))
    if near == 1 or abs(float(near) * overnight - 1.0) > 0.05:
        return None
    return f"{near.numerator}:{near.denominator}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _said(move: Move) -> str:
    split = f", as a {move.split} split" if move.split else ""
    return f"{move.at} {move.ratio - 1.0:+.1%}{split}"


def _evening(index: pd.DatetimeIndex, labels: TimeLabels) -> str | None:
    """Return a warning for daily bars that look like days whose midnights were turned into the UTC evening before."""
    import numpy as np

    if labels == "days" or len(index) < 5 or not is_daily(index):
        return None
    of_day = index.asi8 % _DAY
    times = np.unique(of_day)
    if len(times) > 2 or times[0] < _DAY // 2 or bool((times % (_DAY // 96)).any()):
        return None
    weekday = index.day_of_week
    if not (weekday == 6).any() or (weekday == 4).any():
        return None
    clock = " or ".join(f"{stamp // 3_600_000_000_000:02d}:{stamp // 60_000_000_000 % 60:02d}" for stamp in times)
    return (
        f"EVENINGS: the bars are daily, at {clock} UTC, on Sundays and never on Fridays: they look like days that "
        "begin at midnight of a place east of UTC, each read as the evening before. Say which with data.timezone, as "
        "'Europe/Berlin'."
    )


def _label(stamp: pd.Timestamp, labels: TimeLabels) -> str:
    return f"{stamp:%Y-%m-%d}" if labels == "days" else stamp.isoformat().replace("+00:00", "Z")
