"""A configuration that is proposed again: counted, not executed again where that gives the same, compared once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.evidence.events import adopt_run
from pipeline.evidence.ledger import TRIAL_COUNTED, TRIALS_ENDED, append_many
from pipeline.evidence.ledger_check import check_ledger, trial_count
from pipeline.report.page import build_page
from pipeline.report.trials import count_trials
from pipeline.run import Run
from pipeline.rundir import LEDGER, RunDir, run_ids
from pipeline.settings import Settings
from pipeline.sweep.executor import InlineExecutor, open_executor
from pipeline.sweep.repeats import Repeats
from pipeline.sweep.stored import Sweep
from pipeline.sweep.sweep import run_sweep
from tests.evidence.sealed_runs import new_signer, trust_in
from tests.sweep.sweeps import facts, search, spec, stop_after

COUNTED = """
import os, pandas as pd
def fn(df, params):
    with open(os.path.join(os.path.dirname(__file__), "calls"), "a") as file:
        file.write(f"{params['n']} {len(df)}\\n")
    if params["n"] == 13: raise ZeroDivisionError("thirteen")
    return (df["close"] > df["close"].rolling(int(params["n"])).mean()).astype(int)
"""
RANDOM = """
import numpy as np, pandas as pd
def fn(df, params):
    return pd.Series(np.random.default_rng().integers(0, 2, len(df)), index=df.index)
"""
SMALL: dict[str, Any] = {"sampler": "random", "trials": 20, "batch": 8}


def counted(project: Settings) -> dict[str, Any]:
    """Return the section of a strategy that writes down each call; a module of its own for each project."""
    module = f"counted_{project.root.parent.name}"
    (project.root / f"{module}.py").write_text(COUNTED)
    return {"name": f"{module}:fn"}


def calls(project: Settings) -> list[str]:
    """Return the calls of that strategy, each with its param and the number of bars."""
    path = project.root / "calls"
    return path.read_text().splitlines() if path.is_file() else []


def test_each_configuration_is_executed_once(project: Settings) -> None:
    """Twenty trials of three configurations: three backtests, and one of them again to see that it gives the same."""
    outcome = search(project, spec(strategy=counted(project), space={"n": [5, 8, 40]}, sweep=SMALL))
    assert len(calls(project)) == 3 + 1
    reused = [trial for trial in outcome.trials if trial.reused is not None]
    assert len(reused) == 17
    for trial in reused:
        first = outcome.trials[trial.reused or 0]
        assert (first.reused, first.params, first.values, first.stats) == (
            None,
            trial.params,
            trial.values,
            trial.stats,
        )
    assert len({trial.run_id for trial in outcome.trials}) == 20
    found = outcome.statistics
    assert found is not None
    assert (found.counts.trials, found.counts.reused, found.counts.configurations) == (20, 17, 3)
    assert (found.counts.family, found.counts.exact, found.counts.ledger) == (20, 20, 20)
    assert any(note.startswith("17 trials repeat a configuration") for note in found.notes)
    assert outcome.run.stats["trials_reused"] == 17
    assert Sweep(outcome.run).trials == outcome.trials
    assert outcome.run.verify().ok
    assert check_ledger(outcome.run.dir.ledger).ok
    known = count_trials(outcome.run)
    assert (known.family, len(known.sharpes), known.without, known.unknown) == (20, 3, 0, 0)
    assert found.deflation is not None
    assert found.deflation.n == 20


@pytest.mark.slow
def test_a_strategy_with_chance_in_it_is_executed_each_time(project: Settings) -> None:
    """Where executing again gives something else, no result is taken over, and each trial is one of its own."""
    (project.root / "chance.py").write_text(RANDOM)
    outcome = search(project, spec(strategy={"name": "chance:fn"}, space={"n": [1, 2]}, sweep=SMALL))
    assert [trial.reused for trial in outcome.trials] == [None] * 20
    assert len({trial.values for trial in outcome.trials}) == 20


def test_what_failed_is_tried_again(project: Settings) -> None:
    """A failure may be one of the moment, so it is no result to take over."""
    outcome = search(project, spec(strategy=counted(project), space={"n": [5, 13]}, sweep=SMALL))
    failed = [trial for trial in outcome.trials if trial.params["n"] == 13]
    assert {trial.state for trial in failed} == {"FAIL"}
    assert len(failed) == sum(call.startswith("13 ") for call in calls(project))
    assert count_trials(outcome.run).without == len(failed)


@pytest.mark.parametrize(
    "section",
    [
        {"sampler": "tpe", "trials": 30},
        pytest.param({"sampler": "tpe", "trials": 30, "pruner": "median", "windows": 2}, marks=pytest.mark.slow),
        pytest.param({"sampler": "random", "trials": 30, "pruner": "hyperband", "windows": 2}, marks=pytest.mark.slow),
        pytest.param(
            {"sampler": "nsga2", "trials": 30, "objectives": ["sharpe", "max_drawdown"]}, marks=pytest.mark.slow
        ),
    ],
    ids=["tpe", "median", "hyperband", "nsga2"],
)
def test_taking_over_changes_nothing(
    project: Settings, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any]
) -> None:
    """The sampler and the pruner hear the same, so the search is the one it would have been."""
    wanted = spec(sweep=section, space={"fast": [5, 8], "slow": [20, 40, 80]})
    saved = search(project, wanted)
    assert any(trial.reused is not None for trial in saved.trials)
    monkeypatch.setattr(Repeats, "reusable", lambda *_: {})
    executed = search(project, wanted, resume=False)
    assert all(trial.reused is None for trial in executed.trials)
    assert facts(saved.trials) == facts(executed.trials)


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["none", "median"])
def test_workers_and_a_stop_change_nothing(project: Settings, pruner: str) -> None:
    """With several workers, stopped and resumed, the same results are taken over from the same trials."""
    wanted = spec(
        sweep={**SMALL, "trials": 25, "pruner": pruner, "windows": 2}, space={"fast": [5, 8], "slow": [20, 40, 80]}
    )
    alone = search(project, wanted)
    with open_executor("local", 2) as pool:
        shared = search(project, wanted, pool, resume=False)
        stop, hooks = stop_after(11)
        stopped = search(project, wanted, pool, resume=False, stop=stop, hooks=hooks)
        assert not stopped.finished
        resumed = search(project, wanted, pool)
    assert resumed.resumed
    for other in (shared, resumed):
        assert facts(other.trials) == facts(alone.trials)
    assert [t.reused for t in shared.trials] == [t.reused for t in alone.trials]
    digest = resumed.run.record.data.sha256
    assert trial_count(resumed.run.dir.ledger, "ma_crossover", digest) == 75
    assert check_ledger(resumed.run.dir.ledger).ok
    assert count_trials(resumed.run).unknown == 0


@pytest.mark.slow
def test_whole_runs_are_taken_over_too(project: Settings) -> None:
    """In full mode a repeat leaves no run directory, and neither does the run made to see that all is the same."""
    section = {"mode": "full", "sampler": "random", "trials": 7, "batch": 4, "best": 3}
    outcome = search(project, spec(sweep=section, space={"fast": [5, 8], "slow": [30]}))
    assert outcome.finished
    different = {json.dumps(trial.params) for trial in outcome.trials}
    executed = [trial.run_id for trial in outcome.trials if trial.reused is None]
    assert len(executed) == len(different) == 2
    assert set(run_ids(project.results)) == {*executed, outcome.run.run_id}
    assert set(Sweep(outcome.run).best_runs) == set(executed)
    assert count_trials(outcome.run).family == 7


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.0, 0.04])
def test_the_report_of_the_best_trial_deflates_as_the_sweep_does(project: Settings, rate: float) -> None:
    """Same count, same spread, same probability, at any rate; the best runs are different configurations."""
    section, space = {**SMALL, "best": 2}, {"fast": [5, 8], "slow": [20, 40, 80]}
    outcome = search(project, spec(sweep=section, space=space, backtest={"risk_free_rate": rate}))
    found = outcome.statistics
    assert found is not None
    assert found.deflation is not None
    best = [Run(RunDir(project.results, run_id)) for run_id in outcome.best_runs]
    assert len({json.dumps(run.config["strategy"]["params"], sort_keys=True) for run in best}) == 2
    page = build_page(best[0])
    assert page.deflated is not None
    assert page.deflated.n_trials == found.deflation.n == 20
    assert page.deflated.dsr == pytest.approx(found.deflation.dsr, rel=1e-9)
    ratios = {round(trial.stats["sharpe"] / 252**0.5, 12) for trial in outcome.trials}
    assert {round(ratio, 12) for ratio in count_trials(outcome.run).sharpes} == ratios


def test_a_ledger_without_results_has_the_ratios_of_the_directories(project: Settings) -> None:
    """Adopted, or entered before results were, a sweep's ratios are at the same rate as where the ledger told them."""
    space = {"fast": [5, 8], "slow": [20, 40]}
    outcome = search(project, spec(space=space, backtest={"risk_free_rate": 0.04}))
    told, ledger = sorted(count_trials(outcome.run).sharpes), outcome.run.dir.ledger
    assert told == pytest.approx(sorted(trial.stats["sharpe"] / 252**0.5 for trial in outcome.trials), rel=1e-9)
    older = [entry.event for entry in check_ledger(ledger).entries if entry.event.kind != TRIALS_ENDED]
    ledger.unlink()
    append_many(ledger, older)
    assert sorted(count_trials(Run(outcome.run.dir)).sharpes) == told
    ledger.unlink()
    adopt_run(outcome.run.dir)
    assert TRIALS_ENDED in {entry.event.kind for entry in check_ledger(ledger).entries}
    found = count_trials(Run(outcome.run.dir))
    assert (found.family, sorted(found.sharpes)) == (4, told)


def test_all_entries_of_a_sweep_are_signed(project: Settings) -> None:
    """Where somebody signs, the counts and the results of trials are signed like the sweep's own entries."""
    signer = new_signer()
    wanted = spec(sweep={**SMALL, "trials": 10}, space={"fast": [5, 8], "slow": [20, 40]})
    outcome = run_sweep(wanted, settings=project, executor=InlineExecutor(), signing_key=lambda: signer)
    trust = replace(trust_in(signer), require_signatures=True)
    checked = check_ledger(outcome.run.dir.ledger, trust=trust)
    assert checked.ok
    assert all(entry.signed is not None for entry in checked.entries)
    assert {TRIAL_COUNTED, TRIALS_ENDED} < {entry.event.kind for entry in checked.entries}


@pytest.mark.slow
def test_a_search_before_a_window_takes_over_as_well(project: Settings) -> None:
    """Walk-forward's searches repeat configurations as often, on fewer bars."""
    validation = {"walk_forward_trials": 10, "walk_forward_windows": 2}
    wanted = spec(
        strategy=counted(project), space={"n": [5, 8]}, sweep={"trials": 4, "sampler": "random"}, validation=validation
    )
    outcome = search(project, wanted)
    assert outcome.statistics is not None
    assert outcome.statistics.walk_forward is not None
    by_bars: dict[str, int] = {}
    for call in calls(project):
        by_bars[call.split()[1]] = by_bars.get(call.split()[1], 0) + 1
    assert sorted(by_bars.values()) == [3, 3, 5]  # two and one again, each; on all bars what each window found, too
    assert count_trials(outcome.run).family == 4


NOTHING = [
    pytest.param({"data": {"start": "2030-01-01"}}, id="no bars"),
    pytest.param({"data": {"source": "broken.csv"}}, id="unreadable bars"),
    pytest.param({"sweep": {"mode": "full"}, "data": {"start": "2030-01-01"}}, id="no bars, full"),
    pytest.param({"sweep": {"sampler": "nsga2", "pruner": "median", "objectives": ["sharpe", "cagr"]}}, id="pruner"),
    pytest.param({"sweep": {"objectives": ["charpe"]}}, id="objective"),
]


@pytest.mark.parametrize("changes", NOTHING)
def test_what_exits_with_2_leaves_nothing(project: Settings, changes: dict[str, Any]) -> None:
    """A sweep that cannot run is refused before it has a directory, an entry, or a count."""
    (project.root / "broken.csv").write_text("Date,Open\n2020-01-06,10\n")
    for _ in range(2):
        with pytest.raises(UsageError) as refused:
            search(project, spec(**changes))
        assert refused.value.exit_code == 2
    assert run_ids(project.results) == []
    assert not (project.results / LEDGER).exists()
    assert not list(Path(project.results).glob(".running/*"))


@pytest.mark.slow
def test_trials_on_other_data_count_there(project: Settings) -> None:
    """Where whole runs vary the data or the strategy, each trial is one of what it was made on."""
    wanted = spec(sweep={"mode": "full", "sampler": "grid"}, space={"strategy.name": ["ma_crossover", "buy_and_hold"]})
    outcome = search(project, wanted)
    digest = outcome.run.record.data.sha256
    assert [trial_count(outcome.run.dir.ledger, name, digest) for name in ("ma_crossover", "buy_and_hold")] == [1, 1]
    assert count_trials(outcome.run).family == 2  # the best was chosen from both
