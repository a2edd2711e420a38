"""Sweeps on the website: a page each, with the way to its report and to the runs of its trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from pipeline.backtest.catalogue import RATIO
from pipeline.report.numbers import format_number
from pipeline.settings import Settings
from pipeline.site.build import build_site
from pipeline.site.options import SiteOptions
from pipeline.sweep.site_pages import SweepPages
from tests.sweep.sweeps import search, spec


def built(project: Settings, output: Path, *, public: bool = False) -> None:
    build_site(project, output, SiteOptions(public=public), providers=[SweepPages(project.results)])


@pytest.mark.slow
def test_a_sweep_has_its_page(project: Settings, tmp_path: Path) -> None:
    """The page names what was found, links the sweep's report, and those trials that are runs; every link resolves."""
    outcome = search(project, spec(sweep={"best": 1}, report={"enabled": True}))
    site = tmp_path / "site"
    built(project, site)
    page = (site / "sweeps" / f"{outcome.run.run_id}.html").read_text()
    assert f'href="../runs/{outcome.run.run_id}/index.html"' in page
    assert f'href="../runs/{outcome.best_runs[0]}/index.html"' in page
    assert page.count("../runs/") == 2
    assert "The best 8 of 8 trials" in page
    said = " ".join(BeautifulSoup(page, "html.parser").select_one(".verdict").get_text().split())
    assert said.startswith(f"Trial {outcome.statistics.best} has the best Sharpe ratio of 8")
    assert '<div class="table-box facts"' in page
    assert "Best trial: trials" not in page
    listed = next((site / "data").glob("runs-*.js")).read_text()
    best = format_number(outcome.run.stats["best_sharpe"], RATIO).replace("\u2212", "\\u2212")
    assert f"Sweep of 8 trials, best Sharpe ratio {best}" in listed
    assert "evidence.sweep" not in listed
    assert (site / "runs" / outcome.run.run_id / "index.html").read_text().count("What the best is worth") >= 1
    assert "small" in (site / "sweeps" / "index.html").read_text()


@pytest.mark.slow
def test_the_public_site_has_no_report_of_a_sweep(project: Settings, tmp_path: Path) -> None:
    """For the public a sweep is a summary without paths."""
    outcome = search(project, spec(report={"enabled": True}))
    built(project, tmp_path / "site", public=True)
    page = (tmp_path / "site" / "runs" / outcome.run.run_id / "index.html").read_text()
    assert "What the best is worth" not in page
    assert str(project.root) not in page


@pytest.mark.slow
def test_the_public_page_of_a_sweep_leaves_out_what_identifies(project: Settings, tmp_path: Path) -> None:
    """Params of the trials are the texts of whoever searched: a path in one is left out, of the site as a whole."""
    (project.root / "chosen.py").write_text(
        "def fn(df, params):\n    return (df['close'] > df['close'].rolling(len(params['model'])).mean()).astype(int)\n"
    )
    paths = ["/home/somebody/models/a.bin", "/home/somebody/models/longer.bin"]
    search(project, spec(strategy={"name": "chosen:fn"}, space={"model": paths}, sweep={"best": 1}))
    for public in (False, True):
        built(project, tmp_path / "site", public=public)
        files = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
        found = [path for path in files if b"somebody" in path.read_bytes()]
        assert bool(found) is not public, found


def test_a_project_without_sweeps_says_so(project: Settings, tmp_path: Path) -> None:
    """The list of sweeps is there, and says that it is empty."""
    project.results.mkdir()
    built(project, tmp_path / "site")
    assert "There are none yet." in (tmp_path / "site" / "sweeps" / "index.html").read_text()
