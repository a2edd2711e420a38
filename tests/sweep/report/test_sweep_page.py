"""What the report of a real sweep says, held against the files of the sweep."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest

from pipeline.backtest.catalogue import metric
from pipeline.errors import UsageError
from pipeline.files import read_json, write_json
from pipeline.report.numbers import format_number
from pipeline.report.verdict import ONLY_IF, WHY_UNJUDGED
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.sweep.report import open_sweep
from pipeline.sweep.report.facts import SweepFacts
from pipeline.sweep.report.maps import make_map, make_side
from pipeline.sweep.report.page import build_sweep_page
from pipeline.sweep.report.words import effective_text, param_text
from pipeline.sweep.stored import Sweep
from pipeline.sweep.trial import Trial
from tests.sweep.report.made import html_of, make, page_of, render, rows_of, settings_at
from tests.sweep.sweeps import search, spec
from tests.tiers import mostly_slow

ALL = ("grid", "goals", "flaky", "nothing", "pruned", "single")


def percent(value: float | None) -> str:
    return format_number(value, "percent")


def ratio(value: float | None) -> str:
    return format_number(value, "ratio")


def test_the_statistics_are_those_of_the_file(grid: Run) -> None:
    """Every number in the table is the one in statistics.json, in the unit its heading says."""
    found = read_json(grid.dir.statistics)
    shown = {row[0]: row[1] for row in rows_of(grid, "evidence")}
    deflation, overfit = found["deflation"], found["overfitting"]
    forward, crossed, plateau = found["walk_forward"], found["cross_validation"], found["plateau"]
    assert shown == {
        "Sharpe ratio of the best trial": ratio(deflation["sharpe"]),
        "Probabilistic Sharpe ratio": percent(deflation["psr"]),
        "Trials counted": str(deflation["n"]),
        "Best ratio expected by luck": ratio(deflation["expected_max"]),
        "Deflated Sharpe ratio": percent(deflation["dsr"]),
        "Effective number of trials": effective_text(deflation["effective"]),
        "Best ratio by luck, effective": ratio(deflation["expected_max_effective"]),
        "Deflated by the effective number": percent(deflation["dsr_effective"]),
        "Probability of overfitting (PBO)": percent(overfit["pbo"]),
        "Probability of a loss": percent(overfit["probability_of_loss"]),
        "Slope of the decay": ratio(overfit["degradation_slope"]),
        "Walk-forward, in sample": ratio(forward["in_sample"]),
        "Walk-forward, out of sample": ratio(forward["out_of_sample"]),
        "Cross-validation, median path": ratio(float(np.median(crossed["paths"]))),
        "Cross-validation, worst and best": f"{ratio(min(crossed['paths']))} to {ratio(max(crossed['paths']))}",
        "Neighbours near the best": percent(plateau["share"]),
        "Neighbours, median and worst": f"{ratio(plateau['median'])} and {ratio(plateau['worst'])}",
    }


@pytest.mark.parametrize(
    ("status", "mark", "said"),
    [
        ("leak", "LOOKS AHEAD", "Trial {}, the best, looks into the future"),
        (
            "unjudged",
            "LOOK-AHEAD CANNOT BE JUDGED",
            "Whether trial {}, the best, looks into the future cannot be judged",
        ),
        ("stochastic", "LOOK-AHEAD UNKNOWN", "Trial {}, the best, gives different signals"),
        ("clean", "NO LOOK-AHEAD FOUND", "Trial {} has the best Sharpe ratio"),
        (None, "LOOK-AHEAD NOT CHECKED", "Trial {} has the best Sharpe ratio"),
    ],
)
def test_the_look_ahead_of_the_best_trials_run_comes_first(
    copied: Run, status: str | None, mark: str, said: str
) -> None:
    """What the best trial's run found is among the marks and before any number; without one it is unchecked."""
    before = build_sweep_page(copied)
    around = before.around_sha256
    assert before.best is not None
    best = RunDir(copied.dir.results, before.best.run_id)
    if status is not None:
        best.path.mkdir()
        write_json(best.stats, {"sharpe": 5.4})
        write_json(best.robustness, {"leakage": {"status": status}})
    page = build_sweep_page(Run(copied.dir))
    head = page.header()
    assert f">{mark}</span>" in head
    assert head.split('<p class="verdict">')[1].replace("\u00a0", " ").startswith(said.format(before.best.number))
    assert (page.around_sha256 == around) == (status is None)


def test_one_signal_at_every_bar_knows_of_no_later_one(copied: Run) -> None:
    """Of a best trial whose signal is constant the page says why nothing can be judged, and warns of nothing."""
    best = build_sweep_page(copied).best
    assert best is not None
    for reason, warns in (("constant", False), ("independent", True)):
        run = RunDir(copied.dir.results, best.run_id)
        run.path.mkdir(exist_ok=True)
        write_json(run.robustness, {"leakage": {"status": "unjudged", "reason": reason}})
        said = build_sweep_page(Run(copied.dir)).header()
        assert WHY_UNJUDGED[reason] in said
        assert (ONLY_IF in said) is warns


def test_a_blind_choice_stands_beside_the_probability_of_overfitting(grid: Run) -> None:
    """The number beside PBO is the one of these trials; a sweep of an earlier version has none."""
    blind = percent(read_json(grid.dir.statistics)["overfitting"]["blind"])
    page = build_sweep_page(grid)
    assert f"a blind choice: {blind}" in page.header()
    assert f"without looking at the first half has {blind}" in page.statistics()
    assert page.judged.overfitting is not None
    older = replace(page.judged, overfitting=replace(page.judged.overfitting, blind=None))
    page.__dict__["judged"] = older
    assert "blind" not in page.header()
    assert "without looking" not in page.statistics()


def test_decay_is_annual(grid: Run) -> None:
    """CSCV keeps ratios per bar; beside the annual ones of the other methods they are annual, too."""
    found = read_json(grid.dir.statistics)
    rows = {row[0].split("(")[1].split(")")[0]: row[1:] for row in rows_of(grid, "decay")}
    annual = found["periods_per_year"] ** 0.5
    inside, outside = (float(np.mean(found["overfitting"][name])) * annual for name in ("in_sample", "out_of_sample"))
    assert rows["CSCV"] == [ratio(inside), ratio(outside), percent(outside / inside) if inside > 0 else "–"]
    forward = found["walk_forward"]
    assert rows["walk-forward"][:2] == [ratio(forward["in_sample"]), ratio(forward["out_of_sample"])]


def test_the_windows_name_what_was_chosen(grid: Run) -> None:
    """Each window of the walk-forward has its days, its trial with its params, and both ratios."""
    sweep = Sweep(grid)
    assert sweep.statistics is not None
    assert sweep.statistics.walk_forward is not None
    params = {trial.number: trial.params for trial in sweep.trials}
    wanted = [
        [
            f"{window.start[:10]} to {window.end[:10]}", str(window.trial),
            f"fast = {params[window.trial]['fast']}, slow = {params[window.trial]['slow']}",
            ratio(window.in_sample), ratio(window.out_of_sample),
        ]
        for window in sweep.statistics.walk_forward.windows
    ]  # fmt: skip
    assert rows_of(grid, "falls") == wanted


def test_the_leaderboard_is_the_ranking(grid: Run) -> None:
    """The best trial stands first, and each row has the params and the metrics of its trial."""
    sweep = Sweep(grid)
    by_number = {trial.number: trial for trial in sweep.trials}
    assert sweep.statistics is not None
    rows = rows_of(grid, "leaders")
    assert [int(row[1]) for row in rows] == list(sweep.statistics.ranking)
    for rank, row in enumerate(rows, start=1):
        trial = by_number[int(row[1])]
        kinds = {name: metric(name).kind for name in ("cagr", "max_drawdown", "annual_volatility", "total_trades")}
        assert row == [
            str(rank), str(trial.number), str(trial.params["fast"]), str(trial.params["slow"]), ratio(trial.values[0]),
            *(format_number(trial.stats[name], kind) for name, kind in kinds.items()),
        ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grid", "flaky", "pruned", "nothing"])
def test_every_trial_is_in_the_table(name: str, request: pytest.FixtureRequest) -> None:
    """All trials are listed by number with their state, failed and pruned ones too."""
    run: Run = request.getfixturevalue(name)
    words = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    rows = rows_of(run, "all-trials")
    assert [(int(row[0]), row[-1]) for row in rows] == [(t.number, words[t.state]) for t in Sweep(run).trials]


@pytest.mark.slow
def test_the_head_says_what_was_searched(pruned: Run, goals: Run) -> None:
    """Name, counts by state, sampler, seed, pruner, objectives, identity and seal are in the head."""
    counts = read_json(pruned.dir.statistics)["counts"]
    assert counts["pruned"] > 0
    head = page_of(pruned).select_one(".run-head").get_text(" ", strip=True)
    said = f"30 trials ( {counts['complete']} completed, {counts['pruned']} pruned )".replace("( ", "(").replace(
        " )", ")"
    )
    for text in (
        "small",
        "ma_crossover",
        said,
        "random sampler, seed 0",
        "median pruner",
        "SEAL MATCHES",
        "NOT SIGNED",
    ):
        assert text in head
    for digest in (pruned.run_id, pruned.manifest_digest[:10], pruned.record.data.sha256[:10]):
        assert digest in head
    assert "objectives: Sharpe ratio, turnover a year and maximum drawdown" in page_of(goals).get_text()


@pytest.mark.slow
def test_the_pareto_front_is_the_file_s(goals: Run) -> None:
    """With several objectives the front has a figure for each further one, a table, and stars in the leaderboard."""
    front = set(read_json(goals.dir.statistics)["front"])
    page = page_of(goals)
    table = page.find(id="pareto").find_next("div", class_="table-box")
    rows = [row.th.get_text() for row in table.select("tbody tr")]
    assert {int(number) for number in rows} == front
    assert html_of(goals).count('data-for="plot-pareto-') == 2
    starred = {int(row[1]) for row in rows_of(goals, "leaders") if row[0].startswith("★")}
    assert starred == front & {int(row[1]) for row in rows_of(goals, "leaders")}


@pytest.mark.slow
def test_trials_without_returns_are_spoken_of(pruned: Run, flaky: Run, grid: Run) -> None:
    """Pruned and failed trials count; that they are in no other statistic is said, when there are any."""
    left = read_json(pruned.dir.statistics)["counts"]["pruned"]
    assert f"whole period ({left} trials pruned): these are in the number" in page_of(pruned).get_text()
    assert "whole period (4 trials failed): these are" in page_of(flaky).get_text()
    assert "Not all trials left returns" not in page_of(grid).get_text()


def test_the_page_works_without_a_renderer(grid: Run) -> None:
    """Opened by plain `quarto render`, the page brings its style along and embeds what else it needs."""
    plain = build_sweep_page(grid)
    assert "<style>" in plain.header()
    assert ".parallel" in plain.header()
    assert "<style>" not in build_sweep_page(grid, images=grid.dir.path / "images").header()


def test_no_pareto_front_of_one_objective(grid: Run) -> None:
    """One objective has no front."""
    assert page_of(grid).find(id="pareto") is None


@pytest.mark.parametrize(("name", "warned"), mostly_slow([("goals", True), ("grid", False), ("pruned", False)], 0, 1))
def test_adaptive_samplers_come_with_a_caveat(name: str, warned: bool, request: pytest.FixtureRequest) -> None:
    """Walk-forward over trials that were proposed with hindsight says so; grid, random and qmc need no such words."""
    page = page_of(request.getfixturevalue(name))
    assert bool(page.select(".caveat")) is warned
    assert ("flatter" in page.main.get_text()) is warned


def test_failed_trials_have_their_errors(flaky: Run) -> None:
    """Errors are counted by kind in the figure and listed with their text, which is never markup."""
    page = page_of(flaky)
    failed = [trial for trial in Sweep(flaky).trials if trial.state == "FAIL"]
    assert failed
    shown = rows_of(flaky, "errors")
    assert [(int(row[0]), row[2]) for row in shown] == [(t.number, " ".join(t.error.split())) for t in failed]
    figure = json.loads(page.select_one('script[data-for="plot-failures"]').string)
    kinds = {trace["name"]: trace["x"] for trace in figure["data"]}
    assert kinds == {
        kind: [t.number for t in failed if t.error.startswith(kind)] for kind in ("MemoryError", "ValueError")
    }
    assert "<script>alert" not in html_of(flaky)


@pytest.mark.slow
def test_a_sweep_without_a_completed_trial_has_a_report(nothing: Run) -> None:
    """What failed and why is there, no number of a best trial is, and nothing is left empty under a heading."""
    page = page_of(nothing)
    text = page.main.get_text(" ", strip=True)
    assert "No trial of 9 was completed (9 trials failed): there is nothing to judge." in text
    assert len(rows_of(nothing, "errors")) == 9
    assert not page.select(".cards, .evidence, .decay, .leaders")
    assert "best.toml" not in text


@pytest.mark.slow
def test_one_trial_is_no_choice(single: Run) -> None:
    """A sweep of one trial says that nothing was chosen, and shows nothing that speaks of choosing."""
    page = page_of(single)
    assert "nothing was chosen" in page.select_one(".verdict").get_text()
    assert not page.select("#decay, #walk-forward, #slices, #pairs")
    names = [row[0] for row in rows_of(single, "evidence")]
    assert not [name for name in names if "Effective" in name or "Walk" in name or "validation" in name]


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(["goals", "flaky", "nothing"]))
def test_the_html_is_valid(name: str, request: pytest.FixtureRequest) -> None:
    """A parser that follows the standard finds no error in any page."""
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(html_of(request.getfixturevalue(name)))
    assert [(place, code) for place, code, _ in parser.errors] == []


@pytest.mark.parametrize("name", mostly_slow(ALL))
def test_links_lead_somewhere(name: str, request: pytest.FixtureRequest) -> None:
    """Every link inside the page has its target, every link beside it its file."""
    run: Run = request.getfixturevalue(name)
    page = page_of(run)
    ids = {tag["id"] for tag in page.find_all(id=True)}
    for link in page.find_all("a", href=True):
        target = link["href"]
        if target.startswith("#"):
            assert target[1:] in ids, target
        elif not target.startswith("http"):
            assert (run.dir.report.parent / target).resolve().is_file(), target


@pytest.mark.parametrize("name", mostly_slow(ALL))
def test_figures_are_plotly_s(name: str, request: pytest.FixtureRequest) -> None:
    """Every figure is valid in plotly's schema, of a kind that the vendored bundle draws, and without a colour."""
    go = pytest.importorskip("plotly.graph_objects")
    scripts = page_of(request.getfixturevalue(name)).select("script.plot-data")
    assert scripts or name == "single"
    for script in scripts:
        figure = json.loads(script.string)
        go.Figure(figure)
        assert {trace["type"] for trace in figure["data"]} <= {"scatter", "bar"}
        assert "#" not in json.dumps([trace.get("marker", {}) for trace in figure["data"]])


def test_commands_name_this_sweep(grid: Run) -> None:
    """The page says how to verify it, run its best trial, and open its study; what it says works."""
    optuna = pytest.importorskip("optuna")
    commands = [block.get_text() for block in page_of(grid).select(".command code")]
    assert commands[0].splitlines() == [
        f"evidence verify {grid.run_id}",
        f"evidence run --config results/{grid.run_id}/best.toml",
        f"evidence render {grid.run_id}",
    ]
    assert grid.dir.best_config.is_file()
    name = re.search(r"study_name='([^']*)'", commands[2])[1]
    study = optuna.load_study(
        study_name=name,
        storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(grid.dir.study_journal))),
    )
    assert len(study.trials) == len(Sweep(grid).trials)


@pytest.mark.slow
def test_a_storage_s_password_is_not_shown(copied: Run) -> None:
    """The page names the storage of the study without the password in its URL."""
    config = read_json(copied.dir.config_json)
    config["sweep"]["storage"] = "postgresql://me:s3cret@db/studies"
    copied.dir.config_json.write_text(json.dumps(config))
    run = Run(RunDir(copied.dir.results, copied.run_id))
    render(run)
    assert "postgresql://me:***@db/studies" in page_of(run).get_text()
    assert "s3cret" not in html_of(run)


@pytest.mark.slow
def test_damaged_files_do_not_stop_the_page(copied: Run) -> None:
    """Without statistics or trials there is still a page, and the seal says what is wrong."""
    copied.dir.statistics.write_text("{")
    copied.dir.trial_returns.unlink()
    render(copied)
    assert "SEAL BROKEN" in page_of(copied).get_text()
    assert len(rows_of(copied, "all-trials")) == 8
    copied.dir.trials.write_text("no JSON\n")
    again = Run(RunDir(copied.dir.results, copied.run_id))
    render(again)
    assert "This sweep left no trials" in page_of(again).get_text()


def test_only_sweeps_have_this_page(copied: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is no sweep is refused by its id; `last` is the last sweep of the project."""
    monkeypatch.chdir(tmp_path)
    assert open_sweep("last", results=copied.dir.results).run.run_id == copied.run_id
    config = read_json(copied.dir.config_json)
    del config["sweep"]
    copied.dir.config_json.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=f"{copied.run_id} is not a sweep"):
        build_sweep_page(Run(RunDir(copied.dir.results, copied.run_id)))


def trial(number: int, value: float, **params: Any) -> Trial:
    return Trial(number, f"{number:08x}-0000-4000-8000-000000000000", params, "COMPLETE", (value,))


def test_a_cell_is_the_median_of_its_trials() -> None:
    """Few values are cells of their own, many are binned; each trial lies in the cell its title names."""
    trials = [trial(i, float(i), a=i % 3, b=i / 7) for i in range(60)]
    across = make_side("a", [t.params["a"] for t in trials])
    down = make_side("b", [t.params["b"] for t in trials])
    assert across.names == ["0", "1", "2"]
    assert len(down.names) == 5
    made = make_map(trials, across, down, "sharpe")
    assert sum(map(len, made.cells.values())) == 60
    wanted = [float(i) for i in range(60) if i % 3 == 1 and i / 7 < 59 / 7 / 5]
    assert made.cells[1, 0] == wanted
    assert made.medians[1, 0] == float(np.median(wanted))
    assert down.cell(59 / 7) == 4


def test_the_better_cell_has_the_stronger_colour() -> None:
    """An objective that is to be small has its strongest shade at its smallest value."""
    trials = [trial(0, 1.0, a=1, b=1), trial(1, 9.0, a=2, b=1)]
    sides = make_side("a", [1, 2]), make_side("b", [1, 1])
    assert [make_map(trials, *sides, "sharpe").shade(value) for value in (1.0, 9.0)] == [1, 8]
    assert [make_map(trials, *sides, "turnover").shade(value) for value in (1.0, 9.0)] == [8, 1]


def test_values_that_look_alike_are_binned() -> None:
    """Two values that are written the same are never two cells of one name."""
    side = make_side("a", [0.100001, 0.100002, 0.2])
    assert not side.exact
    assert len(set(side.names)) == len(side.names)


def test_params_are_written_as_they_are() -> None:
    """Whole numbers stay whole, fractions have four digits, the rest is written as in the spec."""
    written = [param_text(value) for value in (True, 12, 1234567, -0.5, 0.123456, 1e-5, 250_000.5, "ema", None)]
    assert written == ["true", "12", "1234567", "−0.5", "0.1235", "1e−05", "250000", "ema", "–"]


@pytest.mark.slow
def test_the_best_runs_are_linked_and_buying_and_holding_is_drawn(tmp_path: Path) -> None:
    """Trials that became whole runs link to their reports; the benchmark is the one the best run sealed."""
    settings = settings_at(tmp_path / "best")
    run = search(settings, spec(sweep={"best": 1}, report={"enabled": True, "renderer": "embedded"})).run
    page: SweepFacts = build_sweep_page(run)
    assert page.best is not None
    assert list(page.reports) == [page.best.run_id]
    render(run)
    parsed = page_of(run)
    (link,) = {anchor["href"] for anchor in parsed.select(".leaders a")}
    assert link == f"../../{page.best.run_id}/report/index.html"
    figure = json.loads(parsed.select_one('script[data-for="plot-growth"]').string)
    held = next(trace for trace in figure["data"] if trace["meta"]["role"] == "benchmark")
    own = Run(RunDir(settings.results, page.best.run_id)).equity["benchmark_equity"]
    assert held["y"][-1] == pytest.approx(float(own.iloc[-1] / own.iloc[0]), rel=1e-5)


@pytest.mark.slow
def test_full_mode_is_reported(tmp_path: Path) -> None:
    """A sweep of whole runs has a report with the same parts."""
    run = make(settings_at(tmp_path / "full"), sweep={"mode": "full"}, space={"fast": [5, 10], "slow": [30]})
    assert len(rows_of(run, "all-trials")) == 2
    assert "SEAL MATCHES" in page_of(run).get_text()
