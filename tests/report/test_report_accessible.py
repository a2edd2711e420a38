"""The page for everybody and every reader: axe, an HTML parser that forgives nothing, links, many trades, paper."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pandas as pd
import pytest
import report_builder as builder
from bs4 import BeautifulSoup
from report_builder import SPEC

from pipeline.report.markup import Html
from pipeline.report.sections.trades import COLUMNS, _cell
from pipeline.run import Run
from tests.urls import URL

AXE = Path(__file__).resolve().parents[1] / "assets" / "axe.min.js"
BAD = ("serious", "critical")


def traded(results: Path, backtest: Any, count: int) -> Run:
    """Return a sealed run with many different trades, the last one open."""
    result, benchmark = backtest
    random, index = np.random.default_rng(0), result.equity_curve.index
    entry = np.sort(random.integers(0, len(index) - 30, count))
    held = random.integers(1, 20, count)
    many: pd.DataFrame = result.trades.iloc[[0] * count].reset_index(drop=True)
    many = many.assign(
        trade_id=range(1, count + 1), entry_time=index[entry], exit_time=index[entry + held], bars_held=held,
        side=random.choice(["long", "short"], count), quantity=random.lognormal(2.0, 4.0, count).round(3),
        net_pnl=random.normal(0, 2_000, count), return_pct=random.normal(0, 2, count),
        fees=random.choice([0.0, 0.004, 1234.5], count), exit_reason=random.choice(["signal", "stop <b>"], count),
        is_open=np.arange(count) == count - 1,
    )  # fmt: skip
    return builder.build_run(results, spec=SPEC, result=(replace(result, trades=many), benchmark), number=7)


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory, backtest: Any, render: Any) -> Run:
    run = traded(tmp_path_factory.mktemp("busy") / "results", backtest, 1_500)
    render(run)
    return run


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory, backtest: Any, render: Any) -> Run:
    results = tmp_path_factory.mktemp("drawn") / "results"
    run = builder.build_run(results, spec=SPEC, result=backtest, robust=builder.examined(), number=8)
    render(run, static=True)
    return run


@pytest.mark.parametrize(
    "name", ["finished", *(pytest.param(n, marks=pytest.mark.slow) for n in ("failed", "busy", "drawn"))]
)
def test_the_html_is_valid(name: str, request: pytest.FixtureRequest) -> None:
    """A parser that follows the standard finds no error in any page, and every address in one is a URL (RFC 3986)."""
    run: Run = request.getfixturevalue(name)
    parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
    tree = parser.parse(run.dir.report.read_text(encoding="utf-8"))
    assert [(place, code) for place, code, _ in parser.errors] == []
    urls = [tag.get(name) for tag in tree.iter() for name in ("href", "src") if tag.get(name)]
    assert urls
    assert [url[:200] for url in urls if not URL.fullmatch(url)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finished", "failed", "busy", "drawn"])
def test_links_lead_somewhere(name: str, request: pytest.FixtureRequest) -> None:
    """Every link inside the page has its target, every link beside it its file."""
    run: Run = request.getfixturevalue(name)
    page = BeautifulSoup(run.dir.report.read_text(encoding="utf-8"), "html.parser")
    ids = {tag["id"] for tag in page.find_all(id=True)}
    for link in page.find_all("a", href=True):
        target = link["href"]
        if target.startswith("#"):
            assert target[1:] in ids, target
        elif not target.startswith("http"):
            assert (run.dir.report.parent / target).resolve().is_file(), target


@pytest.mark.slow
def test_many_trades_are_data(busy: Run) -> None:
    """All trades are in the page, compact; without scripts the first and the last can be read; the size stays small."""
    html = busy.dir.report.read_text(encoding="utf-8")
    assert len(html) < 2_500_000
    data = json.loads(re.search(r'class="table-rows">(.*?)</script>', html)[1])
    assert data["rows"] == 1_500
    assert data["open"] == [1_499]
    assert all(len(column.get("data", column.get("steps"))) == 1_500 for column in data["columns"])
    rows = BeautifulSoup(html, "html.parser").select(".trades tbody tr")
    assert len(rows) == 100


@pytest.mark.slow
def test_too_many_trades_are_linked(tmp_path: Path, backtest: Any, render: Any) -> None:
    """Beyond what a page can hold, it says so, shows both ends and links to the file; it never grows over 5 MB."""
    largest = traded(tmp_path / "a" / "results", backtest, 35_000)
    assert 2_000_000 < render(largest).size <= 5_000_000
    assert "table-rows" in largest.dir.report.read_text(encoding="utf-8")
    beyond = traded(tmp_path / "b" / "results", backtest, 90_000)
    assert render(beyond).size <= 5_000_000
    text = BeautifulSoup(beyond.dir.report.read_text(encoding="utf-8"), "html.parser").main.get_text(" ")
    assert "90,000 trades, of which the first 300 and the last 300 are shown" in text
    assert "They are too many for this page." in text


@pytest.mark.browser
@pytest.mark.parametrize("name", ["finished", "failed", "busy", "drawn"])
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (390, False), (390, True)])
def test_axe_finds_nothing_serious(
    name: str, width: int, dark: bool, request: pytest.FixtureRequest, browser: Any
) -> None:
    """No serious finding: wide and phone, light and dark, finished and failed, interactive and drawn."""
    run: Run = request.getfixturevalue(name)
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True,
        bypass_csp=True,
    )  # fmt: skip
    page = context.new_page()
    page.goto(run.dir.report.as_uri())
    page.wait_for_load_state("load")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    context.close()
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in BAD] == []


@pytest.mark.browser
def test_the_script_writes_rows_as_the_page_does(busy: Run, visit: Callable[..., Any]) -> None:
    """Row for row, what the script shows is what the tables of the report would say, and nothing in it is markup."""
    page = visit(busy).page
    rows = "[...document.querySelectorAll('.trades tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    shown = page.evaluate(rows)
    for _ in range(14):
        page.get_by_role("button", name="Next").click()
        shown += page.evaluate(rows)
    assert page.get_by_role("button", name="Next").is_disabled()
    wanted = []
    for row in busy.trades.to_dict("records"):
        cells = [_cell(name, row, clock=False) for name, _ in COLUMNS]
        wanted.append([re.sub(r"<[^>]*>", "", cell.text) if isinstance(cell, Html) else cell for cell in cells])
    assert shown == wanted


@pytest.mark.browser
def test_many_trades_sort_and_search(busy: Run, visit: Callable[..., Any]) -> None:
    """Sorting and searching look at all trades, not at those in sight; the count is said aloud."""
    page = visit(busy).page
    said = page.locator(".find [role=status]")
    assert said.inner_text() == "1–100 of 1,500 trades"
    head = page.get_by_role("columnheader", name="Net P&L")
    head.get_by_role("button").click()
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    best = f"{busy.trades['net_pnl'].max():,.2f}"
    assert page.locator(".trades tbody tr").first.locator("td").nth(7).inner_text() == best
    page.get_by_label("Search").fill("short stop <b>")
    count = int(((busy.trades["side"] == "short") & (busy.trades["exit_reason"] == "stop <b>")).sum())
    assert said.inner_text() == f"1–100 of {count} found in 1,500 trades"
    page.get_by_label("Search").fill("nothing like it")
    assert said.inner_text() == "0 of 0 found in 1,500 trades"


@pytest.mark.browser
def test_many_trades_without_javascript(busy: Run, browser: Any) -> None:
    """Without a script the caption says that only both ends are shown."""
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(busy.dir.report.as_uri())
    assert page.locator(".trades caption").inner_text() == (
        "1,500 trades, of which the first 50 and the last 50 are shown"
    )
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_drawn_figures_take_the_theme(
    drawn: Run, visit: Callable[..., Any], tmp_path: Path, width: int, dark: bool
) -> None:
    """Drawings have the colours of the page, fit the window or scroll in a box of their own that takes the focus."""
    page = visit(drawn, width=width, dark=dark).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    stroke = page.evaluate("getComputedStyle(document.querySelector('#plot-equity .line.strategy')).stroke")
    assert stroke == ("rgb(109, 179, 238)" if dark else "rgb(11, 95, 165)")
    assert page.evaluate("[...document.querySelectorAll('.drawn')].every(box => box.tabIndex === 0)")
    shot = page.screenshot(path=tmp_path / "drawn.png", full_page=True)
    assert len(io.BytesIO(shot).getvalue()) > 50_000
