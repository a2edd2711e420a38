"""The bundled engine as a producer of results: whatever it trades, all of it adds up."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import BacktestEngine, BacktestResult
from pipeline.results.bundled import result_of
from pipeline.results.checks import check_result
from pipeline.results.identity import RECONCILED
from pipeline.results.recompute import recompute
from pipeline.results.reconcile import reconcile

SIGNALS = st.lists(st.sampled_from([0, 1, 1, -1, -1]), min_size=2, max_size=60)


def market(n: int, seed: int, volatility: float) -> pd.DataFrame:
    """Return bars of a random walk with gaps that keep the data contract."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, volatility, n)))
    open_ = np.append(100.0, close[:-1]) * np.exp(rng.normal(0.0, volatility / 3, n))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, volatility / 2, n)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, volatility / 2, n)))
    index = pd.date_range("2020-01-01", periods=n, freq="D", tz="UTC", unit="ns", name="timestamp")
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)


def backtest(
    bars: pd.DataFrame, signals: list[int], *, mode: bool, stop: float | None, **costs: float
) -> BacktestResult:
    """Run the bundled engine over signals."""
    return BacktestEngine(None, mode, stop_pct=stop).run_realistic(
        df=bars, strategy_signal_fn=lambda df, _: pd.Series(signals, df.index), symbol="XYZ", **costs
    )


ANYTHING = (
    SIGNALS,
    st.integers(0, 10_000),
    st.sampled_from([0.01, 0.05, 0.4]),
    st.booleans(),
    st.none() | st.sampled_from([1.0, 5.0, 50.0]),
    st.sampled_from([0.0, 1.0, 250.0]),
    st.sampled_from([0.0, 2.0, 300.0]),
)


def adds_up(
    signals: list[int], seed: int, volatility: float, mode: bool, stop: float | None, fee: float, slippage: float
) -> None:
    """Long, short, stopped, ruined or idle, at any cost: every identity that can be checked holds, exactly."""
    bars = market(len(signals), seed, volatility)
    done = backtest(bars, signals, mode=mode, stop=stop, fee_bps=fee, slippage_bps=slippage)
    result = result_of(done, bars["close"])
    check_result(result)
    found = reconcile(result)
    assert found.broken == ()
    assert found.mark == RECONCILED
    assert {"equity_trades", "equity_positions", "cash", "positions_fills"} <= {each.name for each in found.checked}
    assert not any("rounding" in each.note for each in found.identities)


@settings(max_examples=12, deadline=None)
@given(*ANYTHING)
def test_everything_adds_up(
    signals: list[int], seed: int, volatility: float, mode: bool, stop: float | None, fee: float, slippage: float
) -> None:
    """Whatever the engine trades comes out reconciled."""
    adds_up(signals, seed, volatility, mode, stop, fee, slippage)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(*ANYTHING)
def test_everything_adds_up_many_times(
    signals: list[int], seed: int, volatility: float, mode: bool, stop: float | None, fee: float, slippage: float
) -> None:
    """The same of many backtests."""
    adds_up(signals, seed, volatility, mode, stop, fee, slippage)


@settings(max_examples=8, deadline=None)
@given(SIGNALS, st.integers(0, 10_000), st.booleans(), st.none() | st.just(5.0))
def test_its_metrics_are_recomputed_to_the_same_numbers(
    signals: list[int], seed: int, mode: bool, stop: float | None
) -> None:
    """What is computed from the result is what the engine computed, where the first bar has no fill of its own."""
    bars = market(len(signals), seed, 0.03)
    done = backtest(bars, [0, *signals[1:]], mode=mode, stop=stop, fee_bps=2.0, slippage_bps=3.0)
    stats = recompute(result_of(done, bars["close"]))
    for name, value in done.stats.items():
        if name != "bankrupt":
            assert stats[name] == (None if value is None else pytest.approx(value, rel=1e-12, abs=1e-15)), name


def test_a_first_bar_with_a_fill_has_a_return_of_its_own() -> None:
    """Bought at the close of the first bar, its fee is the first return, and the growth is the same."""
    bars = market(30, 1, 0.02)
    done = backtest(bars, [1] * 30, mode=False, stop=None, fee_bps=100.0)
    stats = recompute(result_of(done))
    assert stats["total_return"] == done.stats["total_return"]
    returns = np.append(done.equity_curve.iloc[0] / 100_000.0 - 1.0, done.equity_curve.pct_change().iloc[1:])
    expected = returns.mean() / returns.std(ddof=1) * math.sqrt(365)
    assert stats["sharpe"] == pytest.approx(expected, rel=1e-12)
