"""The conventions of a run: one rate, one number of bars a year, each with its source, the same in every figure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backtest import BacktestEngine, BacktestResult, Conventions, compute_stats
from pipeline.backtest.analysis import rolling_stats
from pipeline.backtest.bootstrap import BootstrapOptions, bootstrap_intervals
from pipeline.backtest.conventions import per_period_rate
from pipeline.backtest.from_spec import spec_conventions
from pipeline.backtest.metrics import simple_returns
from pipeline.backtest.sensitivity import split_by_year
from pipeline.backtest.significance import assess_sharpe
from pipeline.errors import UsageError
from pipeline.spec import RunSpec

RATE, YEAR = 0.04, 260.0


@pytest.mark.parametrize(
    ("annual", "periods", "expected"),
    [(0.04, 252, 0.000155649862791), (0.04, 12, 0.003273739782199), (0.04, 1, 0.04), (-0.005, 52, -9.639043e-05)],
)
def test_the_rate_compounds(annual: float, periods: float, expected: float) -> None:
    """A rate of one bar compounds to the annual one; it is not the annual one over the number of bars."""
    found = per_period_rate(annual, periods)
    assert found == pytest.approx(expected, rel=1e-6)
    assert np.prod(np.full(int(periods), 1.0 + found)) == pytest.approx(1.0 + annual, rel=1e-12)
    with pytest.raises(UsageError, match="needs periods_per_year"):
        per_period_rate(annual, None)


def buy(df: pd.DataFrame, _params: Any) -> pd.Series:
    return pd.Series(1, index=df.index)


@pytest.fixture(scope="module")
def result(decade_bars: pd.DataFrame) -> BacktestResult:
    engine = BacktestEngine(risk_free_rate=RATE, periods_per_year=YEAR)
    return engine.run_realistic(df=decade_bars, strategy_signal_fn=buy, symbol="SPX")


@pytest.fixture(scope="module")
def decade_bars(sp500: pd.DataFrame) -> pd.DataFrame:
    return sp500.loc["2003":"2012"]


def test_every_figure_takes_the_rate_off(result: BacktestResult) -> None:
    """Metrics, evidence, intervals, rolling figures and years are those of plain numpy on the same returns."""
    equity = np.append(100_000.0, result.equity_curve.to_numpy()[1:])
    returns = equity[1:] / equity[:-1] - 1.0
    excess = returns - ((1.0 + RATE) ** (1.0 / YEAR) - 1.0)

    def sharpe(part: np.ndarray) -> float:
        return float(part.mean() / part.std(ddof=1) * math.sqrt(YEAR))

    used = {"periods_per_year": YEAR, "risk_free_rate": RATE}
    assert result.stats["sharpe"] == pytest.approx(sharpe(excess), rel=1e-9)
    downside = math.sqrt(np.mean(np.minimum(excess, 0.0) ** 2))
    assert result.stats["sortino"] == pytest.approx(excess.mean() / downside * math.sqrt(YEAR), rel=1e-9)
    assert assess_sharpe(returns, **used).sharpe_annual == pytest.approx(sharpe(excess), rel=1e-9)
    options = BootstrapOptions(repetitions=20)
    found = bootstrap_intervals(returns, benchmark=returns[::-1], options=options, **used)
    assert found["sharpe"].estimate == pytest.approx(sharpe(excess), rel=1e-9)
    assert found["benchmark_sharpe"].estimate == pytest.approx(sharpe(excess), rel=1e-9)
    rolling = rolling_stats(result.equity_curve, window=250, initial=100_000.0, **used)
    assert rolling["sharpe"].iloc[-1] == pytest.approx(sharpe(excess[-250:]), rel=1e-9)
    years = split_by_year(result)
    last = excess[-int(years["bars"].iloc[-1]) :]
    assert years["sharpe"].iloc[-1] == pytest.approx(sharpe(last), rel=1e-9)
    assert compute_stats(result.equity_curve, initial_cash=100_000.0, **used)["sharpe"] == result.stats["sharpe"]
    assert np.array_equal(simple_returns(result.equity_curve, 100_000.0), returns)


def test_a_result_says_what_it_was_made_with(result: BacktestResult, decade_bars: pd.DataFrame) -> None:
    """Given, inferred from the bars, and told by a whole file are kept apart; a given number keeps the inferred one."""
    assert result.conventions == Conventions(RATE, YEAR, 252.0, time_labels="days")
    assert (result.config["risk_free_rate"], result.config["periods_per_year"]) == (RATE, YEAR)
    plain = BacktestEngine().run_realistic(df=decade_bars, strategy_signal_fn=buy, symbol="SPX")
    assert plain.conventions == Conventions(0.0, None, 252.0, time_labels="days")
    of_file = BacktestEngine(conventions=Conventions(inferred_periods=313.0))
    told = of_file.run_realistic(df=decade_bars, strategy_signal_fn=buy, symbol="SPX")
    assert told.conventions.periods_per_year == told.stats["periods_per_year"] == 313.0
    assert BacktestEngine().run_realistic(
        df=decade_bars.head(1), strategy_signal_fn=buy, symbol="SPX"
    ).conventions == Conventions(time_labels="days")
    with pytest.raises(UsageError, match="not both"):
        BacktestEngine(risk_free_rate=RATE, conventions=Conventions())


def test_a_result_says_what_labels_its_bars(decade_bars: pd.DataFrame) -> None:
    """Also where the number of bars a year was told by a whole file."""
    engine = BacktestEngine(conventions=Conventions(inferred_periods=313.0))
    closes = decade_bars.set_axis(decade_bars.index + pd.Timedelta(hours=21), axis=0)
    for bars, labels in ((decade_bars, "days"), (closes, "instants")):
        used = engine.run_realistic(bars, buy).conventions
        assert used.to_dict()["time_labels"] == {"value": labels, "source": "inferred"}
        assert Conventions.from_dict(used.to_dict()) == used


def test_a_result_of_another_engine_says_what_its_config_says(result: BacktestResult) -> None:
    """What nobody said is not known: no rate of 0 is made up for it."""
    tables = (result.equity_curve, result.trades)
    rest = (result.fills, result.positions, result.signals)
    known = BacktestResult(result.stats, *tables, {"risk_free_rate": 0.01, "periods_per_year": 365}, *rest)
    assert known.conventions == Conventions(0.01, 365.0)
    silent = BacktestResult(result.stats, *tables, {}, *rest)
    assert silent.conventions.to_dict()["risk_free_rate"] is None
    assert silent.conventions.to_dict()["periods_per_year"] is None


positive = st.floats(min_value=1e-3, max_value=1e7)


@given(
    rate=st.none() | st.floats(min_value=-0.99, max_value=10.0),
    periods=st.none() | positive,
    inferred=st.none() | positive,
)
def test_the_record_reads_back(rate: float | None, periods: float | None, inferred: float | None) -> None:
    """What is sealed reads back to equal conventions, and fields of later versions are passed over."""
    used = Conventions(rate, periods, inferred)
    values = used.to_dict() | {"schema_version": 2, "calendar": {"value": "XNYS", "source": "given"}}
    assert Conventions.from_dict(values) == used


@pytest.mark.parametrize(
    ("chosen", "source"), [({}, "default"), ({"risk_free_rate": 0}, "given"), ({"risk_free_rate": 0.04}, "given")]
)
def test_a_rate_of_zero_that_was_given_is_not_the_default(chosen: dict[str, float], source: str) -> None:
    """The record tells a rate that somebody chose from one that nobody did, also when it is 0, and reads back so."""
    used = spec_conventions(RunSpec.from_mapping({"backtest": chosen, "data": {"currency": "USD"}}))
    for known in (used, Conventions.from_dict(used.to_dict())):
        assert known.to_dict()["risk_free_rate"] == {"value": float(chosen.get("risk_free_rate", 0)), "source": source}
        assert known.to_dict()["currency"] == {"value": "USD", "source": "given"}
    assert Conventions().to_dict()["currency"] is None


@pytest.mark.parametrize(
    "values", [None, [], "x", {}, {"periods_per_year": 252}, {"risk_free_rate": {"value": "4 %"}, "ddof": []},
               {"periods_per_year": {"value": -1, "source": "given"}, "risk_free_rate": {"value": float("nan")}},
               {"periods_per_year": {"value": True}, "risk_free_rate": {"value": -1.0}},
               {"time_labels": {"value": "weeks"}}],
)  # fmt: skip
def test_a_damaged_record_tells_nothing(values: Any) -> None:
    """Another shape is not known, and no default in its place."""
    assert Conventions.from_dict(values) == Conventions(risk_free_rate=None)


def test_a_number_far_from_the_bars_is_in_doubt() -> None:
    """More than 5 % away, either way, is said; 252 for bars that tell 260, or nothing to compare with, is not."""
    assert "252 are given, 19% fewer than the 313" in Conventions(given_periods=252.0, inferred_periods=313.0).doubt
    assert "313 are given, 24% more than the 252" in Conventions(given_periods=313.0, inferred_periods=252.0).doubt
    for quiet in (Conventions(), Conventions(0.0, 252.0), Conventions(0.0, 252.0, 260.0), Conventions(0.0, None, 9.0)):
        assert not quiet.doubt
