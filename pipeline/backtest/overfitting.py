"""Was the best trial chosen by luck? PBO by CSCV, effective number of trials, and splits that do not leak.

Trials are columns, periods are rows, values are simple returns per period. Sources: Bailey, Borwein, López de Prado
and Zhu (2017), "The Probability of Backtest Overfitting" (PBO, CSCV); Bailey and López de Prado (2014), "The
Deflated Sharpe Ratio", appendix 3 (average correlation); Roy and Vetterli (2007), "The effective rank"; López de
Prado (2018), "Advances in Financial Machine Learning", chapters 7 and 12 (purging, embargo, combinatorial splits).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.backtest.metrics import NO_VARIANCE
from pipeline.errors import UsageError

TrialsMethod = Literal["effective_rank", "average_correlation", "participation_ratio"]
TRIALS_METHODS = ("effective_rank", "average_correlation", "participation_ratio")

# Two Sharpe ratios this close, relative to 1 or to themselves, are equal: sums in another order differ by less.
_TIE = 1e-10
_MOST_SPLITS = 200_000
_CHUNK = 2_000_000  # numbers held at once in each work array


@dataclass(frozen=True, eq=False)
class Overfitting:
    """What CSCV found. Arrays have one value a split, in the order of itertools.combinations of in-sample blocks.

    pbo                  share of splits whose winner ranks at or below the median out of sample; None if undefined
    blind                the same for a choice without looking, each trial alike: 1/2 for an even number of unlike
                         trials, more for an odd one (2/3 of three) or with ties, 1 when no split tells trials apart
    logits               ln(w / (1 - w)), w = mid-rank of the winner out of sample / (trials + 1)
    winners              column that was best in sample (the first of equals)
    in_sample, out_of_sample   the winner's Sharpe ratio per period on either half
    degradation_slope, degradation_intercept   least squares of out_of_sample on in_sample; None if undefined
    probability_of_loss  share of splits whose winner has a Sharpe ratio below 0 out of sample
    rows_dropped         rows at the end left out so that all blocks are equally long
    """

    pbo: float | None
    logits: np.ndarray
    winners: np.ndarray
    in_sample: np.ndarray
    out_of_sample: np.ndarray
    degradation_slope: float | None
    degradation_intercept: float | None
    probability_of_loss: float | None
    n_trials: int
    n_blocks: int
    n_splits: int
    rows_dropped: int
    blind: float | None


@dataclass(frozen=True, eq=False)
class Split:
    """Row positions to train on and to test on; `groups` are the numbers of the test folds."""

    train: np.ndarray
    test: np.ndarray
    groups: tuple[int, ...]


def probability_of_overfitting(
    trial_returns: pd.DataFrame | np.ndarray, *, n_blocks: int = 16, rate: float = 0.0
) -> Overfitting:
    """Return the probability of backtest overfitting of the choice of the best Sharpe ratio (ddof 1) among trials.

    CSCV: rows are cut into `n_blocks` equal blocks; each half of them is once in sample, the rest out of sample. All
    halves come from block sums and sums of squares. Out-of-sample ties share their mid-rank; trials that tie for
    the best in sample are averaged over, so that the order of columns does not matter. A trial that does nothing in
    a half (all returns 0) has a ratio of 0 there; other constant returns leave pbo None. `rate` is the risk-free rate
    of one period, taken off the returns of trials that do something.
    Raises UsageError for NaN, fewer than 2 trials or 2 rows a block, an odd number of blocks, too many splits.
    """
    values = _trial_matrix(trial_returns)
    _check_blocks(n_blocks, values)
    length = len(values) // n_blocks
    blocks = values[: length * n_blocks].reshape(n_blocks, length, -1)
    halves = np.array(list(itertools.combinations(range(n_blocks), n_blocks // 2)), dtype=np.int64)
    n_trials = values.shape[1]
    parts = []
    for rows in np.array_split(halves, math.ceil(len(halves) * n_trials / _CHUNK)):
        chosen = np.zeros((len(rows), n_blocks))
        np.put_along_axis(chosen, rows, 1.0, axis=1)
        parts.append(_judge_winners(_block_sharpes(blocks, chosen, rate), _block_sharpes(blocks, 1.0 - chosen, rate)))
    ranks, winners, inside, outside, blind = (np.concatenate(column) for column in zip(*parts, strict=True))
    defined = bool(np.isfinite(ranks).all())
    slope, intercept = _line(inside, outside) if defined else (None, None)
    share = ranks / (n_trials + 1.0)
    logits = np.log(share / (1.0 - share))
    logits[np.abs(logits) < _TIE] = 0.0
    return Overfitting(
        pbo=float((logits <= 0.0).mean()) if defined else None,
        logits=logits,
        winners=winners,
        in_sample=inside,
        out_of_sample=outside,
        degradation_slope=slope,
        degradation_intercept=intercept,
        probability_of_loss=float((outside < 0.0).mean()) if defined else None,
        n_trials=n_trials,
        n_blocks=n_blocks,
        n_splits=len(halves),
        rows_dropped=len(values) - length * n_blocks,
        blind=float(blind.mean()) if defined else None,
    )


def effective_trials(
    trial_returns: pd.DataFrame | np.ndarray, *, method: TrialsMethod = "effective_rank"
) -> float | None:
    """Return how many independent trials the correlated trials are worth, between 1 and their number N.

    From the correlation matrix of returns: "effective_rank", exp of the entropy of its eigenvalues / N (Roy and
    Vetterli 2007); "participation_ratio", N² / sum of squared eigenvalues; "average_correlation", r + (1 - r)·N with
    the mean correlation r, at least 0 (Bailey and López de Prado 2014). The last one overstates N when trials come
    in unlike groups of twins; the first two understate it with few periods per trial. Trials without variance tell
    nothing and are left out; None when none is left. Raises UsageError for NaN.
    """
    values = _trial_matrix(trial_returns)
    if method not in TRIALS_METHODS:
        raise UsageError(f"method = {method!r}: must be one of {', '.join(TRIALS_METHODS)}.")
    moving = values[:, np.std(values, axis=0) >= NO_VARIANCE] if len(values) > 1 else values[:, :0]
    n = moving.shape[1]
    if n < 2:
        return float(n) if n else None
    scores = (moving - moving.mean(axis=0)) / np.std(moving, axis=0) / math.sqrt(len(moving))
    if method == "average_correlation":
        together = scores.sum(axis=1)
        mean = (float(together @ together) - n) / (n * (n - 1))
        share = min(max(mean, 0.0), 1.0)
        return float(share + (1.0 - share) * n)
    spectrum = np.linalg.svd(scores, compute_uv=False) ** 2 / n  # eigenvalues / n: they sum to 1
    spectrum = spectrum[spectrum > np.finfo(float).eps]
    if method == "participation_ratio":
        found = 1.0 / float(np.sum(spectrum**2))
    else:
        found = math.exp(-float(np.sum(spectrum * np.log(spectrum))))
    return min(max(found, 1.0), float(n))


def purged_kfold(n: int, n_folds: int, *, horizon: int = 0, embargo: int = 0) -> Iterator[Split]:
    """Yield k contiguous test folds of n rows in order, each with the rows that may be trained on.

    `horizon` is how many rows ahead a row's outcome reaches: rows whose outcome overlaps one of the test fold are
    purged on both sides. `embargo` drops that many more rows after the fold. Raises UsageError when there are fewer
    rows than folds, or nothing is left to train on.
    Source: López de Prado (2018), chapter 7.
    """
    yield from combinatorial_purged(n, n_folds, 1, horizon=horizon, embargo=embargo)


def combinatorial_purged(n: int, n_folds: int, n_test: int, *, horizon: int = 0, embargo: int = 0) -> Iterator[Split]:
    """Yield every choice of `n_test` test folds out of `n_folds`, purged and embargoed like purged_kfold.

    There are C(n_folds, n_test) splits; the test folds join into `n_paths(n_folds, n_test)` whole histories.
    Source: López de Prado (2018), chapter 12.
    """
    if not 2 <= n_folds <= n or not 1 <= n_test < n_folds:
        raise UsageError(
            f"{n_folds} folds with {n_test} to test on do not fit {n} rows: 2 <= folds <= rows and 1 <= test < folds."
        )
    if horizon < 0 or embargo < 0:
        raise UsageError(f"horizon = {horizon} and embargo = {embargo} must not be negative.")
    edges = np.linspace(0, n, n_folds + 1).round().astype(int)
    for groups in itertools.combinations(range(n_folds), n_test):
        tested, banned = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        for group in groups:
            start, stop = int(edges[group]), int(edges[group + 1])
            tested[start:stop] = True
            banned[max(start - horizon, 0) : stop + horizon + embargo] = True
        if banned.all():
            raise UsageError(
                f"Nothing is left to train on when folds {groups} of {n_folds} are tested with horizon {horizon} and "
                f"embargo {embargo} on {n} rows. Use fewer folds or a shorter horizon."
            )
        yield Split(np.flatnonzero(~banned), np.flatnonzero(tested), groups)


def n_paths(n_folds: int, n_test: int) -> int:
    """Return how many whole test histories combinatorial_purged makes: C(n_folds, n_test)·n_test / n_folds."""
    return math.comb(n_folds, n_test) * n_test // n_folds


def walk_forward(
    n: int, *, train: int, test: int, step: int | None = None, anchored: bool = False, gap: int = 0
) -> Iterator[Split]:
    """Yield windows of `train` rows followed, after `gap` rows, by `test` rows to test on.

    Windows move by `step` (default `test`, so test windows touch and never overlap); `anchored` keeps the start of
    training at row 0. Test windows are whole: rows at the end that do not fill one are not tested. `groups` holds
    the number of the window. Raises UsageError when not even one window fits.
    """
    move = test if step is None else step
    if min(train, test, move) < 1 or gap < 0:
        raise UsageError(
            f"train = {train}, test = {test}, step = {move} must be at least 1 and gap = {gap} at least 0."
        )
    if train + gap + test > n:
        raise UsageError(f"A window of {train} + {gap} + {test} rows does not fit {n} rows.")
    for number, start in enumerate(range(0, n - train - gap - test + 1, move)):
        first = start + train + gap
        yield Split(np.arange(0 if anchored else start, start + train), np.arange(first, first + test), (number,))


def _trial_matrix(trial_returns: pd.DataFrame | np.ndarray) -> np.ndarray:
    values = np.asarray(trial_returns, dtype=np.float64, order="C")  # in any other, sums differ in the last bit
    if values.ndim != 2:
        raise UsageError(f"Trials must be a table, a row a period and a column a trial, not of shape {values.shape}.")
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(place[0]) for place in np.nonzero(bad))
        raise UsageError(
            f"{int(bad.sum())} returns of trials are NaN or infinite (first in row {row}, column {column}). Give all "
            "trials the same periods, with 0 where a trial holds nothing."
        )
    return values


def _check_blocks(n_blocks: int, values: np.ndarray) -> None:
    rows, trials = values.shape
    if n_blocks < 2 or n_blocks % 2:
        raise UsageError(f"n_blocks = {n_blocks}: must be an even number of at least 2.")
    if math.comb(n_blocks, n_blocks // 2) > _MOST_SPLITS:
        raise UsageError(f"n_blocks = {n_blocks} makes {math.comb(n_blocks, n_blocks // 2):,} splits; 16 make 12,870.")
    if trials < 2 or rows < 2 * n_blocks:
        raise UsageError(f"{rows} rows of {trials} trials are too few: 2 trials and {2 * n_blocks} rows are needed.")


def _block_sharpes(blocks: np.ndarray, chosen: np.ndarray, rate: float) -> np.ndarray:
    """Return the Sharpe ratio (ddof 1) of every trial over each choice of blocks; NaN without variance.

    blocks (n_blocks, rows, trials), chosen (splits, n_blocks) of 0 and 1; the result is (splits, trials). Sums are
    taken around each trial's mean, so that squares do not cancel.
    """
    centre = blocks.mean(axis=(0, 1))
    around = blocks - centre
    n = int(chosen[0].sum()) * blocks.shape[1]
    sums = chosen @ around.sum(axis=1)
    variance = (chosen @ np.square(around).sum(axis=1) - sums * sums / n) / (n - 1)
    flat = variance < np.maximum(NO_VARIANCE**2, 1e-15 * np.square(around).mean(axis=(0, 1)))
    idle = chosen @ np.any(blocks != 0.0, axis=1) == 0.0
    ratio = (sums / n + centre - rate) / np.sqrt(np.where(flat, 1.0, variance))
    return np.where(idle, 0.0, np.where(flat, np.nan, ratio))


def _judge_winners(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return, for each split, the winner's mid-rank (1 = worst) and column, its ratios in and out of sample.

    The last one is the share of all trials whose mid-rank out of sample is at or below the median.
    """
    undefined = ~(np.isfinite(inside).all(axis=1) & np.isfinite(outside).all(axis=1))
    inside, outside = np.where(undefined[:, None], 0.0, inside), np.where(undefined[:, None], 0.0, outside)
    best = inside.max(axis=1)
    tied = inside >= (best - _TIE * np.maximum(1.0, np.abs(best)))[:, None]
    winners = tied.argmax(axis=1)
    own = np.take_along_axis(outside, winners[:, None], axis=1)
    ranks, result = _mid_rank(outside, own)[:, 0], own[:, 0].copy()
    for row in np.flatnonzero((tied.sum(axis=1) > 1) & ~undefined):
        equals = np.flatnonzero(tied[row])
        ranks[row] = _mean_rank_of(outside[row], equals)
        result[row] = outside[row, equals].mean()
    ranks[undefined], best[undefined], result[undefined] = np.nan, np.nan, np.nan
    return ranks, winners, best, result, _share_up_to_median(outside)


def _share_up_to_median(values: np.ndarray) -> np.ndarray:
    """Return, for each row, the share of values whose mid-rank is at most the middle one.

    These are the values below the lower median, and those equal to it unless more are below than above them.
    """
    n = values.shape[1]
    middle = np.partition(values, (n - 1) // 2, axis=1)[:, [(n - 1) // 2]]
    near = _TIE * np.maximum(1.0, np.abs(middle))
    below = (values < middle - near).sum(axis=1)
    equal = (np.abs(values - middle) <= near).sum(axis=1)
    share: np.ndarray = (below + np.where(2 * below + equal <= n, equal, 0)) / n
    return share


def _mid_rank(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the rank of each `own` among the values of its row, equal values sharing the middle of their ranks."""
    near = _TIE * np.maximum(1.0, np.abs(own))
    below = (values < own - near).sum(axis=1, keepdims=True)
    equal = (np.abs(values - own) <= near).sum(axis=1, keepdims=True)
    ranks: np.ndarray = below + (equal + 1.0) / 2.0
    return ranks


def _mean_rank_of(values: np.ndarray, columns: np.ndarray) -> float:
    ordered = np.sort(values)
    own = values[columns]
    near = _TIE * np.maximum(1.0, np.abs(own))
    low, high = np.searchsorted(ordered, own - near, "left"), np.searchsorted(ordered, own + near, "right")
    return float(np.mean((low + high + 1.0) / 2.0))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float | None, float | None]:
    """Return slope and intercept of the least-squares line; None when x does not vary."""
    around = x - x.mean()
    spread = float(around @ around)
    if spread <= len(x) * _TIE**2:
        return None, None
    slope = float(around @ (y - y.mean())) / spread
    return slope, float(y.mean()) - slope * float(x.mean())
