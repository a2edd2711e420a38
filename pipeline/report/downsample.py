"""Thin out long curves for the page without losing a peak or a trough."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

POINTS = 1_600


def keep(values: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Return the sorted positions of at most about `points` values that draw the same picture.

    The series is cut into equal buckets; of each the lowest and the highest value stay, and always the first and
    the last value of all. NaN never counts as an extreme. A series of `points` values or fewer is kept whole.
    """
    import numpy as np

    n = len(values)
    if n <= points:
        return np.arange(n)
    buckets = max(1, (points - 2) // 2)
    edges = np.linspace(0, n, buckets + 1).astype(np.int64)
    low = np.where(np.isnan(values), np.inf, values)
    high = np.where(np.isnan(values), -np.inf, values)
    chosen = {0, n - 1}
    for start, end in itertools.pairwise(edges):
        chosen.add(int(start + low[start:end].argmin()))
        chosen.add(int(start + high[start:end].argmax()))
    return np.array(sorted(chosen), dtype=np.int64)
