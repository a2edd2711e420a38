"""The engine: rules of execution by hand, identities as properties, no look-ahead, one loop in two ways."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import BacktestEngine, BacktestResult, get_strategy, kernel, strategy_names
from pipeline.backtest.kernel import Simulation, run_kernel
from pipeline.backtest.trades import FILL_COLUMNS, TRADE_COLUMNS
from pipeline.errors import DataError, StrategyError, UsageError

SMALL = {
    "ma_crossover": {"fast": 3, "slow": 7, "allow_short": True},
    "buy_and_hold": {},
    "rsi_reversion": {"period": 4, "lower": 40.0, "upper": 60.0, "allow_short": True},
    "donchian": {"entry": 6, "exit": 3, "allow_short": True},
    "macd": {"fast": 3, "slow": 6, "signal": 3, "allow_short": True},
}
SEED = st.integers(0, 10**6)
COST = st.sampled_from([0.0, 1.0, 25.0, 300.0])
STOP = st.sampled_from([None, 0.5, 3.0, 20.0])
SIGNALS = st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=80)


def run(
    df: pd.DataFrame, signals: list[int], *, mode: bool = True, fee: float = 0.0, slip: float = 0.0, **settings_: object
) -> BacktestResult:
    """Backtest a fixed list of signals; short lists are filled up with their last value."""
    values = signals + signals[-1:] * (len(df) - len(signals))

    def fixed(frame: pd.DataFrame, params: dict) -> pd.Series:
        return pd.Series(values[: len(frame)], index=frame.index)

    engine = BacktestEngine(None, mode, **settings_)
    return engine.run_realistic(
        df=df, strategy_signal_fn=fixed, strategy_params={}, symbol="X", fee_bps=fee, slippage_bps=slip
    )


def fills(result: BacktestResult) -> list[tuple]:
    return [(row.bar, row.side, row.price, row.reason) for row in result.fills.itertuples()]


FLAT = (100.0, 101.0, 99.0, 100.0)


def test_pipeline_fills_at_the_next_open(bars) -> None:
    """A change of the signal at the close of t fills at the open of t + 1; the last bar's never fills."""
    df = bars([(10, 11, 9, 10), (12, 14, 11, 13), (14, 16, 13, 15), (15, 17, 14, 16)])
    result = run(df, [1, 1, 0, 1], initial_cash=120.0)
    assert fills(result) == [(1, "buy", 12.0, "signal"), (3, "sell", 15.0, "signal")]
    assert result.equity_curve.tolist() == [120.0, 130.0, 150.0, 150.0]
    assert result.positions.tolist() == [0.0, 10.0, 10.0, 0.0]
    assert result.config["execution"] == "pipeline"


def test_simple_fills_at_the_signal_close(bars) -> None:
    """The simple mode fills at the close the signal came from, and the config calls it optimistic."""
    df = bars([(10, 11, 9, 10), (12, 14, 11, 13), (14, 16, 13, 15)])
    result = run(df, [1, 1, 0], mode=False, initial_cash=100.0)
    assert fills(result) == [(0, "buy", 10.0, "signal"), (2, "sell", 15.0, "signal")]
    assert result.equity_curve.tolist() == [100.0, 130.0, 150.0]
    assert result.config["execution"] == "simple"
    assert "optimistic" in result.config["execution_note"]


def test_costs_by_hand(bars) -> None:
    """Slippage moves both fills against the trader, the fee is a fraction of each fill's notional."""
    df = bars([(100, 101, 99, 100)] * 3 + [(110, 111, 109, 110)])
    result = run(df, [1, 1, 0], fee=100.0, slip=200.0, initial_cash=1_000.0)
    quantity = 1_000.0 / (102.0 * 1.01)
    cash = quantity * 107.8 * 0.99
    assert result.fills["price"].tolist() == pytest.approx([102.0, 107.8])
    assert result.fills["quantity"].tolist() == pytest.approx([quantity, quantity])
    assert result.fills["fee"].tolist() == pytest.approx([quantity * 1.02, quantity * 1.078])
    assert result.equity_curve.iloc[-1] == pytest.approx(cash)
    trade = result.trades.iloc[0]
    assert trade["gross_pnl"] == pytest.approx(quantity * 5.8)
    assert trade["fees"] == pytest.approx(quantity * 2.098)
    assert trade["slippage_cost"] == pytest.approx(quantity * 4.2)
    assert trade["net_pnl"] == pytest.approx(cash - 1_000.0)
    assert trade["return_pct"] == pytest.approx(100 * (5.8 - 2.098) / 102)
    assert result.stats["fees_paid"] == pytest.approx(trade["fees"])
    assert result.stats["slippage_paid"] == pytest.approx(trade["slippage_cost"])


def test_short_by_hand(bars) -> None:
    """A short sells for as much as a long would buy and gains when the price falls."""
    df = bars([FLAT, FLAT, (90, 91, 79, 80), (80, 81, 79, 80)])
    result = run(df, [-1, -1, 0], initial_cash=1_000.0)
    assert fills(result) == [(1, "sell", 100.0, "signal"), (3, "buy", 80.0, "signal")]
    assert result.equity_curve.tolist() == [1_000.0, 1_000.0, 1_200.0, 1_200.0]
    assert result.trades.loc[0, ["side", "mae", "mfe"]].tolist() == ["short", pytest.approx(-0.01), pytest.approx(0.21)]


def test_reversal_closes_then_opens_at_one_price(bars) -> None:
    """From 1 to -1 the long is sold and the short opened at the same open, with what the first left."""
    df = bars([FLAT, FLAT, (110, 111, 109, 110)])
    result = run(df, [1, -1, -1], initial_cash=1_000.0)
    assert result.fills["side"].tolist() == ["buy", "sell", "sell"]
    assert result.fills["position_after"].tolist() == [10.0, 0.0, -10.0]
    assert result.trades["exit_reason"].tolist() == ["signal", "end_of_data"]


@pytest.mark.parametrize(
    ("signal", "bar", "level"),
    [
        (1, (100, 101, 94, 96), 95.0),  # touched inside the bar: at the level
        (1, (90, 91, 85, 88), 90.0),  # gapped through: at the open
        (1, (96, 97, 95, 96), 95.0),  # touched exactly
        (1, (96, 97, 95.5, 96), None),  # not touched
        (-1, (100, 106, 99, 104), 105.0),
        (-1, (110, 115, 109, 112), 110.0),
        (-1, (104, 105, 103, 104), 105.0),
        (-1, (104, 104.5, 103, 104), None),
    ],
)
def test_stop_fills_inside_the_bar(bars, signal: int, bar: tuple, level: float | None) -> None:
    """A stop fills at its level, or at the open when the bar opens beyond it; shorts are mirrored."""
    df = bars([FLAT, FLAT, bar, FLAT])
    result = run(df, [signal], stop_pct=5)
    expected = [] if level is None else [(2, "sell" if signal > 0 else "buy", pytest.approx(level), "stop")]
    assert fills(result)[1:] == expected


@pytest.mark.parametrize(("mode", "stopped_at"), [(True, 1), (False, 2)])
def test_stop_and_the_bar_of_entry(bars, mode: bool, stopped_at: int) -> None:
    """An entry at the open can be stopped in the same bar; an entry at the close from the next bar on."""
    df = bars([(100, 101, 99, 100), (100, 101, 94, 100), (100, 101, 94, 100)])
    result = run(df, [1] if mode else [0, 1], mode=mode, stop_pct=5)
    assert fills(result)[1][0] == stopped_at
    assert result.trades.loc[0, "bars_held"] == (0 if mode else 1)


def test_stop_comes_before_a_signal_at_the_close(bars) -> None:
    """In the simple mode a stop inside the bar is hit before the bar's close can close the trade."""
    df = bars([FLAT, (100, 101, 90, 92)])
    assert fills(run(df, [1, 0], mode=False, stop_pct=5))[1] == (1, "sell", 95.0, "stop")


def test_order_at_the_open_comes_before_a_stop_inside_the_bar(bars) -> None:
    """In the order-based mode an exit waiting for the open is filled there, before the bar can touch the stop."""
    df = bars([FLAT, FLAT, (100, 101, 90, 92)])
    assert fills(run(df, [1, 0, 0], stop_pct=5))[1] == (2, "sell", 100.0, "signal")


def test_flat_after_a_stop_until_the_signal_changes(bars) -> None:
    """After a stop the same signal does not enter again; the next change does."""
    dip = (100, 101, 90, 100)
    df = bars([FLAT, FLAT, dip, FLAT, FLAT, FLAT, FLAT])
    result = run(df, [1, 1, 1, 1, 0, 1, 1], stop_pct=5)
    assert [bar for bar, *_ in fills(result)] == [1, 2, 6]
    assert result.trades["exit_reason"].tolist() == ["stop", "end_of_data"]
    assert fills(run(df, [1, 1, 1, -1, -1, -1], stop_pct=5))[2][:2] == (4, "sell")


def test_stop_takes_slippage(bars) -> None:
    """A stop is a market order: slippage and fee apply; its level counts from the price really paid."""
    df = bars([FLAT, FLAT, (100, 101, 90, 92)])
    result = run(df, [1], slip=100.0, stop_pct=5)
    assert result.fills.loc[1, "price"] == pytest.approx(101 * 0.95 * 0.99)


def test_open_trade_is_marked_to_market(bars) -> None:
    """A trade open at the end is listed as open at the last close and counts in equity, not in total_trades."""
    df = bars([FLAT, FLAT, (120, 121, 119, 120)])
    result = run(df, [1], fee=10.0)
    assert result.open_trade is not None
    assert result.open_trade["exit_price"] == 120.0
    assert result.trades["is_open"].tolist() == [True]
    assert result.trades.loc[0, "exit_reason"] == "end_of_data"
    assert (result.stats["total_trades"], result.stats["open_trades"]) == (0, 1)
    assert result.stats["final_equity"] == pytest.approx(100_000 + result.trades["net_pnl"].sum())
    assert run(df, [0]).open_trade is None


def test_excursions_cover_only_prices_seen(bars) -> None:
    """mae and mfe leave out the extremes of the bar of exit, which may lie after the exit."""
    df = bars([FLAT, (100, 110, 95, 105), (105, 300, 1, 100)])
    trade = run(df, [1, 0, 0]).trades.iloc[0]
    assert (trade["mae"], trade["mfe"]) == (pytest.approx(-0.05), pytest.approx(0.10))
    trade = run(df, [1, 0, 0], mode=False).trades.iloc[0]
    assert (trade["mae"], trade["mfe"]) == (pytest.approx(-0.05), pytest.approx(0.10))
    trade = run(df, [1, 1, 1], mode=False).trades.iloc[0]
    assert (trade["mae"], trade["mfe"]) == (pytest.approx(-0.99), pytest.approx(2.0))
    wide = bars([(100, 300, 1, 100), FLAT, FLAT])
    trade = run(wide, [1], mode=False).trades.iloc[0]  # entered at the close of the wide bar
    assert (trade["mae"], trade["mfe"]) == (pytest.approx(-0.01), pytest.approx(0.01))


def test_ruined_short_is_liquidated(bars) -> None:
    """When a short has eaten all equity it is bought back, trading stops, and stats and config say so."""
    df = bars([FLAT, FLAT, (150, 250, 140, 160), FLAT, FLAT, FLAT])
    result = run(df, [-1, -1, -1, 1, 0, 1])
    assert fills(result) == [(1, "sell", 100.0, "signal"), (2, "buy", 200.0, "liquidation")]
    assert result.equity_curve.iloc[-1] == 0.0
    assert result.stats["bankrupt"] == 1
    assert result.config["bankrupt_at"] == "2020-01-03T00:00:00+00:00"
    assert result.stats["total_return"] == pytest.approx(-1.0)
    gapped = run(bars([FLAT, FLAT, (300, 301, 299, 300), FLAT]), [-1, -1, -1, 1])
    assert gapped.equity_curve.iloc[-1] == pytest.approx(-100_000.0)  # owes more than it had
    assert gapped.stats["cagr"] is None
    assert gapped.stats["bankrupt"] == 1
    assert len(gapped.fills) == 2


@given(SEED, COST, COST, st.booleans(), st.floats(1.01, 3.0))
@settings(max_examples=60, deadline=None)
def test_nothing_trades_after_ruin(random_market, seed, fee, slip, mode, jump) -> None:
    """A liquidation at the price of ruin is the last fill and leaves nothing: no dust of rounding, at any cost."""
    df = random_market(20, seed)
    entry = max(df.iloc[0]["close"], df.iloc[1]["open"])  # simple and order-based
    df.iloc[8, 1] = entry * 2.0 * jump  # the high of one bar
    result = run(df, [-1] * 9 + [1, -1, 0, 1], mode=mode, fee=fee, slip=slip)
    assert result.fills["reason"].tolist() == ["signal", "liquidation"]
    assert result.stats["bankrupt"] == 1
    assert result.config["bankrupt_at"] == df.index[8].isoformat()
    assert result.equity_curve.iloc[8:].tolist() == [0.0] * 12
    assert (result.stats["total_return"], result.stats["cagr"], result.stats["max_drawdown"]) == (-1.0, -1.0, -1.0)


@given(SIGNALS, SEED, COST, COST, STOP, st.booleans(), st.sampled_from([0.01, 0.1]))
@settings(max_examples=120, deadline=None)
def test_identities(random_market, signals, seed, fee, slip, stop, mode, volatility) -> None:
    """Cash + position * close = equity at every bar; final equity = initial cash + all net P&L; cash of a long >= 0."""
    df = random_market(len(signals), seed, volatility)
    result = run(df, signals, mode=mode, fee=fee, slip=slip, stop_pct=stop)
    log = result.fills.groupby("bar").last()
    cash = log["cash_after"].reindex(range(len(df))).ffill().fillna(100_000.0).to_numpy()
    held = log["position_after"].reindex(range(len(df))).ffill().fillna(0.0).to_numpy()
    np.testing.assert_array_equal(result.positions, held)
    np.testing.assert_allclose(cash + held * df["close"].to_numpy(), result.equity_curve, rtol=1e-12, atol=1e-9)
    final = result.equity_curve.iloc[-1]
    assert final == pytest.approx(100_000.0 + result.trades["net_pnl"].sum(), rel=1e-9, abs=1e-6)
    assert (result.fills.loc[result.fills["position_after"] > 0, "cash_after"] >= 0.0).all()
    assert (result.equity_curve[result.positions > 0] > 0).all()
    assert result.fills["fee"].sum() == pytest.approx(result.trades["fees"].sum())
    assert result.fills["slippage_cost"].sum() == pytest.approx(result.trades["slippage_cost"].sum())
    flows = np.where(result.fills["side"] == "buy", -1, 1) * result.fills["quantity"] * result.fills["price"]
    last_cash = 100_000.0 + flows.sum() - result.fills["fee"].sum()
    assert cash[-1] == pytest.approx(last_cash, rel=1e-9, abs=1e-6)


@given(SIGNALS, SEED, st.booleans(), STOP)
@settings(max_examples=60, deadline=None)
def test_fills_are_possible(random_market, signals, seed, mode, stop) -> None:
    """Without slippage every fill lies inside its bar, and entries and exits alternate."""
    df = random_market(len(signals), seed)
    result = run(df, signals, mode=mode, stop_pct=stop)
    at = df.iloc[result.fills["bar"]]
    assert (result.fills["price"].to_numpy() <= at["high"].to_numpy() * (1 + 1e-12)).all()
    assert (result.fills["price"].to_numpy() >= at["low"].to_numpy() * (1 - 1e-12)).all()
    assert ((result.fills["position_after"] == 0) == (result.fills.index % 2 == 1)).all()
    assert (result.trades["mae"] <= 0).all()
    assert (result.trades["mfe"] >= 0).all()


@given(st.sampled_from(sorted(SMALL)), st.booleans(), SEED, st.integers(2, 119), STOP)
@settings(max_examples=80, deadline=None)
def test_no_look_ahead(random_market, name, mode, seed, cut, stop) -> None:
    """Cutting the future off leaves signals, fills, positions and equity before the cut unchanged, to the bit."""
    df = random_market(120, seed)
    engine = BacktestEngine(None, mode, stop_pct=stop)
    strategy = get_strategy(name)

    def backtest(frame: pd.DataFrame) -> BacktestResult:
        return engine.run_realistic(
            df=frame,
            strategy_signal_fn=strategy.signal_fn,
            strategy_params=SMALL[name],
            symbol="X",
            fee_bps=5,
            slippage_bps=5,
        )

    whole, part = backtest(df), backtest(df.iloc[:cut])
    for field in ("signals", "positions", "equity_curve"):
        pd.testing.assert_series_equal(
            getattr(whole, field).iloc[:cut], getattr(part, field), check_exact=True, check_freq=False
        )
    before = whole.fills[whole.fills["bar"] < cut]
    pd.testing.assert_frame_equal(before, part.fills, check_exact=True)


@pytest.mark.slow
@given(SIGNALS, SEED, COST, COST, STOP, st.booleans(), st.sampled_from([0.01, 0.3]))
@settings(max_examples=60, deadline=None)
def test_compiled_loop_equals_plain_python(random_market, signals, seed, fee, slip, stop, mode, volatility) -> None:
    """The loop compiled by numba gives the same bits as the same function in plain Python."""
    pytest.importorskip("numba")
    df = random_market(len(signals), seed, volatility)
    arrays = tuple(df[name].to_numpy(copy=True) for name in ("open", "high", "low", "close"))
    costs = {"fee": fee / 1e4, "slippage": slip / 1e4, "stop": (stop or 0.0) / 100, "next_open": mode}
    plain, compiled = (
        run_kernel(arrays, np.array(signals, np.int8), initial_cash=1e5, compiled=way, **costs) for way in (False, True)
    )
    for field in fields(Simulation):
        np.testing.assert_array_equal(getattr(plain, field.name), getattr(compiled, field.name), strict=True)


@pytest.mark.parametrize("fee", [0.0, 0.0001, 0.001, 0.0123])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_signal_at_the_price_of_ruin_ends_the_account(fee: float, compiled: bool) -> None:
    """Cash that is zero but for rounding is zero whatever closed the position, in both loops: nothing trades after."""
    ruin = 200.0 / (1.0 + fee)
    prices = np.array([100.0, 100.0, ruin, 100.0, 100.0])
    high = np.array([100.0, 100.0, ruin * (1 - 1e-15), 100.0, 100.0])  # no liquidation: the signal closes at the open
    signal = np.array([-1, 1, 1, -1, -1], np.int8)
    costs = {"fee": fee, "slippage": 0.0, "stop": 0.0, "next_open": True}
    done = run_kernel((prices, high, prices, prices), signal, initial_cash=1e5, compiled=compiled, **costs)
    assert done.equity[2:].tolist() == [0.0, 0.0, 0.0]
    assert (done.ruined, len(done.bar)) == (2, 2)


def test_loop_is_compiled_when_it_pays(random_market, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process switches to the compiled loop after many bars, never without numba; results stay the same."""
    pytest.importorskip("numba")
    df, signals = random_market(40, 1), [0, 1, -1, 0, 1]
    monkeypatch.setattr(kernel, "_compiled", [])
    monkeypatch.setattr(kernel, "_plain_bars", [0])
    monkeypatch.setattr(kernel, "COMPILE_AFTER_BARS", 80)
    with monkeypatch.context() as without:
        without.setattr(kernel, "numba_installed", lambda: False)
        first = run(df, signals, stop_pct=2)
    monkeypatch.setattr(kernel, "_plain_bars", [0])
    for expected in (0, 1, 1):
        again = run(df, signals, stop_pct=2)
        assert len(kernel._compiled) == expected
        pd.testing.assert_frame_equal(again.fills, first.fills, check_exact=True)
        pd.testing.assert_series_equal(again.equity_curve, first.equity_curve, check_exact=True)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", strategy_names())
def test_every_strategy_on_real_data(sp500: pd.DataFrame, name: str, mode: bool) -> None:
    """Each bundled strategy runs on real data with its defaults and gives a complete, JSON-ready result."""
    fn = get_strategy(name).signal_fn
    result = BacktestEngine(None, mode, stop_pct=8.0).run_realistic(
        df=sp500, strategy_signal_fn=fn, strategy_params={}, symbol="SPX", fee_bps=1.0, slippage_bps=1.0
    )
    assert list(result.fills.columns) == list(FILL_COLUMNS)
    assert list(result.trades.columns) == list(TRADE_COLUMNS)
    json.dumps([result.stats, result.config], allow_nan=False)
    assert len(result.equity_curve) == result.stats["n_bars"] == 5031
    assert result.equity_curve.index.equals(sp500.index)
    assert result.stats["final_equity"] == pytest.approx(100_000.0 + result.trades["net_pnl"].sum())
    assert result.stats["total_trades"] == len(result.trades) - result.stats["open_trades"]
    assert result.config["strategy"] == name


def test_frames_keep_their_types_without_trades(sp500: pd.DataFrame, bars) -> None:
    """With no trade at all the frames have the same columns and types, and ratios are null."""
    busy, idle = run(sp500.iloc[:50], [0, 1, 0, 1]), run(sp500.iloc[:50], [0])
    for name in ("trades", "fills"):
        assert getattr(idle, name).empty
        assert list(getattr(idle, name).columns) == list(getattr(busy, name).columns)
        assert (getattr(idle, name).dtypes == getattr(busy, name).dtypes).all()
    assert idle.stats["sharpe"] is None
    assert idle.stats["profit_factor"] is None
    assert idle.stats["exposure"] == 0.0
    one = run(bars([FLAT]), [1])
    assert one.stats["n_bars"] == 1
    assert one.stats["periods_per_year"] is None


def test_bad_requests_are_refused(sp500: pd.DataFrame) -> None:
    """Settings, costs, bars, params and signals out of their rules are errors before anything runs."""
    for bad in (
        {"initial_cash": 0},
        {"initial_cash": float("nan")},
        {"stop_pct": 100},
        {"stop_pct": "5"},
        {"periods_per_year": -1},
    ):
        with pytest.raises(UsageError, match=next(iter(bad))):
            BacktestEngine(**bad)
    for bad in ({"fee": -1.0}, {"slip": 10_000.0}, {"fee": True}):
        with pytest.raises(UsageError, match="must be a finite number at least 0"):
            run(sp500, [1], **bad)
    broken = sp500.copy()
    broken.iloc[2, 3] = -5.0
    with pytest.raises(DataError, match="prices are above zero"):
        run(broken, [1])
    with pytest.raises(StrategyError, match="must be 1, 0 or -1"):
        run(sp500, [2])
    fn = get_strategy("macd").signal_fn
    with pytest.raises(StrategyError, match="Did you mean 'fast'"):
        BacktestEngine().run_realistic(df=sp500, strategy_signal_fn=fn, strategy_params={"fsat": 1}, symbol="X")


def test_the_callers_frame_is_not_changed(sp500: pd.DataFrame) -> None:
    """A strategy that adds columns to its frame, or writes into it, leaves the caller's frame alone."""

    def greedy(df: pd.DataFrame, params: dict) -> pd.Series:
        df["extra"] = 1.0
        df.loc[df.index[:5], "close"] = 1.0
        params["extra"] = 1
        return pd.Series(1, index=df.index)

    df = sp500.copy()
    params: dict = {}
    result = BacktestEngine().run_realistic(df=df, strategy_signal_fn=greedy, strategy_params=params, symbol="X")
    pd.testing.assert_frame_equal(df, sp500)
    assert params == result.config["params"] == {}


@pytest.mark.slow
def test_no_tracker_imports_no_tracking() -> None:
    """Without a tracker nothing of the tracking package is loaded, nor numba and pandera on clean small data."""
    code = """
import sys, pandas as pd
from pipeline.backtest import BacktestEngine
i = pd.date_range("2020-01-01", periods=5, tz="UTC")
df = pd.DataFrame({k: [1.0] * 5 for k in ("open", "high", "low", "close")}, index=i)
f = lambda df, params: pd.Series(1, index=df.index)
BacktestEngine().run_realistic(df=df, strategy_signal_fn=f, strategy_params={}, symbol="X")
print([m for m in ("pipeline.tracking", "mlflow", "numba", "pandera", "scipy") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
