"""The site in headless Chromium with the network cut. Each visit fails for any error, warning or lost request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from pipeline.backtest import Conventions
from pipeline.digest import pretty_json
from pipeline.site.build import build_site
from pipeline.site.layout import experiment_page
from pipeline.site.serve import site_server
from tests.site.conftest import BROKEN, FAILED, HOSTILE, HOSTILE_NAME, KILLED, RENDERED, World, new_project
from tests.site.site_runs import make_runs, varied, walk

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

WIDE, PHONE = 1440, 390
AXE = Path(__file__).resolve().parents[1] / "assets" / "axe.min.js"
NAMES = "[...document.querySelectorAll('#listing tbody th a')].map(a => a.textContent)"
CELLS = "name => [...document.querySelectorAll('td.m-' + name + ', td.asked')].map(td => td.textContent)"


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true (the page's policy forbids the evaluation that playwright's own wait does)."""
    for _ in range(400):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never true: {expression}")


def address(world: World, path: str) -> str:
    """Return the address of a page in the file system; `path` may have a hash."""
    file, _, anchor = path.partition("#")
    return (world.site / file).as_uri() + (f"#{anchor}" if anchor else "")


def open_list(visit: Callable[..., Page], url: str, **options: Any) -> Page:
    """Open a page with a listing and wait until all rows are there."""
    page = visit(url, **options)
    page.wait_for_selector("#listing[data-ready]")
    return page


def compare(world: World, *numbers: int) -> str:
    """Return the address of a comparison."""
    return address(world, "compare.html#runs=" + ",".join(world.runs[number].run_id for number in numbers))


def open_compare(visit: Callable[..., Page], url: str, **options: Any) -> Page:
    """Open a comparison and wait until it is drawn."""
    page = visit(url, **options)
    page.wait_for_selector("#compare[data-ready]")
    return page


def subjects(world: World) -> dict[str, str]:
    """Return one address of each kind of page."""
    newest = max(world.runs)
    return {
        "index": address(world, "index.html"),
        "experiment": address(world, experiment_page(world.runs[newest].experiment)),
        "experiments": address(world, "experiments/index.html"),
        "compare": compare(world, 0, 1, 2),
        "report": world.page(RENDERED).as_uri(),
        "run without a report": world.page(0).as_uri(),
        "failed run": world.page(FAILED).as_uri(),
        "about": address(world, "about.html"),
        "plain": next((world.site / "plain").iterdir()).as_uri(),
    }


KINDS = (
    "index",
    "experiment",
    "experiments",
    "compare",
    "report",
    "run without a report",
    "failed run",
    "about",
    "plain",
)


def settle(page: Page, kind: str) -> None:
    """Wait until a page of this kind is complete."""
    if kind in {"index", "experiment"}:
        page.wait_for_selector("#listing[data-ready]")
    if kind == "compare":
        page.wait_for_selector("#drawdown .main-svg")
    if kind == "report":
        page.wait_for_selector("#plot-equity .main-svg")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (PHONE, True)])
def test_looks(world: World, visit: Callable[..., Any], tmp_path: Path, kind: str, width: int, dark: bool) -> None:
    """Every kind of page opens without an error from the file system and is not wider than its window."""
    page = visit(subjects(world)[kind], width=width, dark=dark)
    settle(page, kind)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / f"{kind}.png", full_page=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (PHONE, True)])
def test_accessible(world: World, visit: Callable[..., Any], kind: str, width: int, dark: bool) -> None:
    """axe-core finds nothing serious or critical: WCAG 2.2 A and AA, and best practices."""
    page = visit(subjects(world)[kind], width=width, dark=dark)
    settle(page, kind)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { preload: false }).then(result => result.violations)")
    serious = [
        (item["id"], [node["html"][:160] for node in item["nodes"]][:4])
        for item in found
        if item["impact"] in {"serious", "critical"}
    ]
    assert serious == []


@pytest.fixture
def served(world: World) -> Iterator[str]:
    """Serve the site under a path prefix; return its address."""
    server = site_server(world.site, prefix="/team/evidence")
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/team/evidence/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_works_under_a_prefix(world: World, visit: Callable[..., Any], served: str) -> None:
    """Over HTTP below a prefix: the list, a report, its experiment and a comparison work, by their links."""
    page = open_list(visit, served + "index.html", allowed=served)
    page.get_by_label("Search").fill(world.runs[RENDERED].run_id)
    until(page, "document.querySelectorAll('#listing tbody tr').length === 1")
    page.locator("#listing tbody th a").first.click()
    page.wait_for_selector("#plot-equity .main-svg")
    page.locator(".site-bar").get_by_text("Experiment").click()
    page.wait_for_selector("#listing[data-ready]")
    for box in page.locator("#listing tbody input").all()[:2]:
        box.check()
    page.get_by_role("link", name="Compare", exact=True).last.click()
    page.wait_for_selector("#drawdown .main-svg")
    page.locator(".site-name").click()
    page.wait_for_selector("#listing[data-ready]")


def test_search_and_filters(world: World, visit: Callable[..., Any]) -> None:
    """Search takes all words from anywhere; filters narrow together; the count is said; reset shows all."""
    page = open_list(visit, address(world, "index.html"))
    said = page.locator("#listing [role=status]").first
    assert said.inner_text() == "40 runs"
    page.get_by_label("Search").fill("VARIANT donchian")
    until(page, "document.querySelector('#listing [role=status]').textContent === '8 of 40 runs'")
    page.get_by_label("Symbol", exact=True).select_option("NDX")
    expected = [n for n, p in world.runs.items() if p.strategy == "donchian" and p.symbol == "NDX"]
    until(page, f"document.querySelectorAll('#listing tbody tr').length === {len(expected)}")
    page.get_by_role("button", name="Reset").click()
    until(page, "document.querySelectorAll('#listing tbody tr').length === 40")
    for label, value, count in (("Status", "FAILED", 1), ("Seal", "broken", 1), ("Tag", "desk=beta", 19)):
        page.get_by_label(label, exact=True).select_option(value)
        until(page, f"document.querySelectorAll('#listing tbody tr').length === {count}")
        page.get_by_role("button", name="Reset").click()
    page.get_by_label("Started from").fill("2026-01-02")
    until(page, "document.querySelector('#listing [role=status]').textContent === '0 of 40 runs'")
    page.get_by_label("Started to").fill("2026-01-01")
    page.get_by_label("Started from").fill("2026-01-01")
    until(page, "document.querySelector('#listing [role=status]').textContent !== '0 of 40 runs'")


def numbers(texts: list[str]) -> list[float | None]:
    """Read numbers as the page writes them."""
    plain = [text.replace(",", "").replace("\u2212", "-").replace("%", "") for text in texts]
    return [None if text == "\u2013" else float(text) for text in plain]


@pytest.mark.parametrize("name", ["sharpe", "total_return", "calmar"])
def test_sorting(world: World, visit: Callable[..., Any], name: str) -> None:
    """Any metric sorts, by heading or the choice of metrics; undefined ones come last either way, then broken ones."""
    page = open_list(visit, address(world, "index.html"))
    if name == "calmar":
        page.get_by_label("Sort by").select_option(name)
    else:
        page.locator(f"[data-sort={name}]").click()
    page.wait_for_selector(f"th[aria-sort=descending] [data-sort={name}]")
    down = numbers(page.evaluate(CELLS, name))
    assert page.evaluate("document.activeElement.dataset.sort || ''") in {name, ""}
    page.locator(f"[data-sort={name}]").click()
    page.wait_for_selector(f"th[aria-sort=ascending] [data-sort={name}]")
    up = numbers(page.evaluate(CELLS, name))
    assert len(down) == 40
    assert (
        down.pop() == up.pop() == numbers([page.locator("tr.broken td.asked, tr.broken td.m-" + name).inner_text()])[0]
    )
    known = [value for value in down if value is not None]
    assert known == sorted(known, reverse=True)
    assert down[len(known) :] == [None] * (39 - len(known)) == up[len(known) :]
    assert up[: len(known)] == known[::-1] or sorted(known) == up[: len(known)]


def test_a_link_shows_the_same(world: World, visit: Callable[..., Any]) -> None:
    """Search, filter, order, page and choice are in the address; opened anew it shows the same rows."""
    page = open_list(visit, address(world, "index.html"))
    page.get_by_label("Search").fill("variant")
    page.get_by_label("Sort by").select_option("calmar")
    page.get_by_label("Rows").select_option("25")
    page.locator("#listing tbody input").nth(1).check()
    page.get_by_role("button", name="Next").click()
    until(page, "document.querySelectorAll('#listing tbody tr').length === 14")
    shown, url = page.evaluate(NAMES), page.url
    again = open_list(visit, url)
    assert again.evaluate(NAMES) == shown
    assert again.get_by_label("Search").input_value() == "variant"
    assert again.locator(".chosen [role=status]").inner_text().startswith("1 run chosen")


def test_keyboard_alone(world: World, visit: Callable[..., Any]) -> None:
    """Skip link, search, sorting, choosing and comparing work without a mouse, and the focus stays visible."""
    page = open_list(visit, address(world, "index.html"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.get_by_label("Search").focus()
    page.keyboard.type("donchian")
    until(page, "document.querySelectorAll('#listing tbody tr').length === 8")
    page.locator("[data-sort=sharpe]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort=descending] [data-sort=sharpe]")
    assert page.evaluate("document.activeElement.dataset.sort") == "sharpe"
    page.locator("#listing tbody input").first.focus()
    page.keyboard.press("Space")
    assert page.locator(".chosen [role=status]").inner_text().startswith("1 run chosen")


def test_choosing_stops_at_eight(world: World, visit: Callable[..., Any]) -> None:
    """Eight runs can be compared; the boxes of the others wait until one is free, and one that is free can be taken."""
    page = open_list(visit, address(world, "index.html"))
    boxes = page.locator("#listing tbody input")
    for place in range(8):
        boxes.nth(place).check()
    assert boxes.nth(8).is_disabled()
    boxes.nth(0).uncheck()
    assert boxes.nth(8).is_enabled()
    boxes.nth(8).check()
    link = page.locator(".chosen a")
    link.click()
    page.wait_for_selector("#compare[data-ready]")
    assert page.locator(".chosen-runs tbody tr").count() == 8


def test_dark_theme_is_one_for_all_pages(world: World, visit: Callable[..., Any]) -> None:
    """The button turns page and figures dark, and the choice holds on the next page, a report included."""
    page = open_compare(visit, compare(world, 0, 1))
    line = "getComputedStyle(document.querySelector('#equity .js-line')).stroke"
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(line)
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(background) == "rgb(18, 23, 30)"
    until(page, f"{line} !== '{before}'")
    page.goto(world.page(RENDERED).as_uri())
    assert page.evaluate(background) == "rgb(18, 23, 30)"


def test_comparison_of_equals(world: World, visit: Callable[..., Any]) -> None:
    """Same data and period: no warning but the reminder; curves start at 100; differences are to the first run."""
    page = open_compare(visit, compare(world, 0, 1))
    assert page.locator(".cautions").count() == 0
    assert "The best of several on the same data looks better than it is" in page.locator("#compare").inner_text()
    starts = page.evaluate("document.getElementById('equity').data.map(trace => trace.y[0])")
    assert starts == [100, 100]
    lowest = page.evaluate("document.getElementById('drawdown').data.map(t => Math.max(...t.y))")
    assert lowest == [0, 0]
    row = page.locator("tr", has=page.get_by_role("rowheader", name="Sharpe ratio", exact=True))
    first, second = row.locator("td").all_inner_texts()
    shown, difference = second.split("\n")
    assert numbers([difference.replace("+", "")])[0] == pytest.approx(
        numbers([shown])[0] - numbers([first])[0], abs=0.011
    )
    assert "strategy.params.fast" in page.locator("#params").inner_text()
    assert "backtest.fee_bps" not in page.locator("#params").inner_text()
    page.get_by_role("button", name="Show equal ones too").click()
    assert "backtest.fee_bps" in page.locator("#params").inner_text()


def conventions(rate: float) -> dict[str, bytes]:
    """Return the record of a run under a risk-free rate."""
    return {"conventions.json": pretty_json(Conventions(rate, None, 252.0).to_dict())}


SMALL = {"final_equity": 1.1, "total_return": 0.1, "sharpe": 0.5}  # of a capital of 1


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a site of runs over other data and other times."""
    settings = new_project(tmp_path_factory.mktemp("unequal") / "project")
    changes: list[dict[str, Any]] = [
        {"start": "2015-01-02", "bars": 500, "files": conventions(0.04)},
        {"start": "2016-01-04", "bars": 500, "data": ("sample:nasdaq", "cd" * 32)},
        {"start": "2001-01-01", "bars": 100},
        {"start": "1960-01-04", "bars": 16_000},
        {"start": "1850-01-02", "bars": 45_000},
        {"start": "2015-01-02", "bars": 500, "data": None, "files": {"stats.json": pretty_json(SMALL)}},
    ]
    runs = {number: varied(number, **change) for number, change in enumerate(changes)}
    make_runs(settings.results, list(runs.values()))
    build_site(settings, settings.root / "_site")
    return World(settings, runs, settings.root / "_site")


def test_comparison_warns_of_other_data_and_time(unequal: World, visit: Callable[..., Any]) -> None:
    """Other data digests and other periods are named first; curves are rebased on the common period only."""
    page = open_compare(visit, compare(unequal, 0, 1))
    said = page.locator(".cautions").inner_text()
    assert "Different data: A / B were made from different data files" in said
    assert "Different periods: curves show the common period, 2016-01-04 to 2016-12-01" in said
    assert "Different risk-free rates: A 4.00%, B 0.00% a year" in said
    assert "Different bars a year" not in said
    ends = page.evaluate("document.getElementById('equity').data.map(t => [t.x[0], t.x.at(-1)])")
    assert ends == [["2016-01-04 00:00:00", "2016-12-01 00:00:00"]] * 2
    first = page.evaluate("document.getElementById('equity').data.map(t => t.y[0])")
    assert first == pytest.approx([100, 100], abs=1e-9)


def test_comparison_says_nothing_that_nobody_knows(unequal: World, visit: Callable[..., Any]) -> None:
    """Of unknown data not that they are different; sums of money of another capital have no difference."""
    page = open_compare(visit, compare(unequal, 0, 5))
    said = page.locator(".cautions").inner_text()
    assert "Unknown data: B recorded no digest of the data." in said
    assert "Different data" not in said
    assert "Different capital: A starts from 100,000.00, B starts from 1.00, so sums of money" in said
    rows = {row.split("\n")[0].split("\t")[0]: row for row in page.locator(".compared tbody tr").all_inner_texts()}
    assert "+" not in rows["Final equity"].replace("\u2212", "+")
    assert page.locator(".compared .beside").count() > 0


@pytest.mark.parametrize("long", [3, 4])
def test_a_part_of_a_long_run_is_drawn_as_it_was(unequal: World, visit: Callable[..., Any], long: int) -> None:
    """A curve of thousands of bars, compared on a part of them, has the growth and the falls of that part."""
    page = open_compare(visit, compare(unequal, long, 0))
    drawn = "(i => (t => [t.x, t.y])(document.getElementById(i).data[0]))"
    times, equity = page.evaluate(f"{drawn}('equity')")
    falls = page.evaluate(f"{drawn}('drawdown')")[1]
    whole = walk(unequal.runs[long])["equity"]
    part = whole[pd.Timestamp(times[0], tz="UTC") : pd.Timestamp(times[-1], tz="UTC")]
    assert equity[-1] == pytest.approx(part.iloc[-1] / part.iloc[0] * 100.0, rel=1e-6)
    deepest = float((part / part.cummax() - 1.0).min())
    assert min(falls) == pytest.approx(deepest, rel=1e-3 if long == 4 else 1e-6)
    period = page.locator(".period tbody tr").all_inner_texts()
    shown = [numbers(re.findall(r"[+\u2212\d.,]+(?=\s?%)", row)) for row in period]
    assert [row[0] for row in shown] == pytest.approx([equity[-1] - 100.0, 100.0 * deepest], abs=0.006)
    assert ("Thinned curves: A has 45,000 bars" in page.locator(".cautions").inner_text()) == (long == 4)


def test_comparison_without_a_common_time(unequal: World, visit: Callable[..., Any]) -> None:
    """Runs that do not overlap are drawn each from its own start, and the page says so."""
    page = open_compare(visit, compare(unequal, 0, 2))
    assert "No common period" in page.locator(".cautions").inner_text()
    assert page.evaluate("document.getElementById('equity').data.map(t => t.y[0])") == [100, 100]


def test_comparison_of_weak_evidence(world: World, visit: Callable[..., Any]) -> None:
    """Failed and unsealed runs are named as such; what has no curve is said; removing them leaves the rest."""
    page = open_compare(visit, compare(world, 0, FAILED, KILLED))
    said = page.locator(".cautions").inner_text()
    assert "Weak evidence: B (FAILED, seal matches), C (KILLED, not sealed)" in said
    assert "No curve: B left no equity curve" in said
    page.get_by_role("button", name="Remove B").click()
    until(page, "document.querySelectorAll('.chosen-runs tbody tr').length === 2")
    assert world.runs[FAILED].run_id not in page.url


def test_legend_clicks(world: World, visit: Callable[..., Any]) -> None:
    """A click on an entry of the legend hides its curve."""
    page = open_compare(visit, compare(world, 0, 1))
    page.locator("#equity .legendtoggle").first.click()
    until(page, "document.getElementById('equity').data[0].visible === 'legendonly'")


def test_hostile_names_stay_text(world: World, visit: Callable[..., Any]) -> None:
    """Markup in a name is shown as it is: in the list, in the comparison, in the legend of a figure."""
    page = open_list(visit, address(world, "index.html#q=alert"))
    assert page.evaluate(NAMES) == [HOSTILE_NAME]
    page = open_compare(visit, compare(world, 0, HOSTILE))
    assert HOSTILE_NAME in page.locator(".chosen-runs").inner_text()
    assert page.locator("#equity .legendtext").last.text_content() == f"B {HOSTILE_NAME}"
    page = open_list(visit, address(world, experiment_page(world.runs[HOSTILE].experiment)))
    assert page.evaluate(NAMES) == [HOSTILE_NAME]


def test_experiment_page_shows_its_runs_only(world: World, visit: Callable[..., Any]) -> None:
    """The page of an experiment lists its runs and says how their results are spread."""
    name = world.runs[1].experiment
    page = open_list(visit, address(world, experiment_page(name)))
    expected = [planned for planned in world.runs.values() if planned.experiment == name]
    assert page.locator("#listing tbody tr").count() == len(expected)
    assert f"{len(expected)} runs" in page.locator(".spread").inner_text()
    assert "Sharpe ratio: median" in page.locator(".spread").inner_text()


def test_equal_runs_have_one_order(world: World, visit: Callable[..., Any]) -> None:
    """Runs equal in what the list is sorted by have the latest first, up and down; a broken seal ranks last."""
    newest = [planned.name or HOSTILE_NAME for _, planned in sorted(world.runs.items(), reverse=True)]
    whole = [name for name in newest if name != world.runs[BROKEN].name]
    for sort in ("data", "-data"):
        page = open_list(visit, address(world, f"index.html#sort={sort}&symbol=SPX"))
        shown = page.evaluate(NAMES)
        known = [name for name in shown if name in whole]
        assert known == [name for name in whole if name in known], sort
    page = open_list(visit, address(world, "index.html#sort=-sharpe"))
    assert page.evaluate(NAMES)[-1] == world.runs[BROKEN].name
    struck = "getComputedStyle(document.querySelector('tr.broken .num')).textDecorationLine"
    assert page.evaluate(struck) == "line-through"


def test_a_phone_reads_words(world: World, visit: Callable[..., Any]) -> None:
    """On a phone status and seal are words, as wide as the window lets them."""
    page = open_list(visit, address(world, f"index.html#q={world.runs[BROKEN].run_id}"), width=PHONE)
    assert page.locator("#listing tbody .state").inner_text().split("\n") == ["FINISHED", "Seal broken"]
    assert page.locator("#listing tbody .state .mark").first.evaluate("mark => mark.getBoundingClientRect().width") > 60
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE


def test_differences_of_percentages_are_points(unequal: World, visit: Callable[..., Any]) -> None:
    """Below a percentage stands the difference in percentage points, and a row has one number of decimals."""
    page = open_compare(visit, compare(unequal, 0, 1))
    cells = page.evaluate(
        "[...document.querySelectorAll('.compared tbody tr')]"
        ".map(r => [...r.cells].map(c => [...c.childNodes].map(n => n.textContent)))"
    )
    table = {row[0][0]: row[1:] for row in cells}
    assert re.fullmatch(r"[+\u2212]?[\d,.]+ pp", table["Total return"][1][1])
    assert "pp" not in table["Sharpe ratio"][1][1]
    for name, row in table.items():
        digits = {len(text.partition(".")[2].strip(" %p")) for cell in row for text in cell if text != "\u2013"}
        assert len(digits) <= 1 or "e" in str(row), (name, row)


def test_on_paper(world: World, visit: Callable[..., Any], tmp_path: Path) -> None:
    """Printed, controls are gone and the rows stay."""
    page = open_list(visit, address(world, "index.html"))
    page.emulate_media(media="print")
    assert not page.locator(".filters").is_visible()
    assert page.locator("#listing tbody th a").first.is_visible()
    page.screenshot(path=tmp_path / "print.png")


def test_without_scripts_there_is_a_way(world: World, browser: Any) -> None:
    """With scripts off, the start page leads to plain pages, and these to every run."""
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(address(world, "index.html"))
    page.get_by_role("link", name="All runs as plain pages").click()
    found = set()
    while True:
        found |= {link.get_attribute("href").split("/")[2] for link in page.locator("tbody a").all()}
        older = page.get_by_role("link", name="Older runs")
        if not older.count():
            break
        older.click()
    assert found == {planned.run_id for planned in world.runs.values()}
    context.close()
