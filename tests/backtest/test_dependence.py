"""Dependence: what does not come from the bars that a strategy is given is never called clean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.backtest.contract import check_frame
from pipeline.backtest.dependence import POWERS, other_bars
from pipeline.backtest.leakage import check_leakage
from pipeline.backtest.outside import outside_data
from pipeline.errors import StrategyError


@pytest.fixture(scope="module")
def market(random_market) -> pd.DataFrame:
    return random_market(600, seed=4)


def signals(values, df: pd.DataFrame) -> pd.Series:
    return pd.Series(np.asarray(values).astype("int8"), index=df.index)


def above(df: pd.DataFrame) -> pd.Series:
    """Say where the close is above its mean of 20 bars: depends on the bars alone."""
    return df["close"] > df["close"].rolling(20).mean()


def tomorrow(df: pd.DataFrame) -> pd.Series:
    return df["close"].shift(-1) > df["close"]


def alone_and_in_part(leak: Callable[[pd.DataFrame], np.ndarray]) -> tuple[Callable, Callable]:
    """Return a strategy that gives the leak, and one that gives it where the bars agree."""
    return lambda df, params: signals(leak(df), df), lambda df, params: signals(leak(df) & above(df), df)


def judged(function, df: pd.DataFrame) -> tuple[str, str | None]:
    verdict = check_leakage(function, df, cuts=3)
    assert not verdict.clean or verdict.reason is None
    return verdict.status, verdict.reason


def test_signals_made_before_the_call(market: pd.DataFrame, tmp_path: Path) -> None:
    """Tomorrow's rise from a variable, a default, an object, a file or a helper: independent alone, mixed with bars."""
    rises, places = tomorrow(market), tomorrow(market).to_numpy()
    rises.to_frame("rises").to_parquet(tmp_path / "rises.parquet")
    np.save(tmp_path / "rises.npy", places)
    held = SimpleNamespace(rises=places)
    ways = {
        "by timestamp": lambda df: rises.reindex(df.index).to_numpy(),
        "by number": lambda df: places[: len(df)],
        "default": lambda df, given=places: given[: len(df)],
        "bound": functools.partial(lambda given, df: given[: len(df)], places),
        "object": lambda df: held.rises[: len(df)],
        "table in a file": lambda df: pd.read_parquet(tmp_path / "rises.parquet")["rises"].reindex(df.index).to_numpy(),
        "array in a file": lambda df: np.load(tmp_path / "rises.npy")[: len(df)],
    }
    for name, way in ways.items():
        alone, in_part = alone_and_in_part(way)
        assert judged(alone, market) == ("unjudged", "independent"), name
        assert judged(in_part, market) == ("unjudged", "mixed"), name
    verdict = check_leakage(alone_and_in_part(ways["by timestamp"])[0], market)
    assert (
        "cannot be judged: its signals do not depend on the bars it is given (none of 600 changes" in verdict.sentence
    )
    assert "reads rises from outside of its arguments" in verdict.sentence
    assert verdict.responses == 0


def test_added_columns(market: pd.DataFrame) -> None:
    """A column made before the call moves with its bars, so what it knows cannot be seen; one not read is no matter."""
    wider = market.assign(target=market["close"].shift(-1).ffill(), other=1.0)
    noted = market.copy()
    noted.attrs["rises"] = tomorrow(market).to_numpy()
    for df, leak in (
        (wider, lambda df: df["target"] > df["close"]),
        (noted, lambda df: df.attrs["rises"][: len(df)]),
    ):
        _, in_part = alone_and_in_part(leak)
        assert judged(in_part, df) == ("unjudged", "mixed")
    sentence = check_leakage(lambda df, params: signals(df["target"] > df["close"], df), wider).sentence
    assert "added to the bars before the call (target, other)" in sentence
    assert judged(lambda df, params: signals(above(df), df), wider) == ("clean", None)


def test_dates_and_the_calendar(market: pd.DataFrame) -> None:
    """Days of the week beside bars are clean, alone there is nothing to judge; single dates may be hindsight."""

    def monday(df):
        return df.index.day_of_week == 0

    def month_end(df):
        return (df.index + pd.Timedelta(days=3)).month != df.index.month

    for calendar in (monday, month_end):
        alone, in_part = alone_and_in_part(calendar)
        assert judged(alone, market) == ("unjudged", "independent")
        assert judged(in_part, market) == ("clean", None)
    alone, in_part = alone_and_in_part(lambda df: df.index > "2020-06-01")
    assert judged(alone, market) == ("unjudged", "independent")
    assert judged(in_part, market) == ("unjudged", "mixed")


def test_a_signal_that_never_changes(market: pd.DataFrame) -> None:
    """Always long, whatever the bars, is nothing that could be judged, and its sentence says so."""
    for function in (lambda df, params: signals(np.ones(len(df)), df), lambda df, params: signals(df["close"] > 0, df)):
        verdict = check_leakage(function, market)
        assert (verdict.status, verdict.reason, verdict.responses) == ("unjudged", "constant", 0)
        assert "its signal is 1 at every bar, whatever the bars" in verdict.sentence


def test_a_memory_of_the_first_call(market: pd.DataFrame) -> None:
    """A strategy that gives what it computed once does not look at its bars, honest as it may have been."""
    memory: dict[str, pd.Series] = {}

    def remembers(df, params):
        return memory.setdefault("signals", signals(above(df), df)).reindex(df.index)

    assert judged(remembers, market) == ("unjudged", "independent")


def test_a_strategy_of_these_bars_only(market: pd.DataFrame) -> None:
    """One that refuses any other bars cannot be judged, and the sentence has what it raised."""
    first = market["close"].iloc[0]

    def knows(df, params):
        if df["close"].iloc[0] != first:
            raise ValueError("not my bars")
        return signals(above(df), df)

    verdict = check_leakage(knows, market)
    assert (verdict.status, verdict.reason) == ("unjudged", "fails")
    assert "ValueError: not my bars" in verdict.sentence


@pytest.mark.parametrize(
    "honest",
    [
        lambda df: df["volume"] > df["volume"].rolling(20).mean(),
        lambda df: df["close"] > df["close"].shift(1),
        lambda df: df["close"] > df["close"].expanding().mean(),
        lambda df: df["close"].resample("W").last().shift(1).reindex(df.index, method="ffill") < df["close"],
        lambda df: (np.arange(len(df)) % 20 < 10) & above(df),
    ],
    ids=["volume", "momentum", "expanding", "weekly", "every 20th"],
)
def test_honest_strategies_are_clean(honest, market: pd.DataFrame) -> None:
    """Volume, all of the past, closed weeks and a rhythm of bars beside prices are judged, and clean."""
    assert judged(lambda df, params: signals(honest(df), df), market) == ("clean", None)


@pytest.mark.parametrize("power", sorted(set(POWERS)))
def test_other_bars_are_bars(power: float, market: pd.DataFrame, sp500: pd.DataFrame) -> None:
    """They keep the data contract, times, added columns and dtypes; every price differs, flat markets included."""
    flat = market.assign(open=10.0, high=10.0, low=10.0, close=10.0)
    for df in (market.assign(extra=range(len(market))), sp500, flat, market.head(2)):
        other = other_bars(df, power, np.random.default_rng(0))
        check_frame(other)
        assert other.index.equals(df.index)
        assert other.dtypes.equals(df.dtypes)
        assert (other["close"] != df["close"]).all()
        if "extra" in df:
            assert other["extra"].equals(df["extra"])


VALUES = np.arange(100.0)
close = VALUES


def reads_a_global(df, params):
    return VALUES[: len(df)]


def test_what_a_function_holds() -> None:
    """Names of data are told; an attribute of an argument that bears the name of a global is none."""

    def calls_another(df, params):
        return reads_a_global(df, params)

    assert outside_data(reads_a_global, 50) == outside_data(calls_another, 50) == ("VALUES",)
    assert outside_data(reads_a_global, 101) == ()
    assert outside_data(lambda df, params: df.close > df.close.mean(), 50) == ()
    assert outside_data(StrategyError, 50) == outside_data(pd.DataFrame.mean, 50) == ()

    class Model:
        weights = (*range(60),)

        def __init__(self) -> None:
            self.unread = VALUES

        def signals(self, df, params):
            return self.levels + Model.weights

        def __call__(self, df, params):
            return self.scores

    model = Model()
    model.levels, model.scores = {1: VALUES}, (VALUES,)
    assert outside_data(model.signals, 50) == ("weights", "levels")
    assert outside_data(model, 50) == ("scores",)
