"""The identity of weights: what they earn, less costs, is what the equity earned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.results.aligned import Aligned
from pipeline.results.comparing import RELATIVE, Kind
from pipeline.results.holding_identities import absent, at_label
from pipeline.results.identity import DIFFERS, HOLDS, Identity

EARNED = Kind("returns_weights", "Return = sum of w[t-1] x r[t] - costs", ties_equity=True)
HELD_OVER = "Weights are those after trading at their label, and drift with the prices until the next one."
BY_FILLS = "Costs are the fees of the fills, and how far their prices are from those of their labels."
FREE = "No costs are charged."
IMPLAUSIBLE = 0.5  # of what is traded, as a cost
CONSTANT = "{:.3g} of the equity is charged at every label, traded or not."
SHIFTED = "With the weights of the same label it holds: weights and prices are a label apart."
UNEVEN = "Costs would explain it, but elsewhere nothing is charged for what is traded."


def weight_identity(aligned: Aligned) -> Identity:
    """Return whether weights, prices and costs give the change of the equity, in money at each label."""
    weights, prices = aligned.weights, aligned.prices
    if weights is None or prices is None:
        return EARNED.unchecked(*absent(aligned, "weights", "prices"))
    earned = Earned(aligned, weights, prices)
    found = earned.by_fills() or earned.by_costs()
    if found.status == DIFFERS and earned.same_label_holds:
        return replace(found, note=SHIFTED)
    return found


@dataclass(frozen=True, eq=False)
class Earned:
    """What the weights of a result earn with its prices; all amounts are money, one a label."""

    aligned: Aligned
    weights: np.ndarray
    prices: np.ndarray

    @cached_property
    def moves(self) -> np.ndarray:
        """Simple returns by symbol from the second label on."""
        with np.errstate(divide="ignore", invalid="ignore"):
            moves: np.ndarray = self.prices[1:] / self.prices[:-1] - 1.0
        return moves

    @cached_property
    def drifted(self) -> np.ndarray:
        """What is held just before trading at a label, in money."""
        held = np.zeros_like(self.weights)
        grown = np.where(self.weights[:-1] == 0.0, 0.0, self.weights[:-1] * (1.0 + self.moves))
        held[1:] = self.aligned.before[1:, None] * grown
        return held

    @cached_property
    def gap(self) -> np.ndarray:
        """The change of the equity less what the weights of the label before earned."""
        return self._unearned(self.weights[:-1])

    @cached_property
    def allowed(self) -> np.ndarray:
        """What arithmetic may leave."""
        top = np.maximum(np.maximum(self.aligned.result.capital, np.abs(self.aligned.equity)), self.aligned.before)
        allowed: np.ndarray = RELATIVE * np.maximum(top, np.nan_to_num(np.abs(self.drifted)).sum(axis=1))
        return allowed

    @property
    def same_label_holds(self) -> bool:
        """Whether the weights of a label, with the return that ends there, give the equity without costs."""
        gap = self._unearned(self.weights[1:])[1:]
        return bool((~np.isnan(gap)).any()) and not bool((np.abs(np.nan_to_num(gap)) > self.allowed[1:]).any())

    def by_fills(self) -> Identity | None:
        """Compare with the fees and prices of the fills; None where they are not known."""
        fills = self.aligned.fills
        if fills is None or fills.fee is None:
            return None
        row = np.minimum(fills.place, len(self.prices) - 1)
        cost = fills.quantity * (fills.price - self.prices[row, fills.column]) + fills.fee
        gap = self.gap + self.aligned.per_label(fills.place, cost)
        return EARNED.compare(gap, self.allowed, at_label(self.aligned), note=f"{HELD_OVER} {BY_FILLS}")

    def by_costs(self) -> Identity:
        """Compare with the costs that are told, or else with those that the numbers show when they are regular."""
        rate = told_rate(self.aligned.result.costs)
        free = self._less(np.zeros(len(self.gap)), FREE)
        if free.status != DIFFERS or rate == 0.0:
            return free
        if rate is not None:
            told = [self._less(rate * base, f"{rate * 1e4:g} bps {words}") for words, base in self._bases()]
            return min(told, key=_wrong)
        shown = min((self._regular(words, base) for words, base in self._bases()), key=_wrong)
        constant = self._constant()
        if HOLDS in {shown.status, constant.status}:
            return shown if shown.status == HOLDS else constant
        return self._irregular(shown)

    def _less(self, cost: np.ndarray, words: str) -> Identity:
        gap = self.gap + cost
        if not abs(gap[0]) <= self.allowed[0]:
            gap[0] = np.nan  # what was held before the first label is not known
        return EARNED.compare(gap, self.allowed, at_label(self.aligned), note=f"{HELD_OVER} {words}")

    def _bases(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield what costs may be charged on, in words and in money at each label."""
        equity, before, weights = self.aligned.equity[:, None], self.aligned.before[:, None], self.weights
        uncosted = self.aligned.equity - np.where(np.isnan(self.gap), 0.0, self.gap)
        change = np.abs(np.diff(weights, axis=0, prepend=0.0)).sum(axis=1) * self.aligned.before
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(uncosted == 0.0, 0.0, self.drifted.T / uncosted).T
        for words, base in (
            ("on what is traded", np.abs(weights * equity - self.drifted)),
            ("on what is traded, sized by the equity before costs", np.abs(weights * uncosted[:, None] - self.drifted)),
            ("on changes of drifted weights", before * np.abs(weights - shares)),
        ):
            yield f"are charged {words}.", base.sum(axis=1)
        later = np.append(0.0, change[:-1]) * self.aligned.equity / np.where(before[:, 0] == 0.0, 1.0, before[:, 0])
        yield "are charged on changes of weights, drift left out.", change
        yield "are charged on changes of weights, drift left out, a label later.", later

    def _constant(self) -> Identity:
        share = float(np.nanmedian(-self.gap[1:] / self.aligned.before[1:])) if len(self.gap) > 1 else 0.0
        return self._less(max(share, 0.0) * self.aligned.before, CONSTANT.format(share))

    def _regular(self, words: str, base: np.ndarray) -> Identity:
        """Compare with the rate that most labels show at which something is traded.

        One of half and more is none: there, what is traded is what a charge of another kind made necessary.
        """
        traded = (base > self.allowed) & ~np.isnan(self.gap)
        rate = max(float(np.median(-self.gap[traded] / base[traded])), 0.0) if traded.any() else 0.0
        rate = rate if rate < IMPLAUSIBLE else 0.0
        return self._less(rate * base, f"Costs are not told; {rate * 1e4:.6g} bps {words}")

    def _irregular(self, shown: Identity) -> Identity:
        """Say what costs that nobody told cannot explain; they lower the return, and where something is traded.

        `shown` is the comparison with the rate that most labels show: where more of them have it than not, it counts.
        """
        _, base = next(self._bases())
        traded = base > self.allowed
        charged = (self.gap < -self.allowed) & traded
        charged[0] |= bool(self.gap[0] < 0.0)
        free = (np.abs(self.gap) <= self.allowed) & traded
        if shown.failed < 0.5 * traded.sum():
            return shown
        if charged.sum() < free.sum():
            return self._less(np.zeros(len(self.gap)), UNEVEN)
        gap = np.where(charged, np.nan, self.gap)
        found = EARNED.compare(gap, self.allowed, at_label(self.aligned), note=HELD_OVER)
        return found if found.status == DIFFERS else EARNED.unchecked("costs")

    def _unearned(self, held: np.ndarray) -> np.ndarray:
        before = self.aligned.before
        gap: np.ndarray = self.aligned.equity - before
        gap[1:] -= before[1:] * np.where(held == 0.0, 0.0, held * self.moves).sum(axis=1)
        return gap


def _wrong(found: Identity) -> int:
    return found.failed


def told_rate(costs: Mapping[str, Any] | None) -> float | None:
    """Return what is charged per unit traded where all costs are told in basis points; None where they are not."""
    if costs is None or not all(str(name).endswith("_bps") for name in costs):
        return None
    return float(sum(float(value or 0.0) for value in costs.values())) / 10_000.0
