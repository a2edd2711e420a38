"""Many reports at once: only the stale ones, each its own, in several processes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import report_builder as builder
from report_builder import SPEC, TEMPLATE

from pipeline.files import write_json
from pipeline.report.bulk import QUARTO_BATCH, render_many
from pipeline.report.job import RenderJob, why_stale
from pipeline.report.quarto import find_quarto
from pipeline.report.record import read_record
from pipeline.report.render import render_run
from pipeline.report.trials import TrialIndex
from pipeline.run import Run
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings

NEEDS_QUARTO = pytest.mark.skipif(find_quarto() is None, reason="no Quarto on this machine")


@pytest.fixture
def job(tmp_path: Path) -> RenderJob:
    return RenderJob(Settings(tmp_path, tmp_path / "results"), "embedded", TEMPLATE)


def unsealed(job: RenderJob, sharpe: float) -> Run:
    """A run without a manifest, which renders in a moment."""
    directory = RunDir.create(job.settings.results, new_run_id())
    write_json(directory.config_json, {"run": {"name": f"sharpe {sharpe}"}})
    write_json(directory.stats, {"sharpe": sharpe})
    return Run(directory)


@pytest.mark.slow
def test_each_report_is_its_own(job: RenderJob) -> None:
    """Rendered in parallel, every page carries its own run_id and numbers, and no other's."""
    runs = [unsealed(job, 1.25 + number) for number in range(5)]
    done = list(render_many(runs, job, processes=2))
    assert sorted(item.run.run_id for item in done) == sorted(run.run_id for run in runs)
    for number, run in enumerate(runs):
        text = run.dir.report.read_text()
        found = set(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", text))
        assert found == {run.run_id}
        assert f"sharpe {1.25 + number}" in text


def test_a_failure_leaves_the_others_alone(job: RenderJob) -> None:
    """A report that cannot be written is told, and the rest is rendered."""
    good, bad = unsealed(job, 1.0), unsealed(job, 2.0)
    (bad.dir.path / "report").write_text("in the way")
    done = {item.run.run_id: item for item in render_many([bad, good], job)}
    assert done[bad.run_id].record is None
    assert "could not be written" in str(done[bad.run_id].error)
    assert done[good.run_id].error is None


def test_what_makes_a_report_stale(job: RenderJob, tmp_path: Path) -> None:
    """The run, the template, the theme, the renderer, the report's own bytes; nothing else."""
    run = unsealed(job, 1.0)
    assert why_stale(run, job) == "it has no report"
    render_run(run, renderer="embedded", template=TEMPLATE, settings=job.settings)
    assert why_stale(run, job) is None
    mine = tmp_path / "mine.qmd"
    shutil.copy(TEMPLATE, mine)
    mine.write_text(mine.read_text() + "\nMore.\n")
    assert why_stale(run, RenderJob(job.settings, "embedded", mine)) == "the template changed"
    record = run.dir.report.with_name("render.json")
    before = record.read_text()
    for key, reason in (("assets_sha256", "the theme"), ("version", "the renderer"), ("manifest_sha256", "the run")):
        record.write_text(json.dumps({**json.loads(before), key: "other"}))
        assert why_stale(run, job) == f"{reason} changed"
    for key, value, reason in (
        ("sections", {"trades.md": "x"}, "a section of the project"),
        ("trials_sha256", "other", "the earlier trials"),
        ("tracked", "http://other", "the address of the tracked run"),
    ):
        record.write_text(json.dumps({**json.loads(before), key: value}))
        assert why_stale(run, job) == f"{reason} changed"
    record.write_text(before)
    assert why_stale(run, replace(job, static=True)) == "the kind of figures changed"
    assert why_stale(run, replace(job, static=False)) is None
    run.dir.report.write_text(run.dir.report.read_text() + " ")
    assert why_stale(run, job) == "the report changed"


def spec(fast: int) -> dict[str, object]:
    return {**SPEC, "strategy": {"name": "ma_crossover", "params": {"fast": fast, "slow": 100}}}


@pytest.mark.slow
def test_a_page_knows_how_many_trials_it_counted(job: RenderJob) -> None:
    """The count is in the record; a later run changes nothing, an earlier one that disappears makes it stale."""
    results = job.settings.results
    earlier = builder.build_run(results, spec=spec(20), result=builder.backtest(20))
    run = builder.build_run(results, spec=spec(30), result=builder.backtest(30))
    render_run(run, renderer="embedded", template=TEMPLATE, settings=job.settings)
    record = read_record(run)
    assert record is not None
    assert record.trials == 2
    builder.build_run(results, spec=spec(40), result=builder.backtest(40))
    assert why_stale(run, replace(job)) is None
    shutil.rmtree(earlier.dir.path)
    assert why_stale(run, replace(job)) == "the earlier trials changed"


@pytest.mark.slow
def test_one_index_serves_many_reports(job: RenderJob) -> None:
    """What is read once of all runs gives each run the same trials as a look of its own."""
    runs = [builder.build_run(job.settings.results, spec=spec(20 + n), result=builder.backtest(20)) for n in range(3)]
    index = TrialIndex(job.settings.results)
    assert [index.trials_of(run).count for run in runs] == [1, 2, 3]


@pytest.mark.slow
def test_quarto_starts_once_for_many_runs(job: RenderJob, stand_in: Path) -> None:
    """Each run is a folder of one project, rendered by one start; every page is the one it would be alone."""
    runs = [unsealed(job, 1.5 + number) for number in range(4)]
    quarto = replace(job, renderer="quarto")
    done = list(render_many(runs, quarto))
    assert [item.error for item in done] == [None] * 4
    starts = [line for line in stand_in.read_text().splitlines() if line.startswith("render")]
    assert starts == ["render . --to html"]
    for number, run in enumerate(runs):
        together = run.dir.report.read_bytes()
        assert f"sharpe {1.5 + number}".encode() in together
        render_run(run, renderer="quarto", template=TEMPLATE, settings=job.settings)
        assert run.dir.report.read_bytes() == together
        assert why_stale(run, quarto) is None


def test_one_bad_run_spoils_no_project(job: RenderJob, stand_in: Path) -> None:
    """When Quarto fails over one of them, each is rendered alone, and only that one has no report."""
    good, bad = unsealed(job, 1.0), unsealed(job, 2.0)
    mine = job.settings.root / "mine.qmd"
    mine.write_text(
        "```{python}\n#| tags: [parameters]\nrun_id = page = None\n```\n\n```{python}\n#| output: asis\n"
        "print('quarto-' + 'fails-here' if page.stats['sharpe'] == 2.0 else page.title)\n```\n"
    )
    done = {item.run.run_id: item for item in render_many([good, bad], replace(job, renderer="quarto", template=mine))}
    assert done[good.run_id].error is None
    assert "Quarto failed with exit code 1" in str(done[bad.run_id].error)
    assert not bad.dir.report.exists()


@pytest.mark.slow
def test_batches_share_the_work(job: RenderJob, stand_in: Path) -> None:
    """Two processes are two projects; no project is larger than a batch."""
    runs = [unsealed(job, float(number)) for number in range(3)]
    list(render_many(runs, replace(job, renderer="quarto"), processes=2))
    starts = [line for line in stand_in.read_text().splitlines() if line.startswith("render")]
    assert sorted(starts) == ["render . --to html", "render report.md --to html"]
    assert QUARTO_BATCH >= 10


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("renderer", ["embedded", pytest.param("quarto", marks=[pytest.mark.quarto, NEEDS_QUARTO])])
def test_a_hundred_reports(job: RenderJob, renderer: str) -> None:
    """One hundred full reports in parallel: each has its own run_id, numbers, curve and trades, and no other's."""
    job = replace(job, renderer=renderer)
    results = [builder.backtest(10 + n, 100) for n in range(4)]
    runs = [builder.build_run(job.settings.results, spec=spec(10 + n % 4), result=results[n % 4]) for n in range(100)]
    done = list(render_many(runs, job, processes=2))
    assert len(done) == 100
    assert [item.error for item in done] == [None] * 100
    for number, run in enumerate(runs):
        text = run.dir.report.read_text(encoding="utf-8")
        assert set(re.findall(r"[0-9a-f]{8}-0000-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", text)) == {run.run_id}
        assert f"fast={10 + number % 4}" in text
        curve = json.loads(re.search(r'data-for="plot-equity">(.*?)</script>', text)[1])["data"][0]["y"]
        assert curve[-1] == pytest.approx(run.equity["equity"].iloc[-1], rel=1e-5)
        assert f'Trials counted</th><td class="num">{number + 1}<' in text
    assert all(why_stale(run, job) is None for run in runs)
