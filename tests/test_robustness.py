"""What `robustness.json` says of a backtest, and that nothing in it can fail a run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.backtest.data import load_ohlcv
from pipeline.backtest.engine import BacktestEngine, BacktestResult
from pipeline.backtest.sensitivity import Case
from pipeline.backtest.strategies import get_strategy
from pipeline.robustness import NO_CASE, Subject, robustness, write_robustness
from pipeline.settings import Settings


def found_of(subject: Subject, **more: Any) -> dict[str, Any]:
    """Return the content of robustness.json."""
    return robustness(subject, **more).to_dict()


PARAMS = {"fast": 20, "slow": 100}


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return load_ohlcv("sample:sp500", start="2010-01-01", end="2013-12-31")


def examined(bars: pd.DataFrame, signal_fn: Any = None, *, params: Any = None) -> Subject:
    function = signal_fn or get_strategy("ma_crossover").signal_fn
    given = PARAMS if params is None else params
    engine = BacktestEngine()
    result = engine.run_realistic(df=bars, strategy_signal_fn=function, strategy_params=given, symbol="SPX", fee_bps=1)
    return Subject(result, Case(engine, bars, function, given, "SPX", fee_bps=1), bars["close"])


def test_all_parts_of_a_clean_strategy(bars: pd.DataFrame, tmp_path: Path) -> None:
    """Every part is there, the re-run equals the run, the estimates are those of the stats."""
    subject = examined(bars)
    found = json.loads(write_robustness(subject, tmp_path).read_bytes(), parse_constant=pytest.fail)
    assert found["notes"] == {}
    assert found["base_equal"] is True
    assert (found["leakage"]["status"], found["leakage"]["reason"]) == ("clean", None)
    assert found["leakage"]["responses"] > 100
    assert {row["kind"] for row in found["sensitivity"]} == {"cost", "delay", "param"}
    assert [row["change"] for row in found["sensitivity"] if row["kind"] == "cost"] == [0, 1, 2, 5]
    assert [row["change"] for row in found["sensitivity"] if row["kind"] == "delay"] == [0, 1, 2, 3]
    steps = [row["change"] for row in found["sensitivity"] if row["name"] == "slow"]
    assert sorted(steps) == [-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2]
    assert {row["kind"] for row in found["regimes"]} == {"trend", "volatility"}
    intervals, stats = found["bootstrap"]["intervals"], subject.result.stats
    for name in ("sharpe", "cagr", "max_drawdown"):
        assert intervals[name]["estimate"] == pytest.approx(stats[name], rel=1e-9)
        assert intervals[name]["low"] < intervals[name]["estimate"] < intervals[name]["high"]
    assert "sharpe_difference" in intervals


def test_same_input_same_bytes(bars: pd.DataFrame, tmp_path: Path) -> None:
    """Nothing of the clock or of chance is in the file."""
    one = write_robustness(examined(bars), tmp_path / "one").read_bytes()
    assert write_robustness(examined(bars), tmp_path / "two").read_bytes() == one


def test_a_leak_is_found(bars: pd.DataFrame) -> None:
    """A strategy that knows tomorrow's close is called one that looks into the future."""

    def clairvoyant(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
        return (df["close"].shift(-1) > df["close"]).astype("int8")

    found = found_of(examined(bars, clairvoyant, params={}))
    assert found["leakage"]["status"] == "leak"
    assert found["leakage"]["first"]["bar"] >= 0
    assert "looks into the future" in found["leakage"]["sentence"]


def test_signals_made_before_are_not_judged(bars: pd.DataFrame) -> None:
    """Tomorrow's rises from outside of the function are not called clean: none of them answers to other bars."""
    rises = bars["close"].shift(-1) > bars["close"]
    found = found_of(examined(bars, lambda df, params: rises.reindex(df.index).astype("int8"), params={}))["leakage"]
    assert (found["status"], found["reason"], found["responses"]) == ("unjudged", "independent", 0)
    assert "cannot be judged: its signals do not depend on the bars it is given" in found["sentence"]


def test_a_strategy_that_breaks_when_called_again_is_a_note(bars: pd.DataFrame) -> None:
    """An error inside is written down, lone surrogates and all; the rest is there."""
    calls = []

    def once(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
        calls.append(len(df))
        if len(calls) > 1:
            raise RuntimeError("only once \ud800")
        return pd.Series(1, index=df.index)

    found = found_of(examined(bars, once, params={}))
    assert "RuntimeError: only once ?" in found["notes"]["leakage"]
    assert found["leakage"] is found["sensitivity"] is found["base_equal"] is None
    assert found["bootstrap"]["repetitions"] == 1_000
    json.dumps(found, allow_nan=False).encode()


def test_a_slow_strategy_is_not_called_again_and_again(bars: pd.DataFrame) -> None:
    """Beyond the time budget the parts that call the strategy are left out and say so."""

    def slow(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
        time.sleep(0.02)
        return pd.Series(1, index=df.index)

    found = found_of(examined(bars, slow, params={}), budget=0.5)
    assert "too slow" in found["notes"]["sensitivity"]
    assert found["sensitivity"] is None


def test_a_result_of_unknown_origin(bars: pd.DataFrame) -> None:
    """Without the case there is nothing to run again; the intervals need none."""
    found = found_of(Subject(examined(bars).result))
    assert found["notes"]["leakage"] == NO_CASE
    assert set(found["bootstrap"]["intervals"]) == {"sharpe", "cagr", "max_drawdown"}


def test_state_between_calls_shows(bars: pd.DataFrame) -> None:
    """A strategy that gives other signals each time is stochastic, and its re-run does not equal the run."""
    rng = np.random.default_rng(1)

    def noisy(df: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
        return pd.Series(rng.integers(-1, 2, len(df)), index=df.index)

    found = found_of(examined(bars, noisy, params={}))
    assert found["leakage"]["status"] == "stochastic"
    assert found["base_equal"] is False


def test_a_short_curve(bars: pd.DataFrame) -> None:
    """One bar: nothing can be annualised; no part raises."""
    found = found_of(examined(bars.head(1), params={"fast": 1, "slow": 2}))
    assert found["bootstrap"] is None
    assert "nothing can be annualised" in found["notes"]["bootstrap"]
    assert not any(math.isnan(value) for value in _floats(found))


@pytest.mark.slow
def test_a_run_by_hand_seals_the_file(project: Settings, bars: pd.DataFrame) -> None:
    """`save` writes it from what `backtest` remembered, also after a second backtest; it is sealed and optional."""
    sections = {"data": {"source": "sample:sp500", "start": "2010-01-01", "end": "2012-12-31"}}
    sections["tracking"] = {"mode": "off"}
    run = pipeline.start_run(**sections, strategy={"name": "ma_crossover", "params": PARAMS}, settings=project)
    data = run.load_data()
    result: BacktestResult = run.backtest(data)
    run.backtest(data, lambda df, params: pd.Series(1, index=df.index))
    run.save(result, benchmark=run.buy_and_hold(data))
    assert json.loads(run.dir.robustness.read_bytes())["base_equal"] is True
    run.finish()
    loaded = pipeline.load_run(run.run_id, settings=project)
    assert "robustness.json" in [artifact.path for artifact in loaded.artifacts]
    assert loaded.verify().ok


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in _floats(item)]
    if isinstance(value, list):
        return [number for item in value for number in _floats(item)]
    return [value] if isinstance(value, float) else []
