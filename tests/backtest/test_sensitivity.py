"""Sensitivity: the base row is the backtest itself, each table changes one thing, and splits add up."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.backtest import BacktestEngine, get_strategy
from pipeline.backtest.sensitivity import (
    COLUMNS,
    METRICS,
    Case,
    cost_sensitivity,
    delay_sensitivity,
    parameter_sensitivity,
    regimes,
    sensitivity,
    split_by_regime,
    split_by_year,
)
from pipeline.errors import UsageError

CROSS = get_strategy("ma_crossover").signal_fn


@pytest.fixture(scope="module")
def case(random_market) -> Case:
    engine = BacktestEngine(initial_cash=5_000, stop_pct=8.0, risk_free_rate=0.01)
    params = {"fast": 5, "slow": 20, "allow_short": True}
    return Case(engine, random_market(900, seed=3), CROSS, params, "X", fee_bps=2.0, slippage_bps=3.0)


def run(case: Case, **changes):
    call = {
        "df": case.df, "strategy_signal_fn": case.signal_fn, "strategy_params": case.params, "symbol": "X",
        "fee_bps": case.fee_bps, "slippage_bps": case.slippage_bps,
    } | changes  # fmt: skip
    return case.engine.run_realistic(**call)


def test_base_rows_are_the_backtest(case: Case) -> None:
    """Every table's base row equals the plain run, settings of the engine included."""
    table = sensitivity(case)
    assert list(table.columns) == list(COLUMNS)
    assert set(table["kind"]) == {"cost", "delay", "param"}
    expected = [float(run(case).stats[name]) for name in METRICS]
    base = table[table["is_base"]]
    assert len(base) == 4
    assert np.allclose(base[list(METRICS)].to_numpy(float), expected, rtol=1e-12)


def test_costs_scale(case: Case) -> None:
    """Factor f charges f times fee and slippage; no costs is best, more costs never help this strategy."""
    table = cost_sensitivity(case)
    assert table["value"].tolist() == [0.0, 5.0, 10.0, 25.0]
    assert table["total_return"].is_monotonic_decreasing
    free = run(case, fee_bps=0.0, slippage_bps=0.0)
    assert table["total_return"].iloc[0] == free.stats["total_return"]
    absurd = cost_sensitivity(case, factors=(1e6,))
    assert absurd["status"].iloc[0].startswith("fee_bps = 2000000.0: must be")
    assert math.isnan(absurd["sharpe"].iloc[0])


def test_delay_moves_the_signals(case: Case) -> None:
    """A delay of d bars is the same strategy d bars later; a negative one is refused."""
    table = delay_sensitivity(case, delays=(0, 2))
    late = run(
        case, strategy_signal_fn=lambda df, _: CROSS(df, {**case.params, "average": "sma"}).shift(2, fill_value=0)
    )
    assert table["total_return"].iloc[1] == late.stats["total_return"]
    with pytest.raises(UsageError, match="would know the future"):
        delay_sensitivity(case, delays=(-1,))


def test_parameters_move_by_steps(case: Case) -> None:
    """Integers are rounded and move by one at least; `value` is what was run."""
    table = parameter_sensitivity(case)
    assert set(table["name"]) == {"fast", "slow"}
    fast = table[table["name"] == "fast"].set_index("change")["value"]
    assert fast.to_dict() == {0.0: 5, -0.2: 4, -0.1: 4, -0.05: 4, 0.05: 6, 0.1: 6, 0.2: 6}
    slow = table[table["name"] == "slow"].set_index("change")["value"]
    assert slow.to_dict() == {0.0: 20, -0.2: 16, -0.1: 18, -0.05: 19, 0.05: 21, 0.1: 22, 0.2: 24}
    moved = run(case, strategy_params={**case.params, "slow": 24})
    row = table[(table["name"] == "slow") & (table["change"] == 0.2)].iloc[0]
    assert row["sharpe"] == moved.stats["sharpe"]


def test_bounds_and_rules_are_kept(case: Case) -> None:
    """A step outside the schema or against a rule is not run; status says why."""
    edge = Case(case.engine, case.df, CROSS, {"fast": 19, "slow": 20}, "X")
    table = parameter_sensitivity(edge).set_index(["name", "change"])
    assert table.loc[("fast", 0.1), "status"] == "fast < slow does not hold: fast = 21, slow = 20"
    assert math.isnan(table.loc[("fast", 0.1), "sharpe"])
    low = Case(case.engine, case.df, CROSS, {"fast": 1, "slow": 20}, "X")
    status = parameter_sensitivity(low).set_index(["name", "change"]).loc[("fast", -0.2), "status"]
    assert status.startswith("fast = 0: must be at least 1")


def test_functions_without_a_schema(case: Case) -> None:
    """Numbers among the params are varied, floats by the exact step; others are left alone; no params: no rows."""

    def momentum(df, params):
        return (df["close"].pct_change(params["bars"]) > params["least"]).astype("int8")

    loose = Case(case.engine, case.df, momentum, {"bars": 10, "least": 0.01, "label": "x", "on": True}, "X")
    table = parameter_sensitivity(loose)
    assert set(table["name"]) == {"bars", "least"}
    assert 0.01 * 1.05 in table["value"].tolist()
    hold = Case(case.engine, case.df, get_strategy("buy_and_hold").signal_fn)
    assert parameter_sensitivity(hold).empty
    assert set(sensitivity(hold)["kind"]) == {"cost", "delay"}


def test_a_step_that_the_strategy_cannot_take_is_one_row(case: Case) -> None:
    """What a strategy raises for a moved param is that row's status; costs, delays and other steps are there."""

    def above(df: pd.DataFrame, params: dict) -> pd.Series:
        return (df["close"] > df["close"].rolling(10).quantile(params["share"])).astype(int)

    table = sensitivity(replace(case, signal_fn=above, params={"share": 0.9}))
    steps = table[table["kind"] == "param"].set_index("change")["status"]
    assert steps[0.2].startswith("ValueError: ")
    assert steps.drop([0.2]).eq("ok").all()
    assert set(table["kind"]) == {"cost", "delay", "param"}


def test_nothing_is_tracked(case: Case) -> None:
    """Re-runs never reach the tracker of the engine."""

    class Refuses:
        def log_backtest(self, result):
            raise AssertionError("a re-run was tracked")

    assert len(cost_sensitivity(Case(BacktestEngine(Refuses()), case.df, CROSS))) == 4


def test_years_compound_to_the_whole(case: Case) -> None:
    """The years' returns compound to the total return, their bars add up; drawdown and benchmark are by year."""
    result = run(case)
    table = split_by_year(result, benchmark=case.df["close"])
    assert np.prod(1 + table["total_return"]) - 1 == pytest.approx(result.stats["total_return"], rel=1e-12)
    assert table["bars"].sum() == 900
    close = case.df["close"]
    assert np.prod(1 + table["benchmark_return"]) == pytest.approx(close.iloc[-1] / close.iloc[0], rel=1e-12)
    assert (table["max_drawdown"] >= result.stats["max_drawdown"] - 1e-12).all()
    held = result.positions != 0
    assert table.loc[2021, "exposure"] == pytest.approx(held[held.index.year == 2021].mean())
    assert "benchmark_return" not in split_by_year(result).columns


def test_regimes_know_only_the_past(case: Case) -> None:
    """Labels on the first k bars are the first k labels on all bars; terciles hold a fair share each."""
    close = case.df["close"]
    whole = regimes(close, window=20, min_history=50)
    for k in (75, 300, 611):
        pd.testing.assert_frame_equal(regimes(close.iloc[:k], window=20, min_history=50), whole.iloc[:k])
    assert (whole.iloc[: 20 + 49] == "unknown").all().all()
    shares = whole["volatility"].value_counts(normalize=True)
    assert shares[["low", "middle", "high"]].min() > 0.1


def test_regime_returns_add_up(case: Case) -> None:
    """Each return belongs to one regime, the one known at the close before it."""
    result = run(case)
    table = split_by_regime(result, case.df["close"], window=20, min_history=50)
    for kind in ("trend", "volatility"):
        part = table.loc[kind]
        assert part["bars"].sum() == 899
        assert part["share"].sum() == pytest.approx(1)
        assert np.prod(1 + part["total_return"]) - 1 == pytest.approx(result.stats["total_return"], rel=1e-9)
    labels = regimes(case.df["close"], window=20, min_history=50)["trend"].to_numpy()[:-1]
    returns = result.equity_curve.pct_change().to_numpy()[1:]
    expected = returns[labels == "high"].mean() * 365
    assert table.loc[("trend", "high"), "annual_return"] == pytest.approx(expected, rel=1e-9)
    with pytest.raises(UsageError, match="on the bars of the result"):
        split_by_regime(result, case.df["close"].iloc[1:])


def test_short_results_have_tables_too(case: Case) -> None:
    """One bar gives one year and empty regimes, not errors."""
    short = Case(BacktestEngine(), case.df.iloc[:1], CROSS)
    result = short.engine.run_realistic(df=short.df, strategy_signal_fn=CROSS, symbol="X")
    assert len(split_by_year(result)) == 1
    assert split_by_regime(result, short.df["close"])["bars"].sum() == 0
    with pytest.raises(UsageError, match="window = 1"):
        regimes(case.df["close"], window=1)
