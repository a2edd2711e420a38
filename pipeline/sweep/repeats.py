"""Trials that repeat a configuration: when executing it again gives the same result, that result is taken over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import read_json, write_json
from pipeline.sweep.trial import Answer, Proposal, Trial

KEPT = "repeats.json"  # beside the batches: whether executing again gave the same
Ended = tuple[Trial, np.ndarray | None]


def params_key(params: Mapping[str, Any]) -> str:
    """Return what tells configurations apart in a sweep: the params, 1 and 1.0 and true being three values."""
    return json.dumps(params, sort_keys=True)


@dataclass
class Repeats:
    """The first completed trial of each configuration. `again` executes one once more, and returns None if it cannot.

    Whether a backtest gives the same again is found out when the first repeat comes, and kept in `directory`.
    """

    directory: Path
    again: Callable[[Trial], Answer | None]
    known: dict[str, Ended] = field(default_factory=dict)

    def learn(self, ended: Iterable[Ended]) -> None:
        """Remember trials that were executed and completed; what failed may have failed for the moment only."""
        for trial, returns in ended:
            if trial.state == "COMPLETE" and trial.reused is None:
                self.known.setdefault(params_key(trial.params), (trial, returns))

    def reusable(self, proposals: Sequence[Proposal]) -> dict[int, Ended]:
        """Return, by number, what a proposal's result can be taken over from; empty when none can be."""
        found = {p.number: self.known[key] for p in proposals if (key := params_key(p.params)) in self.known}
        return found if found and self._same(found[min(found)]) else {}

    def _same(self, first: Ended) -> bool:
        path = self.directory / KEPT
        if path.is_file():
            return bool(read_json(path))
        trial, returns = first
        answer = self.again(trial)
        if answer is None:
            return False
        same = answer.error is None and answer.stats == trial.stats and _equal(answer.returns, returns)
        write_json(path, same)
        return same


def first_of_each(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials without those that repeat the params of an earlier one in the list."""
    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(params_key(trial.params), trial)
    return list(found.values())


def leading(trials: Iterable[Trial], ranking: Iterable[int], count: int) -> tuple[int, ...]:
    """Return the numbers of the best `count` different configurations, in the order of `ranking`."""
    by_number = {trial.number: trial for trial in trials}
    return tuple(trial.number for trial in first_of_each(by_number[number] for number in ranking)[:count])


def _equal(left: np.ndarray | None, right: np.ndarray | None) -> bool:
    if left is None or right is None:
        return left is right
    return np.array_equal(left, right, equal_nan=True)
