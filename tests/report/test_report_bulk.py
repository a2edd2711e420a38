"""Many reports at once: only the stale ones, each its own, in several processes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from report_builder import TEMPLATE

from pipeline.report.bulk import RenderJob, render_many, why_stale
from pipeline.report.render import render_run
from pipeline.run import Run
from pipeline.rundir import RunDir, new_run_id, write_json
from pipeline.settings import Settings


@pytest.fixture
def job(tmp_path: Path) -> RenderJob:
    return RenderJob(Settings(tmp_path, tmp_path / "results"), "embedded", TEMPLATE)


def unsealed(job: RenderJob, sharpe: float) -> Run:
    """A run without a manifest, which renders in a moment."""
    directory = RunDir.create(job.settings.results, new_run_id())
    write_json(directory.config_json, {"run": {"name": f"sharpe {sharpe}"}})
    write_json(directory.stats, {"sharpe": sharpe})
    return Run(directory)


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
    record.write_text(before)
    run.dir.report.write_text(run.dir.report.read_text() + " ")
    assert why_stale(run, job) == "the report changed"
