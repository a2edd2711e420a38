"""Mean, variance and covariance over every window of a series, with nothing left over from earlier windows.

A sum that runs on from window to window keeps the rounding of what has left it, so that a flat window has a tiny
variance. Here windows are put together from shorter ones, by the formula of Chan, Golub and LeVeque (1983),
"Algorithms for Computing the Sample Variance": a flat window has variance 0, and all agree with numpy to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Windows:
    """Every window of `length` values of two series, by its first value.

    `x` and `y` are the means, `products` the sum of the products of the distances from them.
    """

    length: int
    x: np.ndarray
    y: np.ndarray
    products: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Covariance (ddof 1) in each window."""
        found: np.ndarray = self.products / (self.length - 1)
        return found

    def followed_by(self, later: Windows) -> Windows:
        """Return the windows made of one of these and the one of `later` that begins where it ends."""
        left, right = slice(max(len(self.x) - later.length, 0)), slice(self.length, None)
        length = self.length + later.length
        share = later.length / length
        step_x, step_y = later.x[right] - self.x[left], later.y[right] - self.y[left]
        products = self.products[left] + later.products[right] + step_x * step_y * (self.length * share)
        return Windows(length, self.x[left] + step_x * share, self.y[left] + step_y * share, products)


def windows_of(x: np.ndarray, y: np.ndarray, length: int) -> Windows:
    """Return every window of `length` (at least 1) values of two equally long series; none when they are shorter.

    A NaN spoils the windows that hold it, and no others.
    """
    single = Windows(1, x, y, np.zeros(len(x)))
    found = single
    for digit in f"{length:b}"[1:]:
        found = found.followed_by(found)
        found = found.followed_by(single) if digit == "1" else found
    return found


def at_last(values: np.ndarray, n: int) -> np.ndarray:
    """Return values by window at the last place of each window among `n` places, NaN at the places before."""
    return np.concatenate([np.full(n - len(values), np.nan), values])
