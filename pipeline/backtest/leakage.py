"""Does a strategy look into the future? Two tests that need nothing but the strategy and the bars.

Truncation: signals computed on the first k bars must equal the first k signals on all bars. Future shuffle: with the
bars from k on in another order, the first k signals must stay. Both compare the function with itself, so a clean
verdict means that no leak showed at the cuts tried; it is not a proof. Signals that do not come from the bars that the
function is given cannot be judged in this way (pipeline.backtest.dependence). What it cannot see: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.backtest.dependence import Reason, dependence
from pipeline.backtest.strategies import SignalFn, as_strategy, check_signals, resolve_params
from pipeline.errors import UsageError

Status = Literal["clean", "leak", "unjudged", "stochastic", "unchecked"]
Test = Literal["truncation", "shuffle"]


@dataclass(frozen=True)
class Difference:
    """A signal that changed when only later bars did.

    `bar` (0-based) and `timestamp` of the signal; `signal` on all bars and `signal_then` without the future; `cut` is
    the first bar that was taken away or moved, so the signal knew something `cut - bar` or more bars ahead.
    """

    test: Test
    cut: int
    bar: int
    timestamp: pd.Timestamp
    signal: int
    signal_then: int


@dataclass(frozen=True)
class LeakageVerdict:
    """The outcome, a sentence about it, and what it rests on.

    status      clean; leak; unjudged: the signals depend on something else than the bars, or on nothing;
                stochastic: equal input gave different signals, so nothing can be said; unchecked: the strategy failed
                on every cut, or there are fewer than two bars
    first       the difference at the earliest bar, over all cuts and both tests; None unless it leaks
    cuts        bars that were cut at; calls: how often the strategy was called
    failures    cut -> what the strategy raised there, for cuts that could not be judged by truncation or shuffle
    reason      why it is unjudged, see BlindSpot; None otherwise
    responses   signals that changed at most when all bars were replaced; None where that was not tried
    """

    status: Status
    sentence: str
    first: Difference | None
    differences: tuple[Difference, ...]
    cuts: tuple[int, ...]
    calls: int
    failures: dict[int, str]
    reason: Reason | None = None
    responses: int | None = None

    @property
    def clean(self) -> bool:
        """Whether no leak showed and the strategy could be judged."""
        return self.status == "clean"


class _Caller:
    """Calls the strategy on copies, validates what it returns, counts the calls."""

    def __init__(self, signal_fn: SignalFn, params: Mapping[str, Any], name: str) -> None:
        self.signal_fn, self.params, self.name, self.calls = signal_fn, params, name, 0

    def __call__(self, df: pd.DataFrame) -> np.ndarray:
        self.calls += 1
        given = self.signal_fn(df.copy(), dict(self.params))
        return check_signals(given, pd.DatetimeIndex(df.index), strategy=self.name).to_numpy()


def check_leakage(
    signal_fn: SignalFn,
    df: pd.DataFrame,
    params: Mapping[str, Any] | None = None,
    *,
    cuts: int | Sequence[int] = 24,
    seed: int = 0,
) -> LeakageVerdict:
    """Test a strategy for look-ahead by truncation and future shuffle.

    `cuts` is how many bars to cut at (chosen by `seed`: a third just behind changes of the signal, a third at gaps
    and stale bars, the rest spread out), or the bars themselves. It calls the strategy at most 2 + 3 · cuts times.
    Params are completed and checked by the strategy's schema. The frame given is not changed.

    Raises StrategyError when params or the signals on all bars are malformed, UsageError when a cut is outside
    1 … n - 1. What the strategy raises on all bars passes through; what it raises on a cut lands in `failures`.
    """
    strategy = as_strategy(signal_fn)
    call = _Caller(signal_fn, resolve_params(strategy, params), strategy.name)
    rng = np.random.default_rng(seed)
    whole = call(df)
    if not np.array_equal(whole, call(df)):
        return _verdict("stochastic", call, (), {}, [])
    chosen = _cuts(cuts, df, whole, rng)
    found: list[Difference] = []
    failures: dict[int, str] = {}
    for cut in chosen:
        for test, changed in _without_future(df, cut, rng):
            try:
                then = call(changed)[:cut]
                differs = not np.array_equal(then, whole[:cut])
                if differs and not np.array_equal(call(changed)[:cut], then):
                    return _verdict("stochastic", call, chosen, failures, [])
            except Exception as error:  # noqa: BLE001 - the user's code, on less data than it was made for
                failures[cut] = f"{test}: {type(error).__name__}: {str(error).strip()[:200]}"
                continue
            if differs:
                found.append(_difference(test, whole, then, pd.DatetimeIndex(df.index)))
                break  # one difference a cut is enough
    if found or len(failures) == len(chosen):
        return _verdict("leak" if found else "unchecked", call, chosen, failures, found)
    known = dependence(call, strategy.signal_fn, df, whole, rng)
    verdict = replace(_verdict("clean", call, chosen, failures, found), responses=known.responses)
    if known.blind_spot is None:
        return verdict
    sentence = f"Whether {call.name} looks into the future cannot be judged: {known.blind_spot.clause}."
    return replace(verdict, status="unjudged", sentence=sentence, reason=known.blind_spot.reason)


def _without_future(df: pd.DataFrame, cut: int, rng: np.random.Generator) -> Iterator[tuple[Test, pd.DataFrame]]:
    """Yield the bars before `cut`, then all timestamps with the bars from `cut` on in another order."""
    yield "truncation", df.iloc[:cut]
    order = np.arange(len(df))
    later = order[cut:]
    if len(later) > 1:
        mixed = rng.permutation(later)
        order[cut:] = np.roll(later, 1) if np.array_equal(mixed, later) else mixed
        yield "shuffle", df.iloc[order].set_axis(df.index, axis=0)


def _cuts(
    cuts: int | Sequence[int], df: pd.DataFrame, signals: np.ndarray, rng: np.random.Generator
) -> tuple[int, ...]:
    """Return sorted bars to cut at: those given, or `cuts` of them where a leak is most likely to show."""
    n = len(df)
    if not isinstance(cuts, int):
        outside = [cut for cut in cuts if not 1 <= cut < n]
        if outside:
            raise UsageError(f"Cuts {outside} are outside 1 to {n - 1}, the bars that have bars before them.")
        return tuple(sorted({int(cut) for cut in cuts}))
    if cuts < 1:
        raise UsageError(f"cuts = {cuts}: must be at least 1.")
    if n - 1 <= cuts:
        return tuple(range(1, n))
    picked: set[int] = set()
    for candidates in (np.flatnonzero(np.diff(signals)) + 2, _odd_bars(df)):
        inside = candidates[(candidates >= 1) & (candidates < n)]
        take = min(cuts // 3, len(inside))
        picked |= {int(bar) for bar in rng.choice(inside, take, replace=False)}
    spread = np.linspace(1, n, cuts + 1)
    for low, high in rng.permutation(np.column_stack([spread[:-1], spread[1:]])):
        if len(picked) == cuts:
            break
        picked.add(int(rng.integers(int(low), max(int(high), int(low) + 1))))
    return tuple(sorted(picked))


def _odd_bars(df: pd.DataFrame) -> np.ndarray:
    """Return bars where data was likely filled in: after an unusual time gap, no volume, an unchanged close, NaN."""
    stamps = pd.DatetimeIndex(df.index).as_unit("ns").asi8
    spacing = np.diff(stamps, prepend=stamps[0])
    odd = np.zeros(len(df), dtype=bool)
    if len(df) > 2:
        odd |= spacing > 1.5 * np.median(spacing[1:])
    close = df["close"].to_numpy(dtype=np.float64)
    odd[1:] |= close[1:] == close[:-1]
    if "volume" in df.columns:
        odd |= ~(df["volume"].to_numpy(dtype=np.float64) > 0.0)
    return np.flatnonzero(odd | df.isna().any(axis=1).to_numpy())


def _difference(test: Test, whole: np.ndarray, then: np.ndarray, index: pd.DatetimeIndex) -> Difference:
    bar = int(np.flatnonzero(then != whole[: len(then)])[0])
    return Difference(test, len(then), bar, index[bar], int(whole[bar]), int(then[bar]))


def _verdict(
    status: Status, call: _Caller, cuts: tuple[int, ...], failures: dict[int, str], found: list[Difference]
) -> LeakageVerdict:
    first = min(found, key=lambda difference: (difference.bar, difference.cut), default=None)
    if first is not None:
        sentence = (
            f"{call.name} looks into the future: its signal at bar {first.bar} ({first.timestamp.isoformat()}) is "
            f"{first.signal}, but {first.signal_then} when bars from {first.cut} on are "
            f"{'left out' if first.test == 'truncation' else 'in another order'}. "
            f"{len(found)} of {len(cuts)} cuts showed a difference."
        )
    elif status == "stochastic":
        sentence = (
            f"{call.name} gives different signals for the same bars and params, so it cannot be checked for "
            "look-ahead. Seed its random numbers from params, and keep no state between calls."
        )
    elif status == "unchecked":
        why = next(iter(failures.values()), "there are too few bars")
        sentence = f"{call.name} could not be checked for look-ahead: {why}."
    else:
        skipped = f" ({len(failures)} more could not be judged)" if failures else ""
        sentence = f"No look-ahead showed in {call.name} at {len(cuts) - len(failures)} cuts{skipped}."
    return LeakageVerdict(status, sentence, first, tuple(found), cuts, call.calls, failures)
