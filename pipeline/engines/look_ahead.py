"""Does a backtest of any engine look into the future? It is run again by a function of the notebook's on other bars.

Truncation      without the bars from a cut on, what was decided and earned before the last bar that is left must stay;
                a result that ends earlier, as one of whole windows does, is compared up to its end.
Future shuffle  with the bars from the cut on in another order, all before the cut must stay.
Own bar         a position that is held into a bar earns in proportion to the bar's move. Where the returns bend, the
                bar itself was known to the decision; or orders were filled inside of it, which only closing prices
                rule out. With opens, the whole bar is moved, and then its close alone. Needs returns: of weights, the
                portfolio is computed here from those of the label before.
All bars        with all bars replaced what is decided must change, or what is earned where decisions are not known.

No alarm means that no leak showed at the cuts tried; it is not a proof. What the function reads from outside of its
bars cannot be judged; data that it holds are looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.backtest.outside import outside_data
from pipeline.engines.answers import Answer, Rerun
from pipeline.engines.other_bars import (
    Bars,
    have_opens,
    have_ranges,
    replaced,
    usual_move,
    with_move,
    without_future,
)

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["clean", "leak", "unjudged", "stochastic", "unchecked"]
Reason = Literal["other", "independent", "mixed", "inside"]

OWN_BARS = 8
MOVES = (-1.0, -0.5, 0.5, 1.0)  # of the largest move that the bar is given
LEAST_MOVE, USUAL_MOVES, MOST_MOVE = 0.02, 8.0, 0.10
FEES = 0.002  # returns may bend by this, or a quarter of a usual move: what it costs to trade at the bar
FEWEST_VALUES = 20
OTHER = "given the bars of the run it returns another result than the one that was saved"
INDEPENDENT = "what it decides does not depend on the bars that it is given"
INSIDE = (
    "what it earns in a bar is not in proportion to the move of that bar, so it decides by the very bar, or has orders "
    "inside of it (stops, limits); bars with high and low do not tell the two apart"
)
WEIGHED = "Compared were its weights; each earns from the next label on, as the portfolio is computed here."


@dataclass(frozen=True)
class Verdict:
    """The outcome and a sentence about it, and what it rests on.

    `first` is the earliest label that changed; `cuts` were tried, `failures` say what the function raised at some;
    `own_bars` is at how many bars their own move was varied; `positions` whether decisions were compared, not returns
    alone.
    """

    status: Status
    sentence: str
    reason: Reason | None = None
    first: pd.Timestamp | None = None
    differences: int = 0
    cuts: tuple[int, ...] = ()
    failures: tuple[tuple[int, str], ...] = ()
    calls: int = 0
    own_bars: int = 0
    positions: bool = False


@dataclass(frozen=True)
class _Finding:
    """What ends the check."""

    status: Status
    sentence: str
    reason: Reason | None = None
    first: pd.Timestamp | None = None
    differences: int = 0


def check_look_ahead(rerun: Rerun, *, cuts: int, seed: int = 0) -> Verdict:
    """Test a function for look-ahead at so many cuts, chosen by `seed`; raises what it raises on the run's own bars."""
    check = _Check(rerun, cuts, np.random.default_rng(seed))
    steps = (check.repeats, check.is_the_saved, check.past, check.own_bars, check.outside, check.response)
    found = next((each for step in steps if (each := step()) is not None), None) or check.clean()
    return Verdict(
        **vars(found),
        cuts=check.cuts,
        failures=tuple(check.failures),
        calls=check.calls,
        own_bars=check.tried,
        positions=check.whole.decided is not None,
    )


class _Check:
    """The steps, each of which ends the check by what it finds, or returns None."""

    def __init__(self, rerun: Rerun, cuts: int, rng: np.random.Generator) -> None:
        self.rerun, self.rng, self.calls, self.tried = rerun, rng, 0, 0
        self.failures: list[tuple[int, str]] = []
        self.whole = self.call(rerun.bars)
        self.cuts = _cuts(rerun, self.whole, cuts, rng)

    @property
    def inside(self) -> str:
        """The name of the function inside of a sentence."""
        return self.rerun.name.replace("The ", "the ", 1)

    def call(self, bars: Bars) -> Answer:
        """Return the answer for a copy of these bars; what the function raises passes through."""
        self.calls += 1
        return self.rerun.answer(self.rerun.function(bars.copy()))

    def repeats(self) -> _Finding | None:
        if self.whole.differs(self.call(self.rerun.bars)) is None:
            return None
        text = "gives another result for the same bars each time, so it cannot be checked for look-ahead"
        return _Finding("stochastic", f"{self.rerun.name} {text}.")

    def is_the_saved(self) -> _Finding | None:
        saved = self.rerun.answer(self.rerun.value)
        return None if saved.differs(self.whole) is None else self._unjudged("other", OTHER)

    def past(self) -> _Finding | None:
        found = [(first, cut) for cut in self.cuts if (first := self._changed_before(cut)) is not None]
        if found:
            first, cut = min(found)
            text = (
                f"its result at {first.isoformat()} is another one when the bars from "
                f"{self.rerun.labels[cut].isoformat()} on are left out or in another order. {len(found)} of "
                f"{len(self.cuts)} cuts showed a difference."
            )
            return self._leak(text, first, len(found))
        if len(self.failures) == len(self.cuts):
            why = self.failures[0][1] if self.failures else "there are too few bars"
            return _Finding("unchecked", f"{self.rerun.name} could not be checked for look-ahead: {why}.")
        return None

    def _changed_before(self, cut: int) -> pd.Timestamp | None:
        """Return the first label that changes without the bars from a cut on; None where none does, or it fails."""
        try:
            for bars, before in without_future(self.rerun.bars, self.rerun.labels, cut, self.rng):
                other = self.call(bars)
                end = min(before, other.last) if len(bars) == cut else before
                first = self.whole.before(end).differs(other.before(end))
                if first is not None:
                    return first
        except Exception as error:  # noqa: BLE001 - the user's code, on less data than it was made for
            self.failures.append((cut, f"{type(error).__name__}: {str(error).strip()[:200]}"))
        return None

    def own_bars(self) -> _Finding | None:
        if self.whole.earned is None:
            return None
        kinds = (False, True) if have_opens(self.rerun.bars) else (False,)
        usual = usual_move(self.rerun.bars)
        largest = min(max(USUAL_MOVES * usual, LEAST_MOVE), MOST_MOVE)
        for cut in self.cuts[:: max(len(self.cuts) // OWN_BARS, 1)]:
            earned = [self._earned_in(cut, largest, from_open=kind) for kind in kinds]
            known = [each for each in earned if each is not None]
            self.tried += bool(known)
            if any(_bend(each) > max(usual / 4.0, FEES) for each in known):
                return self._bent(self.rerun.labels[cut])
        return None

    def _bent(self, label: pd.Timestamp) -> _Finding:
        if have_ranges(self.rerun.bars):
            return self._unjudged("inside", INSIDE)
        text = (
            f"what it earns in the bar of {label.isoformat()} is not in proportion to that bar's move, as that of any "
            "position held into it would be, so the decision knew the bar."
        )
        return self._leak(text, label, 1)

    def _earned_in(self, cut: int, largest: float, *, from_open: bool) -> np.ndarray | None:
        """Return what is earned in the bar `cut` for each move of it; None where that is not told."""
        label, earned = self.rerun.labels[cut], []
        for share in MOVES:
            try:
                bars = with_move(self.rerun.bars, cut, share * largest, from_open=from_open)
                returns = self.call(bars).earned
            except Exception:  # noqa: BLE001 - the user's code, on bars that it was not made for
                return None
            if returns is None or label not in returns.index or not np.isfinite(returns[label]):
                return None
            earned.append(float(returns[label]))
        return np.array(earned)

    def outside(self) -> _Finding | None:
        held = outside_data(self.rerun.function, max(len(self.rerun.bars) // 2 + 1, FEWEST_VALUES))
        clause = f"it also reads data that were there before it is called ({', '.join(held)})"
        return self._unjudged("mixed", clause) if held else None

    def response(self) -> _Finding | None:
        answers = []
        for sign in (-1.0, 1.0):
            try:
                answers.append(self.call(replaced(self.rerun.bars, sign, self.rng)))
            except Exception:  # noqa: BLE001, S112 - the user's code, on bars that it was not made for
                continue
        if any(_responds(self.whole, other) for other in answers):
            return None
        return self._unjudged("independent", INDEPENDENT if answers else "it fails on any other bars")

    def clean(self) -> _Finding:
        skipped = f" ({len(self.failures)} more could not be judged)" if self.failures else ""
        text = f"No look-ahead showed in {self.inside} at {len(self.cuts) - len(self.failures)} cuts{skipped}"
        if self.whole.earned is None:
            return _Finding("clean", f"{text}. {WEIGHED}")
        if not self.tried:
            return _Finding("clean", f"{text}. Whether it knows the bar in which it earns could not be tried.")
        return _Finding("clean", f"{text}, nor that it knows the bar in which it earns, at {self.tried} bars.")

    def _leak(self, text: str, first: pd.Timestamp, differences: int) -> _Finding:
        return _Finding("leak", f"{self.rerun.name} looks into the future: {text}", None, first, differences)

    def _unjudged(self, reason: Reason, clause: str) -> _Finding:
        return _Finding("unjudged", f"Whether {self.inside} looks into the future cannot be judged: {clause}.", reason)


def _cuts(rerun: Rerun, whole: Answer, cuts: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Return bars to cut at where something can be compared before: half just behind decisions, the others spread."""
    first, n = int(rerun.labels.searchsorted(whole.first, side="right")) + 1, len(rerun.labels)
    if n - first <= cuts:
        return tuple(range(first, n))
    behind = np.empty(0, dtype=int)
    if whole.decided is not None:
        changed = whole.decided.ne(whole.decided.shift()).any(axis=1)
        behind = np.unique(rerun.labels.searchsorted(whole.decided.index[changed], side="right"))
        behind = behind[(behind >= first) & (behind < n)]
    picked = {int(cut) for cut in rng.choice(behind, min(cuts // 2, len(behind)), replace=False)}
    edges = np.linspace(first, n, cuts + 1).astype(int)
    for place in rng.permutation(cuts):
        if len(picked) == cuts:
            break
        picked.add(int(rng.integers(edges[place], edges[place + 1])))
    return tuple(sorted(picked))


def _bend(earned: np.ndarray) -> float:
    """Return how far what was earned is from a straight line over the moves."""
    design = np.column_stack([np.ones(len(MOVES)), MOVES])
    line = design @ np.linalg.lstsq(design, earned, rcond=None)[0]
    return float(np.abs(earned - line).max())


def _responds(whole: Answer, other: Answer) -> bool:
    if whole.decided is not None and other.decided is not None:
        whole, other = Answer(whole.decided, None), Answer(other.decided, None)
    return whole.differs(other) is not None
