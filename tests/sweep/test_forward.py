"""Walk-forward with searches of its own: each sees the past alone, none is a trial, and all of it is resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.backtest import BacktestEngine, get_strategy, load_ohlcv
from pipeline.backtest.metrics import simple_returns
from pipeline.errors import SpecError
from pipeline.evidence.ledger_check import trial_count
from pipeline.settings import Settings
from pipeline.sweep.executor import open_executor
from pipeline.sweep.statistics import Forward
from pipeline.sweep.stored import Sweep
from pipeline.sweep.sweep import SweepOutcome
from tests.sweep.report.made import page_of, render, rows_of
from tests.sweep.sweeps import search, spec, stop_after

TPE: dict[str, Any] = {
    "sweep": {"sampler": "tpe", "trials": 12},
    "space": {"fast": {"low": 2, "high": 40}, "slow": {"low": 41, "high": 120}},
    "validation": {"walk_forward_trials": 8},
}


def forward_of(outcome: SweepOutcome) -> Forward:
    """Return the walk-forward of a sweep as it is stored."""
    statistics = Sweep(outcome.run).statistics
    assert statistics is not None
    assert statistics.walk_forward is not None
    return statistics.walk_forward


def lines_of(outcome: SweepOutcome) -> list[dict[str, Any]]:
    """Return the trials of the searches before the windows."""
    return [json.loads(line) for line in outcome.run.dir.forward_trials.read_text().splitlines()]


def backtest(bars: Any, params: dict[str, Any]) -> Any:
    return BacktestEngine().run_realistic(
        df=bars,
        strategy_signal_fn=get_strategy("ma_crossover").signal_fn,
        strategy_params=params,
        symbol="SPX",
        fee_bps=3.0,
        slippage_bps=2.0,
    )


def test_a_search_sees_the_bars_before_its_window_and_nothing_else(project: Settings) -> None:
    """By hand: its trials are backtests of those bars, and what is best there is followed through the window."""
    outcome = search(project, spec(**TPE, backtest={"fee_bps": 3.0, "slippage_bps": 2.0}))
    bars = load_ohlcv("sample:sp500", start="2014-01-01")
    rows = len(bars) - 1
    length = rows // 4
    found = forward_of(outcome)
    assert found.trials == 8
    for number, window in enumerate(found.windows, start=1):
        before = rows - (4 - number) * length
        trials = [line for line in lines_of(outcome) if line["window"] == number]
        assert len(trials) == 8
        own = [backtest(bars.iloc[: before + 1], trial["params"]).stats["sharpe"] for trial in trials]
        assert [trial["values"][0] for trial in trials] == own
        assert window.params == trials[int(np.argmax(own))]["params"]
        returns = simple_returns(backtest(bars, window.params).equity_curve, 100_000.0)[before : before + length]
        assert window.out_of_sample == pytest.approx(np.mean(returns) / np.std(returns, ddof=1) * np.sqrt(252))
        assert window.start == bars.index[before + 1].isoformat().replace("+00:00", "Z")
    assert len({tuple(line["params"].items()) for line in lines_of(outcome)}) > 12  # each search goes its own way


@pytest.mark.slow
def test_over_a_grid_it_chooses_what_would_be_chosen_between_the_trials(project: Settings) -> None:
    """A grid is proposed without looking at anything, so both ways must agree."""
    between = forward_of(search(project, spec()))
    anew = forward_of(search(project, spec(validation={"walk_forward_trials": 100})))
    assert anew.trials == 8
    assert [(w.in_sample, w.out_of_sample) for w in anew.windows] == [
        pytest.approx((w.in_sample, w.out_of_sample)) for w in between.windows
    ]
    assert anew.equity == pytest.approx(between.equity)


@pytest.mark.slow
def test_its_backtests_are_no_trials_of_the_strategy(project: Settings) -> None:
    outcome = search(project, spec(**TPE))
    assert len(lines_of(outcome)) == 3 * 8
    assert len(outcome.trials) == 12
    assert trial_count(outcome.run.dir.ledger, "ma_crossover", outcome.run.record.data.sha256) == 12
    assert outcome.run.verify().ok
    assert "walk_forward.jsonl" in outcome.run.dir.manifest.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 17, 27])
def test_it_goes_on_where_it_was_stopped(project: Settings, count: int) -> None:
    """Stopped in the search, in a window's search, in the next: resumed, it finds what it would have found."""
    stop, hooks = stop_after(count)
    elsewhere = replace(project, results=project.results.parent / "other")
    wanted = spec(**{**TPE, "sweep": {**TPE["sweep"], "batch": 4}})
    whole = search(project, wanted)
    assert not search(elsewhere, wanted, stop=stop, hooks=hooks).finished
    resumed = search(elsewhere, wanted)
    assert resumed.resumed
    assert forward_of(resumed) == forward_of(whole)


@pytest.mark.slow
def test_the_number_of_workers_does_not_matter(project: Settings) -> None:
    alone = search(project, spec(**TPE))
    with open_executor("local", 2) as pool:
        together = search(project, spec(**TPE), pool)
    assert forward_of(together) == forward_of(alone)


@pytest.mark.slow
def test_a_search_that_finds_nothing_is_said(project: Settings) -> None:
    """Then the choice is between the trials, and the notes say so."""
    (project.root / "late.py").write_text(
        "from pipeline.backtest.strategies import get_strategy\n"
        "def signals(df, params):\n"
        "    if len(df) < 400:\n"
        "        raise ValueError('too few bars')\n"
        "    return get_strategy('ma_crossover').signal_fn(df, {'average': 'sma', 'allow_short': False, **params})\n"
    )
    outcome = search(project, spec(**TPE, strategy={"name": "late:signals"}))
    found = Sweep(outcome.run).statistics
    assert found is not None
    assert found.walk_forward is not None
    assert found.walk_forward.trials == 0
    assert any("no search before window 1 found anything" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sweep": {"mode": "full"}}, "needs sweep.mode = 'fast'"),
        ({"validation": {"walk_forward_windows": 0}}, "there are no windows"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes: dict[str, Any], said: str) -> None:
    validation = {"walk_forward_trials": 8, **changes.get("validation", {})}
    with pytest.raises(SpecError, match=said):
        spec(**{**changes, "validation": validation})


@pytest.mark.slow
def test_the_report_says_what_was_searched(project: Settings) -> None:
    run = search(project, spec(**{**TPE, "validation": {"walk_forward_trials": 8, "folds": 0}})).run
    render(run)
    rows = rows_of(run, "falls")
    assert len(rows) == 3
    assert all(len(row) == 4 and row[1].startswith("fast = ") for row in rows)
    text = page_of(run).get_text(" ", strip=True)
    assert "Searched anew before each of 3 windows" in text
    assert "flatter" not in text
