"""A sweep over somebody's own notebook: whole runs, judged by what their seals say, and by nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SpecError
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.verify import verify_run
from pipeline.report.trials import count_trials
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.sweep.recompute import recompute_sweep
from pipeline.sweep.row import SweepRow
from pipeline.sweep.space import search_space
from pipeline.sweep.spec import SweepSpec
from pipeline.sweep.stored import Sweep
from tests.notebooks import write_notebook
from tests.sweep.sweeps import search

OWN = """
import numpy as np, pandas as pd, pipeline as ev
days = pd.bdate_range("2020-01-01", periods=200)
prices = pd.DataFrame({"AAA": 100 + np.sin(np.arange(200) / 7), "BBB": 100 + np.cos(np.arange(200) / 5)}, index=days)
returns = prices.pct_change(window).mean(axis=1).dropna() / window + level / 1e4
run = ev.start_run()
run.save(returns, kind="returns", symbols=["AAA", "BBB"])
run.finish()
"""


def spec(space: dict[str, Any], **sweep: Any) -> SweepSpec:
    section = {"mode": "full", "sampler": "grid", **sweep}
    run = {"notebook": "her.ipynb", "figures": False}
    more = {"tracking": {"mode": "off"}, "report": {"enabled": False}}
    return SweepSpec.from_mapping({"sweep": section, "run": run, "space": space, **more})


def test_nothing_of_the_bundled_engine_is_asked_for(tmp_path: Path) -> None:
    """Strategy, data and costs stay unknown in the spec, in what is kept of it, and in each trial's."""
    wanted = spec({"run.parameters.window": [5, 9]}, constraints=["run.parameters.window < 9"])
    assert wanted.of_notebook
    assert (wanted.base.strategy, wanted.base.data, wanted.base.backtest) == (None, None, None)
    assert SweepSpec.from_mapping(json.loads(json.dumps(wanted.to_dict()))) == wanted
    trial = wanted.trial_spec({"run.parameters.window": 5}, tags={}, chosen=False)
    assert (trial.strategy, trial.run.parameters) == (None, {"window": 5})
    assert [*search_space(wanted, search=tmp_path).grid()] == [{"run.parameters.window": 5}]


def test_steps_are_looked_at_here_too(tmp_path: Path) -> None:
    wide = {"run.parameters.window": {"low": 5, "high": 20, "step": 40}}
    with pytest.raises(SpecError, match="step = 40 is wider than the range"):
        search_space(spec(wide), search=tmp_path)
    short = {"run.parameters.window": {"low": 5, "high": 20, "step": 4}}
    assert len(search_space(spec(short), search=tmp_path).remarks()) == 1


@pytest.mark.parametrize(
    ("space", "mode"), [({"window": [5, 9]}, "full"), ({"run.parameters.window": [5, 9]}, "fast"), ({}, "full")]
)
def test_a_param_without_a_place_is_still_one_of_a_strategy(tmp_path: Path, space: dict[str, Any], mode: str) -> None:
    """And the error says where a notebook's own is; a trial in process is none of a notebook."""
    wanted = spec(space, mode=mode)
    assert not wanted.of_notebook
    if space:
        with pytest.raises(SpecError, match=r"run\.parameters\.window.*mode = 'full'"):
            search_space(wanted, search=tmp_path)


@pytest.mark.slow
def test_trials_are_runs_judged_by_their_seals(project: Settings) -> None:
    """Objective, returns and conventions are those of the sealed results, at the labels that all trials have."""
    write_notebook(project.root / "her.ipynb", OWN, parameters="window = 5\nlevel = 0\nrun_id = None")
    outcome = search(project, spec({"run.parameters.window": [5, 20], "run.parameters.level": [1, 2]}))
    assert outcome.error is None, outcome.error
    runs = [Run(RunDir(project.results, trial.run_id)) for trial in outcome.trials]
    assert [trial.values[0] for trial in outcome.trials] == [run.stats["sharpe"] for run in runs]
    assert all(verify_run(run.dir).ok for run in (*runs, outcome.run))
    assert {run.what.strategy for run in (*runs, outcome.run)} == {""}
    stored = Sweep(outcome.run)
    assert len(stored.returns) == 180  # the trials with the longer window have no more
    assert outcome.statistics is not None
    assert "compared on the 180 that all of them have" in " ".join(outcome.statistics.notes)
    again = recompute_sweep(outcome.run)
    assert len(again.figures) > 5
    assert again.equal, [*again.lines()]
    assert SweepRow.of(stored).strategy is None
    counted = check_ledger(project.results / "ledger.jsonl").trials.counted
    assert [(one.scope.family, one.trials, one.ended) for one in counted] == [("notebook:her.ipynb", 4, 4)]
    assert count_trials(runs[0]).family == 4
