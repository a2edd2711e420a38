"""Objectives: which metrics can rank trials, and which way is better."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.backtest.catalogue import DIRECTIONS, Direction
from pipeline.errors import SpecError, nearest


def directions(objectives: Sequence[str]) -> list[Direction]:
    """Return which way each metric is better, by its nature; raises SpecError for a name that is no metric."""
    unknown = [name for name in objectives if name not in DIRECTIONS]
    if unknown:
        raise SpecError(f"sweep.objectives: {unknown[0]!r} is not a metric. {nearest(unknown[0], DIRECTIONS)}")
    if len(set(objectives)) != len(objectives):
        raise SpecError(f"sweep.objectives: {', '.join(objectives)}: each metric once.")
    return [DIRECTIONS[name] for name in objectives]


def better(metric: str, left: float, right: float) -> bool:
    """Say whether `left` is a better value of the metric than `right`."""
    return left > right if DIRECTIONS[metric] == "maximize" else left < right
