"""Trials: what is asked of a worker, what it answers, and what the sweep keeps of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

State = Literal["COMPLETE", "PRUNED", "FAIL"]


@dataclass(frozen=True)
class Proposal:
    """A trial before it is executed. `run_id` is its id in the ledger, and of its run directory if it gets one."""

    number: int
    run_id: str
    params: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a worker found: metrics and simple returns per bar, or the error that ended the trial."""

    stats: dict[str, float | int | None] = field(default_factory=dict)
    returns: np.ndarray | None = None
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class Trial:
    """A trial that has ended, as `trials.jsonl` keeps it.

    `values` are the objectives in their order (empty unless COMPLETE), `intermediate` the first objective after each
    window a pruner looked at, `attempts` the run ids of tries whose worker died or took too long. `reused` is the
    number of the trial whose result was taken over: the params had been executed before, so they were not again.
    """

    number: int
    run_id: str
    params: dict[str, Any]
    state: State
    values: tuple[float, ...] = ()
    stats: dict[str, float | int | None] = field(default_factory=dict)
    intermediate: tuple[float | None, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    attempts: tuple[str, ...] = ()
    reused: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Trial:
        """Read what to_dict wrote; raises KeyError, TypeError."""
        lists = {name: tuple(values[name]) for name in ("values", "intermediate", "attempts")}
        return cls(**{**values, **lists})
