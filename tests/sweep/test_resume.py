"""A sweep that was interrupted anywhere goes on as if it had not been, or says why it cannot."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from pipeline.digest import sha256_bytes
from pipeline.errors import InputChangedError, SpecError
from pipeline.evidence.ledger import RUN_FAILED, RUN_SEALED
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.modules import ImportWatcher, modules_of_this_process
from pipeline.run import Run
from pipeline.rundir import RunDir, run_ids
from pipeline.settings import Settings
from pipeline.sweep.batches import Batch
from pipeline.sweep.opening import find_interrupted
from pipeline.sweep.stored import Sweep
from pipeline.sweep.sweep import Hooks
from pipeline.sweep.trial import Proposal, Trial
from tests.sweep.sweeps import facts, search, spec, stop_after
from tests.tiers import mostly_slow

RANGES = {"fast": {"low": 2, "high": 40}, "slow": {"low": 41, "high": 120}}


@pytest.mark.parametrize(
    "section",
    mostly_slow(
        [
            {"sampler": "tpe", "pruner": "median"},
            {"sampler": "random", "pruner": "median"},
            {"sampler": "tpe", "pruner": "hyperband"},
            {"sampler": "qmc"},
            {"sampler": "nsga2", "objectives": ["sharpe", "max_drawdown"]},
        ]
    ),
    ids=lambda section: " ".join(str(value) for value in section.values()),
)
@pytest.mark.parametrize("count", mostly_slow([9, 6]))
def test_it_goes_on_as_it_would_have(project: Settings, section: dict[str, Any], count: int) -> None:
    """Stopped between batches and within one."""
    wanted = spec(sweep={"trials": 18, "batch": 6, **section}, space=RANGES)
    whole = search(project, wanted)
    elsewhere = replace(project, results=project.results.parent / "other")
    stop, hooks = stop_after(count)
    stopped = search(elsewhere, wanted, stop=stop, hooks=hooks)
    assert not stopped.finished
    resumed = search(elsewhere, wanted)
    assert resumed.resumed
    assert facts(resumed.trials) == facts(whole.trials)


@pytest.mark.parametrize("left", ["row", "bytes"])
def test_what_was_left_before_the_first_line_is_cut_off(tmp_path: Path, left: str) -> None:
    """Killed after the returns of a trial and before its line, or within the returns."""
    batch = Batch(tmp_path, 0)
    batch.plan([Proposal(number, f"id{number}", {}) for number in range(2)])
    rows = tmp_path / "000000.f8"
    rows.write_bytes(np.full(3, 9.0).tobytes() if left == "row" else b"abc")
    assert batch.ended() == []
    for number in range(2):
        batch.record(Trial(number, f"id{number}", {}, "COMPLETE", (1.0,)), np.full(3, float(number)))
    with rows.open("ab") as file:
        file.write(b"tail")
    ended = batch.ended()
    assert [(trial.number, list(found)) for trial, found in ended if found is not None] == [
        (0, [0.0] * 3),
        (1, [1.0] * 3),
    ]
    assert rows.stat().st_size == 48


@pytest.mark.slow
def test_a_search_whose_time_was_up_is_not_taken_up_again(project: Settings) -> None:
    """Stopped later, in walk-forward, the search itself has ended."""
    wanted = spec(
        sweep={"sampler": "random", "trials": 40, "batch": 2, "timeout": 1e-6},
        space=RANGES,
        validation={"walk_forward_trials": 4},
    )
    stop, hooks = stop_after(1)
    assert not search(project, wanted, stop=stop, hooks=hooks).finished
    assert search(project, wanted).trials == ()


@pytest.mark.slow
def test_a_sweep_killed_while_it_was_opened_is_left_alone(project: Settings) -> None:
    stop, hooks = stop_after(2)
    wanted = spec(sweep={"batch": 2})
    stopped = search(project, wanted, stop=stop, hooks=hooks)
    stopped.run.dir.begun.unlink()
    assert find_interrupted(wanted, project) is None
    assert search(project, wanted).finished


@pytest.mark.parametrize("stage", mostly_slow(["seal", "tracking_end", "report"]))
def test_a_sweep_interrupted_after_its_manifest_is_only_finished(
    project: Settings, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """No second sweep is made, no trial counted again; what was left is done: seal in the ledger, report."""
    from pipeline import sealing

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    def hook(name: str) -> None:
        if name == stage:
            interrupted()

    wanted = spec(report={"enabled": True, "renderer": "embedded"})
    with monkeypatch.context() as patch:
        if stage == "seal":  # after the manifest is written, before the ledger knows of it
            patch.setattr(sealing, "record_seal", interrupted)
        hooks = Hooks(stage=hook) if stage != "seal" else Hooks()
        with pytest.raises(KeyboardInterrupt):
            search(project, wanted, hooks=hooks)
    (run_id,) = run_ids(project.results)
    assert RunDir(project.results, run_id).manifest.is_file()
    finished = search(project, wanted)
    assert finished.finished
    assert finished.resumed
    assert run_ids(project.results) == [run_id]
    assert finished.run.dir.report.is_file()
    assert not finished.run.dir.scratch.exists()
    assert len(finished.trials) == 8
    assert finished.statistics is not None
    kinds = [e.event.kind for e in check_ledger(finished.run.dir.ledger).runs[run_id]]
    assert kinds.count(RUN_SEALED) == 1
    assert finished.run.verify().ok
    assert find_interrupted(wanted, project, sealed=True) is None


def test_a_strategy_that_changed_is_not_mixed_with_itself(project: Settings) -> None:
    source = project.root / "mine_changing.py"
    text = "from pipeline.backtest.strategies import get_strategy\nsignals = get_strategy('ma_crossover').signal_fn\n"
    text += "def own(df, params):\n    return signals(df, {'average': 'sma', 'allow_short': False, **params})\n"
    source.write_text(text)
    wanted = spec(strategy={"name": "mine_changing:own"}, sweep={"batch": 3})
    stop, hooks = stop_after(3)
    assert not search(project, wanted, stop=stop, hooks=hooks).finished
    source.write_text(text.replace("'sma'", "'ema'"))
    with pytest.raises(InputChangedError, match="source of mine_changing:own changed"):
        search(project, wanted)
    source.write_text(text)
    assert search(project, wanted).finished


def test_a_module_that_a_strategy_imports_is_not_mixed_with_itself(project: Settings) -> None:
    """What the strategy's file imports decides trials as well; the seal names it, and an edit on the way is said."""
    helper = project.root / "sweep_helper.py"
    helper.write_text("AVERAGE = 'sma'\n")
    (project.root / "mine_importing.py").write_text(
        "import sweep_helper\nfrom pipeline.backtest.strategies import get_strategy\n"
        "def own(df, params):\n    signals = get_strategy('ma_crossover').signal_fn\n"
        "    return signals(df, {'average': sweep_helper.AVERAGE, 'allow_short': False, **params})\n"
    )
    wanted = spec(strategy={"name": "mine_importing:own"}, sweep={"batch": 3})
    stop, hooks = stop_after(3)
    assert not search(project, wanted, stop=stop, hooks=hooks).finished
    helper.write_text("AVERAGE = 'ema'\n")
    forget_modules()
    with pytest.raises(InputChangedError, match="the module sweep_helper changed"):
        search(project, wanted)
    helper.write_text("AVERAGE = 'sma'\n")
    forget_modules()
    finished = search(project, wanted, hooks=Hooks(trial=lambda _: helper.write_text("AVERAGE = 'ema'\n") and None))
    assert finished.finished
    assert finished.run.record.modules["sweep_helper"] == sha256_bytes(b"AVERAGE = 'sma'\n")
    assert any("Edited while the sweep ran: sweep_helper." in text for text in finished.run.record.warnings)


def test_another_program_goes_on(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which script or command executes a sweep decides no trial, so a sweep may begin in one and end in another."""
    monkeypatch.setattr(sys, "meta_path", [one for one in sys.meta_path if not isinstance(one, ImportWatcher)])
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])
    wanted = spec(sweep={"batch": 3})
    for name, (stop, hooks) in (("one", stop_after(3)), ("another", (None, Hooks()))):
        program = project.root / f"{name}.py"
        program.write_text(f"# {name}\n")
        monkeypatch.setattr(sys.modules["__main__"], "__file__", str(program), raising=False)
        outcome = search(project, wanted, stop=stop, hooks=hooks)
        assert {"__main__", "__mp_main__"} <= set(modules_of_this_process())
    assert outcome.resumed
    assert outcome.finished


def forget_modules() -> None:
    """Import the user's modules afresh, as the next process would."""
    for name in ("mine_importing", "sweep_helper"):
        sys.modules.pop(name, None)


def test_a_strategy_that_ends_the_process_fails_its_trial(project: Settings) -> None:
    (project.root / "leaving.py").write_text("import sys\ndef own(df, params):\n    sys.exit(0)\n")
    outcome = search(project, spec(strategy={"name": "leaving:own"}))
    assert outcome.finished
    assert {trial.state for trial in outcome.trials} == {"FAIL"}
    assert all(str(trial.error).startswith("SystemExit") for trial in outcome.trials)


def test_a_study_with_another_space_is_refused_before_anything_starts(project: Settings) -> None:
    shared = {"storage": f"sqlite:///{project.root / 'shared.db'}", "name": "shared"}
    assert search(project, spec(sweep=shared)).finished
    known = set(run_ids(project.results))
    with pytest.raises(SpecError, match="with another space"):
        search(project, spec(sweep=shared, space={"fast": [5, 11], "slow": [15, 30]}))
    assert set(run_ids(project.results)) == known


@pytest.mark.slow
def test_ctrl_c_between_the_best_runs_stops_there(project: Settings) -> None:
    """The best run that runs is finished; the sweep is not sealed, and goes on with the others."""
    wanted = spec(sweep={"best": 3}, run={"figures": False, "robustness": False})
    stop = Event()
    hooks = Hooks(stage=lambda name: stop.set() if name == "best" else None)
    stopped = search(project, wanted, stop=stop, hooks=hooks)
    assert not stopped.finished
    assert not stopped.run.dir.manifest.is_file()
    resumed = search(project, wanted)
    assert resumed.finished
    assert len(resumed.best_runs) == 3
    assert all(RunDir(project.results, run_id).manifest.is_file() for run_id in resumed.best_runs)


def test_a_grid_of_floats_has_the_values_that_are_written(project: Settings) -> None:
    wanted = spec(
        strategy={"params": {"fast": 5, "slow": 30}},
        space={"backtest.stop_pct": {"low": 0.1, "high": 0.3, "step": 0.1}},
    )
    outcome = search(project, wanted)
    assert [trial.params["backtest.stop_pct"] for trial in outcome.trials] == [0.1, 0.2, 0.3]
    assert Sweep(outcome.run).statistics is not None
    assert outcome.run.verify().ok


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
@pytest.mark.parametrize("how", ["an odd file", "an exception"])
def test_a_search_that_ended_is_sealed_whatever_comes_then(project: Settings, how: str) -> None:
    """A file that cannot be sealed, an exception of any class: the sweep is FAILED, says why, and verifies."""

    def hook(stage: str) -> None:
        if how == "an odd file" and stage == "artifacts":
            (run_id,) = run_ids(project.results)
            os.mkfifo(RunDir(project.results, run_id).path / "pipe")
        if how == "an exception" and stage == "statistics":
            raise ZeroDivisionError("no trials")

    outcome = search(project, spec(report={"enabled": True, "renderer": "embedded"}), hooks=Hooks(stage=hook))
    assert outcome.finished
    assert outcome.error is not None
    assert ("'pipe' (a named pipe)" if how == "an odd file" else "ZeroDivisionError: no trials") in str(outcome.error)
    run = Run(outcome.run.dir)
    assert run.status == "FAILED"
    assert run.record.error is not None
    assert run.record.error.message == str(outcome.error)
    assert run.verify().ok
    assert (outcome.statistics is None) is (how == "an exception")
    kinds = [e.event.kind for e in check_ledger(run.dir.ledger).runs[run.run_id]]
    assert RUN_FAILED in kinds
    assert not run.dir.scratch.exists()
