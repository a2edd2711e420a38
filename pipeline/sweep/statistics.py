"""What the best trial of a sweep is worth: deflation by the number of trials, overfitting, out of sample, plateau."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

NEAR_BEST = 0.8


@dataclass(frozen=True)
class Counts:
    """How many trials there were, of this sweep and in the ledger until its last one.

    `ledger` are all it counts, `family` those of the family at an overlapping time, `exact` those of the same strategy
    name on the same data. Of a sweep from before families these two are None, and `ledger` is `exact`. `configurations`
    are the different ones among the completed trials; `reused` trials took over the result of one before.
    """

    trials: int
    complete: int
    pruned: int
    failed: int
    ledger: int
    family: int | None = None
    exact: int | None = None
    configurations: int | None = None
    reused: int = 0


@dataclass(frozen=True)
class Deflation:
    """The Sharpe ratio of the best trial against luck. Ratios are annual; `n` is the family's count from the ledger.

    `effective` is the number of independent trials (effective rank); `dsr_effective` deflates by it.
    """

    sharpe: float | None
    n: int
    expected_max: float | None
    dsr: float | None
    psr: float | None
    effective: float | None
    expected_max_effective: float | None
    dsr_effective: float | None


@dataclass(frozen=True)
class Overfit:
    """PBO by CSCV over the trials' returns; see pipeline.backtest.overfitting. `logits` hold a value a split.

    `blind` is the PBO of a blind choice among these trials; None in sweeps of earlier versions.
    """

    pbo: float | None
    probability_of_loss: float | None
    degradation_slope: float | None
    degradation_intercept: float | None
    n_blocks: int
    n_splits: int
    logits: tuple[float, ...]
    in_sample: tuple[float, ...]
    out_of_sample: tuple[float, ...]
    blind: float | None = None


@dataclass(frozen=True)
class Window:
    """One test window of the walk-forward: its first and last bar, what was chosen before it, annual Sharpe ratios.

    `trial` is a number of a trial of the sweep, or None when `params` were found by a search before the window.
    """

    start: str
    end: str
    trial: int | None
    in_sample: float
    out_of_sample: float
    params: dict[str, Any] | None = None


@dataclass(frozen=True)
class Forward:
    """Walk-forward; annual Sharpe ratios. `equity` is the growth of 1 over the test windows.

    `trials` is how many the search before each window made; 0 when the choice was between the sweep's trials.
    """

    windows: tuple[Window, ...]
    in_sample: float
    out_of_sample: float
    dates: tuple[str, ...]
    equity: tuple[float, ...]
    trials: int = 0


@dataclass(frozen=True)
class CrossValidated:
    """Combinatorial purged cross-validation; annual Sharpe ratios, one a split or a path."""

    folds: int
    test_folds: int
    horizon: int
    embargo: int
    in_sample: tuple[float, ...]
    out_of_sample: tuple[float, ...]
    paths: tuple[float, ...]
    trials: tuple[int, ...]


@dataclass(frozen=True)
class Plateau:
    """The trials nearest to the best in the search space, by the first objective.

    `radius` is the largest distance among them, as a share of each dimension's range. `share` of them reach 80 % of
    the best value; None when that has no meaning (the best value is not positive).
    """

    neighbours: tuple[int, ...]
    radius: float
    median: float
    worst: float
    share: float | None


@dataclass(frozen=True)
class SweepStatistics:
    """Everything said about a sweep as a whole; parts that could not be computed are None, and `notes` say why."""

    objectives: tuple[str, ...]
    counts: Counts
    best: int | None
    front: tuple[int, ...]
    ranking: tuple[int, ...]
    periods_per_year: float | None
    deflation: Deflation | None = None
    overfitting: Overfit | None = None
    walk_forward: Forward | None = None
    cross_validation: CrossValidated | None = None
    plateau: Plateau | None = None
    importances: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SweepStatistics:
        """Read what to_dict wrote; raises KeyError, TypeError."""
        parts: dict[str, Any] = {
            "counts": Counts, "deflation": Deflation, "overfitting": Overfit, "walk_forward": Forward,
            "cross_validation": CrossValidated, "plateau": Plateau,
        }  # fmt: skip
        made = {name: None if values[name] is None else _read(kind, values[name]) for name, kind in parts.items()}
        lists = {name: tuple(values[name]) for name in ("objectives", "front", "ranking", "notes")}
        return cls(**{**values, **made, **lists})


def _read(kind: Any, values: dict[str, Any]) -> Any:
    if kind is Forward:
        values = {**values, "windows": tuple(Window(**window) for window in values["windows"])}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
