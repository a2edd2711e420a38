"""Overfitting: CSCV cases worked by hand, another library, effective trials, splits that do not leak."""

from __future__ import annotations

import dataclasses
import itertools
import math

import ffn
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata

from pipeline.backtest.overfitting import (
    combinatorial_purged,
    effective_trials,
    n_paths,
    probability_of_overfitting,
    purged_kfold,
    walk_forward,
)
from pipeline.errors import UsageError

HAND = np.array(
    [[9, 5, 2, -4], [-3, -9, -8, -9], [-6, 8, 5, 11], [2, 4, 12, 7], [4, 2, 3, 11], [-3, 8, 5, -9], [-1, 9, 3, -9],
     [7, 7, 9, -6]], dtype=float,
)  # fmt: skip
NOISE = np.random.default_rng(7).normal(0, 0.01, (800, 20))


def test_case_by_hand() -> None:
    """The 8 x 4 case: PBO 2/6, its logits and winners, split by split."""
    found = probability_of_overfitting(HAND, n_blocks=4)
    assert found.pbo == pytest.approx(2 / 6)
    expected = [0.405465, -0.405465, -1.386294, 0.405465, 0.405465, 0.405465]
    assert found.logits == pytest.approx(expected, abs=5e-7)
    assert found.winners.tolist() == [2, 0, 0, 1, 1, 1]
    halves = [HAND[[2 * a, 2 * a + 1, 2 * b, 2 * b + 1]] for a, b in itertools.combinations(range(4), 2)]
    ratios = [half.mean(axis=0) / half.std(axis=0, ddof=1) for half in halves]
    assert found.in_sample == pytest.approx([ratio.max() for ratio in ratios])
    others = [ratio[winner] for ratio, winner in zip(ratios[::-1], found.winners, strict=True)]
    assert found.out_of_sample == pytest.approx(others)
    assert found.probability_of_loss == pytest.approx(1 / 6)
    slope, intercept = np.polyfit(found.in_sample, found.out_of_sample, 1)
    assert (found.degradation_slope, found.degradation_intercept) == pytest.approx((slope, intercept))


def test_noise_and_skill() -> None:
    """Noise of seed 7 has PBO 0.585714; with one better column it is 0."""
    assert probability_of_overfitting(NOISE, n_blocks=8).pbo == pytest.approx(0.585714, abs=5e-7)
    better = NOISE.copy()
    better[:, 3] += 0.003
    assert probability_of_overfitting(better, n_blocks=8).pbo == 0.0


def test_noise_is_not_exactly_one_half() -> None:
    """Over 40 matrices of noise PBO is about 0.58 with a deviation of 0.21."""
    found = [
        probability_of_overfitting(np.random.default_rng(seed).normal(0, 0.01, (400, 20)), n_blocks=8).pbo
        for seed in range(40)
    ]
    assert np.mean(found) == pytest.approx(0.58, abs=0.01)
    assert np.std(found, ddof=1) == pytest.approx(0.21, abs=0.01)


@pytest.mark.parametrize("trials", [2, 3, 4, 5, 7, 20])
def test_a_blind_choice_by_the_number_of_trials(trials: int) -> None:
    """The middle one of an odd number counts as overfit, so a choice by lot has (N + 1) / 2N; an even number 1/2."""
    found = probability_of_overfitting(NOISE[:, :trials], n_blocks=8)
    assert found.blind == pytest.approx(math.ceil(trials / 2) / trials, rel=1e-12)


def test_noise_of_few_trials_is_near_a_blind_choice() -> None:
    """The best of three trials without skill has a PBO near 2/3 over many histories, not near one half."""
    seeds = range(200)
    noise = [np.random.default_rng(seed).normal(0, 0.01, (400, 3)) for seed in seeds]
    found = [probability_of_overfitting(values, n_blocks=8) for values in noise]
    assert np.mean([each.pbo for each in found]) == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.slow
@given(hnp.arrays(np.float64, (16, 5), elements=st.integers(-2, 2).map(lambda value: value / 100)))
@settings(max_examples=40, deadline=None)
def test_a_blind_choice_is_the_mean_over_all_choices(values: np.ndarray) -> None:
    """It is the share of trials whose mid-rank out of sample is at or below the middle, ties included."""
    found = probability_of_overfitting(values, n_blocks=4)
    if found.blind is None:
        return
    halves = [values.reshape(4, 4, 5)[list(other)].reshape(8, 5) for other in itertools.combinations(range(4), 2)]
    shares = []
    for half in halves:
        deviation = half.std(axis=0, ddof=1)
        idle = (half == 0.0).all(axis=0)
        ranks = rankdata(np.where(idle, 0.0, half.mean(axis=0) / np.where(idle, 1.0, deviation)).round(9))
        shares.append((ranks <= 3.0).mean())
    assert found.blind == pytest.approx(np.mean(shares), abs=1e-12)


def test_equal_columns_are_no_skill() -> None:
    """Identical trials share the middle rank: logit 0, which counts as overfit, as it would for any choice."""
    for values in (np.repeat(NOISE[:, :1], 20, axis=1), np.zeros((160, 3))):
        found = probability_of_overfitting(values, n_blocks=8)
        assert not found.logits.any()
        assert found.pbo == found.blind == 1.0


def test_the_order_in_memory_does_not_matter() -> None:
    """The same returns by rows and by columns in memory give the same numbers to the last bit."""
    by_rows, by_columns = (
        probability_of_overfitting(order(NOISE)) for order in (np.ascontiguousarray, np.asfortranarray)
    )
    for field in dataclasses.fields(by_rows):
        np.testing.assert_array_equal(getattr(by_rows, field.name), getattr(by_columns, field.name))
    assert effective_trials(np.ascontiguousarray(NOISE)) == effective_trials(np.asfortranarray(NOISE))


def test_agrees_with_ffn() -> None:
    """ffn gives the same logits, with rows at the end that fill no block left out."""
    rows = NOISE[:83, :7]
    theirs = ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(rows), n_blocks=8, full_output=True)
    ours = probability_of_overfitting(pd.DataFrame(rows), n_blocks=8)
    assert ours.logits == pytest.approx(theirs["logits"].to_numpy(), abs=1e-12)
    assert ours.pbo == theirs["pbo"]
    assert (ours.rows_dropped, ours.n_splits, ours.n_trials) == (3, 70, 7)


@pytest.mark.slow
@given(
    hnp.arrays(np.float64, (16, 4), elements=st.integers(-3, 3).map(lambda value: value / 100)),
    st.permutations(range(4)),
    st.lists(st.floats(0.01, 100.0), min_size=4, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_order_and_scale_of_trials_do_not_matter(values: np.ndarray, order: list[int], scale: list[float]) -> None:
    """Permuting columns or scaling them by positive factors leaves PBO and all logits as they are."""
    plain = probability_of_overfitting(values, n_blocks=4)
    other = probability_of_overfitting((values * np.array(scale))[:, order], n_blocks=4)
    assert plain.pbo == other.pbo
    assert plain.logits == pytest.approx(other.logits, abs=1e-9, nan_ok=True)


@given(hnp.arrays(np.float64, (24, 5), elements=st.floats(-0.1, 0.1)))
@settings(max_examples=30, deadline=None)
def test_block_sums_agree_with_plain_numpy(values: np.ndarray) -> None:
    """In-sample ratios of the winners are what mean / std(ddof 1) over the rows gives."""
    values = values + np.random.default_rng(0).normal(0, 0.01, values.shape)
    found = probability_of_overfitting(values, n_blocks=6)
    blocks = values.reshape(6, 4, 5)
    best = [
        (half.mean(axis=0) / half.std(axis=0, ddof=1)).max()
        for chosen in itertools.combinations(range(6), 3)
        for half in [blocks[list(chosen)].reshape(12, 5)]
    ]
    assert found.in_sample == pytest.approx(best, rel=1e-9)


def test_idle_and_constant_trials() -> None:
    """A trial that never trades has ratio 0; one of constant gains has none, so PBO is None."""
    idle = np.column_stack([NOISE[:160, :3] - 0.01, np.zeros(160)])
    found = probability_of_overfitting(idle, n_blocks=4)
    assert found.pbo == 0.0  # standing aside is best in and out of sample
    assert set(found.winners) == {3}
    assert found.probability_of_loss == 0.0
    assert found.degradation_slope is None
    sure = probability_of_overfitting(np.column_stack([idle, np.full(160, 0.01)]), n_blocks=4)
    assert (sure.pbo, sure.degradation_slope, sure.probability_of_loss) == (None, None, None)


@pytest.mark.slow
def test_ffn_on_all_12870_splits() -> None:
    """The full S = 16 case agrees with ffn split by split."""
    theirs = ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(NOISE), n_blocks=16, full_output=True)
    assert probability_of_overfitting(NOISE).logits == pytest.approx(theirs["logits"].to_numpy(), abs=1e-12)


@pytest.mark.slow
def test_effective_trials_of_known_groups() -> None:
    """Ten groups of ten twins are ten trials by the eigenvalues; independent trials are nearly all."""
    rng = np.random.default_rng(0)
    twins = np.repeat(rng.normal(size=(2_000, 10)), 10, axis=1) * np.linspace(1, 5, 100)
    assert effective_trials(twins) == pytest.approx(10, abs=0.1)
    assert effective_trials(twins, method="participation_ratio") == pytest.approx(10, abs=0.1)
    assert effective_trials(twins, method="average_correlation") == pytest.approx(91, abs=1)
    free = rng.normal(size=(2_000, 100))
    assert effective_trials(free) > 95
    assert effective_trials(free, method="average_correlation") > 99


def test_average_correlation_is_the_papers() -> None:
    """N = r + (1 - r) M with the mean correlation r (2014, appendix 3)."""
    correlated = NOISE + 0.01 * np.random.default_rng(1).standard_normal((800, 1))
    table = np.corrcoef(correlated.T)
    mean = (table.sum() - 20) / (20 * 19)
    assert effective_trials(correlated, method="average_correlation") == pytest.approx(mean + (1 - mean) * 20)


@given(hnp.arrays(np.float64, (12, 5), elements=st.floats(-0.1, 0.1)))
@example(np.full((12, 5), 0.0625) - np.outer(np.arange(12) == 4, [0.0625, 0.03125, 0.0, 0.0, 0.0]))
@settings(max_examples=30, deadline=None)
def test_effective_trials_lie_between_one_and_all(values: np.ndarray) -> None:
    """1 <= effective trials <= trials, unchanged by positive scaling; None only without any variance."""
    for method in ("effective_rank", "average_correlation", "participation_ratio"):
        found = effective_trials(values, method=method)
        if found is None:
            assert (values.std(axis=0) < 1e-12).all()
        else:
            assert 1.0 <= found <= 5.0
    assert effective_trials(NOISE[:, :1]) == 1.0
    assert effective_trials(np.zeros((9, 3))) is None


@given(st.integers(60, 90), st.integers(2, 6), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_purged_splits_never_overlap(n: int, folds: int, n_test: int, horizon: int, embargo: int) -> None:
    """No training row's outcome touches a test row's, nor is one inside the embargo; test folds cover all rows."""
    if n_test >= folds:
        return
    splits = list(combinatorial_purged(n, folds, n_test, horizon=horizon, embargo=embargo))
    assert len(splits) == math.comb(folds, n_test)
    tested = np.zeros(n)
    for split in splits:
        tested[split.test] += 1
        for row in split.train:
            near = split.test[(split.test >= row - horizon) & (split.test <= row + horizon)]
            assert not len(near)
            behind = split.test[(split.test < row) & (split.test >= row - horizon - embargo)]
            assert not len(behind)
    assert (tested == math.comb(folds - 1, n_test - 1)).all()
    assert n_paths(folds, n_test) == math.comb(folds - 1, n_test - 1)


def test_purged_kfold_by_hand() -> None:
    """Ten rows, five folds, horizon 1, embargo 1: one row before and two after the fold are dropped."""
    middle = list(purged_kfold(10, 5, horizon=1, embargo=1))[2]
    assert middle.test.tolist() == [4, 5]
    assert middle.train.tolist() == [0, 1, 2, 8, 9]
    assert middle.groups == (2,)
    assert [split.test.tolist() for split in purged_kfold(7, 3)] == [[0, 1], [2, 3, 4], [5, 6]]


def test_walk_forward_windows() -> None:
    """Rolling windows keep their length, anchored ones grow; test windows touch and lie after the gap."""
    rolling = [(w.train.tolist(), w.test.tolist()) for w in walk_forward(9, train=3, test=2, gap=1)]
    assert rolling == [([0, 1, 2], [4, 5]), ([2, 3, 4], [6, 7])]
    anchored = list(walk_forward(9, train=3, test=2, anchored=True))
    assert [(len(w.train), w.test.tolist(), w.groups) for w in anchored] == [
        (3, [3, 4], (0,)), (5, [5, 6], (1,)), (7, [7, 8], (2,))
    ]  # fmt: skip
    assert len(list(walk_forward(9, train=3, test=2, step=1))) == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probability_of_overfitting(NOISE, n_blocks=5), "n_blocks = 5: must be an even"),
        (lambda: probability_of_overfitting(NOISE, n_blocks=24), "2,704,156 splits; 16 make 12,870"),
        (lambda: probability_of_overfitting(NOISE[:10], n_blocks=8), "10 rows of 20 trials are too few"),
        (lambda: probability_of_overfitting(NOISE[:, :1], n_blocks=8), "800 rows of 1 trials are too few"),
        (lambda: probability_of_overfitting(NOISE[:, 0], n_blocks=8), r"not of shape \(800,\)"),
        (lambda: effective_trials(np.array([[1, np.nan], [0, 1]])), r"first in row 0, column 1"),
        (lambda: effective_trials(NOISE, method="guess"), "must be one of effective_rank"),
        (lambda: list(purged_kfold(5, 6)), "6 folds with 1 to test on do not fit 5 rows"),
        (lambda: list(purged_kfold(10, 2, horizon=9)), "Nothing is left to train on"),
        (lambda: list(purged_kfold(10, 2, horizon=-1)), "must not be negative"),
        (lambda: list(walk_forward(5, train=4, test=2)), r"A window of 4 \+ 0 \+ 2 rows does not fit 5"),
        (lambda: list(walk_forward(5, train=0, test=2)), "must be at least 1"),
    ],
)
def test_wrong_input_is_an_error(call, message: str) -> None:
    """Shapes and settings that cannot work are refused, with the numbers."""
    with pytest.raises(UsageError, match=message):
        call()
