"""How many trials a run is one of: the ledger counts them, by family, and knows their results without directories."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import report_builder as builder
from report_builder import FAILURE

from pipeline.backtest import Conventions
from pipeline.backtest.significance import deflate, moments
from pipeline.evidence.events import adopt_run
from pipeline.evidence.ledger import Event, append, append_many, parse_line
from pipeline.evidence.ledger_check import trial_count
from pipeline.evidence.ledger_trials import counted_event, ended_events
from pipeline.evidence.trial import Scope, TrialResult
from pipeline.opening import open_run
from pipeline.report.page import build_page
from pipeline.report.trials import TrialIndex, Trials, count_trials
from pipeline.run import Run
from pipeline.rundir import LEDGER, RunDir
from pipeline.sealing import seal_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec

SUBJECT = "a" * 64


def bars(path: Path, count: int) -> Path:
    days = pd.bdate_range("2010-01-04", periods=count)
    pd.DataFrame({"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.0}, index=days).to_csv(path, index_label="Date")
    return path


def made(project: Path, strategy: str, data: str, sharpe: float | None, /, **more: Any) -> Run:
    """Open and seal a run of a strategy on a file, as the runner does, with a Sharpe ratio and no other result."""
    origin = more.pop("origin", "evidence-run")
    sections: dict[str, Any] = {"strategy": {"name": strategy}, "data": {"source": data, "symbol": "ABC"}}
    for name, section in more.items():
        sections[name] = {**sections.get(name, {}), **section}
    settings = Settings(project, project / "results")
    run = open_run(RunSpec.from_mapping(sections), settings, origin=origin, inputs={"data": (data, project / data)})
    stats = {"sharpe": sharpe, "periods_per_year": 252.0, "n_bars": 300, "skewness": -0.5, "kurtosis": 4.0}
    run.dir.stats.write_text(json.dumps(stats))
    seal_run(run, error=FAILURE if sharpe is None else None)
    return Run(run.dir)


def numbers(found: Trials) -> tuple[int, int, int]:
    return found.family, found.exact, found.ledger


@pytest.fixture
def project(tmp_path: Path) -> Path:
    bars(tmp_path / "abc.csv", 300)
    bars(tmp_path / "abc_and_a_day.csv", 301)
    return tmp_path


def test_a_directory_that_goes_takes_no_trial_and_no_result_along(project: Path) -> None:
    """Report and ledger count the same; the page says how many are still there, and deflates as before."""
    runs = [made(project, "mine:fn", "abc.csv", sharpe) for sharpe in (0.5, 0.9, -1.0, None, 0.7)]
    before = count_trials(runs[-1])
    assert (numbers(before), before.there, before.without, before.unknown) == ((5, 5, 5), 5, 1, 0)
    for run in runs[1:4]:
        shutil.rmtree(run.dir.path)
    after = count_trials(runs[-1])
    assert (numbers(after), after.there, after.sharpes) == ((5, 5, 5), 2, before.sharpes)
    assert trial_count(runs[0].dir.ledger, "mine:fn", runs[0].record.data.sha256) == 5
    assert after.sha256 != before.sha256


def test_neither_a_rename_nor_a_further_bar_begins_a_new_count(project: Path) -> None:
    """200 trials, the function renamed, a bar appended: 201. Other instruments and other times are other families."""
    first = made(project, "mine:fn", "abc.csv", 0.5)
    scope = count_trials(first).scope
    append(first.dir.ledger, counted_event("s", SUBJECT, scope, batch=0, trials=199))
    renamed = made(project, "mine:better", "abc_and_a_day.csv", 0.6)
    assert numbers(count_trials(renamed)) == (201, 1, 201)
    label = made(project, "mine:better", "abc_and_a_day.csv", 0.6, data={"symbol": "XYZ"})
    assert numbers(count_trials(label)) == (202, 2, 202)  # the same strategy on the same file, under another label
    bars(project / "xyz.csv", 290)
    assert numbers(count_trials(made(project, "mine:fn", "xyz.csv", 0.6, data={"symbol": "XYZ"}))) == (3, 1, 203)
    bars(project / "new.csv", 280)
    assert numbers(count_trials(made(project, "mine:fn", "new.csv", 0.6, data={"symbol": "NEW"}))) == (1, 1, 204)
    assert numbers(count_trials(made(project, "other:fn", "new.csv", 0.6))) == (1, 1, 205)
    early = made(project, "mine:fn", "new.csv", 0.6, data={"end": "2010-01-20", "symbol": "T"})
    assert numbers(count_trials(early))[0] == 2  # the same strategy on the same file
    bars(project / "late.csv", 310)
    apart = made(project, "mine:fn", "late.csv", 0.6, data={"start": "2011-03-04"})
    assert numbers(count_trials(apart)) == (1, 1, 207)


def test_a_declared_family_gathers_strategies_and_hides_nothing(project: Path) -> None:
    """`strategy.family` joins what has other names; another one for the same strategy and data begins no new count."""
    made(project, "mine:fn", "abc.csv", 0.5)
    hidden = made(project, "mine:fn", "abc.csv", 0.6, strategy={"family": "fresh"})
    assert numbers(count_trials(hidden)) == (2, 2, 2)
    joined = made(project, "ma_crossover", "abc_and_a_day.csv", 0.7, strategy={"family": "mine"})
    assert numbers(count_trials(joined)) == (3, 1, 3)
    assert count_trials(joined).scope.family == "mine"


def test_an_older_entry_belongs_where_its_strategy_and_data_are(project: Path) -> None:
    """Entries without a family count with what tried the same, and so for the family of that."""
    run = made(project, "mine:fn", "abc.csv", 0.5)
    digest = run.record.data.sha256
    old = [Event("run_started", f"old{n}", SUBJECT, "mine:fn", digest, {"origin": "evidence-run"}) for n in range(4)]
    append_many(run.dir.ledger, [*old, Event("trial_counted", "olds", SUBJECT, "mine:fn", digest, {"trials": 6})])
    later = made(project, "mine:fn", "abc.csv", 0.6)
    assert numbers(count_trials(later)) == (12, 12, 12)
    grown = count_trials(made(project, "mine:fn2", "abc_and_a_day.csv", 0.7))
    assert (numbers(grown), grown.unknown, grown.there) == ((13, 1, 13), 10, 3)


def test_results_of_older_entries_are_read_while_the_directory_is_there(project: Path) -> None:
    """A seal's entry from before results leaves the ratio to the directory; without that it is unknown."""
    first, second = made(project, "mine:fn", "abc.csv", 0.5), made(project, "mine:fn", "abc.csv", 0.8)
    lines = first.dir.ledger.read_bytes().splitlines()
    first.dir.ledger.unlink()
    for line in lines:
        event = parse_line(line).event
        details = {name: value for name, value in event.details.items() if name == "origin"}
        append(first.dir.ledger, replace(event, details=details))
    found = count_trials(second)
    assert (numbers(found), len(found.sharpes), found.unknown) == ((2, 2, 2), 2, 0)
    shutil.rmtree(first.dir.path)
    found = count_trials(second)
    assert (numbers(found), len(found.sharpes), found.unknown, found.there) == ((2, 2, 2), 1, 1, 1)


def test_equal_results_deflate_nothing(project: Path) -> None:
    """Runs that differ in the seed or in a label only were not chosen between: not applicable, whatever N."""
    for more in ({}, {"run": {"seed": 1}}, {"data": {"symbol": "Another"}}):
        run = made(project, "mine:fn", "abc.csv", 0.5, **more)
    found = count_trials(run)
    assert (found.family, len(found.sharpes), found.applicable) == (3, 1, False)
    returns = moments([0.01, -0.02, 0.03, 0.01])
    for ratios in ([0.03, 0.03], [0.03, 0.03 * (1 + 1e-15)], [0.0, 0.0]):
        assert deflate(returns, ratios, n_trials=80.0).dsr is None
    assert deflate(returns, [0.03, 0.031]).dsr is not None


def test_a_ratio_that_cannot_be_taken_to_a_rate_is_none_there(project: Path) -> None:
    """Without a volatility a ratio is of its own rate: at another one it is told as missing, not as it was."""
    first, second = made(project, "mine:fn", "abc.csv", 0.5), made(project, "mine:fn", "abc.csv", 0.6)
    assert (len(count_trials(second).sharpes), count_trials(second).without) == (2, 0)
    second.dir.conventions.write_text(json.dumps(Conventions(0.04, None, 252.0).to_dict()))
    found = count_trials(Run(second.dir))
    assert (numbers(found), found.sharpes, found.without, found.unknown) == ((2, 2, 2), (), 2, 0)
    assert len(count_trials(first).sharpes) == 1


def test_a_sweep_and_the_runs_of_its_trials_have_one_count(project: Path) -> None:
    """What was tried until the sweep's last batch; a replay has the count of the run it repeats."""
    sweep = made(project, "mine:fn", "abc.csv", 0.5, origin="sweep")
    scope = Scope("mine:fn", sweep.record.data.sha256, "mine", ("ABC",))
    results = [TrialResult(0.01), TrialResult(0.02), None]
    for batch in (0, 1):
        append(sweep.dir.ledger, counted_event(sweep.run_id, SUBJECT, scope, batch=batch, trials=3))
        append_many(sweep.dir.ledger, ended_events(sweep.run_id, SUBJECT, scope, batch=batch, results=results))
        between = made(project, "mine:fn", "abc.csv", 0.5)
    best = made(project, "mine:fn", "abc.csv", 0.5, origin=f"sweep-best:{sweep.run_id}")
    again = made(project, "mine:fn", "abc.csv", 0.5, origin=f"replay:{best.run_id}")
    index = TrialIndex(project / "results")
    assert numbers(index.trials_of(sweep)) == (7, 7, 7)
    assert index.trials_of(best) == index.trials_of(again) == index.trials_of(sweep)
    assert (index.trials_of(sweep).without, len(index.trials_of(sweep).sharpes)) == (2, 3)
    assert numbers(index.trials_of(between)) == (8, 8, 8)


def test_a_ledger_that_cannot_be_counted_is_said(project: Path) -> None:
    """Without an entry, without a ledger or with a damaged one nothing is deflated, and the page says why."""
    runs = [made(project, "mine:fn", "abc.csv", sharpe) for sharpe in (0.5, 0.6)]
    ledger = project / "results" / LEDGER
    whole = ledger.read_bytes()
    ledger.write_bytes(b"".join(whole.splitlines(keepends=True)[1:]))
    assert "missing" in count_trials(runs[1]).problem
    ledger.unlink()
    assert count_trials(runs[1]).problem == "there is no ledger"
    append(ledger, Event("run_started", "x"))
    assert "does not know this run" in count_trials(runs[1]).problem
    assert not count_trials(runs[1]).applicable
    assert "cannot be counted" in build_page(runs[1]).significance() or not build_page(runs[1]).sharpe_evidence
    for run in runs:
        adopt_run(run.dir)
    assert numbers(count_trials(runs[1])) == (2, 2, 3)
    assert count_trials(runs[1]).unknown == 0


def test_many_reports_read_the_ledger_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is read again only when it has grown."""
    from pipeline.report import trials

    runs = [made(project, "mine:fn", "abc.csv", sharpe) for sharpe in (0.5, 0.6)]
    count_trials(runs[0])
    monkeypatch.setattr(trials, "check_ledger", lambda _: pytest.fail("it was read again"))
    assert numbers(count_trials(runs[1])) == (2, 2, 2)
    monkeypatch.undo()
    made(project, "mine:fn", "abc.csv", 0.7)
    assert numbers(count_trials(Run(RunDir(project / "results", runs[1].run_id)))) == (2, 2, 2)
    assert builder.TEMPLATE.is_file()
