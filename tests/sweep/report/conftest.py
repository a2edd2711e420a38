"""Sweeps shared by the tests of their report, and a browser with the network cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.run import Run
from pipeline.rundir import RunDir
from tests.browser import Visit
from tests.sweep.report.made import MIXED, RANDOM, make, settings_at

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a sweep over a grid, with one objective."""
    return make(settings_at(tmp_path_factory.mktemp("grid")))


@pytest.fixture(scope="session")
def goals(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return an adaptive sweep with three objectives, the second one to be small, over params of every kind."""
    return make(
        settings_at(tmp_path_factory.mktemp("goals")),
        sweep={"sampler": "tpe", "trials": 40, "objectives": ["sharpe", "turnover", "max_drawdown"]},
        space=MIXED,
    )


@pytest.fixture(scope="session")
def flaky(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a sweep half of whose trials failed, with two kinds of errors."""
    settings = settings_at(tmp_path_factory.mktemp("flaky"))
    space = {"fast": [5, 10], "slow": [15, 20, 30, 60]}
    return make(settings, strategy={"name": "sometimes_failing:some"}, space=space)


@pytest.fixture(scope="session")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a sweep whose trials all failed."""
    return make(settings_at(tmp_path_factory.mktemp("nothing")), strategy={"name": "sometimes_failing:none"})


@pytest.fixture(scope="session")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return an adaptive sweep some of whose trials were pruned."""
    settings = settings_at(tmp_path_factory.mktemp("pruned"))
    return make(settings, sweep={"sampler": "random", "trials": 30, "pruner": "median"}, space=RANDOM)


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a sweep of one trial."""
    return make(settings_at(tmp_path_factory.mktemp("single")), sweep={"sampler": "random", "trials": 1})


@pytest.fixture
def copied(grid: Run, tmp_path: Path) -> Run:
    """Return a copy of the sweep over a grid, without its report."""
    results = tmp_path / "results"
    shutil.copytree(grid.dir.path, results / grid.run_id, ignore=shutil.ignore_patterns("report"))
    return Run(RunDir(results, grid.run_id))


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Any]]:
    """Open a sweep's report at a size and in a colour scheme; fails the test at its end for any problem."""
    visits: list[Visit] = []

    def call(run: Run, *, width: int = 1400, dark: bool = False, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True, **options
        )
        one = Visit(context.new_page())
        visits.append(one)
        one.page.goto(run.dir.report.as_uri())
        one.page.wait_for_load_state("load")
        return one.page

    yield call
    problems = [problem for one in visits for problem in one.problems]
    for one in visits:
        one.page.context.close()
    assert problems == []
