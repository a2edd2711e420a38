"""The engine against an independent one: raptorbt 0.13.4 (compiled Rust), same rules, agreement to 1e-9.

Compared: long-only, short-only and mixed signals with direct reversals, both fill timings, with and without a stop,
with fees and slippage, on real and on random bars. How the referee has to be asked:
- its cash account books shorts with the wrong sign, so shorts run on its margin account with leverage 1;
- longs and shorts can mix only by orders with a side, and with fills at the next open it tests the stop of such an
  order from the bar after the entry on; a stop too far away to be hit on the bar of entry makes no difference;
- a trade open at the end is listed as closed at the last close, with an exit fee that its equity does not have.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import BacktestEngine, BacktestResult

raptorbt = pytest.importorskip("raptorbt")

TIMING = {True: "next_bar_open", False: "same_bar_close"}
FEE_BPS, SLIP_BPS = 10.0, 20.0


def ours(df: pd.DataFrame, signal: np.ndarray, *, mode: bool, stop: float | None) -> BacktestResult:
    def fixed(frame: pd.DataFrame, params: dict) -> pd.Series:
        return pd.Series(signal, index=frame.index)

    return BacktestEngine(None, mode, stop_pct=stop).run_realistic(
        df=df, strategy_signal_fn=fixed, strategy_params={}, symbol="X", fee_bps=FEE_BPS, slippage_bps=SLIP_BPS
    )


def settings_of(mode: bool, stop: float | None) -> object:
    config = raptorbt.BacktestConfig(
        100_000.0, FEE_BPS / 1e4, SLIP_BPS / 1e4, fill_timing=TIMING[mode], periods_per_year=252.0
    )
    if stop is not None:
        config.set_fixed_stop(stop / 100)
    return config


def arrays(df: pd.DataFrame) -> list[np.ndarray]:
    return [df.index.asi8, *(np.ascontiguousarray(df[name]) for name in ("open", "high", "low", "close", "volume"))]


def array_referee(df: pd.DataFrame, signal: np.ndarray, *, mode: bool, stop: float | None) -> object:
    """Long-only through the referee's array path."""
    change = np.diff(signal.astype(int), prepend=0)
    return raptorbt.run_single_backtest(*arrays(df), change == 1, change == -1, 1, 1.0, "X", settings_of(mode, stop))


def class_referee(df: pd.DataFrame, signal: np.ndarray, *, mode: bool, stop: float | None, sided: bool) -> object:
    """Any signal through the referee's event path on a margin account; `sided` when longs and shorts mix."""

    class Follow(raptorbt.Strategy):
        bar, before = -1, 0

        def on_bar(self, ctx: object) -> None:
            self.bar += 1
            now = int(signal[self.bar])
            if now != self.before:
                if self.before:
                    self.close_position()
                if now:
                    self.enter(side="buy" if now > 0 else "sell") if sided else self.enter()
            self.before = now

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return raptorbt.run_strategy_backtest(
            Follow(),
            *arrays(df),
            direction=-1,
            symbol="X",
            config=settings_of(mode, stop),
            account_type="margin",
            leverage=1.0,
        )


def assert_same(result: BacktestResult, referee: object) -> None:
    np.testing.assert_allclose(result.equity_curve, referee.equity_curve(), rtol=1e-9)
    closed = result.trades[~result.trades["is_open"]]
    theirs = referee.trades()[: len(closed)]
    for column, values in {
        "entry_price": [trade.entry_price for trade in theirs],
        "exit_price": [trade.exit_price for trade in theirs],
        "quantity": [trade.size for trade in theirs],
        "net_pnl": [trade.pnl for trade in theirs],
        "fees": [trade.fees for trade in theirs],
    }.items():
        np.testing.assert_allclose(closed[column], values, rtol=1e-9, atol=1e-7, err_msg=column)
    assert closed["entry_time"].astype("int64").tolist() == [trade.entry_time for trade in theirs]
    assert closed["exit_time"].astype("int64").tolist() == [trade.exit_time for trade in theirs]


def stops_named_alike(result: BacktestResult, referee: object) -> bool:
    """Say whether both call the same exits stops (at a gap the referee's signal exits share the stop's price)."""
    ours_ = (result.trades.loc[~result.trades["is_open"], "exit_reason"] == "stop").tolist()
    return ours_ == [trade.exit_reason == "StopLoss" for trade in referee.trades()[: len(ours_)]]


def blocks(n: int, seed: int, values: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(rng.choice(values, n), rng.integers(1, 25, n))[:n].astype(np.int8)


CASES = [(mode, stop) for mode in (True, False) for stop in (None, 2.0, 7.0)]


@pytest.mark.parametrize(("mode", "stop"), CASES)
def test_long_only_on_real_data(sp500: pd.DataFrame, mode: bool, stop: float | None) -> None:
    """Long-only trading of the S&P 500, with and without a stop, agrees trade by trade and bar by bar."""
    signal = blocks(len(sp500), 1, (0, 1))
    result, referee = ours(sp500, signal, mode=mode, stop=stop), array_referee(sp500, signal, mode=mode, stop=stop)
    assert_same(result, referee)
    assert stops_named_alike(result, referee)
    assert (result.trades["exit_reason"] == "stop").any() == (stop is not None)


@pytest.mark.parametrize(("mode", "stop"), CASES)
def test_short_only_on_real_data(sp500: pd.DataFrame, mode: bool, stop: float | None) -> None:
    """Short-only trading agrees with the referee's margin account."""
    signal = blocks(len(sp500), 2, (0, -1))
    result = ours(sp500, signal, mode=mode, stop=stop)
    assert_same(result, class_referee(sp500, signal, mode=mode, stop=stop, sided=False))


@pytest.mark.parametrize(("mode", "stop"), [(True, None), (True, 7.0), (False, None), (False, 2.0), (False, 7.0)])
def test_reversals_on_real_data(sp500: pd.DataFrame, mode: bool, stop: float | None) -> None:
    """Long, short and flat with direct reversals agree; at 7 % no stop is hit on a bar of entry."""
    signal = blocks(len(sp500), 3, (-1, 0, 1))
    result = ours(sp500, signal, mode=mode, stop=stop)
    if mode:
        assert (result.trades.loc[result.trades["exit_reason"] == "stop", "bars_held"] > 0).all()
    assert_same(result, class_referee(sp500, signal, mode=mode, stop=stop, sided=True))


@pytest.mark.slow
@given(
    st.integers(0, 10**6), st.integers(2, 200), st.booleans(),
    st.sampled_from([None, 1.0, 4.0, 15.0]), st.sampled_from([0.0, 0.02]), st.booleans(),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_random_markets(random_market, seed, n, mode, stop, gap, short) -> None:
    """On random bars with gaps, one-sided signals and stops agree, also on the bar of entry."""
    df = random_market(n, seed, 0.02, gap)
    signal = blocks(n, seed, (0, -1) if short else (0, 1))
    result = ours(df, signal, mode=mode, stop=stop)
    if short and result.stats["bankrupt"]:
        return  # the referee has no liquidation
    referee = (
        class_referee(df, signal, mode=mode, stop=stop, sided=False)
        if short
        else array_referee(df, signal, mode=mode, stop=stop)
    )
    assert_same(result, referee)
