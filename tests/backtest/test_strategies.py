"""Strategies: names, schema, params, the user's own functions, signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import (
    BacktestEngine,
    Constraint,
    Parameter,
    as_strategy,
    check_signals,
    get_strategy,
    resolve_params,
    strategy_names,
)
from pipeline.errors import StrategyError

SMALL = {
    "ma_crossover": {"fast": 3, "slow": 7},
    "buy_and_hold": {},
    "rsi_reversion": {"period": 4, "lower": 40.0, "upper": 60.0},
    "donchian": {"entry": 6, "exit": 3},
    "macd": {"fast": 3, "slow": 6, "signal": 3},
}
NAMES = st.sampled_from(sorted(SMALL))


def signals_of(name: str, df: pd.DataFrame, **params: object) -> pd.Series:
    strategy = get_strategy(name)
    return check_signals(strategy.signal_fn(df, resolve_params(strategy, params)), df.index)


def small_params(name: str, allow_short: bool = True) -> dict[str, object]:
    return SMALL[name] | ({} if name == "buy_and_hold" else {"allow_short": allow_short})


def test_bundled_names() -> None:
    """The bundled strategies and the alias are found by name."""
    assert strategy_names() == ("ma_crossover", "buy_and_hold", "rsi_reversion", "donchian", "macd")
    assert get_strategy("breakout") is get_strategy("donchian")
    assert all(as_strategy(get_strategy(name).signal_fn) is get_strategy(name) for name in strategy_names())


def test_unknown_name_tells_the_nearest() -> None:
    """A misspelt name is an error that names the nearest valid one."""
    with pytest.raises(StrategyError, match=r"no strategy 'ma_cross'. Did you mean 'ma_crossover'"):
        get_strategy("ma_cross")


def test_every_schema_is_complete() -> None:
    """Each parameter has a meaning and a default inside its bounds; defaults keep all constraints."""
    for name in strategy_names():
        strategy = get_strategy(name)
        assert strategy.summary
        assert list(resolve_params(strategy)) == [parameter.name for parameter in strategy.parameters]
        for parameter in strategy.parameters:
            assert parameter.meaning
            assert type(parameter.default) is parameter.type


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fsat": 5}, r"fsat is not one of its params\. Did you mean 'fast'\?"),
        ({"fast": 0}, r"fast = 0: must be at least 1 \(bars in the fast moving average\)"),
        ({"fast": 501, "slow": 900}, r"fast = 501: must be at most 500 \(bars in the fast"),
        ({"fast": "ten"}, r"fast = 'ten': must be of type int, not str"),
        ({"fast": 5.0}, r"fast = 5\.0: must be of type int, not float"),
        ({"fast": True}, r"fast = True: must be of type int, not bool"),
        ({"fast": 60}, r"fast < slow does not hold: fast = 60, slow = 50"),
        ({"average": "hull"}, r"average = 'hull': must be one of sma, ema"),
        ({"allow_short": 1}, r"allow_short = 1: must be of type bool, not int"),
    ],
)
def test_bad_params_tell_value_bound_and_meaning(params: dict[str, object], message: str) -> None:
    """A bad param is an error that tells the value, the bound and what the param means."""
    with pytest.raises(StrategyError, match=message):
        resolve_params(get_strategy("ma_crossover"), params)


def test_all_problems_are_told_at_once() -> None:
    """One message lists every bad param."""
    with pytest.raises(StrategyError) as caught:
        resolve_params(get_strategy("rsi_reversion"), {"perod": 3, "lower": 0.5, "upper": float("nan")})
    assert str(caught.value).count("\n  - ") == 3


def test_numpy_scalars_become_plain_numbers() -> None:
    """Numbers from numpy or an optimiser are accepted and stored as Python's own types."""
    resolved = resolve_params(get_strategy("rsi_reversion"), {"period": np.int64(5), "lower": 20})
    assert type(resolved["period"]) is int
    assert type(resolved["lower"]) is float


@given(NAMES, st.data())
@settings(max_examples=60, deadline=None)
def test_params_inside_the_bounds_resolve(name: str, data: st.DataObject) -> None:
    """Any value inside type, bounds and constraints is accepted unchanged."""
    strategy = get_strategy(name)
    drawn = {}
    for item in strategy.parameters:
        if item.type is int:
            drawn[item.name] = data.draw(st.integers(int(item.low), int(item.high)))
        elif item.type is float:
            drawn[item.name] = data.draw(st.floats(item.low, item.high))
    if all(rule.holds(resolve_params_unchecked(strategy, drawn)) for rule in strategy.constraints):
        resolved = resolve_params(strategy, drawn)
        assert {key: resolved[key] for key in drawn} == drawn
    else:
        with pytest.raises(StrategyError, match="does not hold"):
            resolve_params(strategy, drawn)


def resolve_params_unchecked(strategy, drawn):
    return {item.name: drawn.get(item.name, item.default) for item in strategy.parameters}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def signal(:\n", r"line 1\b(.|\n)*SyntaxError"),
        ("raise ValueError('no licence')\n", "ValueError: no licence"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
    ],
)
def test_a_module_that_raises_is_refused(tmp_path: Path, source: str, said: str) -> None:
    """What a user's module raises while it is imported is told as an error of the strategy, never let through."""
    (tmp_path / "my_rules_broken.py").write_text(source)
    with pytest.raises(StrategyError, match=f"'my_rules_broken:signal' cannot be imported: (.|\n)*{said}"):
        get_strategy("my_rules_broken:signal", search=tmp_path)


def test_an_object_that_is_called_is_a_strategy(sp500: pd.DataFrame) -> None:
    """Any callable will do, also one that cannot be hashed; what it is called is the same in every process."""

    @dataclass(repr=False)
    class Above:
        bars: int = 20

        def __call__(self, df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
            return (df["close"] > df["close"].rolling(self.bars).mean()).astype(int)

    done = BacktestEngine().run_realistic(df=sp500, strategy_signal_fn=Above(), symbol="SPX")
    assert done.stats["total_trades"] > 0
    assert done.config["strategy"].endswith(".Above")


def test_user_strategy_from_a_module(tmp_path: Path) -> None:
    """`module:function` is imported; without a schema its params pass unchecked."""
    (tmp_path / "my_rules_a.py").write_text("def above(df, params):\n    return (df.close > params['x']).astype(int)\n")
    strategy = get_strategy("my_rules_a:above", search=tmp_path)
    assert strategy.name == "my_rules_a:above"
    assert not strategy.has_schema
    assert resolve_params(strategy, {"x": 3, "other": None}) == {"x": 3, "other": None}
    with pytest.raises(StrategyError, match=r"'abve' in module my_rules_a does not exist\. Did you mean 'above'"):
        get_strategy("my_rules_a:abve", search=tmp_path)
    with pytest.raises(StrategyError, match="cannot be imported"):
        get_strategy("no_such_module_here:f")
    with pytest.raises(StrategyError, match="of the form module:function"):
        get_strategy("my_rules_a:")


def test_user_strategy_with_a_schema() -> None:
    """`parameters` and `constraints` on the function are its schema."""

    def mine(df: pd.DataFrame, params: dict) -> pd.Series:
        return pd.Series(0, index=df.index)

    mine.parameters = (Parameter("a", int, 1, 0, 9, "first"), Parameter("b", int, 5, 0, 9, "second"))
    mine.constraints = (Constraint("a", "b"),)
    assert resolve_params(as_strategy(mine), {"a": 2}) == {"a": 2, "b": 5}
    with pytest.raises(StrategyError, match="a < b does not hold"):
        resolve_params(as_strategy(mine), {"a": 6})
    mine.parameters = ("a",)
    with pytest.raises(StrategyError, match="must be pipeline"):
        as_strategy(mine)


def test_signals_are_checked(sp500: pd.DataFrame) -> None:
    """Signals must be a Series on the data's index with 1, 0, -1 and no NaN."""
    index = sp500.index[:4]
    good = pd.Series([1.0, 0.0, -1.0, 0.0], index=index)
    assert check_signals(good, index).dtype == "int8"
    assert check_signals(pd.Series([True, False, True, True], index=index), index).tolist() == [1, 0, 1, 1]
    for bad, message in (
        (good.to_numpy(), "must return a pandas Series"),
        (good.iloc[:3], "3 values for 4 bars"),
        (good.reset_index(drop=True), "not on the index"),
        (good.mask(good == -1), r"have NaN \(first at 1999-01-06"),
        (good * 2, r"must be 1, 0 or -1; 2 are not \(first: .*2\.0.* at 1999-01-04"),
    ):
        with pytest.raises(StrategyError, match=message):
            check_signals(bad, index)


@given(NAMES, st.integers(0, 10**6), st.integers(2, 120), st.booleans())
@settings(max_examples=60, deadline=None)
def test_signals_do_not_look_ahead(random_market, name: str, seed: int, cut: int, short: bool) -> None:
    """Neither cutting the future off nor replacing it changes a signal before the cut."""
    df = random_market(120, seed)
    whole = signals_of(name, df, **small_params(name, short))
    pd.testing.assert_series_equal(signals_of(name, df.iloc[:cut], **small_params(name, short)), whole.iloc[:cut])
    other = df.copy()
    other.iloc[cut:] = df.iloc[cut:].to_numpy()[::-1] * 1.5
    changed = signals_of(name, other, **small_params(name, short))
    pd.testing.assert_series_equal(changed.iloc[:cut], whole.iloc[:cut])


@pytest.mark.parametrize("name", strategy_names())
def test_short_only_when_allowed(sp500: pd.DataFrame, name: str) -> None:
    """-1 needs allow_short, and allowing it never changes the long signals."""
    if name == "buy_and_hold":
        assert (signals_of(name, sp500) == 1).all()
        return
    plain, both = signals_of(name, sp500), signals_of(name, sp500, allow_short=True)
    assert set(plain.unique()) == {0, 1}
    assert set(both.unique()) >= {-1, 1}
    assert ((both == 1) == (plain == 1)).all()


@pytest.mark.parametrize(("name", "first"), [("ma_crossover", 6), ("rsi_reversion", 4), ("donchian", 6), ("macd", 7)])
def test_warm_up_is_flat(random_market, name: str, first: int) -> None:
    """Before the first full window there is no signal."""
    df = random_market(60, 4)
    assert (signals_of(name, df, **small_params(name)).iloc[:first] == 0).all()
    assert (signals_of(name, df.iloc[:1], **small_params(name)) == 0).all()


def test_constant_prices_give_no_signal(bars) -> None:
    """Nothing happens on a flat line: no rounding error turns into a trade."""
    df = bars([(10.1, 10.1, 10.1, 10.1)] * 80)
    for name in ("ma_crossover", "donchian", "rsi_reversion"):
        assert (signals_of(name, df, **small_params(name)) == 0).all()
    assert (signals_of("ma_crossover", df, fast=3, slow=7, average="ema", allow_short=True) == 0).all()


def test_signals_by_hand(bars) -> None:
    """Each rule, worked out by hand on a short series."""
    close = [1.0, 2, 3, 4, 3, 2, 1, 2, 3, 4]
    df = bars([(c, c, c, c) for c in close])
    got = signals_of("ma_crossover", df, fast=1, slow=3, allow_short=True)
    assert got.tolist() == [0, 0, 1, 1, -1, -1, -1, 1, 1, 1]  # bar 4: average 3.33 > 3; bar 7: 1.67 < 2
    got = signals_of("donchian", df, entry=3, exit=2, allow_short=True)
    assert got.tolist() == [0, 0, 0, 1, 1, -1, -1, -1, 1, 1]  # 3 is not below the low 3 of bars 2-3; 2 is below 3
    got = signals_of("rsi_reversion", df, period=2, lower=30.0, upper=70.0, exit_level=50.0)
    # gains 1 1 1 0 0 0 1 …: RSI 100 100 50 25 12.5 56.25 from bar 2 on
    assert got.tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]
