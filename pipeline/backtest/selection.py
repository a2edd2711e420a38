"""What choosing the best trial is worth on data it was not chosen on: walk-forward and cross-validated selection.

Trials are columns, periods are rows, values are simple returns per period. A trial's params are fixed and its signals
look back only, so its returns in a window are what it would have earned there; what is tested is the choice between
trials, or the search that found them. Positions carry over at the borders of windows, and switching from one trial to
another costs nothing here.
Sources: Pardo (2008), "The Evaluation and Optimization of Trading Strategies" (walk-forward); López de Prado (2018),
"Advances in Financial Machine Learning", chapter 12 (combinatorial purged cross-validation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.backtest.metrics import NO_VARIANCE
from pipeline.backtest.overfitting import Split, combinatorial_purged, n_paths, walk_forward
from pipeline.errors import UsageError


@dataclass(frozen=True, eq=False)
class Choice:
    """One choice: the rows tested, the trial that was best on the training rows, its Sharpe ratio on either part.

    Ratios are per period; one without variance is 0. `column` is the first of equals.
    """

    test: np.ndarray
    column: int
    in_sample: float
    out_of_sample: float


@dataclass(frozen=True, eq=False)
class WalkForward:
    """Choices in time, and the joined returns of what was chosen over all test windows."""

    choices: tuple[Choice, ...]
    rows: np.ndarray
    returns: np.ndarray

    @property
    def in_sample(self) -> float:
        """Mean of the winners' Sharpe ratios in sample, per period."""
        return float(np.mean([choice.in_sample for choice in self.choices]))

    @property
    def out_of_sample(self) -> float:
        """Sharpe ratio of the joined returns, per period."""
        return float(_ratios(self.returns[:, None])[0])


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Choices of combinatorial purged cross-validation, and the Sharpe ratio per period of each whole path."""

    choices: tuple[Choice, ...]
    paths: np.ndarray
    dropped: int


def walk_forward_selection(returns: np.ndarray, *, windows: int) -> WalkForward:
    """Choose the best trial on all rows before each of `windows` equal test windows, and follow it there.

    Raises UsageError when a window would hold fewer than 2 rows.
    """
    values = _matrix(returns)
    return _joined(values, [_choose(values, split) for split in walk_forward_splits(len(values), windows)])


def walk_forward_of_searches(returns: np.ndarray) -> WalkForward:
    """Follow what was found by a search of its own before each test window: column `k` in window `k`.

    Windows are those of `walk_forward_splits`, as many as there are columns.
    """
    values = _matrix(returns)
    splits = walk_forward_splits(len(values), values.shape[1])
    return _joined(values, [_follow(values, split, column) for column, split in enumerate(splits)])


def walk_forward_splits(rows: int, windows: int) -> list[Split]:
    """Return equal test windows to the end of the rows, each with all rows before it to choose on.

    The first training part is as long as one test window, plus the rows that do not divide. Raises UsageError when a
    window would hold fewer than 2 rows.
    """
    length = rows // (windows + 1)
    if length < 2:
        raise UsageError(f"{rows} rows are too few for {windows} windows.")
    return list(walk_forward(rows, train=rows - windows * length, test=length, anchored=True))


def _joined(values: np.ndarray, choices: Sequence[Choice]) -> WalkForward:
    rows = np.concatenate([choice.test for choice in choices])
    joined = np.concatenate([values[choice.test, choice.column] for choice in choices])
    return WalkForward(tuple(choices), rows, joined)


def cross_validated_selection(
    returns: np.ndarray, *, folds: int, test_folds: int, horizon: int = 0, embargo: int = 0
) -> CrossValidation:
    """Choose the best trial on the training rows of every combination of test folds, and follow it on those.

    The test parts join into whole histories (paths). Raises UsageError for folds that do not fit the rows.
    """
    values = _matrix(returns)
    splits = list(combinatorial_purged(len(values), folds, test_folds, horizon=horizon, embargo=embargo))
    choices = tuple(_choose(values, split) for split in splits)
    edges = np.linspace(0, len(values), folds + 1).round().astype(int)
    paths: list[list[np.ndarray]] = [[] for _ in range(n_paths(folds, test_folds))]
    for fold in range(folds):
        rows = slice(edges[fold], edges[fold + 1])
        tested = [choice for choice, split in zip(choices, splits, strict=True) if fold in split.groups]
        for path, choice in zip(paths, tested, strict=True):
            path.append(values[rows, choice.column])
    ratios = np.array([_ratios(np.concatenate(path)[:, None])[0] for path in paths])
    return CrossValidation(choices, ratios, len(values) - min(len(split.train) + len(split.test) for split in splits))


def _choose(values: np.ndarray, split: Split) -> Choice:
    return _follow(values, split, int(np.argmax(_ratios(values[split.train]))))


def _follow(values: np.ndarray, split: Split, column: int) -> Choice:
    inside, outside = (float(_ratios(values[rows, column][:, None])[0]) for rows in (split.train, split.test))
    return Choice(split.test, column, inside, outside)


def _ratios(values: np.ndarray) -> np.ndarray:
    """Return the Sharpe ratio (ddof 1) per period of each column; 0 without variance."""
    if len(values) < 2:
        return np.zeros(values.shape[1])
    deviation = np.std(values, axis=0, ddof=1)
    moving = deviation >= NO_VARIANCE
    return np.where(moving, np.mean(values, axis=0) / np.where(moving, deviation, 1.0), 0.0)


def _matrix(returns: np.ndarray) -> np.ndarray:
    values = np.asarray(returns, dtype=np.float64, order="C")  # in any other, sums differ in the last bit
    if values.ndim != 2 or not values.shape[1]:
        raise UsageError(f"Trials must be a table, a row a period and a column a trial, not of shape {values.shape}.")
    if not np.isfinite(values).all():
        raise UsageError("Returns of trials must be finite: 0 where a trial holds nothing.")
    return values
