"""Analysis tables: agreement with empyrical, sums that must hold, hand-made cases."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.backtest import BacktestEngine, BacktestResult, compute_stats, drawdown, get_strategy
from pipeline.backtest.analysis import (
    CRISES,
    crisis_windows,
    monthly_activity,
    qq_points,
    return_histogram,
    rolling_stats,
    trade_summary,
    worst_drawdowns,
    yearly_returns,
)
from pipeline.backtest.metrics import simple_returns
from pipeline.backtest.windows import windows_of
from pipeline.errors import UsageError

DAYS = st.lists(st.sampled_from([-0.1, -0.01, 0.0, 0.02, 0.1]), min_size=1, max_size=60)


def curve(values: list[float]) -> pd.Series:
    index = pd.date_range("2020-01-01", periods=len(values), freq="D", tz="UTC", unit="ns", name="timestamp")
    return pd.Series(values, index=index, dtype="float64", name="equity")


@pytest.fixture(scope="module")
def result(sp500: pd.DataFrame) -> BacktestResult:
    return BacktestEngine().run_realistic(
        df=sp500, strategy_signal_fn=get_strategy("rsi_reversion").signal_fn,
        strategy_params={"allow_short": True}, symbol="SPX", fee_bps=1, slippage_bps=2,
    )  # fmt: skip


def test_drawdowns_by_hand() -> None:
    """Peak, trough and recovery are the right bars; an open one has no recovery; a fall from the start counts."""
    equity = curve([90, 80, 100, 120, 108, 114, 130, 117])
    table = worst_drawdowns(equity, initial=100.0)
    day = equity.index
    assert table["start"].tolist() == [day[0], day[3], day[6]]
    assert table["trough"].tolist() == [day[1], day[4], day[7]]
    assert table["recovery"].tolist()[:2] == [day[2], day[6]]
    assert pd.isna(table["recovery"].iloc[2])
    assert table["depth"].tolist() == pytest.approx([-0.2, -0.1, -0.1])
    assert table["length_bars"].tolist() == [2, 3, 1]
    assert table["length_days"].tolist() == [2.0, 3.0, 1.0]
    assert worst_drawdowns(curve([1, 2, 3])).empty
    assert str(worst_drawdowns(curve([1, 2, 3]))["recovery"].dtype) == str(day.dtype)


@pytest.mark.slow
@given(DAYS)
@settings(max_examples=40, deadline=None)
def test_drawdowns_cover_the_curve(returns: list[float]) -> None:
    """The worst is max_drawdown, all bars under water lie in exactly one, they do not overlap."""
    equity = curve([100.0, *(100.0 * np.cumprod(1 + np.array(returns)))])
    table = worst_drawdowns(equity, most=1_000)
    worst = compute_stats(equity)["max_drawdown"]
    assert (table["depth"].iloc[0] if len(table) else 0.0) == worst
    under = int((drawdown(equity) < 0).sum())
    closed = int(table["recovery"].notna().sum())
    assert table["length_bars"].sum() == under + closed
    assert table["depth"].is_monotonic_increasing


def test_rolling_agrees_with_empyrical(result: BacktestResult, sp500: pd.DataFrame) -> None:
    """Rolling Sharpe ratio, volatility and beta of the last window are empyrical's over that window."""
    table = rolling_stats(
        result.equity_curve, window=252, periods_per_year=252, benchmark=sp500["close"], initial=100_000.0,
        risk_free_rate=0.02,
    )  # fmt: skip
    assert table.index.equals(result.equity_curve.index)
    assert table["sharpe"].iloc[:252].isna().all()
    assert table["sharpe"].iloc[252:].notna().all()
    tail = result.equity_curve.pct_change().iloc[-252:]
    market = sp500["close"].pct_change().iloc[-252:]
    free = 1.02 ** (1 / 252) - 1
    assert table["sharpe"].iloc[-1] == pytest.approx(empyrical.sharpe_ratio(tail, risk_free=free), rel=1e-9)
    assert table["volatility"].iloc[-1] == pytest.approx(empyrical.annual_volatility(tail), rel=1e-9)
    assert table["beta"].iloc[-1] == pytest.approx(empyrical.beta(tail, market), rel=1e-9)


def test_rolling_without_variance_is_nan(result: BacktestResult, sp500: pd.DataFrame) -> None:
    """A flat stretch has volatility 0 and no Sharpe ratio, also right after a wild one."""
    rng = np.random.default_rng(0)
    equity = curve([*(100 * np.exp(np.cumsum(rng.normal(0, 0.1, 50)))), *[70.0] * 30])
    table = rolling_stats(equity, window=20, periods_per_year=365)
    assert table["volatility"].iloc[-1] == 0.0
    assert math.isnan(table["sharpe"].iloc[-1])
    with pytest.raises(UsageError, match="window = 1"):
        rolling_stats(equity, window=1, periods_per_year=365)
    with pytest.raises(UsageError, match="on the bars of the equity curve"):
        rolling_stats(equity, window=5, periods_per_year=365, benchmark=equity.iloc[1:])


@pytest.mark.parametrize("seed", [7, 9, 11])
def test_flat_windows_leave_nothing(seed: int) -> None:
    """A window without a move has volatility and beta 0 and no ratio, whatever was before; all others are numpy's."""
    rng = np.random.default_rng(seed)
    own = np.concatenate([rng.normal(0, 0.02, 300), np.zeros(80), rng.normal(0, 0.01, 100), np.zeros(300)])
    market = np.concatenate([rng.normal(0, 0.02, 600), np.zeros(180)])
    equity, index = curve([100.0, *(100 * np.cumprod(1 + own))]), curve([100.0, *(100 * np.cumprod(1 + market))])
    table = rolling_stats(equity, window=60, periods_per_year=252, benchmark=index).iloc[60:]
    ours, theirs = (sliding_window_view(simple_returns(values), 60) for values in (equity, index))
    flat, still = (ours == 0.0).all(axis=1), (theirs == 0.0).all(axis=1)
    assert flat.sum() > 200
    assert still.sum() > 100
    assert (table["volatility"][flat] == 0.0).all()
    assert table["sharpe"][flat].isna().all()
    assert (table["beta"][flat & ~still] == 0.0).all()
    assert table["beta"][still].isna().all()
    deviation = ours[~flat].std(axis=1, ddof=1)
    assert table["volatility"][~flat].to_numpy() == pytest.approx(deviation * math.sqrt(252), rel=1e-12)
    ratio = ours[~flat].mean(axis=1) / deviation * math.sqrt(252)
    assert table["sharpe"][~flat].to_numpy() == pytest.approx(ratio, rel=1e-12, abs=1e-12)
    pairs = zip(ours[~still], theirs[~still], strict=True)
    beta = [np.cov(one, other)[0, 1] / other.var(ddof=1) for one, other in pairs]
    assert table["beta"][~still].to_numpy() == pytest.approx(beta, rel=1e-12, abs=1e-12)


@given(st.integers(1, 40), st.integers(1, 45))
def test_windows(n: int, length: int) -> None:
    """There is one window for each place it fits, none for a series that is too short; a NaN spoils its own only."""
    values = np.arange(float(n)) ** 2
    found = windows_of(values, values, length)
    assert len(found.x) == max(n - length + 1, 0)
    if len(found.x):
        assert found.x == pytest.approx(sliding_window_view(values, length).mean(axis=1))
    spoilt = windows_of(np.append(math.nan, values), np.append(math.nan, values), length)
    assert spoilt.x[1:].tolist() == found.x.tolist()


def test_yearly_returns(result: BacktestResult) -> None:
    """Years compound to the total return and agree with empyrical."""
    years = yearly_returns(result.equity_curve, 100_000.0)
    assert np.prod(1 + years) - 1 == pytest.approx(result.stats["total_return"], rel=1e-12)
    theirs = empyrical.aggregate_returns(result.equity_curve.pct_change().iloc[1:], "yearly")
    assert years.loc[2000:].to_numpy() == pytest.approx(theirs.loc[2000:].to_numpy(), rel=1e-9)


def test_histogram(result: BacktestResult) -> None:
    """Counts add up to the returns, the normal ones to nearly as many; degenerate input gives empty or NaN."""
    returns = simple_returns(result.equity_curve)
    table = return_histogram(returns, bins=40)
    assert table["count"].sum() == len(returns)
    assert 0.99 * len(returns) < table["normal"].sum() <= len(returns)
    assert (table["left"].iloc[1:].to_numpy() == table["right"].iloc[:-1].to_numpy()).all()
    assert return_histogram(np.array([])).empty
    assert return_histogram(np.zeros(5))["normal"].isna().all()


def test_qq_points() -> None:
    """Normal returns lie on the diagonal; long series are thinned but keep both ends; no variance: none."""
    values = np.random.default_rng(0).standard_normal(5_000)
    points = qq_points(values, most=100)
    assert 80 <= len(points) <= 100
    assert np.abs(points["theoretical"] - points["sample"]).iloc[10:-10].max() < 0.2
    assert points["sample"].iloc[-1] == pytest.approx((values.max() - values.mean()) / values.std(ddof=1))
    assert qq_points(np.zeros(9)).empty
    assert len(qq_points(np.array([0.0, 0.1, 0.3]))) == 3


def test_monthly_activity(result: BacktestResult) -> None:
    """Months hold all bars and fills; exposure averages to the metric; turnover adds up to the notional."""
    table = monthly_activity(result)
    assert table["bars"].sum() == result.stats["n_bars"]
    assert table["fills"].sum() == len(result.fills)
    assert np.average(table["exposure"], weights=table["bars"]) == pytest.approx(result.stats["exposure"])
    assert table["exposure"].to_numpy() == pytest.approx((table["long"] + table["short"]).to_numpy())
    mean = result.equity_curve.groupby([result.equity_curve.index.year, result.equity_curve.index.month]).mean()
    notional = float((result.fills["price"] * result.fills["quantity"]).sum())
    assert (table["turnover"].to_numpy() * mean.to_numpy()).sum() == pytest.approx(notional)
    assert str(table.index[0]) == "1999-01-01 00:00:00+00:00"


def test_trade_summary_by_side(result: BacktestResult) -> None:
    """Both sides add up to all; all agrees with the metrics; no trades give zeros and NaN."""
    table = trade_summary(result.trades)
    assert list(table.index) == ["long", "short", "all"]
    for name in ("trades", "net_pnl", "gross_pnl", "fees", "slippage_cost"):
        assert table.loc["long", name] + table.loc["short", name] == pytest.approx(table.loc["all", name])
    whole = table.loc["all"]
    assert whole["trades"] == result.stats["total_trades"]
    for name in ("win_rate", "profit_factor", "avg_bars_held"):
        assert whole[name] == pytest.approx(result.stats[name])
    assert whole[["avg_return", "best", "worst"]].tolist() == pytest.approx(
        [result.stats[name] for name in ("avg_trade", "best_trade", "worst_trade")]
    )
    none = trade_summary(result.trades.iloc[:0])
    assert (none["trades"] == 0).all()
    assert none["win_rate"].isna().all()


def test_crises_are_peak_to_trough(sp500: pd.DataFrame) -> None:
    """In the bundled data each window starts at a closing high and ends at a closing low of the fall."""
    table = crisis_windows(sp500["close"], benchmark=sp500["close"])
    assert len(table) == 8
    assert table["is_whole"].all()
    assert (table["total_return"] == table["max_drawdown"]).all()
    assert (table["benchmark_return"] == table["total_return"]).all()
    named = table.set_index("name")["total_return"]
    assert named["Global financial crisis"] == pytest.approx(-0.5678, abs=5e-5)
    starts = [crisis.start for crisis in CRISES]
    assert starts == sorted(starts)
    assert all(crisis.start < crisis.end for crisis in CRISES)


def test_crises_at_the_edges(sp500: pd.DataFrame) -> None:
    """A curve that begins or ends inside a window says so; one outside all windows gives an empty table."""
    part = sp500["close"].loc["2008-01-02":"2008-12-31"]
    table = crisis_windows(part)
    assert table["name"].tolist() == ["Global financial crisis"]
    assert not table["is_whole"].iloc[0]
    assert table["total_return"].iloc[0] == pytest.approx(part.iloc[-1] / part.iloc[0] - 1)
    assert crisis_windows(sp500["close"].loc["2013"]).empty
    assert crisis_windows(sp500["close"].loc[:"2000-03-24"]).empty
