"""What the runs of somebody's notebook are trials of: the instruments that its results name, once there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_builder import FAILURE

from pipeline.evidence.ledger import append
from pipeline.evidence.ledger_check import check_ledger
from pipeline.opening import open_run
from pipeline.report.trials import Trials, count_trials
from pipeline.report.verdict import family
from pipeline.results.record import ResultRecord
from pipeline.run import Run
from pipeline.sealing import seal_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec

SPAN = ("2015-01-02T00:00:00", "2020-01-02T00:00:00")


def tried(root: Path, notebook: str, *symbols: str, code: str = "a", span: tuple[str, str] = SPAN, **more: Any) -> Run:
    """Open and seal a run of a notebook whose result is of these symbols; without any it fails before it has one."""
    (root / notebook).write_text(code)
    settings = Settings(root, root / "results")
    spec = RunSpec.from_mapping({"run": {"notebook": notebook}, **more})
    run = open_run(spec, settings, origin="evidence-run", inputs={"notebook": (notebook, root / notebook)})
    if symbols:
        stats = {"sharpe": 1.0, "periods_per_year": 252.0, "n_bars": 300, "start": span[0], "end": span[1]}
        run.dir.stats.write_text(json.dumps(stats))
        run.dir.result.write_text(json.dumps(ResultRecord(symbols=symbols).to_dict()))
    seal_run(run, error=None if symbols else FAILURE)
    return Run(run.dir)


def test_the_instruments_are_those_of_the_result(tmp_path: Path) -> None:
    """They are in the seal's entry, beside the times, and a sentence names them; the start did not know them."""
    run = tried(tmp_path, "her.ipynb", "AAPL", "MSFT")
    found = count_trials(run)
    assert family(found) == "the family notebook:her.ipynb on AAPL, MSFT"
    assert (found.scope.first, found.scope.last) == ("2015-01-02T00:00:00Z", "2020-01-02T00:00:00Z")
    start, seal = (entry.event.details["trial"] for entry in check_ledger(run.dir.ledger).entries)
    assert (start["instruments"], seal["instruments"]) == ([], ["AAPL", "MSFT"])
    assert start["code"] == seal["code"]


def test_other_instruments_are_another_family_and_unknown_ones_are_of_each(tmp_path: Path) -> None:
    """A run that ended before it had a result may have been on any of them; the same code is the same trial."""
    first = tried(tmp_path, "her.ipynb", "AAPL")
    tried(tmp_path, "her.ipynb", code="b")
    other = tried(tmp_path, "her.ipynb", "MSFT", code="c")
    assert [count_trials(run).family for run in (first, other)] == [1, 2]
    again = tried(tmp_path, "her.ipynb", "AAPL", "MSFT", code="d")
    assert count_trials(again).family == 4
    failed = tried(tmp_path, "her.ipynb", code="e")
    assert count_trials(failed).family == 5
    same = tried(tmp_path, "her.ipynb", "TSLA", code="a")
    assert (count_trials(same).family, count_trials(same).exact) == (5, 2)
    late = tried(tmp_path, "her.ipynb", "MSFT", code="f", span=("2021-01-04T00:00:00", "2022-01-04T00:00:00"))
    assert count_trials(late).family == 3  # and the two that nobody knows of


def test_a_stranger_is_no_trial_of_the_demo_on_the_same_instrument(tmp_path: Path) -> None:
    """Nor of another notebook."""
    bundled = tried(tmp_path, "demo.ipynb", "SPX", strategy={"name": "ma_crossover"}, data={"source": "sample:sp500"})
    stranger = tried(tmp_path, "her.ipynb", "SPX")
    assert (count_trials(bundled).family, count_trials(stranger).family) == (1, 1)
    assert count_trials(tried(tmp_path, "his.ipynb", "SPX", code="b")).family == 1


def test_a_later_entry_takes_nothing_away(tmp_path: Path) -> None:
    """What another seal says of the same run is named, and the first one counts."""
    run = tried(tmp_path, "her.ipynb", "AAPL")
    entry = check_ledger(run.dir.ledger).entries[-1].event
    details = {**entry.details, "trial": {**entry.details["trial"], "family": "notebook:his.ipynb"}}
    append(run.dir.ledger, type(entry)(entry.kind, run.run_id, entry.subject_sha256, None, None, details))
    found: Trials = count_trials(run)
    assert found.scope.family == "notebook:her.ipynb"
    assert [text for _, text in check_ledger(run.dir.ledger).trials.problems] == [
        f"the family or the code of run {run.run_id} is another one than entry 0 says, which counts"
    ]


@pytest.mark.parametrize("count", [2_000, 2_001])
def test_a_universe_fits_into_an_entry(tmp_path: Path, count: int) -> None:
    """Beyond two thousand instruments they count as unknown ones."""
    run = tried(tmp_path, "her.ipynb", *(f"S{number:07}" for number in range(count)))
    assert len(count_trials(run).scope.instruments) == (count if count == 2_000 else 0)
