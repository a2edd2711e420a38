"""The sweep spec and the space it spans: what is refused, and what is proposed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SpecError, UsageError
from pipeline.sweep.objectives import directions
from pipeline.sweep.space import search_space
from pipeline.sweep.spec import SweepSpec, parse_sweep
from pipeline.sweep.study import Proposer
from tests.sweep.sweeps import spec

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweep": {"sampler": "tpee"}}, "sweep.sampler"),
        ({"sweep": {"trails": 5}}, "Did you mean 'trials'?"),
        ({"sweep": {"trials": 0}}, "sweep.trials"),
        ({"sweep": {"objectives": ["sharp"]}}, "Did you mean 'sharpe'?"),
        ({"sweep": {"objectives": ["sharpe", "sharpe"]}}, "each metric once"),
        ({"sweep": {"constraints": ["fast slow"]}}, "not of the form"),
        ({"sweep": {"constraints": ["fats < slow"]}}, "Did you mean 'fast'?"),
        ({"sweep": {"objectives": ["sharpe", "cagr"], "pruner": "median"}}, "several objectives cannot be pruned"),
        ({"sweep": {"storage": "nosuch://x"}}, "cannot be opened"),
        ({"sweep": {"storage": "postgresql://me:secret@host/db"}}, "env:NAME"),
        ({"sweep": {"storage": "env:NOT_SET_ANYWHERE"}}, "is not set"),
        ({"space": {"fats": [1]}}, "Did you mean 'fast'?"),
        ({"space": {"fast": [0, 5]}}, "below 1"),
        ({"space": {"fast": ["five"]}}, "not of type int"),
        ({"space": {"fast": {"low": 9, "high": 3}}}, "above high"),
        ({"space": {"fast": {"low": 3}}}, "either a list of values"),
        ({"space": {"fast": {"low": 0, "high": 3, "log": True}}}, "logarithmic"),
        ({"strategy": {"name": "buy_and_hold"}, "space": {}}, "no parameters to vary"),
        ({"space": {"backtest.stop_pct": {"low": 1.0, "high": 3.0}}}, "needs a step"),
        ({"strategy": {"params": {"fast": 50}}, "space": {"slow": [30, 40]}}, "no combination that keeps the rules"),
        ({"sweep": {"sampler": "tpe", "constraints": ["fast > 200"]}}, "no combination that keeps the rules"),
        ({"sweep": {"constraints": ["average < 5"]}}, "compares what has no order"),
        ({"space": {"fast": {"values": [5, 10], "low": 3}}}, "are for ranges"),
        ({"space": {"fast": {"values": [0, 1, 2], "log": True}}}, "are for ranges"),
        ({"space": {"fast": [5, 5, 10]}}, "in the list twice"),
        ({"strategy": {"name": "own:signals", "params": {}}, "space": {"n": [1, 2, 1.0]}}, "in the list twice"),
        ({"strategy": {"name": "own:signals", "params": {}}, "space": {"n": [1, 2**60]}}, "JSON"),
        ({"strategy": {"name": "own:signals", "params": {}}, "space": {"n": [1.0, float("nan")]}}, "n"),
        ({"space": {"fast": {"low": 1, "high": float("inf")}}}, "finite"),
        ({"space": {"backtest.fee_bps": {"low": 0, "high": 10**9}}}, "grid of 1,000,000,001 points"),
        ({"space": {"backtest.fee_bps": {"low": 0.0, "high": 1e300, "step": 1e-300}}}, "grid of about 10^600 points"),
        ({"space": {"fast": {"low": 5, "high": 10, "step": 2.5}}}, "a whole number"),
        ({"space": {"data.start": ["2014-01-01", "2017-01-01"]}}, "Use mode = 'full'"),
        ({"space": {"strategy.name": ["ma_crossover", "rsi"]}}, "Use mode = 'full'"),
        ({"space": {"backtest.nope": [1, 2]}}, "backtest.nope"),
        ({"space": {"backtest.risk_free_rate": [0.0, 0.04]}}, "a convention of the figures"),
        ({"space": {"data.periods_per_year": [252, 365]}, "sweep": {"mode": "full"}}, "a convention of the figures"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_starts(project: Any, changes: dict[str, Any], message: str) -> None:
    """The message names the key, says what is wrong, and what may have been meant; nothing is left behind."""
    from tests.sweep.sweeps import search

    (project.root / "own.py").write_text("def signals(df, params):\n    return df['close'] * 0\n")
    with pytest.raises(UsageError) as failure:
        search(project, spec(**changes))
    assert message in str(failure.value)
    unsealed = [path for path in project.results.glob("*") if (path / "trials.jsonl").exists()]
    assert unsealed == []


def test_the_shipped_sweep_reads_back_to_an_equal_spec() -> None:
    """A spec written as TOML and read again is the same spec."""
    given = (REPOSITORY / "config" / "sweep.toml").read_bytes()
    read = parse_sweep(given)
    assert parse_sweep(read.to_toml()) == read
    assert SweepSpec.from_mapping(read.to_dict()) == read


def test_without_a_space_the_schema_is_searched(tmp_path: Path) -> None:
    """Every parameter of the strategy that the spec does not fix varies over its documented bounds."""
    space = search_space(spec(space={}, strategy={"params": {"average": "ema"}}), search=tmp_path)
    assert list(space.dimensions) == ["fast", "slow", "allow_short"]
    assert (space.dimensions["fast"].low, space.dimensions["fast"].high) == (1, 500)
    assert space.dimensions["allow_short"].values == [False, True]
    assert space.fixed["average"] == "ema"


def test_the_grid_holds_only_what_the_rules_allow(tmp_path: Path) -> None:
    """The strategy's own rules and the sweep's are kept by every point of the grid."""
    wanted = spec(
        space={"fast": {"low": 5, "high": 20, "step": 5}, "slow": [10, 20]}, sweep={"constraints": ["fast > 5"]}
    )
    points = list(search_space(wanted, search=tmp_path).grid())
    assert points == [{"fast": 10, "slow": 20}, {"fast": 15, "slow": 20}]


def test_other_keys_of_the_spec_can_vary(tmp_path: Path) -> None:
    """A dotted dimension sets that key of the trial's run spec."""
    wanted = spec(space={"fast": [5], "backtest.stop_pct": [2.0, 4.0]})
    points = list(search_space(wanted, search=tmp_path).grid())
    made = [wanted.trial_spec(point, tags={}, chosen=False) for point in points]
    assert [trial.backtest.stop_pct for trial in made] == [2.0, 4.0]
    assert [trial.strategy.params for trial in made] == [{"fast": 5}, {"fast": 5}]


def test_a_param_under_its_whole_key_has_its_schema(tmp_path: Path) -> None:
    """`strategy.params.fast` is `fast`: bounds, types and rules hold, and both at once are refused."""
    whole = spec(space={"strategy": {"params": {"fast": [5, 60]}}, "slow": [50, 100]}, sweep={"sampler": "grid"})
    plain = spec(space={"fast": [5, 60], "slow": [50, 100]}, sweep={"sampler": "grid"})
    found, expected = (list(search_space(wanted, search=tmp_path).grid()) for wanted in (whole, plain))
    assert found == expected
    assert {"fast": 60, "slow": 50} not in found
    with pytest.raises(SpecError, match="is there as fast too"):
        spec(space={"fast": [6], "strategy.params.fast": [5]})


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        (
            {"low": 5, "high": 20, "step": 40},
            "step = 40 is wider than the range from 5 to 20, so 5 alone",
        ),
        ({"low": 0.0, "high": 1.0, "step": 1e-300}, r"step = 1e-300 makes about 10\^\d+ values from 0 to 1\."),
        ({"low": 0.0, "high": 1e300, "step": 0.1}, r"step = 0\.1 makes about 10\^\d+ values"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused(tmp_path: Path, dimension: dict[str, Any], message: str) -> None:
    """Too wide for the range, and so small that they cannot be counted as decimals."""
    (tmp_path / "own.py").write_text("def f(df, params):\n    return df['close'] * 0\n")
    wanted = spec(space={"n": dimension}, sweep={"sampler": "tpe"}, strategy={"name": "own:f"})
    with pytest.raises(SpecError, match=message):
        Proposer(wanted.sweep, search_space(wanted, search=tmp_path)).propose(0, 1)


@pytest.mark.parametrize(
    ("high", "step", "expected"),
    [
        (20, 4, ["space.fast: high = 20 is not tried: with step = 4 the last value is 17."]),
        (20, 5, []),
        (5, 3, []),
    ],
)
def test_a_high_end_that_is_not_reached_is_told(tmp_path: Path, high: int, step: int, expected: list[str]) -> None:
    wanted = spec(space={"fast": {"low": 5, "high": high, "step": step}, "slow": [30]})
    assert search_space(wanted, search=tmp_path).remarks() == expected


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        ([[1, 2], 3], "space.n.values.0: give true, false or a finite number or a text (given: [1, 2])"),
        ([float("nan")], "space.n.values.0: give true, false or a finite number or a text (given: nan)"),
        ({"low": "a", "high": 3}, "space.n.low: give a finite number (given: 'a')"),
        (3, "space.n: give a list of values, or low and high (given: 3)"),
    ],
)
def test_what_is_wrong_is_one_line(dimension: Any, message: str) -> None:
    """Not one for each of the kinds that a value may be of."""
    with pytest.raises(SpecError) as refused:
        spec(space={"n": dimension})
    assert str(refused.value).splitlines()[1:] == [f"  - {message}"]


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "nsga2"])
def test_proposals_keep_the_rules(tmp_path: Path, sampler: str) -> None:
    """No sampler's proposal breaks a rule, and their numbers have no gaps."""
    wanted = spec(sweep={"sampler": sampler}, space={"fast": {"low": 5, "high": 60}, "slow": {"low": 5, "high": 60}})
    space = search_space(wanted, search=tmp_path)
    proposed = Proposer(wanted.sweep, space).propose(0, 25)
    assert [number for number, _ in proposed] == list(range(25))
    assert all(params["fast"] < params["slow"] for _, params in proposed)
    assert len({tuple(params.items()) for _, params in proposed}) > 20


@pytest.mark.slow
def test_rules_that_nothing_keeps_are_said(tmp_path: Path) -> None:
    """A space without a single feasible point ends with an error, not with an endless search."""
    wanted = spec(sweep={"sampler": "random"}, space={"fast": {"low": 50, "high": 60}, "slow": {"low": 5, "high": 40}})
    with pytest.raises(SpecError, match="in a row break the constraints"):
        Proposer(wanted.sweep, search_space(wanted, search=tmp_path)).propose(0, 1)


def test_directions_follow_the_nature_of_the_metric() -> None:
    """Drawdowns are negative, so the greatest is the best; volatility and costs are to be small."""
    assert directions(["sharpe", "max_drawdown", "annual_volatility", "turnover"]) == [
        "maximize", "maximize", "minimize", "minimize",
    ]  # fmt: skip
