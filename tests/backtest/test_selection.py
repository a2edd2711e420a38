"""Walk-forward and cross-validated selection: the choice sees only what it may see."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from pipeline.backtest.selection import cross_validated_selection, walk_forward_selection
from pipeline.errors import UsageError


def table(rows: int = 400, trials: int = 6, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0005, 0.01, (rows, trials))


def sharpe(values: np.ndarray) -> float:
    return float(values.mean() / values.std(ddof=1))


def test_walk_forward_chooses_on_the_past_only() -> None:
    """Changing returns after a window's start never changes what was chosen for that window."""
    values = table()
    found = walk_forward_selection(values, windows=4)
    for number, choice in enumerate(found.choices):
        altered = values.copy()
        altered[choice.test[0] :] = np.random.default_rng(number).normal(0, 0.05, altered[choice.test[0] :].shape)
        again = walk_forward_selection(altered, windows=4).choices[number]
        assert (again.column, again.in_sample) == (choice.column, choice.in_sample)


def test_walk_forward_by_hand() -> None:
    """Windows are equal, follow each other to the last row, and hold the returns of the best trial before them."""
    values = table(rows=103)
    found = walk_forward_selection(values, windows=4)
    starts = [23, 43, 63, 83]
    assert [(choice.test[0], choice.test[-1]) for choice in found.choices] == [(s, s + 19) for s in starts]
    for choice, start in zip(found.choices, starts, strict=True):
        ratios = [sharpe(values[:start, column]) for column in range(values.shape[1])]
        assert choice.column == int(np.argmax(ratios))
        assert choice.in_sample == pytest.approx(max(ratios), rel=1e-12)
        assert choice.out_of_sample == pytest.approx(sharpe(values[start : start + 20, choice.column]), rel=1e-12)
    joined = np.concatenate([values[choice.test, choice.column] for choice in found.choices])
    assert (found.returns == joined).all()
    assert found.out_of_sample == pytest.approx(sharpe(joined), rel=1e-12)


def test_cross_validation_by_hand() -> None:
    """Every combination of folds is tested once; each path is a whole history; purged rows are never trained on."""
    values = table(rows=120)
    found = cross_validated_selection(values, folds=6, test_folds=2, horizon=1, embargo=2)
    assert len(found.choices) == math.comb(6, 2)
    assert len(found.paths) == 5
    used: dict[int, list[int]] = {fold: [] for fold in range(6)}
    for folds, choice in zip(itertools.combinations(range(6), 2), found.choices, strict=True):
        train = np.ones(120, dtype=bool)
        for fold in folds:
            train[max(fold * 20 - 1, 0) : fold * 20 + 20 + 1 + 2] = False
        ratios = [sharpe(values[train, column]) for column in range(values.shape[1])]
        assert choice.column == int(np.argmax(ratios))
        for fold in folds:
            used[fold].append(choice.column)
    first_path = np.concatenate([values[fold * 20 : fold * 20 + 20, used[fold][0]] for fold in range(6)])
    assert found.paths[0] == pytest.approx(sharpe(first_path), rel=1e-12)


def test_luck_does_not_last_and_skill_does() -> None:
    """Without skill the winner's ratio falls out of sample to about 0; a trial with skill keeps its own."""
    noise = np.random.default_rng(0).normal(0.0, 0.01, (2000, 200))
    lucky = walk_forward_selection(noise, windows=5)
    assert lucky.in_sample > 0.04
    assert abs(lucky.out_of_sample) < 0.04
    skilled = noise.copy()
    skilled[:, 7] += 0.002
    found = cross_validated_selection(skilled, folds=6, test_folds=2)
    assert {choice.column for choice in found.choices} == {7}
    assert found.paths.min() > 0.15


def test_a_trial_that_does_nothing_has_a_ratio_of_zero() -> None:
    """Constant columns are no error, and never beat a trial that earns."""
    values = table()
    values[:, 0] = 0.0
    values[:, 1] += 0.01
    assert {choice.column for choice in walk_forward_selection(values, windows=3).choices} == {1}


@pytest.mark.parametrize("broken", [np.zeros((3, 2)), np.full((50, 2), np.nan), np.zeros(50), np.empty((50, 0))])
def test_what_cannot_be_judged_is_refused(broken: np.ndarray) -> None:
    """Too few rows, NaN and no trials are errors that say so."""
    with pytest.raises(UsageError):
        walk_forward_selection(broken, windows=4)
