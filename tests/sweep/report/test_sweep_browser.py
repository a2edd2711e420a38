"""The report of a sweep in headless Chromium, the network cut. A visit fails for any request, error or warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.run import Run
from pipeline.sweep.stored import Sweep

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parents[2] / "assets" / "axe.min.js"
BAD = ("serious", "critical")
SIZES = [(1400, False), (1400, True), (390, False), (390, True)]
ROWS = "[...document.querySelectorAll('.all-trials tbody tr')].filter(r => !r.hidden)"


@pytest.mark.parametrize("name", ["grid", "goals", "flaky", "nothing", "single"])
@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_looks(
    name: str, width: int, dark: bool, request: pytest.FixtureRequest, visit: Callable[..., Any], tmp_path: Path
) -> None:
    """Every figure is drawn, and nothing is wider than the window: wide and phone, light and dark."""
    page = visit(request.getfixturevalue(name), width=width, dark=dark)
    figures = page.locator(".plot").count()
    page.wait_for_function(f"document.querySelectorAll('.plot .main-svg').length >= {figures}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / "sweep.png", full_page=True)


@pytest.mark.parametrize("name", ["goals", "flaky", "nothing"])
@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_axe_finds_nothing_serious(
    name: str, width: int, dark: bool, request: pytest.FixtureRequest, visit: Callable[..., Any]
) -> None:
    """No serious finding: wide and phone, light and dark, with and without a completed trial."""
    page = visit(request.getfixturevalue(name), width=width, dark=dark, bypass_csp=True)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in BAD] == []


def test_trials_sort_and_search(pruned: Run, visit: Callable[..., Any]) -> None:
    """The table of all trials sorts by number, the undefined last, and the search keeps rows with every word."""
    page = visit(pruned)
    head = page.locator(".all-trials").get_by_role("columnheader", name="Sharpe ratio")
    column = f"{ROWS}.map(r => r.cells[3].textContent)"
    complete = [trial for trial in Sweep(pruned).trials if trial.state == "COMPLETE"]
    for order in (1, -1):
        head.get_by_role("button").click()
        shown = page.evaluate(column)
        known = [float(text.replace("\u2212", "-")) for text in shown[: len(complete)]]
        assert known == sorted(known, reverse=order < 0)
        assert set(shown[len(complete) :]) == {"–"}
    page.locator(".find input").last.fill("pruned")
    states = page.evaluate(f"{ROWS}.map(r => r.cells[r.cells.length - 1].textContent)")
    assert states == ["pruned"] * (30 - len(complete))
    assert page.locator(".find [role=status]").last.inner_text() == f"{len(states)} of 30 rows"


def test_figures_follow_the_theme(flaky: Run, visit: Callable[..., Any]) -> None:
    """Drawings and figures change their colours with the theme; crosses of failed trials are seen in both."""
    page = visit(flaky)
    colours = """() => ['#plot-failures .point', '.map .shade8', '.parallel .best']
        .map(s => { const style = getComputedStyle(document.querySelector(s)); return style.fill + style.stroke; })"""
    page.wait_for_selector("#plot-failures .point")
    light = page.evaluate(colours)
    page.get_by_role("button", name="Dark theme").click()
    page.wait_for_function("document.documentElement.getAttribute('data-theme') === 'dark'")
    assert not [pair for pair in zip(light, page.evaluate(colours), strict=True) if pair[0] == pair[1]]


def test_growth_has_its_controls(grid: Run, visit: Callable[..., Any]) -> None:
    """The equity curves of the best can be seen on a log scale and for a part of the period."""
    page = visit(grid)
    page.get_by_role("button", name="Log scale").click()
    assert page.evaluate("document.getElementById('plot-growth').layout.yaxis.type") == "log"
    page.get_by_role("button", name="1Y: the last year").click()
    assert str(page.evaluate("document.getElementById('plot-growth').layout.xaxis.range[0]")).startswith("2017-12-")


def test_without_javascript(goals: Run, visit: Callable[..., Any]) -> None:
    """Verdict, tables, maps and parallel coordinates are there without any script."""
    page = visit(goals, java_script_enabled=False)
    assert page.locator(".verdict").first.is_visible()
    assert page.locator("svg.map rect").count() > 10
    assert page.locator("svg.parallel path").count() == 40
    assert page.locator(".all-trials tbody tr").count() == 40
