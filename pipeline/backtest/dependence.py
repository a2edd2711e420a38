"""What do a strategy's signals depend on? Of one that does not look at its bars, changing these says nothing.

A strategy is called on other bars, with the columns that were added to the bars in another order, and on the same
bars at other dates. Signals that stay where all bars changed, or change where no bar did, come from elsewhere: an added
column, a variable or a file made before the call, the date. Truncation and shuffle (pipeline.backtest.leakage) leave
all that as it is, so whether it holds later bars cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.backtest.column_names import PRICES
from pipeline.backtest.outside import outside_data

Reason = Literal["constant", "independent", "mixed", "fails"]
Signals = Callable[[pd.DataFrame], np.ndarray]

# Moves in another order are taken to these powers: as they are, mirrored, three times as large; each with new noise.
POWERS = (1.0, -1.0, 3.0, 1.0, -1.0, 3.0)
MOST_CALLS = len(POWERS) + 2
UNKNOWN_SOURCE = "they may follow the calendar, the number of the bar, a seed, or values kept elsewhere"
_NOISE = 0.1  # of the deviation of the moves
_MOST_GROWTH = 50.0  # logarithm; beyond it prices overflow
# The calendar repeats after 28 years while no century is passed: weekdays, months, leap years.
CALENDAR = pd.Timedelta(days=28 * 365 + 7)
LAST_YEAR = 2099
_LAGS = range(-10, 11)
_APART = 20  # lags nearer to 0 are not among those that a small one is held against
_STANDS_OUT = 1.6
_FEWEST_BARS = 250
_FEWEST_VALUES = 20


@dataclass(frozen=True)
class BlindSpot:
    """Why the signals cannot be judged: `reason`, and a clause for a sentence.

    constant: the same signal on all bars whatever they are; independent: no bar changes a signal; mixed: signals change
    with bars, and with something else too; fails: the strategy raises on any other bars.
    """

    reason: Reason
    clause: str


@dataclass(frozen=True)
class Dependence:
    """How many signals changed at most when all bars were replaced, and why that is not enough (None when it is)."""

    responses: int
    blind_spot: BlindSpot | None


def dependence(
    call: Signals, function: Any, df: pd.DataFrame, signals: np.ndarray, rng: np.random.Generator
) -> Dependence:
    """Say what the signals of a strategy depend on, by calling it at most MOST_CALLS times.

    `call` returns the signals on a frame; `signals` are those on `df`; `function` is searched for data that it holds.
    What the strategy raises on other bars counts as no answer, elsewhere as a difference.
    """
    answers, error = _answers(call, df, rng)
    if not answers:
        return Dependence(0, BlindSpot("fails", f"called on other bars it raises {error}"))
    responses = max(int((given != signals).sum()) for given in answers)
    if responses == 0 and (signals == signals[0]).all():
        clause = f"its signal is {signals[0]} at every bar, whatever the bars, so there is nothing to compare"
        return Dependence(0, BlindSpot("constant", clause))
    others = _others(call, function, df, signals, rng)
    if responses == 0:
        clause = (
            f"its signals do not depend on the bars it is given (none of {len(signals):,} changes when all bars do)"
        )
        return Dependence(0, BlindSpot("independent", f"{clause}; {others or UNKNOWN_SOURCE}"))
    if not others and _follows(answers, df):
        others = "given other bars, they still follow the moves of these ones"
    clause = f"its signals do not depend on the bars alone: {others}"
    return Dependence(responses, BlindSpot("mixed", clause) if others else None)


def _answers(call: Signals, df: pd.DataFrame, rng: np.random.Generator) -> tuple[list[np.ndarray], str]:
    """Return the signals on other bars at the same times, and what was raised instead last."""
    answers, error = [], ""
    for power in POWERS:
        try:
            answers.append(call(other_bars(df, power, rng)))
        except Exception as raised:  # noqa: BLE001 - the user's code
            error = f"{type(raised).__name__}: {str(raised).strip()[:200]}"
    return answers, error


def _others(call: Signals, function: Any, df: pd.DataFrame, signals: np.ndarray, rng: np.random.Generator) -> str:
    """Say what else than the bars the signals depend on, empty when nothing was found."""
    added = [str(name) for name in (*df.columns, *df.attrs) if name not in (*PRICES, "volume")]
    if added and _differs(call, _with_added_mixed(df, rng), signals):
        return f"they change with what was added to the bars before the call ({', '.join(added)})"
    if held := outside_data(function, max(len(df) // 2 + 1, _FEWEST_VALUES)):
        return f"the function reads {', '.join(held)} from outside of its arguments"
    moved = _at_other_dates(df)
    if moved is not None and _differs(call, moved, signals):
        return (
            "they change when the same bars are dated 28 years later or earlier, so they follow these dates, or data "
            "with these dates from outside of the function's arguments"
        )
    return ""


def _differs(call: Signals, df: pd.DataFrame, signals: np.ndarray) -> bool:
    try:
        return not np.array_equal(call(df), signals)
    except Exception:  # noqa: BLE001 - the user's code
        return True


def other_bars(df: pd.DataFrame, power: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return `df` with other prices and volumes at the same times; added columns stay.

    The moves of each bar, measured from the close before, come in another order, without their mean, taken to `power`
    (on a logarithmic scale) and with some noise. The frame keeps the data contract.
    """
    prices = np.log(df[list(PRICES)].to_numpy(dtype=np.float64))
    moves = prices - np.concatenate([prices[:1, 0], prices[:-1, 3]])[:, None]
    moves = (moves - moves[:, 3].mean()) * power
    spread = float(moves[:, 3].std())
    order = rng.permutation(len(df))
    moves = moves[order] + rng.normal(0.0, _NOISE * spread if spread > 1e-9 else 0.01, moves.shape)
    growth = np.cumsum(moves[:, 3])
    moves *= min(1.0, _MOST_GROWTH / max(float(np.abs(growth).max()), 1e-300))
    close = prices[0, 3] + np.cumsum(moves[:, 3])
    made = np.exp((close - moves[:, 3])[:, None] + moves)
    made[:, 1], made[:, 2] = made.max(axis=1), made.min(axis=1)
    other = df.copy()
    other[list(PRICES)] = made
    if "volume" in df.columns:
        other["volume"] = df["volume"].to_numpy()[order]
    return other


def _with_added_mixed(df: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return `df` with the rows of its added columns in another order and without its `attrs`."""
    mixed, order = df.copy(), rng.permutation(len(df))
    for place, name in enumerate(df.columns):
        if name not in (*PRICES, "volume"):
            mixed.isetitem(place, df.iloc[order, place].array)
    mixed.attrs = {}
    return mixed


def _at_other_dates(df: pd.DataFrame) -> pd.DataFrame | None:
    """Return `df` dated 28 years later, or earlier where that would pass a century; None where neither can be."""
    index = pd.DatetimeIndex(df.index)
    later = index[-1].year + 28 <= LAST_YEAR
    try:
        return df.set_axis(index + CALENDAR if later else index - CALENDAR, axis=0)
    except (OverflowError, ValueError):
        return None


def _follows(answers: list[np.ndarray], df: pd.DataFrame) -> bool:
    """Say whether the signals on other bars go with the moves of the bars they were not given.

    The changes of the mean signal over the answers are held against the moves at every circular shift. Where they know
    the moves, the correlation at a small shift stands out from all others.
    """
    n = len(df)
    common = np.diff(np.mean(answers, axis=0), prepend=0.0)  # changes: what varies slowly goes with everything a bit
    logs = np.log(df["close"].to_numpy(dtype=np.float64))
    moves = np.diff(logs, prepend=logs[0])
    most = 3.0 * float(moves.std())
    moves = np.clip(moves, -most, most)
    if n < _FEWEST_BARS or not common.any() or not moves.any():
        return False
    spectrum = np.conj(np.fft.rfft(common)) * np.fft.rfft(moves - moves.mean())
    together = np.abs(np.fft.irfft(spectrum, n))
    near = together[list(_LAGS)].max()
    return bool(near > _STANDS_OUT * together[_APART : n - _APART].max())
