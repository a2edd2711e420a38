"""The engine's own numbers beside those computed here, and why they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.backtest.metrics import Stat
    from pipeline.results.contract import ReportedMetric, Result

RELATIVE = 1e-9
FEWEST_DIGITS, MOST_DIGITS = 3, 8  # of a number that was rounded


@dataclass(frozen=True)
class Beside:
    """A number of the engine, and ours.

    `equal` to 1e-9; None where there is nothing to compare. `reason` says what the engine does differently: `found`
    when computing it so gave the engine's number to 1e-9, else in the words of the adapter, or empty.
    """

    name: str
    reported: float
    metric: str | None = None
    ours: float | None = None
    equal: bool | None = None
    reason: str = ""
    found: bool = False

    @property
    def off_by(self) -> float | None:
        """The engine's number less ours."""
        return None if self.ours is None else self.reported - self.ours

    def to_dict(self) -> dict[str, Any]:
        """Return both numbers and the reason as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Beside:
        """Read what `to_dict` wrote."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})


def beside(result: Result, stats: Mapping[str, Stat]) -> tuple[Beside, ...]:
    """Return every number that the engine of a result reported with ours of `stats`, in its order."""
    return tuple(_beside(result, stats, each) for each in result.reported)


def _beside(result: Result, stats: Mapping[str, Stat], number: ReportedMetric) -> Beside:
    ours = None if number.metric is None else stats.get(number.metric)
    if number.metric is None or not math.isfinite(number.value):
        return Beside(number.name, number.value, number.metric, ours, reason=number.convention)
    if ours is not None and _same(number.value, ours):
        return Beside(number.name, number.value, number.metric, ours, equal=True)
    found = _found(result, number.metric, number.value) or _rounded(number.value, ours)
    equal = None if ours is None else False
    return Beside(number.name, number.value, number.metric, ours, equal, found or number.convention, found=bool(found))


def _found(result: Result, metric: str, value: float) -> str:
    """Return in which convention a metric has this value, the one with the fewest departures from ours; else empty."""
    from pipeline.results.practices import candidates
    from pipeline.results.recompute import path_of, settled

    if value == 0.0:
        return ""  # any metric of nothing is zero
    matching: list[tuple[str, ...]] = [
        words
        for words, other in candidates(metric, result, path_of(result), settled(result))
        if words and math.isfinite(other) and _same(value, other)
    ]
    return "; ".join(sorted(matching, key=len)[0]) if matching else ""


def _rounded(value: float, ours: float | None) -> str:
    """Say that the engine rounded, where ours rounded to its decimals is its number, of three digits at least."""
    if ours is None:
        return ""
    digits = repr(value).partition(".")[2]
    written = repr(abs(value)).replace(".", "").strip("0")
    if "e" in digits or not FEWEST_DIGITS <= len(written) <= MOST_DIGITS or round(ours, len(digits)) != value:
        return ""
    return f"rounded to {len(digits)} decimals"


def _same(value: float, other: float) -> bool:
    return math.isclose(value, other, rel_tol=RELATIVE, abs_tol=1e-14)
