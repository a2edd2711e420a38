"""Compare two sides of an identity: which differences are more than rounding, how many, and where the first one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.results.identity import DIFFERS, HOLDS, UNCHECKED, Identity

RELATIVE = 1e-9
SIGMAS = 6.0
DECIMALS = (0, *range(2, 9))
SAMPLE = 1000
MOST = 1e-5  # of the capital: what rounding may be of it, and still be called rounding
MOST_SHARE = 1e-4

Place = Callable[[tuple[int, ...]], tuple[str, str | None]]


@dataclass(frozen=True)
class Kind:
    """An identity in words; `ties_equity` where it holds the equity against something that was not made from it."""

    name: str
    says: str
    unit: str = "money"
    ties_equity: bool = False

    def unchecked(self, *missing: str, note: str = "") -> Identity:
        """Return that it cannot be checked, for want of `missing`."""
        return Identity(
            self.name, self.says, UNCHECKED, self.ties_equity, unit=self.unit, missing=tuple(missing), note=note
        )

    def compare(
        self,
        gap: np.ndarray,
        allowed: np.ndarray | float,
        place: Place,
        *,
        rounding: np.ndarray | float = 0.0,
        note: str = "",
        missing: str = "a label at which all of them are known",
    ) -> Identity:
        """Return what differences say: left side less right side, NaN where they cannot be compared.

        `allowed` is what arithmetic may leave; `rounding` what numbers that were written with few decimals may, and it
        is said when that was needed. `place` names symbol or trade and the time of a difference.
        """
        known = ~np.isnan(gap)
        compared = int(known.sum())
        if not compared:
            return self.unchecked(missing, note=note)
        size = np.where(known, np.abs(gap), 0.0)
        failing = size > allowed + rounding
        if bool((size > allowed).any()) and not failing.any():
            note = _joined(f"It holds but for rounding of the numbers as written, at most {size.max():.3g}.", note)
        if not failing.any():
            return Identity(self.name, self.says, HOLDS, self.ties_equity, compared, unit=self.unit, note=note)
        excess = np.where(failing, size, 0.0)
        where, first = place(_first(excess))
        return Identity(
            self.name,
            self.says,
            DIFFERS,
            self.ties_equity,
            compared,
            int(failing.sum()),
            float(gap.flat[int(excess.argmax())]),
            self.unit,
            where,
            first,
            note=note,
        )


def _first(excess: np.ndarray) -> tuple[int, ...]:
    """Return where the first difference is: in the first row with one, the largest of that row."""
    if excess.ndim == 1:
        return (int((excess > 0.0).argmax()),)
    row = int((excess > 0.0).any(axis=1).argmax())
    return row, int(excess[row].argmax())


def half_unit(values: np.ndarray | None, most: float) -> float:
    """Return half of the last decimal of numbers that were all written with 2 to 8 decimals; 0 of others.

    Whole numbers do not count as rounded, nor what would be rounded by more than `most`.
    """
    if values is None or not values.size or _decimals(values.flat[:: max(1, values.size // SAMPLE)]) is None:
        return 0.0  # among a thousand of those that are not rounded one shows it
    digits = _decimals(values.ravel())
    half = 0.5 * 10.0**-digits if digits else 0.0
    return half if half <= most else 0.0


def _decimals(values: np.ndarray) -> int | None:
    """Return how many decimals numbers were written with: 0, or 2 to 8; None of more."""
    known = values[~np.isnan(values)]
    allowed = 1e-13 * np.maximum(1.0, np.abs(known))
    return next((each for each in DECIMALS if bool((np.abs(known - np.round(known, each)) <= allowed).all())), None)


def of_sum(half: float, count: np.ndarray | int) -> np.ndarray:
    """Return what the sum of `count` numbers rounded to `half` may be off by: six deviations, at most all of it."""
    return half * np.minimum(count, 1.0 + SIGMAS * np.sqrt(np.asarray(count) / 3.0))


def _joined(*notes: str) -> str:
    return " ".join(note for note in notes if note)
