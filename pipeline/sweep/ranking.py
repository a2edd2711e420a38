"""Which trials are the best: by the first objective, and in all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.backtest.catalogue import DIRECTIONS
from pipeline.sweep.repeats import params_key
from pipeline.sweep.trial import Trial


def rank(trials: Sequence[Trial], metric: str) -> list[int]:
    """Return the numbers of completed trials, the best value of the first objective first, equals by number."""
    sign = -1.0 if DIRECTIONS[metric] == "maximize" else 1.0
    return [t.number for t in sorted(trials, key=lambda trial: (sign * trial.values[0], trial.number))]


def front(trials: Sequence[Trial], objectives: Sequence[str]) -> tuple[int, ...]:
    """Return the trials that no other beats in all objectives (the Pareto front), in the order of their numbers.

    Of trials with equal params and values it has the first.
    """
    once = {(params_key(trial.params), trial.values): trial for trial in reversed(trials)}
    trials = sorted(once.values(), key=lambda trial: trial.number)
    signs = np.array([1.0 if DIRECTIONS[name] == "maximize" else -1.0 for name in objectives])
    if not trials:
        return ()
    values = np.array([trial.values for trial in trials]) * signs
    kept = []
    for place, own in enumerate(values):
        beaten = np.all(values >= own, axis=1) & np.any(values > own, axis=1)
        if not beaten.any():
            kept.append(trials[place].number)
    return tuple(kept)
