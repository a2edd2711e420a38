"""How the report of a sweep is made: the same bytes every time, its record, when it is stale, its size."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.digest import sha256_bytes
from pipeline.errors import RenderError, UsageError
from pipeline.files import read_json, write_json
from pipeline.report.job import RenderJob
from pipeline.report.record import read_record
from pipeline.report.selfcontained import check_self_contained
from pipeline.run import Run
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from pipeline.sweep.report.render import find_sweep_template, render_sweep, why_sweep_stale
from pipeline.sweep.stored import Sweep
from tests.sweep.report.made import REPOSITORY, TEMPLATE, html_of, page_of, render
from tests.tiers import mostly_slow

LARGEST = 5_000_000


def why(run: Run) -> str | None:
    fresh = Run(RunDir(run.dir.results, run.run_id))
    return why_sweep_stale(fresh, RenderJob(Settings(REPOSITORY, run.dir.results), "embedded"))


@pytest.mark.slow
def test_twice_the_same_bytes(goals: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sweep gives the same page, also from another directory and from another place in the file system."""
    before = goals.dir.report.read_bytes()
    results = tmp_path / "elsewhere"
    shutil.copytree(goals.dir.path, results / goals.run_id, ignore=shutil.ignore_patterns("report"))
    monkeypatch.chdir(tmp_path)
    moved = Run(RunDir(results, goals.run_id))
    record = render(moved)
    assert moved.dir.report.read_bytes() == before
    assert record == read_record(goals)


def test_the_record_tells_how_it_was_made(grid: Run) -> None:
    """The record holds the digests of the manifest and of the page; nothing else in the directory changed."""
    record = read_record(grid)
    data = grid.dir.report.read_bytes()
    assert record is not None
    assert (record.report_sha256, record.size) == (sha256_bytes(data), len(data))
    assert (record.template, record.renderer) == ("sweep_report.qmd", "embedded")
    assert record.manifest_sha256 == grid.manifest_digest
    assert record.trials == read_json(grid.dir.statistics)["counts"]["ledger"]
    assert grid.verify().ok
    assert sorted(path.name for path in grid.dir.report.parent.iterdir()) == ["index.html", "render.json"]


@pytest.mark.parametrize("name", mostly_slow(["grid", "goals", "flaky", "nothing"]))
def test_the_page_needs_nothing_else(name: str, request: pytest.FixtureRequest) -> None:
    """Nothing in the page is loaded from anywhere, scripts of others cannot run, and it stays below 5 MB."""
    run: Run = request.getfixturevalue(name)
    check_self_contained(html_of(run))
    policy = page_of(run).find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert run.dir.report.stat().st_size < LARGEST


@pytest.mark.slow
def test_what_makes_it_stale(copied: Run) -> None:
    """A report is fresh until the sweep, its own bytes, the template or the runs it links to change."""
    assert why(copied) == "it has no report"
    render(copied)
    assert why(copied) is None
    trial = RunDir(copied.dir.results, Sweep(copied).trials[0].run_id)
    trial.report.parent.mkdir(parents=True)
    trial.report.write_text("a report")
    assert why(copied) == "the runs of its trials changed"
    shutil.rmtree(trial.path)
    copied.dir.report.write_text("something else")
    assert why(copied) == "the report changed"
    render(copied)
    with copied.dir.manifest.open("a", encoding="utf-8") as file:
        file.write(" ")
    assert why(copied) == "the sweep changed"


def test_a_template_of_one_s_own(copied: Run, tmp_path: Path) -> None:
    """A project may print the parts in another order; what is wrong in a template is named with its line."""
    mine = tmp_path / "mine.qmd"
    cell = "```{python}\n#| output: asis\nprint(page.%s())\n```\n"
    mine.write_text("```{python}\n#| tags: [parameters]\nrun_id = page = None\n```\n" + cell % "verdict")
    assert render(copied, template=mine).template == "mine.qmd"
    assert page_of(copied).select(".verdict")
    assert not page_of(copied).select(".evidence")
    mine.write_text(mine.read_text() + cell % "nonsense")
    with pytest.raises(RenderError, match=r"mine\.qmd, line 11 .*nonsense"):
        render(copied, template=mine)


def test_the_template_is_the_project_s_or_the_shipped_one(tmp_path: Path) -> None:
    """A project's own template goes first; without one the shipped one is used; a missing one is named."""
    settings = Settings(tmp_path, tmp_path / "results")
    assert find_sweep_template(None, settings) == REPOSITORY / "reports" / "sweep_report.qmd"
    own = tmp_path / "reports" / "sweep_report.qmd"
    own.parent.mkdir()
    own.write_text("mine")
    assert find_sweep_template(None, settings) == own
    with pytest.raises(RenderError, match=r"missing\.qmd"):
        find_sweep_template(Path("missing.qmd"), settings)


def test_a_run_that_is_no_sweep_is_refused(copied: Run) -> None:
    """Nothing is written for a run that is no sweep."""
    config = read_json(copied.dir.config_json)
    del config["sweep"]
    copied.dir.config_json.write_text(json.dumps(config))
    with pytest.raises(UsageError, match="is not a sweep"):
        render_sweep(Run(RunDir(copied.dir.results, copied.run_id)), renderer="embedded", template=TEMPLATE)
    assert not copied.dir.report.exists()


def grown(run: Run, count: int) -> dict[str, Any]:
    """Write `count` trials of four params and three objectives into a sweep, a tenth of them failed."""
    random = np.random.default_rng(0)
    stats = Sweep(run).trials[0].stats
    lines, ranked = [], []
    for number in range(count):
        failed = number % 10 == 9
        values = [] if failed else [float(value) for value in random.normal(0.3, 0.2, 3)]
        params = {name: float(value) for name, value in zip("abcd", random.random(4), strict=True)}
        trial = {
            "number": number, "run_id": new_run_id(), "params": params, "state": "FAIL" if failed else "COMPLETE",
            "values": values, "stats": {} if failed else stats, "intermediate": [], "seconds": 0.1,
            "error": f"ValueError: {number} is no window" if failed else None, "attempts": [],
        }  # fmt: skip
        lines.append(json.dumps(trial))
        ranked += [] if failed else [(-values[0], number)]
    run.dir.trials.write_text("\n".join(lines))
    found = read_json(run.dir.statistics)
    found["ranking"] = [number for _, number in sorted(ranked)]
    found |= {"best": found["ranking"][0], "front": found["ranking"][:60], "objectives": ["sharpe", "cagr", "turnover"]}
    found["counts"] |= {"trials": count, "complete": len(ranked), "failed": count - len(ranked)}
    config = read_json(run.dir.config_json)
    config["sweep"]["objectives"] = found["objectives"]
    write_json(run.dir.statistics, found)
    write_json(run.dir.config_json, config)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("count", "listed"), [(5_000, 5_000), (12_000, 5_000)])
def test_many_trials_fit(copied: Run, count: int, listed: int) -> None:
    """Five thousand trials are all in the page; of more, the best. They are written by hand: a search takes minutes."""
    found = grown(copied, count)
    record = render(Run(RunDir(copied.dir.results, copied.run_id)))
    assert record.size < LARGEST
    page = page_of(copied)
    rows = page.select(".all-trials tbody tr")
    assert len(rows) == listed
    numbers = {int(row.th.get_text()) for row in rows}
    assert set(found["ranking"][: min(listed, len(found["ranking"]))]) <= numbers
    assert ("of which the best 5,000 are listed" in page.get_text()) is (count > listed)


@pytest.mark.quarto
@pytest.mark.skipif(not (shutil.which("quarto") or os.environ.get("QUARTO_PATH")), reason="no Quarto on this machine")
def test_quarto_says_the_same(copied: Run) -> None:
    """Quarto gives the same words and numbers as the embedded renderer, and the same bytes twice."""
    embedded = render(copied)
    text = page_of(copied).main.get_text(" ", strip=True)
    first, second = render(copied, renderer="quarto"), render(copied, renderer="quarto")
    assert asdict(first) == asdict(second)
    assert first.report_sha256 != embedded.report_sha256
    assert page_of(copied).main.get_text(" ", strip=True).split() == text.split()
