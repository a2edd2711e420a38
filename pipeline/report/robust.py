"""Read `robustness.json` of a run, whoever wrote it: what has another shape than expected counts as missing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.files import read_json

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.conventions import Conventions
    from pipeline.run import Run

Row = dict[str, Any]
SEALED, COMPUTED = "sealed", "computed"


@dataclass(frozen=True)
class Range:
    """A statistic with the bounds of its interval; None where undefined."""

    estimate: float | None
    low: float | None
    high: float | None

    @property
    def known(self) -> bool:
        """Say whether there is an estimate with both bounds."""
        return None not in {self.estimate, self.low, self.high}


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals by name, how they were made, and whether the run sealed them or this page computed them."""

    ranges: dict[str, Range]
    repetitions: int
    block_length: float
    confidence: float
    method: str
    seed: int
    source: str = SEALED

    def get(self, name: str) -> Range | None:
        """Return the interval of a statistic when all three of its numbers are defined."""
        found = self.ranges.get(name)
        return found if found is not None and found.known else None

    @property
    def percent(self) -> str:
        """The confidence for people: `95 %`."""
        return f"{self.confidence * 100:g}%"


@dataclass(frozen=True)
class Robustness:
    """The content of robustness.json; `present` is False for a run without one."""

    present: bool = False
    leakage: Row | None = None
    intervals: Intervals | None = None
    sensitivity: tuple[Row, ...] = ()
    regimes: tuple[Row, ...] = ()
    base_equal: bool | None = None
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def leak_status(self) -> str:
        """clean, leak, unjudged, stochastic, or unchecked."""
        from pipeline.robustness import look_ahead_status

        return look_ahead_status(self.leakage)

    @property
    def responsive(self) -> bool | None:
        """Whether a signal changed when all bars were replaced; None where that was not tried."""
        found = number((self.leakage or {}).get("responses"))
        return None if found is None else found > 0

    @property
    def blind_reason(self) -> str:
        """Why an unjudged strategy is so, a reason of BlindSpot; empty otherwise."""
        reason = (self.leakage or {}).get("reason")
        return reason if isinstance(reason, str) and self.leak_status == "unjudged" else ""

    def delayed_sharpe(self, bars: int) -> float | None:
        """Return the Sharpe ratio of the re-run whose signals come `bars` later; None when there is none."""
        late = (row for row in self.sensitivity if row["kind"] == "delay" and row.get("change") == bars)
        return next((number(row.get("sharpe")) for row in late), None)


def read_robustness(run: Run) -> Robustness:
    """Return what the run found out about itself; nothing of a damaged file."""
    try:
        values = read_json(run.dir.robustness)
    except (OSError, ValueError, RecursionError):
        return Robustness()
    if not isinstance(values, dict):
        return Robustness()
    leakage, notes, equal = values.get("leakage"), values.get("notes"), values.get("base_equal")
    return Robustness(
        present=True,
        leakage=leakage if isinstance(leakage, dict) else None,
        intervals=parse_intervals(values.get("bootstrap")),
        sensitivity=_rows(values.get("sensitivity"), ("kind", "name")),
        regimes=_rows(values.get("regimes"), ("kind", "regime")),
        base_equal=equal if isinstance(equal, bool) else None,
        notes={str(key): str(text) for key, text in notes.items()} if isinstance(notes, dict) else {},
    )


def computed_intervals(
    equity: pd.Series, initial_cash: float, conventions: Conventions, benchmark: pd.Series | None
) -> Intervals | None:
    """Return the intervals of an equity curve, made as a run makes them; None when it has none."""
    from pipeline.errors import EvidenceError
    from pipeline.robustness import bootstrap_facts

    try:
        facts = bootstrap_facts(equity, initial_cash, conventions, benchmark)
    except (EvidenceError, ValueError, TypeError):
        return None
    return parse_intervals(facts, COMPUTED)


def parse_intervals(values: Any, source: str = SEALED) -> Intervals | None:
    """Return the part `bootstrap` of robustness.json, None when it is not one."""
    if not isinstance(values, dict) or not isinstance(values.get("intervals"), dict):
        return None
    ranges = {
        str(name): Range(*(number(found.get(key)) for key in ("estimate", "low", "high")))
        for name, found in values["intervals"].items()
        if isinstance(found, dict)
    }
    repetitions, block = number(values.get("repetitions")), number(values.get("block_length"))
    confidence, seed = number(values.get("confidence")), number(values.get("seed"))
    if repetitions is None or block is None or confidence is None or seed is None:
        return None
    return Intervals(ranges, int(repetitions), block, confidence, str(values.get("method")), int(seed), source)


def number(value: Any) -> float | None:
    """Return a finite number as float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _rows(values: Any, needed: tuple[str, ...]) -> tuple[Row, ...]:
    if not isinstance(values, list):
        return ()
    return tuple(
        row for row in values if isinstance(row, dict) and all(isinstance(row.get(key), str) for key in needed)
    )
