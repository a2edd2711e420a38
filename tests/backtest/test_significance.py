"""Significance of a Sharpe ratio: the published numbers, another library, and what must always hold."""

from __future__ import annotations

import math
import sys

import ffn
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.backtest.metrics import compute_stats, simple_returns
from pipeline.backtest.significance import (
    assess_sharpe,
    deflate,
    deflated_sharpe_ratio,
    expected_max_sharpe,
    min_backtest_length,
    min_track_record_length,
    moments,
    probabilistic_sharpe_ratio,
    sharpe_interval,
    sharpe_variance,
)
from pipeline.errors import UsageError

ROOT_12 = math.sqrt(12)
DAILY = math.sqrt(250)
PAPER = {"sharpe": 2.5 / DAILY, "n": 1250, "trials_variance": 0.5 / 250}
SHARPES = st.floats(-1.0, 1.0)
SHAPES = st.tuples(st.floats(-3.0, 3.0), st.floats(1.0, 20.0)).filter(lambda pair: pair[1] >= pair[0] ** 2 + 1.0)


@pytest.fixture(scope="module")
def decade(sp500: pd.DataFrame) -> pd.Series:
    """S&P 500 closes from the last of 2009 to the end of 2018: 2,264 returns."""
    return sp500["close"].loc["2009-12-31":]


@pytest.mark.parametrize(
    ("n", "skewness", "kurtosis", "exact", "printed"),
    [
        (24, 0.0, 3.0, 0.981674919, "0.982"),
        (24, -2.448, 10.164, 0.913361084, "0.913"),
        (36, -2.448, 10.164, 0.953505219, None),  # the paper prints 0.953: cut off, not rounded
    ],
)
def test_psr_of_the_paper(n: int, skewness: float, kurtosis: float, exact: float, printed: str | None) -> None:
    """PSR reproduces the 2012 paper: 0.982, 0.913, 0.953 for a monthly Sharpe ratio of 0.458."""
    found = probabilistic_sharpe_ratio(0.458, n, skewness=skewness, kurtosis=kurtosis)
    assert found == pytest.approx(exact, abs=5e-10)
    assert f"{found:.3f}" == printed or (printed is None and str(found).startswith("0.953"))


@pytest.mark.parametrize(
    ("per_year", "sharpe", "benchmark", "shape", "exact", "printed"),
    [
        (252, 2.0, 1.0, (0.0, 3.0), 2.730984275, "2.73"),
        (52, 2.0, 1.0, (0.0, 3.0), 2.828833587, "2.83"),
        (12, 2.0, 1.0, (0.0, 3.0), 3.239800696, "3.24"),
        (12, 2.0, 1.0, (-0.72, 5.78), 4.991258224, "4.99"),
        (12, 3.0, 2.5, (-0.72, 5.78), 27.352920196, "27.35292"),
    ],
)
def test_min_track_record_of_the_paper(
    per_year: int, sharpe: float, benchmark: float, shape: tuple[float, float], exact: float, printed: str
) -> None:
    """MinTRL reproduces the 2012 paper's years; annual ratios go in divided by the root of the periods a year."""
    root = math.sqrt(per_year)
    length = min_track_record_length(sharpe / root, benchmark=benchmark / root, skewness=shape[0], kurtosis=shape[1])
    assert length is not None
    assert length / per_year == pytest.approx(exact, abs=5e-10)
    assert f"{length / per_year:.{len(printed.partition('.')[2])}f}" == printed


@pytest.mark.parametrize(
    ("n_trials", "skewness", "kurtosis", "exact", "printed"),
    [(100, -3.0, 10.0, 0.900396834, "0.9004"), (46, -3.0, 10.0, 0.950501707, "0.9505"),
     (88, 0.0, 3.0, 0.950490817, "0.9505")],
)  # fmt: skip
def test_dsr_of_the_paper(n_trials: int, skewness: float, kurtosis: float, exact: float, printed: str) -> None:
    """DSR reproduces the 2014 paper, with the variance of per-period trial ratios."""
    found = deflated_sharpe_ratio(**PAPER, n_trials=n_trials, skewness=skewness, kurtosis=kurtosis)
    assert found == pytest.approx(exact, abs=5e-10)
    assert f"{found:.4f}" == printed


def test_expected_maximum_of_the_papers() -> None:
    """E[max] of 10 and 100 standard normals, SR0 of the 2014 paper, and MinBTL's 45 trials in five years."""
    assert expected_max_sharpe(10) == pytest.approx(1.574598301, abs=5e-10)
    assert expected_max_sharpe(100) == pytest.approx(2.530602893, abs=5e-10)
    assert expected_max_sharpe(100, variance=PAPER["trials_variance"]) == pytest.approx(0.113172002, abs=5e-10)
    assert min_backtest_length(45) == pytest.approx(4.998087, abs=5e-7)
    assert min_backtest_length(46) == pytest.approx(5.036303, abs=5e-7)
    assert max(n for n in range(2, 100) if min_backtest_length(n) <= 5.0) == 45


@pytest.mark.parametrize("n_trials", [2, 10, 1000])
def test_expected_maximum_is_near_the_truth(n_trials: int) -> None:
    """SR0 is an approximation: within 10 % of the mean maximum of simulated normals (7 % low for two)."""
    draws = np.random.default_rng(1).standard_normal((4_000, n_trials)).max(axis=1)
    assert expected_max_sharpe(n_trials) == pytest.approx(draws.mean(), rel=0.1)


def test_conventions_of_moments(decade: pd.Series) -> None:
    """Moments and Sharpe ratio are those of the metrics: ddof 1, population skewness, kurtosis not in excess."""
    found = moments(simple_returns(decade))
    stats = compute_stats(decade, periods_per_year=252.0)
    assert found.n == 2264
    assert found.sharpe * math.sqrt(252) == pytest.approx(0.676239207466, abs=5e-13)
    assert (found.skewness, found.kurtosis) == pytest.approx((stats["skewness"], stats["kurtosis"]), rel=1e-12)
    charged = moments(simple_returns(decade), periods_per_year=252.0, risk_free_rate=0.03)
    expected = compute_stats(decade, periods_per_year=252.0, risk_free_rate=0.03)["sharpe"]
    assert charged.sharpe * math.sqrt(252) == pytest.approx(expected, rel=1e-9)


def test_agrees_with_ffn(decade: pd.Series) -> None:
    """ffn's DSR agrees to 1e-5: it takes unbiased skewness and kurtosis. With its moments, to 1e-12."""
    returns = decade.pct_change().iloc[1:]
    rng = np.random.default_rng(3)
    trials = [0.04 + 0.02 * rng.standard_normal() for _ in range(30)]
    theirs = ffn.core.calc_deflated_sharpe_ratio(returns, trials, nperiods=252, annualized_trials=False)
    found = moments(returns)
    ours = deflate(found, trials)
    assert ours.dsr == pytest.approx(theirs, abs=1e-5)
    assert ours.dsr != theirs
    assert ours.expected_max == pytest.approx(
        ffn.core.calc_expected_max_sharpe(30, math.sqrt(ours.trials_variance)), rel=1e-12
    )
    same = deflated_sharpe_ratio(
        found.sharpe, found.n, n_trials=30, trials_variance=ours.trials_variance,
        skewness=float(returns.skew()), kurtosis=float(returns.kurt()) + 3.0,
    )  # fmt: skip
    assert same == pytest.approx(theirs, abs=1e-12)


@given(SHARPES, SHARPES, st.integers(2, 5_000), SHAPES)
@settings(max_examples=50, deadline=None)
def test_psr_grows_with_the_sharpe_ratio(one: float, other: float, n: int, shape: tuple[float, float]) -> None:
    """While skewness x ratio < 2, a higher ratio never has a lower PSR against 0; a lower benchmark never either."""
    shapes = {"skewness": shape[0], "kurtosis": shape[1]}
    low, high = sorted((one, other))
    assume(shape[0] * low < 2.0 and shape[0] * high < 2.0)
    psr = [probabilistic_sharpe_ratio(value, n, **shapes) for value in (low, high)]
    assume(None not in psr)
    assert 0.0 <= psr[0] <= psr[1] + 1e-12 <= 1.0 + 2e-12
    assert probabilistic_sharpe_ratio(high, n, benchmark=-0.1, **shapes) >= psr[1]


@given(SHARPES, SHARPES, st.integers(2, 5_000), SHAPES)
@settings(max_examples=50, deadline=None)
def test_psr_with_the_variance_at_the_benchmark_always_grows(
    one: float, other: float, n: int, shape: tuple[float, float]
) -> None:
    """With SR0 in the variance, PSR grows with the ratio whatever the shape of the returns."""
    low, high = sorted((one, other))
    shapes = {"skewness": shape[0], "kurtosis": shape[1], "benchmark": 0.1, "variance_at": "benchmark"}
    psr = [probabilistic_sharpe_ratio(value, n, **shapes) for value in (low, high)]
    if None not in psr:
        assert psr[0] <= psr[1]


@given(st.floats(0.01, 1.0), SHAPES, st.floats(0.6, 0.99))
@settings(max_examples=50, deadline=None)
def test_min_track_record_is_where_psr_reaches_the_confidence(
    sharpe: float, shape: tuple[float, float], confidence: float
) -> None:
    """PSR at the minimum track record length equals the confidence it was asked for."""
    shapes = {"skewness": shape[0], "kurtosis": shape[1]}
    length = min_track_record_length(sharpe, confidence=confidence, **shapes)
    variance = sharpe_variance(sharpe, **shapes)
    if variance is None:
        assert length is None
        return
    assume(length >= 2)
    assert probabilistic_sharpe_ratio(sharpe, length, **shapes) == pytest.approx(confidence, abs=1e-9)


@given(st.integers(1, 10_000), st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_more_trials_deflate_more(n_trials: int, variance: float) -> None:
    """SR0 grows with the number of trials, so DSR falls; with one trial DSR is PSR against zero."""
    fewer, more = (expected_max_sharpe(count, variance=variance) for count in (n_trials, n_trials + 1))
    assert 0.0 <= fewer <= more
    assert deflated_sharpe_ratio(0.1, 100, n_trials=1, trials_variance=variance) == probabilistic_sharpe_ratio(0.1, 100)


@pytest.mark.parametrize("returns", [[], [0.01], [0.01] * 50, [0.0] * 50])
def test_without_variance_nothing_is_claimed(returns: list[float]) -> None:
    """No returns or constant ones: every figure is None, never inf, NaN or a probability."""
    found = assess_sharpe(returns, periods_per_year=252.0)
    assert found.moments.sharpe is None
    empty = (found.sharpe_annual, found.interval_annual, found.psr, found.min_track_record, found.standard_error_annual)
    assert empty == (None,) * 5
    assert deflate(found.moments, [0.1, 0.2]).dsr is None


def test_undefined_cases_are_none() -> None:
    """A ratio below its benchmark has no sufficient length; impossible moments and one return give None."""
    assert min_track_record_length(0.1, benchmark=0.1) is None
    assert probabilistic_sharpe_ratio(0.1, 1) is None
    assert probabilistic_sharpe_ratio(1.0, 100, skewness=3.0, kurtosis=3.0) is None
    assert probabilistic_sharpe_ratio(1.0, 100, skewness=3.0, kurtosis=3.0, variance_at="benchmark") is not None
    assert deflate(moments([0.01, 0.02, -0.01]), [0.3, None], n_trials=5).expected_max is None


def test_trials_without_a_ratio_count() -> None:
    """Failed and pruned trials (None, NaN) are in N and not in the variance; an override is taken."""
    found = moments(np.random.default_rng(0).normal(0.001, 0.01, 300))
    ratios = [0.1, 0.02, -0.05, 0.04]
    whole = deflate(found, [*ratios, None, math.nan])
    assert whole.n_trials == 6
    assert whole.trials_variance == pytest.approx(np.var(ratios, ddof=1))
    assert whole.dsr < deflate(found, ratios).dsr < deflate(found, ratios, n_trials=2.5).dsr


def test_interval_agrees_with_psr(decade: pd.Series) -> None:
    """The lower end of the analytic interval is the benchmark that PSR just beats at that confidence."""
    found = moments(simple_returns(decade))
    low, high = sharpe_interval(found, periods_per_year=252.0, confidence=0.95)
    psr = probabilistic_sharpe_ratio(
        found.sharpe, found.n, benchmark=low / math.sqrt(252), skewness=found.skewness, kurtosis=found.kurtosis
    )
    assert psr == pytest.approx(0.975, abs=1e-12)
    assert (low + high) / 2 == pytest.approx(0.676239207466, abs=1e-12)


def test_whole_assessment(decade: pd.Series) -> None:
    """One call gives annual figures that follow from the per-period ones."""
    found = assess_sharpe(simple_returns(decade), periods_per_year=252.0, benchmark=0.2, confidence=0.9)
    assert found.psr < assess_sharpe(simple_returns(decade), periods_per_year=252.0).psr
    assert found.min_track_record_years == pytest.approx(found.min_track_record / 252)
    assert (found.confidence, found.variance_at, found.benchmark_annual) == (0.9, "estimate", 0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moments([0.1, math.nan, math.inf]), r"2 of 3 returns are NaN or infinite \(first at position 1\)"),
        (lambda: moments(np.zeros((2, 2))), r"one series, not an array of shape \(2, 2\)"),
        (lambda: moments([0.1, 0.2], risk_free_rate=0.02), "needs periods_per_year"),
        (lambda: expected_max_sharpe(0), "n_trials = 0: must be a finite number of at least 1"),
        (lambda: expected_max_sharpe(5, variance=-1.0), "variance = -1.0"),
        (lambda: min_backtest_length(5, target=0.0), "target = 0.0"),
        (lambda: min_track_record_length(0.1, confidence=0.4), "above 0.5 and below 1"),
    ],
)
def test_wrong_input_is_an_error(call, message: str) -> None:
    """Missing returns and settings out of range are refused, with the value."""
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.slow
def test_needs_no_extra() -> None:
    """The module imports neither scipy nor arch: the base install has the figures of the report."""
    import subprocess

    code = "import sys, pipeline.backtest.significance, pipeline.backtest.bootstrap, pipeline.backtest.overfitting\n"
    code += "assert not {'scipy', 'arch', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
