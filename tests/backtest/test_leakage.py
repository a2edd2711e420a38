"""Leakage: every planted leak is found, no clean strategy is accused, and doubt is called doubt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.backtest import BacktestEngine, get_strategy, strategy_names
from pipeline.backtest.dependence import POWERS
from pipeline.backtest.leakage import check_leakage
from pipeline.errors import StrategyError, UsageError
from tests.tiers import mostly_slow


def long_where(values: pd.Series) -> pd.Series:
    return (values > 0).astype("int8")


def tomorrow(df, params):
    return long_where(df["close"].shift(-1).fillna(0) - df["close"])


def left_label(df, params):
    weekly = df["close"].resample("W", label="left").last().reindex(df.index, method="ffill")
    return long_where(df["close"] - weekly.bfill().fillna(0))


def left_label_of_months(df, params):
    monthly = df["close"].resample("MS", label="left").last().reindex(df.index, method="ffill")
    return long_where(monthly - monthly.shift(30).fillna(1e9))


def scaled_on_all(df, params):
    return long_where((df["close"] - df["close"].mean()) / df["close"].std())


def scaled_by_range(df, params):
    low, high = df["close"].min(), df["close"].max()
    return long_where((df["close"] - low) / max(high - low, 1e-9) - 0.5)


def centred(df, params):
    return long_where(df["close"] - df["close"].rolling(11, center=True).mean().fillna(1e9))


def centred_narrowly(df, params):
    return long_where(df["close"] - df["close"].rolling(3, center=True).mean().fillna(1e9))


def interpolated(df, params):
    """Prices on the bars without volume are drawn straight across the gap."""
    close = df["close"].where(df["volume"] > 0).interpolate(limit_area="inside").ffill()
    return long_where(close.diff().fillna(0))


def interpolated_months(df, params):
    first = df["close"].where(df.index.day == 1).interpolate(limit_area="inside").ffill()
    return long_where(first.diff().fillna(0))


def rarely(df, params):
    """Looks ahead on one day of a month only."""
    ahead = df["close"].shift(-1).fillna(0) - df["close"]
    return long_where(ahead.where(df.index.day == 13, 0))


LEAKS = (tomorrow, left_label, left_label_of_months, scaled_on_all, scaled_by_range, centred, centred_narrowly,
         interpolated, interpolated_months, rarely)  # fmt: skip
SMALL = {
    "ma_crossover": {"fast": 3, "slow": 7},
    "rsi_reversion": {"period": 4, "lower": 40.0, "upper": 60.0},
    "donchian": {"entry": 6, "exit": 3},
    "macd": {"fast": 3, "slow": 6, "signal": 3},
}


@pytest.fixture(scope="module")
def market(random_market) -> pd.DataFrame:
    """1,500 daily bars; a few stretches of them without volume."""
    df = random_market(1_500, seed=4)
    volume = df["volume"].to_numpy(copy=True)
    for start in (200, 555, 900, 1_300):
        volume[start : start + 6] = 0
    return df.assign(volume=volume)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_planted_leaks_are_found(leak, seed: int, market: pd.DataFrame) -> None:
    """Every planted leak is found whatever the seed; the verdict names the bar and both signals."""
    verdict = check_leakage(leak, market, seed=seed)
    assert verdict.status == "leak"
    first = verdict.first
    assert first.bar < first.cut
    assert first.timestamp == market.index[first.bar]
    assert first.signal == leak(market, {}).iloc[first.bar]
    assert first.signal_then != first.signal
    assert first.bar == min(difference.bar for difference in verdict.differences)
    assert f"at bar {first.bar} ({first.timestamp.isoformat()}) is {first.signal}" in verdict.sentence
    assert verdict.status == "leak"
    assert "looks into the future" in verdict.sentence


@pytest.mark.parametrize("name", mostly_slow(sorted({*strategy_names()} - {"buy_and_hold"})))
def test_bundled_strategies_are_clean(name: str, sp500: pd.DataFrame, market: pd.DataFrame) -> None:
    """No alarm on bundled strategies, with default params on real data and short windows on made-up data."""
    signal_fn = get_strategy(name).signal_fn
    small = SMALL.get(name, {}) | {"allow_short": True}
    for df, params in ((sp500, None), (market, small)):
        verdict = check_leakage(signal_fn, df, params)
        assert verdict.clean, verdict.sentence
        assert verdict.sentence.startswith("No look-ahead showed in")
        assert verdict.responses > 100


def test_every_cut_of_a_short_market(market: pd.DataFrame) -> None:
    """With no more bars than cuts, every bar is a cut; a leak of one bar shows at the very bar."""
    verdict = check_leakage(tomorrow, market.iloc[:20])
    assert verdict.cuts == tuple(range(1, 20))
    assert all(difference.bar == difference.cut - 1 for difference in verdict.differences)
    assert len(verdict.differences) >= 10


def test_calls_are_bounded(market: pd.DataFrame) -> None:
    """At most 2 + 3 calls a cut and those on other bars, and 2 + 2 a cut and those for a clean strategy."""
    assert check_leakage(get_strategy("macd").signal_fn, market, cuts=10).calls == 2 + 2 * 10 + len(POWERS) + 1
    assert check_leakage(centred_narrowly, market, cuts=10).calls <= 2 + 3 * 10
    given = check_leakage(tomorrow, market, cuts=[300, 100, 100])
    assert given.cuts == (100, 300)


def test_a_stochastic_strategy_is_not_a_leak(market: pd.DataFrame) -> None:
    """Other signals for equal input are reported as such: at once, or when the difference does not repeat."""

    def coin(df, params):
        return pd.Series(np.random.default_rng().integers(0, 2, len(df)), index=df.index)

    calls = []

    def third_time(df, params):
        calls.append(1)
        return pd.Series(len(calls) % 2 if len(calls) > 2 else 1, index=df.index, dtype="int8")

    for function in (coin, third_time):
        verdict = check_leakage(function, market)
        assert (verdict.status, verdict.first, verdict.clean) == ("stochastic", None, False)
        assert "different signals for the same bars" in verdict.sentence


def test_a_seeded_strategy_is_no_leak(market: pd.DataFrame) -> None:
    """Random numbers seeded from params, drawn bar by bar, are no leak; alone they depend on no bar."""

    def seeded(df, params):
        return pd.Series(np.random.default_rng(params["seed"]).integers(-1, 2, len(df)), index=df.index)

    def seeded_above(df, params):
        return seeded(df, params).where(df["close"] > df["close"].rolling(20).mean(), 0)

    alone = check_leakage(seeded, market, {"seed": 3})
    assert (alone.status, alone.reason, alone.responses) == ("unjudged", "independent", 0)
    assert check_leakage(seeded_above, market, {"seed": 3}).clean


def test_failures_on_little_data_are_told(market: pd.DataFrame) -> None:
    """A strategy that needs many bars is judged where it runs; one that never runs on less is unchecked."""

    def needs(df, params):
        if len(df) < params["bars"]:
            raise ValueError("too few bars")
        return long_where(df["close"].diff().fillna(0))

    some = check_leakage(needs, market, {"bars": 700})
    assert some.clean
    assert some.failures
    assert f"({len(some.failures)} more could not be judged)" in some.sentence
    none = check_leakage(needs, market, {"bars": len(market)})
    assert none.status == "unchecked"
    assert "could not be checked for look-ahead: truncation: ValueError: too few bars" in none.sentence
    assert check_leakage(needs, market.iloc[:1], {"bars": 1}).status == "unchecked"


def test_the_frame_is_not_changed(market: pd.DataFrame) -> None:
    """A strategy that writes into its frame does not spoil the check or the data."""

    def writes(df, params):
        df["close"] = df["close"].rolling(3).mean()
        return long_where(df["close"].diff().fillna(0))

    before = market.copy()
    assert check_leakage(writes, market).clean
    pd.testing.assert_frame_equal(market, before)


def test_wrong_input_is_an_error(market: pd.DataFrame) -> None:
    """Cuts outside the data, malformed signals and bad params are refused."""
    with pytest.raises(UsageError, match=r"Cuts \[0, 1500\] are outside 1 to 1499"):
        check_leakage(tomorrow, market, cuts=[0, 5, 1_500])
    with pytest.raises(UsageError, match="cuts = 0"):
        check_leakage(tomorrow, market, cuts=0)
    with pytest.raises(StrategyError, match="NaN"):
        check_leakage(lambda df, params: df["close"].shift(-1), market)
    with pytest.raises(StrategyError, match="fast < slow does not hold"):
        check_leakage(get_strategy("macd").signal_fn, market, {"fast": 30, "slow": 20})


def test_a_leak_pays(market: pd.DataFrame) -> None:
    """What the check finds is what makes a backtest look too good: tomorrow's close beats everything."""
    engine = BacktestEngine(None, False)
    result = engine.run_realistic(df=market, strategy_signal_fn=tomorrow, strategy_params={}, symbol="X")
    assert result.stats["sharpe"] > 8
