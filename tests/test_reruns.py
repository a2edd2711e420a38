"""A result of any engine that a function makes again: look-ahead is found where it was planted, and only there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.engines.answers import asked_for
from pipeline.engines.look_ahead import Verdict, check_look_ahead
from pipeline.engines.saving import result_of
from pipeline.errors import UsageError
from pipeline.report.page import Page
from pipeline.reruns import examine
from pipeline.robustness_record import Robustness
from pipeline.run import Run
from pipeline.settings import Settings

CUTS = 12


def walk(columns: int = 1, bars: int = 400, seed: int = 1) -> pd.DataFrame:
    moves = np.random.default_rng(seed).normal(0.0004, 0.012, (bars, columns))
    days = pd.bdate_range("2019-01-01", periods=bars)
    return pd.DataFrame(100.0 * np.exp(moves.cumsum(axis=0)), days, [f"A{place}" for place in range(columns)])


CLOSES, PRICES = walk()["A0"], walk(3)
BARS = pd.DataFrame({"open": CLOSES, "high": CLOSES * 1.01, "low": CLOSES * 0.99, "close": CLOSES, "volume": 1.0})
POSITION = (CLOSES.rolling(20).mean() < CLOSES).shift(1, fill_value=False)


def earned(prices: pd.Series, held: pd.Series) -> pd.Series:
    return prices.pct_change().where(held, 0.0).fillna(0.0)


def clean(prices: pd.Series, window: int = 20) -> pd.Series:
    return earned(prices, (prices > prices.rolling(window).mean()).shift(1, fill_value=False))


def late(prices: pd.Series, window: int = 20, delay: int = 0, cost_factor: float = 1.0) -> pd.Series:
    held = (prices > prices.rolling(window).mean()).shift(1 + delay, fill_value=False)
    return earned(prices, held) - 0.0005 * cost_factor * held.astype(int).diff().abs().fillna(0.0)


def same_bar(prices: pd.Series) -> pd.Series:
    return earned(prices, prices > prices.rolling(20).mean())


def next_bar(prices: pd.Series) -> pd.Series:
    return earned(prices, prices.shift(-1) > prices)


def centred(prices: pd.Series) -> pd.Series:
    return earned(prices, (prices > prices.rolling(11, center=True).mean()).shift(1, fill_value=False))


def all_time_mean(prices: pd.Series) -> pd.Series:
    return earned(prices, (prices > prices.mean()).shift(1, fill_value=False))


def from_outside(prices: pd.Series) -> pd.Series:
    return earned(prices, POSITION)


def frozen(prices: pd.Series, seen: pd.Series = CLOSES) -> pd.Series:
    return clean(seen)


def calm(prices: pd.DataFrame, days: int = 20) -> pd.DataFrame:
    inverse = 1.0 / prices.pct_change().rolling(days).std()
    return inverse.div(inverse.sum(axis=1), axis=0).shift(1).dropna().iloc[::5]


def calm_tomorrow(prices: pd.DataFrame) -> pd.DataFrame:
    inverse = 1.0 / prices.pct_change().rolling(20).std()
    return inverse.div(inverse.sum(axis=1), axis=0).shift(-1).dropna().iloc[::5]


def month_ends(prices: pd.DataFrame) -> pd.DataFrame:
    """Weights of the best of the month, at its last bar: of a month that is cut short that is another bar."""
    last = prices.groupby(prices.index.to_period("M")).tail(1)
    gains = last.pct_change().dropna()
    return gains.rank(axis=1, ascending=False).eq(1.0).astype(float)


def equal(prices: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(1.0 / prices.shape[1], prices.index[::20], prices.columns)


def windows(prices: pd.Series) -> pd.Series:
    """Whole windows alone, as a walk-forward leaves them: without later bars it ends earlier."""
    return clean(prices).iloc[: len(prices) // 20 * 20]


def from_open(bars: pd.DataFrame, shift: int = 1) -> pd.Series:
    """What is earned from open to close; without the shift, by a position that knows the close."""
    held = (bars["close"] > bars["close"].rolling(20).mean()).shift(shift, fill_value=False)
    return (bars["close"] / bars["open"] - 1.0).where(held, 0.0)


def of_bars(bars: pd.DataFrame) -> pd.Series:
    return clean(bars["close"])


def stopped(bars: pd.DataFrame) -> pd.Series:
    """A stop inside of the bar bends what is earned, and no decision knew the bar."""
    return of_bars(bars).clip(lower=-0.005)


def of_series(function: Callable[..., Any]) -> Verdict:
    return check_look_ahead(asked_for(function, CLOSES, function(CLOSES), {"kind": "returns"}), cuts=CUTS)


def of_weights(function: Callable[..., Any]) -> Verdict:
    return check_look_ahead(asked_for(function, None, function(PRICES), {"prices": PRICES}), cuts=CUTS)


@pytest.mark.parametrize("function", [same_bar, next_bar, centred, all_time_mean])
def test_a_planted_look_ahead_is_found(function: Callable[..., Any]) -> None:
    """By later bars, by the bar itself, by a statistic of all bars."""
    verdict = of_series(function)
    assert verdict.status == "leak"
    assert verdict.first is not None
    assert verdict.sentence.startswith(f"{function.__name__} looks into the future")


def test_a_clean_one_is_clean_and_says_what_was_tried() -> None:
    """Every cut, and the bar itself, were tried."""
    assert of_series(windows).status == "clean"
    verdict = of_series(clean)
    assert (verdict.status, verdict.failures, len(verdict.cuts), verdict.positions) == ("clean", (), CUTS, False)
    assert verdict.own_bars > 0
    assert f"at {verdict.own_bars} bars" in verdict.sentence


def test_weights() -> None:
    """Clean ones, those that know tomorrow, and those of months that are cut short."""
    assert of_weights(calm).status == of_weights(month_ends).status == "clean"
    assert of_weights(calm_tomorrow).status == "leak"
    assert "Compared were its weights" in of_weights(calm).sentence


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (lambda: of_series(from_outside), "mixed"),
        (lambda: of_series(frozen), "mixed"),
        (lambda: of_weights(equal), "independent"),
        (lambda: check_look_ahead(asked_for(clean, CLOSES, late(CLOSES), {"kind": "returns"}), cuts=CUTS), "other"),
        (lambda: check_look_ahead(asked_for(stopped, BARS, stopped(BARS), {"kind": "returns"}), cuts=CUTS), "inside"),
    ],
)
def test_what_cannot_be_judged_is_not_called_clean(verdict: Callable[[], Verdict], reason: str) -> None:
    """Positions made before, a result kept, weights that follow no bar, another result, orders inside of a bar."""
    found = verdict()
    assert (found.status, found.reason) == ("unjudged", reason)
    assert "cannot be judged" in found.sentence


def test_bars_with_high_and_low() -> None:
    """One instrument's bars move together, and from open to close; without them nothing fills inside of a bar."""

    def status(function: Callable[..., Any], bars: pd.DataFrame) -> str:
        return check_look_ahead(asked_for(function, bars, function(bars), {"kind": "returns"}), cuts=CUTS).status

    bars = BARS.assign(open=BARS["close"].shift(1, fill_value=100.0))
    assert status(of_bars, bars) == status(from_open, bars) == "clean"
    assert status(lambda found: from_open(found, 0), bars) == "unjudged"
    assert status(lambda found: from_open(found, 0), bars[["open", "close"]]) == "leak"


def test_chance_is_stochastic() -> None:
    """Another result each time says nothing."""
    rng = np.random.default_rng(1)

    def noisy(prices: pd.Series) -> pd.Series:
        return earned(prices, pd.Series(rng.integers(0, 2, len(prices)) > 0, prices.index))

    assert of_series(noisy).status == "stochastic"


def test_failures_at_cuts_are_told() -> None:
    """A function that needs all bars is unchecked; one that needs some is judged by the other cuts."""

    def needs(least: int) -> Callable[[pd.Series], pd.Series]:
        def needy(prices: pd.Series) -> pd.Series:
            if len(prices) < least:
                raise ValueError(f"{len(prices)} are too few")
            return clean(prices)

        return needy

    assert of_series(needs(400)).status == "unchecked"
    some = of_series(needs(200))
    assert some.status == "clean"
    assert f"({len(some.failures)} more could not be judged)" in some.sentence


def test_costs_delays_and_params_are_varied() -> None:
    """By the function's keywords; for weights at prices, costs and delays without any."""
    given = {"kind": "returns"}
    found = examine(asked_for(late, CLOSES, late(CLOSES), given), result_of(late(CLOSES), given)).to_dict()
    rows = {(row["kind"], row["name"], row["change"]): row for row in found["sensitivity"]}
    assert [key for key in rows if rows[key]["is_base"]] == [
        ("cost", "costs_bps", 1.0), ("delay", "delay", 0.0), ("param", "window", 0.0),
    ]  # fmt: skip
    worse = result_of(late(CLOSES, cost_factor=5.0), given).equity.iloc[-1] - 1.0
    assert rows["cost", "costs_bps", 5.0]["total_return"] == pytest.approx(worse)
    assert rows["param", "window", 0.2]["value"] == 24
    assert found["base_equal"] is True
    assert found["bootstrap"]["repetitions"] == 1_000

    given = {"prices": PRICES, "costs_bps": 10.0}
    found = examine(asked_for(calm, None, calm(PRICES), given), result_of(calm(PRICES), given)).to_dict()
    kinds = [row["kind"] for row in found["sensitivity"]]
    assert (kinds.count("cost"), kinds.count("delay"), kinds.count("param")) == (4, 4, 7)
    costs = [row["total_return"] for row in found["sensitivity"] if row["kind"] == "cost"]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == 4


def test_a_function_without_keywords_says_what_it_would_need() -> None:
    """Nothing is made up for it."""
    found = examine(
        asked_for(all_time_mean, CLOSES, all_time_mean(CLOSES), {"kind": "returns"}), result_of(CLOSES, {})
    ).to_dict()
    assert found["sensitivity"] is None
    assert "cost_factor" in found["notes"]["sensitivity"]
    assert found["leakage"]["status"] == "leak"


def test_a_slow_function_is_not_called_again_and_again() -> None:
    """Beyond the time budget it is called once, and the notes say so."""
    calls = []

    def slow(prices: pd.Series) -> pd.Series:
        calls.append(1)
        time.sleep(0.05)
        return clean(prices)

    found = examine(asked_for(slow, CLOSES, clean(CLOSES), {}), result_of(CLOSES, {}), budget=0.5).to_dict()
    assert found["leakage"] is None
    assert "too slow" in found["notes"]["leakage"]
    assert len(calls) == 1


def saved(project: Settings, function: Callable[..., Any], **given: Any) -> Run:
    run = pipeline.start_run(tracking={"mode": "off"}, settings=project)
    run.save(function(CLOSES), kind="returns", rerun=function, bars=CLOSES, **given)
    run.finish()
    return Run(run.dir)


@pytest.mark.slow
def test_a_run_says_what_was_found(project: Settings) -> None:
    """In robustness.json, the boundary, the report and the warnings; a leak is told before any number."""
    good, bad = saved(project, clean), saved(project, same_bar)
    assert (Robustness.read(good.dir).leak_status, Robustness.read(bad.dir).leak_status) == ("clean", "leak")
    assert good.result is not None
    assert bad.result is not None
    assert good.result.boundary is not None
    assert bad.result.boundary is not None
    assert any("cut off or shuffled" in text for text in good.result.boundary.checked)
    assert any("it looks ahead" in text for text in bad.result.boundary.checked)
    assert any("same_bar looks into the future" in text for text in bad.record.warnings)
    said = Page(good).look_ahead()
    assert "own move was varied" in said
    assert "LOOK-AHEAD" in said
    assert good.verify().ok


def test_it_can_be_left_out(project: Settings) -> None:
    """`robustness=False` calls nothing again."""
    run = saved(project, clean, robustness=False)
    assert Robustness.read(run.dir).leak_status == "unchecked"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"rerun": clean}, "bars=prices"),
        ({"rerun": "clean", "bars": CLOSES}, "a function of bars"),
        ({"bars": CLOSES}, "rerun=backtest"),
        ({"rerun": clean, "bars": [1.0]}, "Given was a list"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(
    project: Settings, more: dict[str, Any], words: str
) -> None:
    """What is missing, and how to give it."""
    run = pipeline.start_run(tracking={"mode": "off"}, settings=project)
    with pytest.raises(UsageError, match=words):
        run.save(clean(CLOSES), kind="returns", **more)
    assert not run.dir.stats.exists()
    run.save(clean(CLOSES), kind="returns")
    run.finish()
