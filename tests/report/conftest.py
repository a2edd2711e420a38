"""Runs and rendered reports shared by the tests of the report, and a browser with the network cut."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import report_builder as builder
from report_builder import FAILURE, SPEC, TEMPLATE, TRACKING

from pipeline.report.record import RenderRecord
from pipeline.report.render import render_run
from pipeline.run import Run
from pipeline.rundir import RunDir
from tests.browser import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Render = Callable[..., RenderRecord]


@pytest.fixture(scope="session")
def render(pytestconfig: pytest.Config) -> Render:
    """Render with the shipped template and the renderer that `--report-renderer` names, unless told otherwise."""
    chosen = pytestconfig.getoption("report_renderer")

    def call(run: Run, **options: Any) -> RenderRecord:
        return render_run(run, **{"renderer": chosen, "template": TEMPLATE, **options})

    return call


@pytest.fixture(scope="session")
def backtest() -> Any:
    """Return a backtest of real data with its benchmark, made once."""
    return builder.backtest()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, backtest: Any, render: Render) -> Run:
    """Return a finished, sealed, tracked run with its report."""
    results = tmp_path_factory.mktemp("finished") / "results"
    run = builder.build_run(
        results, spec=SPEC, result=backtest, tracking=TRACKING, robust=builder.examined(),
        warnings=("The data ends early.",), number=1,
    )  # fmt: skip
    render(run)
    return run


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """Return a copy of the finished run of its own, with its ledger and without its report."""
    results = tmp_path / "results"
    ignored = shutil.ignore_patterns("report")
    shutil.copytree(finished.dir.path, results / finished.run_id, ignore=ignored)
    shutil.copy(finished.dir.ledger, results)
    return Run(RunDir(results, finished.run_id))


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory, render: Render) -> Run:
    """Return a failed, sealed run with its report."""
    run = builder.build_run(tmp_path_factory.mktemp("failed") / "results", spec=SPEC, error=FAILURE, number=2)
    render(run)
    return run


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for Quarto in place; returns the file that lists its starts."""
    program, log = tmp_path / "quarto", tmp_path / "quarto.log"
    script = Path(__file__).parent / "programs" / "quarto.py"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("QUARTO_PATH", str(program))
    monkeypatch.setenv("QUARTO_LOG", str(log))
    return log


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Open a run's report at a size and in a colour scheme; fails the test at its end for any problem."""
    visits: list[Visit] = []

    def call(run: Run, *, width: int = 1440, dark: bool = False) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
        )
        one = Visit(context.new_page())
        visits.append(one)
        one.page.goto(run.dir.report.as_uri())
        one.page.wait_for_load_state("load")
        return one

    yield call
    problems = [problem for one in visits for problem in one.problems]
    for one in visits:
        one.page.context.close()
    assert problems == []
