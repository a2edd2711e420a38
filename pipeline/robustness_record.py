"""The content of `robustness.json`, for those who write it and those who read it.

Written numbers carry ten significant digits, undefined ones are null. Of a file that somebody else wrote, a part of
another shape counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self, get_args

from pipeline.files import number, read_json
from pipeline.layout import Layout
from pipeline.results.boundary import LookAhead

SCHEMA_VERSION = 1
DIGITS = 10
# What a run says about look-ahead, by the status of its check.
LOOK_AHEAD: Mapping[str, str] = {
    "clean": "no look-ahead found",
    "leak": "looks ahead",
    "unjudged": "look-ahead cannot be judged",
    "stochastic": "look-ahead unknown",
    "unchecked": "look-ahead not checked",
}
RERUN: Final = "rerun"  # the subject of a check of a function of the notebook's
STATUSES: tuple[LookAhead, ...] = get_args(LookAhead)
OF_RERUN = ("subject", "own_bars", "positions")
SEALED, COMPUTED = "sealed", "computed"


@dataclass(frozen=True)
class Leak:
    """The earliest thing that changed when only later bars did; of a rerun nothing but its time, ISO 8601, is known."""

    timestamp: str
    test: str | None = None
    cut: int | None = None
    bar: int | None = None
    signal: int | None = None
    signal_then: int | None = None


@dataclass(frozen=True)
class Leakage:
    """What the check for look-ahead found, and what that rests on; counts are None where nobody counted.

    `reason` says why a strategy is unjudged; `responses` are the signals that changed when all bars were replaced.
    `subject` is RERUN for a function of the notebook's, compared by `positions` or by returns alone, and at `own_bars`
    bars the bar's own move was varied; None for a strategy.
    """

    status: LookAhead
    sentence: str = ""
    reason: str | None = None
    responses: int | None = None
    first: Leak | None = None
    cuts: int | None = None
    seed: int | None = None
    calls: int | None = None
    differences: int | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    own_bars: int | None = None
    positions: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the part `leakage` of the file."""
        values = {**asdict(self), "failures": dict(self.failures)}
        if self.subject is None:
            return {name: value for name, value in values.items() if name not in OF_RERUN}
        first = None if self.first is None else {"timestamp": self.first.timestamp}
        return {**values, "first": first}

    @classmethod
    def read(cls, values: Any) -> Self | None:
        """Read the part `leakage`; None where it is none, unchecked where its status is no status."""
        if not isinstance(values, Mapping):
            return None
        status, first, failures = values.get("status"), values.get("first"), values.get("failures")
        positions = values.get("positions")
        return cls(
            status=next((known for known in STATUSES if known == status), "unchecked"),
            sentence=_text(values.get("sentence")) or "",
            reason=_text(values.get("reason")),
            responses=_whole(values.get("responses")),
            first=_leak(first) if isinstance(first, Mapping) else None,
            cuts=_whole(values.get("cuts")),
            seed=_whole(values.get("seed")),
            calls=_whole(values.get("calls")),
            differences=_whole(values.get("differences")),
            failures={str(cut): str(text) for cut, text in failures.items()} if isinstance(failures, Mapping) else {},
            subject=_text(values.get("subject")),
            own_bars=_whole(values.get("own_bars")),
            positions=positions if isinstance(positions, bool) else None,
        )


@dataclass(frozen=True)
class Range:
    """A statistic with the bounds of its interval; None where undefined. `undefined` resamples had no value."""

    estimate: float | None
    low: float | None
    high: float | None
    standard_error: float | None = None
    undefined: int | None = None

    @property
    def known(self) -> bool:
        """Say whether there is an estimate with both bounds."""
        return None not in {self.estimate, self.low, self.high}


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals by name, how they were made, and whether the run sealed them or they were computed later."""

    ranges: Mapping[str, Range]
    repetitions: int
    block_length: float
    confidence: float
    method: str
    seed: int
    n: int | None = None
    source: str = SEALED

    def get(self, name: str) -> Range | None:
        """Return the interval of a statistic when all three of its numbers are defined."""
        found = self.ranges.get(name)
        return found if found is not None and found.known else None

    @property
    def percent(self) -> str:
        """The confidence for people: `95%`."""
        return f"{self.confidence * 100:g}%"

    def to_dict(self) -> dict[str, Any]:
        """Return the part `bootstrap` of the file."""
        made = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("ranges", "source")}
        return {**made, "intervals": {name: asdict(found) for name, found in self.ranges.items()}}

    @classmethod
    def read(cls, values: Any) -> Self | None:
        """Read the part `bootstrap`; None when it is none."""
        if not isinstance(values, Mapping) or not isinstance(values.get("intervals"), Mapping):
            return None
        numbers = {name: number(values.get(name)) for name in ("repetitions", "block_length", "confidence", "seed")}
        if None in numbers.values():
            return None
        ranges = {str(name): _range(found) for name, found in values["intervals"].items() if isinstance(found, Mapping)}
        return cls(
            ranges,
            int(numbers["repetitions"] or 0),
            float(numbers["block_length"] or 0.0),
            float(numbers["confidence"] or 0.0),
            str(values.get("method")),
            int(numbers["seed"] or 0),
            _whole(values.get("n")),
        )


@dataclass(frozen=True)
class Variation:
    """A re-run with one thing changed: kind cost, delay or param, and its metrics by name, None where undefined.

    `change` is the factor, the delay in bars or the relative step; `value` the costs in basis points, the delay or the
    param as run. `status` is ok, or says why there is no run.
    """

    kind: str
    name: str
    change: float | None = None
    value: float | None = None
    is_base: bool = False
    status: str | None = None
    stats: Mapping[str, float | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a row of the part `sensitivity`."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "stats"}
        return {**values, **self.stats}

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self | None:
        """Read a row; None when it does not say what was changed."""
        kind, name, status = row.get("kind"), row.get("name"), row.get("status")
        if not isinstance(kind, str) or not isinstance(name, str):
            return None
        own = {each.name for each in fields(cls)}
        stats = {str(key): number(value) for key, value in row.items() if key not in own}
        base = row.get("is_base") is True
        return cls(kind, name, number(row.get("change")), number(row.get("value")), base, _text(status), stats)


@dataclass(frozen=True)
class Regime:
    """The returns of a part of the bars: kind trend or volatility, regime low, middle, high or unknown."""

    kind: str
    regime: str
    bars: int | None = None
    share: float | None = None
    total_return: float | None = None
    annual_return: float | None = None
    annual_volatility: float | None = None
    sharpe: float | None = None
    win_rate: float | None = None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self | None:
        """Read a row of the part `regimes`; None when it does not say which."""
        kind, regime = row.get("kind"), row.get("regime")
        if not isinstance(kind, str) or not isinstance(regime, str):
            return None
        numbers = {each.name: number(row.get(each.name)) for each in fields(cls)[3:]}
        return cls(kind, regime, _whole(row.get("bars")), **numbers)


@dataclass(frozen=True)
class Robustness:
    """What a run found out about itself; `present` is False for a run without the file.

    `base_equal` says whether making the result again gave the numbers of the run; `notes` why a part is missing.
    """

    present: bool = False
    leakage: Leakage | None = None
    intervals: Intervals | None = None
    sensitivity: tuple[Variation, ...] = ()
    regimes: tuple[Regime, ...] = ()
    base_equal: bool | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def leak_status(self) -> LookAhead:
        """clean, leak, unjudged, stochastic, or unchecked."""
        return "unchecked" if self.leakage is None else self.leakage.status

    @property
    def responsive(self) -> bool | None:
        """Whether a signal changed when all bars were replaced; None where that was not tried."""
        found = None if self.leakage is None else self.leakage.responses
        return None if found is None else found > 0

    @property
    def blind_reason(self) -> str:
        """Why an unjudged strategy is so, a reason of BlindSpot; empty otherwise."""
        return (self.leakage.reason or "") if self.leakage is not None and self.leak_status == "unjudged" else ""

    def delayed_sharpe(self, bars: int) -> float | None:
        """Return the Sharpe ratio of the re-run whose signals come `bars` later; None when there is none."""
        late = (row for row in self.sensitivity if row.kind == "delay" and row.change == bars)
        return next((row.stats.get("sharpe") for row in late), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file as strict JSON values; a part that is missing is null."""
        content: dict[str, Any] = plain(
            {
                "leakage": None if self.leakage is None else self.leakage.to_dict(),
                "bootstrap": None if self.intervals is None else self.intervals.to_dict(),
                "sensitivity": [row.to_dict() for row in self.sensitivity] or None,
                "regimes": [asdict(row) for row in self.regimes] or None,
                "base_equal": self.base_equal,
                "notes": self.notes,
            }
        )
        return {"schema_version": SCHEMA_VERSION, **content}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read what `to_dict` wrote, now or in another version, or what anybody wrote in its place."""
        if not isinstance(values, Mapping):
            return cls()
        notes, equal = values.get("notes"), values.get("base_equal")
        return cls(
            present=True,
            leakage=Leakage.read(values.get("leakage")),
            intervals=Intervals.read(values.get("bootstrap")),
            sensitivity=tuple(filter(None, map(Variation.read, _rows(values.get("sensitivity"))))),
            regimes=tuple(filter(None, map(Regime.read, _rows(values.get("regimes"))))),
            base_equal=equal if isinstance(equal, bool) else None,
            notes={str(key): str(text) for key, text in notes.items()} if isinstance(notes, Mapping) else {},
        )

    @classmethod
    def read(cls, directory: Layout) -> Self:
        """Read the file of a run; nothing of one that is damaged, or not there."""
        try:
            return cls.from_dict(read_json(directory.robustness))
        except (OSError, ValueError, RecursionError):
            return cls()


def rounded(value: float | None) -> float | None:
    """Return a number as it is written, with ten significant digits; None where it is undefined."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def plain(value: Any) -> Any:
    """Return JSON values: numbers rounded, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return rounded(value) if isinstance(value, float) else value


def _leak(values: Mapping[str, Any]) -> Leak | None:
    told = _text(values.get("timestamp"))
    counts = {name: _whole(values.get(name)) for name in ("cut", "bar", "signal", "signal_then")}
    return None if told is None else Leak(told, _text(values.get("test")), **counts)


def _range(values: Mapping[str, Any]) -> Range:
    estimate, low, high, error = (number(values.get(name)) for name in ("estimate", "low", "high", "standard_error"))
    return Range(estimate, low, high, error, _whole(values.get("undefined")))


def _rows(values: Any) -> Iterable[Mapping[str, Any]]:
    return [row for row in values if isinstance(row, Mapping)] if isinstance(values, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)
