"""Metrics: the conventions written in their docstrings, checked against published numbers and another library."""

from __future__ import annotations

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import compute_stats, drawdown, monthly_returns
from pipeline.backtest.metrics import cagr, return_stats, simple_returns

DAYS = st.lists(st.floats(-0.2, 0.25), min_size=5, max_size=60)


@pytest.fixture(scope="module")
def decade(sp500: pd.DataFrame) -> pd.Series:
    """S&P 500 closes from the last of 2009 to the end of 2018: 2,264 returns."""
    return sp500["close"].loc["2009-12-31":]


def curve(returns: list[float], start: float = 100.0) -> pd.Series:
    values = start * np.cumprod([1.0, *(1.0 + np.array(returns))])
    return pd.Series(values, index=pd.date_range("2020-01-01", periods=len(values), freq="D", tz="UTC"))


def test_reference_numbers(decade: pd.Series) -> None:
    """The S&P 500 figures of 2010 to 2018 come out to the last printed digit."""
    stats = compute_stats(decade, periods_per_year=252.0)
    assert stats["n_bars"] == 2265
    assert stats["sharpe"] == pytest.approx(0.676239207466, abs=5e-13)
    assert stats["annual_volatility"] == pytest.approx(0.150038, abs=5e-7)
    assert stats["sortino"] == pytest.approx(0.944399, abs=5e-7)
    assert stats["max_drawdown"] == pytest.approx(-0.197782, abs=5e-7)


def test_reference_cagr(decade: pd.Series) -> None:
    """CAGR is by calendar time between the first and the last point, in years of 365.25 days."""
    growth = decade.iloc[-1] / decade.iloc[0]
    assert growth ** (252 / 2264) - 1 == pytest.approx(0.094358, abs=5e-7)  # on 252 bars a year, not our way
    # the printed 0.094282 puts the base on the eve of the first return, 3 January 2010, not on 31 December 2009
    eve = decade.set_axis(decade.index[:1].map(lambda _: pd.Timestamp("2010-01-03", tz="UTC")).append(decade.index[1:]))
    assert cagr(eve) == pytest.approx(0.094282, abs=5e-7)
    assert cagr(decade) == pytest.approx(growth ** (365.25 / 3287) - 1, abs=1e-12)


@given(DAYS)
@settings(max_examples=50, deadline=None)
def test_agrees_with_empyrical(returns: list[float]) -> None:
    """Where conventions are the same, empyrical gives the same numbers to 1e-9."""
    equity = curve(returns)
    series = equity.pct_change().iloc[1:]
    stats = compute_stats(equity, periods_per_year=365.0)
    if np.std(series) < 1e-9:
        return
    assert stats["sharpe"] == pytest.approx(empyrical.sharpe_ratio(series, annualization=365), rel=1e-9, abs=1e-9)
    assert stats["annual_volatility"] == pytest.approx(empyrical.annual_volatility(series, annualization=365), rel=1e-9)
    assert stats["max_drawdown"] == pytest.approx(empyrical.max_drawdown(series), rel=1e-9, abs=1e-12)
    assert stats["total_return"] == pytest.approx(empyrical.cum_returns_final(series), rel=1e-9, abs=1e-12)
    if (series < -1e-9).any():
        assert stats["sortino"] == pytest.approx(empyrical.sortino_ratio(series, annualization=365), rel=1e-9, abs=1e-9)


def test_agrees_with_scipy_on_moments(decade: pd.Series) -> None:
    """Skewness and kurtosis are population moments; kurtosis is not excess."""
    stats = pytest.importorskip("scipy.stats")
    returns = simple_returns(decade)
    mine = return_stats(returns, periods_per_year=None)
    assert mine["skewness"] == pytest.approx(stats.skew(returns), rel=1e-9)
    assert mine["kurtosis"] == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-9)
    assert mine["sharpe"] is None


def test_risk_free_rate_is_annual(decade: pd.Series) -> None:
    """An annual risk-free rate is converted to one per bar by compounding."""
    series = decade.pct_change().iloc[1:]
    stats = compute_stats(decade, periods_per_year=252.0, risk_free_rate=0.03)
    per_bar = 1.03 ** (1 / 252) - 1
    assert stats["sharpe"] == pytest.approx(empyrical.sharpe_ratio(series, risk_free=per_bar), rel=1e-9)
    assert stats["sortino"] == pytest.approx(empyrical.sortino_ratio(series, required_return=per_bar), rel=1e-9)


@pytest.mark.parametrize("growth", [0.0, 0.001, -0.001])
def test_no_variance_has_no_ratio(growth: float) -> None:
    """Constant returns have no Sharpe ratio, skewness or kurtosis: None, not inf, NaN or 2.4e16."""
    stats = compute_stats(curve([growth] * 50), periods_per_year=252.0)
    assert stats["sharpe"] is None
    assert stats["skewness"] is None
    assert stats["kurtosis"] is None
    assert stats["annual_volatility"] == 0.0
    assert (stats["calmar"] is None) == (growth >= 0)
    assert (stats["sortino"] is None) == (growth >= 0)


@pytest.mark.parametrize("n", [1, 2])
def test_very_short_curves(n: int) -> None:
    """One or two bars give null ratios, not errors."""
    stats = compute_stats(curve([0.01] * (n - 1)), periods_per_year=252.0)
    assert stats["sharpe"] is None
    assert (stats["cagr"] is None) == (n == 1)
    assert stats["n_bars"] == n


@pytest.mark.parametrize("left", [0.0, 1e-11, -1e-11, 7e-9])
def test_what_rounding_leaves_of_a_total_loss_is_nothing(left: float) -> None:
    """An engine that ends with dust in place of 0 has lost all: total return and CAGR are -1."""
    index = pd.date_range("2020-01-01", periods=400, freq="D", tz="UTC")
    equity = pd.Series(np.append(np.linspace(100_000.0, 10_000.0, 399), left), index=index)
    stats = compute_stats(equity, periods_per_year=365.0)
    assert (stats["total_return"], stats["cagr"]) == (-1.0, -1.0)
    owing = compute_stats(equity - equity.iloc[-1] - 1.0, periods_per_year=365.0, initial_cash=100_000.0)
    assert owing["cagr"] is None


def test_start_is_a_peak() -> None:
    """A fall from the starting equity on the very first bar is a drawdown and part of the total return."""
    equity = curve([0.0, 0.01], start=90.0)
    assert drawdown(equity, 100.0).iloc[0] == pytest.approx(-0.1)
    stats = compute_stats(equity, initial_cash=100.0, periods_per_year=252.0)
    assert stats["max_drawdown"] == pytest.approx(-0.1)
    assert stats["total_return"] == pytest.approx(-0.091)
    assert np.prod(1 + simple_returns(equity, 100.0)) - 1 == pytest.approx(-0.091)
    assert stats["time_in_drawdown"] == 1.0


@given(DAYS)
@settings(max_examples=50, deadline=None)
def test_drawdown_is_never_positive(returns: list[float]) -> None:
    """-1 < drawdown <= 0 and it is 0 exactly at a new peak."""
    equity = curve(returns)
    depth = drawdown(equity)
    assert ((depth <= 0) & (depth > -1)).all()
    assert ((depth == 0) == (equity == equity.cummax())).all()


def test_monthly_returns_compound_to_the_total(decade: pd.Series) -> None:
    """The table has one row a year and twelve columns, and compounds to the total return."""
    table = monthly_returns(decade)
    assert table.shape == (10, 12)
    assert list(table.columns) == list(range(1, 13))
    assert table.loc[2009].isna().sum() == 11
    assert np.nanprod(1 + table.to_numpy()) == pytest.approx(decade.iloc[-1] / decade.iloc[0], rel=1e-12)
    months = decade.groupby([decade.index.year, decade.index.month]).last()
    assert table.loc[2018, 12] == pytest.approx(months.loc[2018, 12] / months.loc[2018, 11] - 1)


def test_trades_are_counted_closed(bars) -> None:
    """Open trades are counted apart; win rate, profit factor and averages are over closed trades."""
    equity = curve([0.0, 0.1])
    trades = pd.DataFrame(
        {
            "net_pnl": [30.0, -10.0, 0.0, 99.0],
            "return_pct": [3.0, -1.0, 0.0, 9.0],
            "bars_held": [2, 4, 6, 8],
            "is_open": [False, False, False, True],
        }
    )
    stats = compute_stats(equity, trades=trades)
    assert stats["total_trades"] == 3
    assert stats["open_trades"] == 1
    assert stats["win_rate"] == pytest.approx(1 / 3)
    assert stats["profit_factor"] == 3.0
    assert (stats["best_trade"], stats["worst_trade"]) == (0.03, -0.01)
    assert stats["avg_trade"] == pytest.approx(0.02 / 3)
    assert stats["avg_bars_held"] == 4.0
    assert compute_stats(equity, trades=trades.iloc[:1])["profit_factor"] is None
    assert compute_stats(equity, trades=trades.iloc[3:])["win_rate"] is None


def test_values_are_plain_and_finite(decade: pd.Series) -> None:
    """Stats hold only floats, ints and None, whatever the input: they go into strict JSON."""
    tiny = curve([1e300, 0.5], start=1e-9).set_axis(pd.date_range("2020", periods=3, freq="s", tz="UTC"))
    for equity in (decade, tiny, curve([-1.0, 0.0]), curve([-1.5, 0.0])):
        stats = compute_stats(equity, periods_per_year=252.0)
        assert all(value is None or type(value) in (int, float) for value in stats.values())
        assert all(value is None or np.isfinite(value) for value in stats.values())


def test_what_is_not_given_is_not_known() -> None:
    """Without trades, fills and positions their metrics are None; so are those of a column with gaps."""
    equity = curve([0.01, -0.02, 0.03])
    alone = compute_stats(equity, periods_per_year=365.0)
    names = ("total_trades", "open_trades", "win_rate", "avg_trade", "exposure", "turnover", "fees_paid")
    assert [alone[name] for name in names] == [None] * len(names)
    fills = pd.DataFrame({"price": [10.0, 11.0], "quantity": [5.0, -5.0], "fee": [1.0, np.nan]})
    stats = compute_stats(equity, fills=fills)
    assert stats["fees_paid"] is None
    assert stats["slippage_paid"] is None
    assert stats["turnover"] == pytest.approx(105.0 / equity.mean() / (3 / 365.25))
    held = pd.DataFrame({"A": [0.0, 1.0, 0.0, 0.0], "B": [0.0, -1.0, 2.0, 0.0]})
    assert compute_stats(equity, positions=held)["exposure"] == 0.5
