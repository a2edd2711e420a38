"""The engine's numbers beside ours: equal, or in a convention that is named because it gives the number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import Conventions
from pipeline.results.beside import Beside, beside
from pipeline.results.contract import ReportedMetric, Result
from pipeline.results.recompute import recompute
from tests.results.accounts import CAPITAL, Order, account, prices

MOVES = np.random.default_rng(5).normal(0.0008, 0.011, 600)


def result(*numbers: ReportedMetric, moves: np.ndarray = MOVES, rate: float = 0.0) -> Result:
    """Return a curve of business days whose first label ends a period."""
    index = pd.date_range("2021-01-04", periods=len(moves), freq="B", tz="UTC", unit="ns")
    equity = pd.Series(CAPITAL * np.cumprod(1.0 + moves), index)
    told = Conventions(risk_free_rate=rate, given_periods=252.0)
    return Result(equity, CAPITAL, first_label="period", conventions=told, reported=numbers)


def one(given: Result) -> Beside:
    """Return the only number of an engine beside ours."""
    (found,) = beside(given, recompute(given))
    return found


def sharpe(moves: np.ndarray, periods: float, ddof: int = 1) -> float:
    return float(moves.mean() / moves.std(ddof=ddof) * math.sqrt(periods))


def compounded(moves: np.ndarray, periods: int) -> float:
    """Return the geometric mean over the compounded deviation, both of a year."""
    mean = math.exp(float(np.log1p(moves).sum()) / len(moves)) - 1.0
    spread = (moves.var(ddof=1) + (1.0 + mean) ** 2) ** periods - (1.0 + mean) ** (2 * periods)
    return ((1.0 + mean) ** periods - 1.0) / math.sqrt(spread)


def added(moves: np.ndarray) -> float:
    total = np.append(0.0, moves.cumsum())
    return float((total - np.maximum.accumulate(total)).min())


def grown(moves: np.ndarray) -> np.ndarray:
    return np.cumprod(1.0 + moves)


def series(moves: np.ndarray) -> pd.Series:
    return pd.Series(moves, pd.date_range("2021-01-04", periods=len(moves), freq="B"))


ELSEWHERE: list[tuple[str, Callable[[np.ndarray], float], tuple[str, ...]]] = [
    ("sharpe", lambda m: sharpe(m, 365), ("365 periods a year, not 252",)),
    ("sharpe", lambda m: sharpe(m, 252, 0), ("ddof 0",)),
    ("sharpe", lambda m: sharpe(m, 365, 0), ("365 periods", "ddof 0")),
    ("sharpe", lambda m: sharpe(m, 1), ("not annualised",)),
    ("sharpe", lambda m: sharpe(np.append(0.0, m), 252), ("one more return, of zero",)),
    ("sharpe", lambda m: sharpe(m[1:], 252), ("first return left out",)),
    ("sharpe", lambda m: compounded(m, 252), ("a geometric mean", "compounded returns")),
    ("sharpe", lambda m: float((m - 0.01 / 252).mean() / m.std(ddof=1) * 252**0.5), ("risk-free rate of 1%",)),
    ("sharpe", lambda m: ((1 + m.mean()) ** 252 - 1) / (m.std(ddof=1) * 252**0.5), ("mean compounded to a year",)),
    ("annual_volatility", lambda m: float(m.std(ddof=1) * 365**0.5), ("365",)),
    ("annual_volatility", lambda m: float(m.std(ddof=1)), ("not annualised",)),
    ("sortino", lambda m: float(empyrical.sortino_ratio(series(m), annualization=365)), ("365",)),
    ("sortino", lambda m: float(m.mean() / m[m < 0].std(ddof=1) * 252**0.5), ("losing periods alone",)),
    ("max_drawdown", added, ("added up",)),
    ("total_return", lambda m: float(m.sum()), ("added up",)),
    ("total_return", lambda m: float(np.log1p(m).sum()), ("log returns",)),
    ("cagr", lambda m: float(empyrical.annual_return(series(m), annualization=252)), ("by the number of periods",)),
    ("cagr", lambda m: float(m.mean() * 252), ("mean return times periods",)),
    ("calmar", lambda m: float(empyrical.calmar_ratio(series(m), annualization=252)), ("by the number of periods",)),
    ("kurtosis", lambda m: float(series(m).kurt()), ("in excess of 3", "bias")),
    ("skewness", lambda m: float(series(m).skew()), ("bias",)),
]


@pytest.mark.parametrize(("metric", "computed", "words"), ELSEWHERE)
def test_the_convention_of_another_engine_is_found(
    metric: str, computed: Callable[[np.ndarray], float], words: tuple[str, ...]
) -> None:
    """A number computed elsewhere in a usual way is named by that way, and not by what the adapter says of it."""
    found = one(result(ReportedMetric("theirs", computed(MOVES), metric, "something claimed")))
    assert found.equal is False
    assert found.found, (found.reported, found.ours)
    assert all(word in found.reason for word in words), found.reason
    assert "claimed" not in found.reason


def test_a_loss_at_the_start_that_is_no_drawdown() -> None:
    """A drawdown without the starting capital, as vectorbt has it, is named."""
    moves = np.append([-0.2, -0.1, 0.1], MOVES[:100])
    curve = grown(moves)
    theirs = float((curve / np.maximum.accumulate(curve) - 1.0).min())
    found = one(result(ReportedMetric("Max Drawdown", theirs, "max_drawdown"), moves=moves))
    assert found.found
    assert found.reason in {"the starting capital is no peak", "the first return left out"}


@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(-0.08, 0.08), min_size=10, max_size=40), st.sampled_from([0.0, 0.03]))
def test_our_own_numbers_are_equal(moves: list[float], rate: float) -> None:
    """A number that is ours is equal, whatever the curve, and needs no reason."""
    ours = recompute(result(moves=np.array(moves), rate=rate))
    numbers = [ReportedMetric(name, float(value), name, "x") for name, value in ours.items() if value is not None]
    for found in beside(result(*numbers, moves=np.array(moves), rate=rate), ours):
        assert (found.equal, found.reason, found.found) == (True, "", False), found


@settings(max_examples=5, deadline=None)
@given(
    st.sampled_from(["sharpe", "sortino", "cagr", "max_drawdown", "calmar", "annual_volatility"]), st.floats(1e-6, 1)
)
def test_a_wrong_number_has_the_adapters_words_alone(metric: str, by: float) -> None:
    """A number that no usual convention gives is not explained by us: the adapter's words stand as a claim."""
    ours = float(recompute(result())[metric] or 0.0)
    found = one(result(ReportedMetric("theirs", ours * (1.0 + by) + 1e-7, metric, "365 days a year")))
    assert (found.equal, found.found, found.reason) == (False, False, "365 days a year")
    assert found.off_by == pytest.approx(ours * by + 1e-7)


def test_a_number_with_few_digits_is_said_to_be_rounded() -> None:
    """Ours rounded to the engine's decimals is the reason when nothing else is."""
    found = one(result(ReportedMetric("Sharpe", round(float(recompute(result())["sharpe"] or 0.0), 3), "sharpe")))
    assert (found.found, found.reason) == (True, "rounded to 3 decimals")
    few = one(result(ReportedMetric("Sharpe", round(float(recompute(result())["sharpe"] or 0.0), 1), "sharpe")))
    assert not few.found


def test_trades_are_counted_as_the_engine_counts_them() -> None:
    """Open trades that count, and a profit factor of returns, are found."""
    market = prices(40, 1, seed=1)
    kept = account([Order(0, 1, 100.0, 2, 8), Order(0, -1, 50.0, 2, 8), Order(0, 1, 80.0, 25, None)], market)
    pnl = kept.trades["net_pnl"]
    gains = pnl / (kept.trades["quantity"] * kept.trades["entry_price"])
    gains = gains[~kept.trades["is_open"]]
    numbers = (
        ReportedMetric("trades", 3.0, "total_trades"),
        ReportedMetric("wins", float((pnl > 0).mean()), "win_rate"),
        ReportedMetric("factor", float(gains[gains > 0].sum() / -gains[gains < 0].sum()), "profit_factor"),
    )
    given_result = replace(kept, reported=numbers)
    found = {each.name: each for each in beside(given_result, recompute(given_result))}
    assert found["trades"].reason == "open trades count as trades"
    assert found["wins"].reason == "open trades count as trades"
    assert found["factor"].reason == "of returns, not of money"


def test_a_number_without_ours_is_not_compared() -> None:
    """What we do not compute, and what we cannot, stands alone."""
    alone = one(result(ReportedMetric("Kelly", 0.3, None, "of trades")))
    assert (alone.equal, alone.found, alone.ours, alone.reason) == (None, False, None, "of trades")
    assert one(result(ReportedMetric("Win rate", 0.3, "win_rate"))).equal is None
