"""Bootstrap intervals: arch's numbers to the last digit, and what must always hold."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from arch.bootstrap import optimal_block_length as arch_block_length
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest.bootstrap import (
    METHODS,
    STATISTICS,
    BootstrapOptions,
    bootstrap_intervals,
    optimal_block_length,
    stationary_indices,
)
from pipeline.backtest.metrics import compute_stats, simple_returns
from pipeline.errors import UsageError


@pytest.fixture(scope="module")
def returns(sp500: pd.DataFrame) -> np.ndarray:
    """The 2,264 S&P 500 returns of 2010 to 2018."""
    return simple_returns(sp500["close"].loc["2009-12-31":])


def sharpe(values: np.ndarray) -> float:
    return math.sqrt(252) * values.mean() / values.std(ddof=1)


def cagr(values: np.ndarray) -> float:
    return np.prod(1 + values) ** (252 / len(values)) - 1


def max_drawdown(values: np.ndarray) -> float:
    equity = np.append(1.0, np.cumprod(1 + values))
    return (equity / np.maximum.accumulate(equity) - 1).min()


FUNCTIONS = {"sharpe": sharpe, "cagr": cagr, "max_drawdown": max_drawdown}


@pytest.mark.parametrize(
    ("method", "low", "high"),
    [("percentile", 0.10221482, 1.28409525), ("basic", 0.06838316, 1.2502636), ("bca", 0.10199987, 1.28389147)],
)
def test_acceptance_numbers(returns: np.ndarray, method, low: float, high: float) -> None:
    """Sharpe intervals of the reference returns, block 10, seed 42, 1,000 repetitions, to all printed digits."""
    options = BootstrapOptions(method=method, block_length=10, seed=42)
    found = bootstrap_intervals(returns, periods_per_year=252, options=options)["sharpe"]
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-9)
    assert found.estimate == pytest.approx(0.676239207466, abs=5e-13)


@pytest.mark.parametrize("method", ["percentile", "basic", "bca"])
@pytest.mark.parametrize("name", STATISTICS)
def test_agrees_with_arch(returns: np.ndarray, name: str, method) -> None:
    """For a seed every interval is arch's to 1e-9, BCa with its jackknife included."""
    part, options = returns[:300], BootstrapOptions(200, 0.9, method, 4.5, seed=7)
    ours = bootstrap_intervals(part, periods_per_year=252, options=options)[name]
    theirs = StationaryBootstrap(4.5, part, seed=7).conf_int(FUNCTIONS[name], 200, method=method, size=0.9)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.ravel()), rel=1e-9)


def test_indices_are_those_of_arch() -> None:
    """The resampled positions are arch's, row by row, also for more rows than are held at once."""
    theirs = StationaryBootstrap(3, np.arange(50.0), seed=5)
    expected = [data[0][0] for data in theirs.bootstrap(20)]
    rng = np.random.default_rng(5)
    ours = np.concatenate([stationary_indices(50, 3, rows, rng) for rows in (7, 13)])
    assert np.array_equal(ours, np.array(expected))


def test_mean_length_of_blocks() -> None:
    """Blocks are `block_length` long on average; length 1 is the plain bootstrap."""
    rows = stationary_indices(1_000, 8.0, 50, np.random.default_rng(0))
    follows = (np.diff(rows, axis=1) == 1) | (np.diff(rows, axis=1) == -999)
    assert 1 / (1 - follows.mean()) == pytest.approx(8.0, rel=0.05)
    assert rows.min() == 0
    assert rows.max() == 999


@given(st.integers(20, 400), st.floats(-0.9, 0.95), st.integers(0, 1_000))
@settings(max_examples=25, deadline=None)
def test_block_length_is_that_of_arch(n: int, dependence: float, seed: int) -> None:
    """The automatic block length is arch's, whatever the length and dependence, but never below 1."""
    noise = np.random.default_rng(seed).normal(0, 0.01, n)
    series = np.empty(n)
    series[0] = noise[0]
    for t in range(1, n):
        series[t] = dependence * series[t - 1] + noise[t]
    theirs = float(arch_block_length(series)["stationary"].iloc[0])
    assert optimal_block_length(series) == pytest.approx(max(theirs, 1.0), rel=1e-9)


def test_block_length_of_the_reference(returns: np.ndarray) -> None:
    """2.774 for the reference returns; used when none is given; the longer one of a pair."""
    assert optimal_block_length(returns) == pytest.approx(2.774, abs=5e-4)
    assert bootstrap_intervals(returns, periods_per_year=252).block_length == optimal_block_length(returns)
    trend = np.repeat(np.random.default_rng(0).normal(0, 0.01, 283), 8)
    pair = bootstrap_intervals(returns, periods_per_year=252, benchmark=trend)
    assert pair.block_length == optimal_block_length(trend) > 3


def test_estimates_are_the_metrics(sp500: pd.DataFrame) -> None:
    """Estimates are the headline metrics; cagr too, given the same calendar years and risk-free rate."""
    close = sp500["close"].iloc[:800]
    stats = compute_stats(close, periods_per_year=252.0, risk_free_rate=0.02)
    years = (close.index[-1] - close.index[0]).total_seconds() / (365.25 * 86_400)
    found = bootstrap_intervals(
        simple_returns(close), periods_per_year=252, risk_free_rate=0.02, years=years,
        options=BootstrapOptions(repetitions=20),
    )  # fmt: skip
    for name in STATISTICS:
        assert found[name].estimate == pytest.approx(stats[name], rel=1e-9)


def test_differences_are_paired(returns: np.ndarray) -> None:
    """Both sides take the same indices: the same returns differ by exactly nothing, and half of them by a lot."""
    options = BootstrapOptions(repetitions=200)
    same = bootstrap_intervals(returns, periods_per_year=252, benchmark=returns, options=options)
    assert set(same.intervals) == {
        *STATISTICS, *(f"benchmark_{name}" for name in STATISTICS), *(f"{name}_difference" for name in STATISTICS)
    }  # fmt: skip
    for name in STATISTICS:
        gap = same[f"{name}_difference"]
        assert (gap.estimate, gap.low, gap.high) == (0.0, 0.0, 0.0)
    half = bootstrap_intervals(returns / 2, periods_per_year=252, benchmark=returns, options=options)
    assert half["max_drawdown_difference"].low > 0
    assert half["sharpe_difference"].high == pytest.approx(0, abs=1e-9)
    assert half["benchmark_sharpe"].low == pytest.approx(half["sharpe"].low, rel=1e-9)


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=40), st.sampled_from(["percentile", "basic", "bca"]))
@settings(max_examples=40, deadline=None)
def test_any_returns_give_ordered_intervals_or_none(values: list[float], method) -> None:
    """No NaN, no inf, low <= high; a percentile drawdown lies between -1 and 0."""
    found = bootstrap_intervals(values, periods_per_year=252, options=BootstrapOptions(50, method=method))
    for interval in found.intervals.values():
        numbers = (interval.low, interval.high, interval.standard_error)
        assert (None not in numbers) or numbers == (None,) * 3
        if interval.low is not None:
            assert all(math.isfinite(number) for number in numbers)
            assert interval.low <= interval.high
    drawdown = found["max_drawdown"]
    if drawdown.low is not None and method == "percentile":
        assert -1.0 <= drawdown.low <= drawdown.high <= 0.0


def test_undefined_is_none() -> None:
    """Constant returns have no Sharpe interval; a total loss is a drawdown of -1; too few defined resamples: None."""
    flat = bootstrap_intervals([0.01] * 30, periods_per_year=252)
    assert (flat["sharpe"].estimate, flat["sharpe"].low) == (None, None)
    assert flat["sharpe"].undefined == 1_000
    assert flat["cagr"].low == pytest.approx(flat["cagr"].estimate)
    assert flat["max_drawdown"].high == 0.0
    ruin = bootstrap_intervals([0.01] * 20 + [-1.0] + [0.0] * 9, periods_per_year=252)
    assert ruin["max_drawdown"].estimate == -1.0
    once = bootstrap_intervals([0.0] * 40 + [0.05], periods_per_year=252)  # a third of resamples miss the one trade
    assert once["sharpe"].undefined > 200
    assert once["sharpe"].estimate is not None
    assert once["sharpe"].low is None
    bca = bootstrap_intervals([0.01, 0.02, 0.03] * 10, periods_per_year=252, options=BootstrapOptions(method="bca"))
    assert bca["max_drawdown"].low is None  # never below zero: BCa cannot tell a bias


@pytest.mark.parametrize("method", METHODS)
def test_a_debt_has_no_interval(method: str) -> None:
    """Nothing goes on from less than nothing: no interval, and no CAGR or drawdown that the curve does not have."""
    owing = [0.01] * 20 + [-2.5] + [0.0] * 9
    found = bootstrap_intervals(
        owing, periods_per_year=252, benchmark=[0.01, -0.01] * 15, options=BootstrapOptions(200, method=method)
    )
    for name in ("sharpe", "cagr", "max_drawdown"):
        for kind in (name, f"{name}_difference"):
            assert (found[kind].low, found[kind].high, found[kind].standard_error) == (None, None, None)
        assert found[f"benchmark_{name}"].estimate is not None
    assert found["sharpe"].estimate is not None
    assert found["cagr"].estimate is found["max_drawdown"].estimate is None
    assert found["benchmark_cagr"].low is not None
    rounded = bootstrap_intervals([0.01] * 20 + [-1.0 - 1e-15] + [0.0] * 9, periods_per_year=252)
    assert rounded["cagr"].estimate == -1.0


def test_seed_decides(returns: np.ndarray) -> None:
    """The same seed gives the same intervals, another one others; a frame holds them all."""
    first, again, other = (
        bootstrap_intervals(returns[:200], periods_per_year=252, options=BootstrapOptions(50, seed=seed))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first["sharpe"] != other["sharpe"]
    frame = first.to_frame()
    assert list(frame.index) == list(STATISTICS)
    assert frame.loc["cagr", "high"] == first["cagr"].high


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"returns": [0.1]}, "1 returns: at least 2"),
        ({"returns": [0.1, math.nan]}, "NaN or infinite"),
        ({"benchmark": [0.1]}, "The benchmark has 1 returns and the strategy 3"),
        ({"periods_per_year": 0}, "periods_per_year = 0"),
        ({"options": BootstrapOptions(repetitions=1)}, "repetitions = 1"),
        ({"options": BootstrapOptions(confidence=1.0)}, "confidence = 1.0"),
        ({"options": BootstrapOptions(method="studentized")}, "must be one of percentile, basic, bca"),
        ({"options": BootstrapOptions(block_length=0.5)}, "block_length = 0.5"),
    ],
)
def test_wrong_input_is_an_error(changes: dict[str, object], message: str) -> None:
    """Settings out of range are refused, with the value."""
    call = {"returns": [0.1, -0.1, 0.05], "periods_per_year": 252} | changes
    with pytest.raises(UsageError, match=message):
        bootstrap_intervals(call.pop("returns"), **call)
