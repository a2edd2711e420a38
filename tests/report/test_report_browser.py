"""The report in headless Chromium with the network cut. Each visit fails for any request, error or warning."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.run import Run

pytestmark = pytest.mark.browser

WIDE, PHONE = 1440, 390
CONTRAST = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (c) => [0, 1, 2].map(i => c[i] / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (el) => { for (; el; el = el.parentElement) { const c = rgb(getComputedStyle(el).backgroundColor);
    if (c[3] > 250) return c; } return rgb('white'); };
  const low = [];
  for (const el of document.querySelectorAll('main *, nav *, footer *')) {
    if (el.closest('svg, script, figure .plot') || !el.checkVisibility()) continue;
    if (![...el.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const a = light(rgb(getComputedStyle(el).color)), b = light(behind(el));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(el.className + ' ' + el.textContent.slice(0, 30) + ' ' + ratio.toFixed(2));
  }
  return [...new Set(low)];
}
"""


@pytest.mark.parametrize("width", [WIDE, PHONE])
@pytest.mark.parametrize("dark", [False, True])
def test_looks(finished: Run, visit: Callable[..., Any], tmp_path: Path, width: int, dark: bool) -> None:
    """Figures are drawn, nothing is wider than the window, text has contrast: wide and phone, light and dark."""
    page = visit(finished, width=width, dark=dark).page
    page.wait_for_selector("#plot-yearly .main-svg")
    assert page.locator(".plot .main-svg").count() >= 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    drawn = page.evaluate("document.querySelectorAll('#plot-equity .scatterlayer path.js-line').length")
    assert drawn == 3


def test_dark_mode_toggle(finished: Run, visit: Callable[..., Any]) -> None:
    """The button turns page and figures dark, the choice survives a reload, and it wins over the system's."""
    page = visit(finished).page
    background = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('#plot-equity .js-line')).stroke"
    before = page.evaluate(background), page.evaluate(line)
    assert before[0] == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark theme").click()
    page.wait_for_function(f"{line} !== '{before[1]}'")
    assert page.evaluate(background) == "rgb(18, 23, 30)"
    page.reload()
    assert page.evaluate(background) == "rgb(18, 23, 30)"
    page.get_by_role("button", name="Light theme").click()
    assert (page.evaluate(background), page.evaluate(line)) == before


def test_theme_works_where_storage_is_refused(finished: Run, visit: Callable[..., Any]) -> None:
    """A sandboxed frame, as of a tracking server's viewer, refuses storage; the page works all the same."""
    one = visit(finished)
    one.page.evaluate(
        "() => { const f = document.createElement('iframe'); f.sandbox = 'allow-scripts'; f.id = 'f';"
        " f.srcdoc = '<p>x</p>'; document.body.append(f); }"
    )
    html = finished.dir.report.read_text(encoding="utf-8")
    page = one.page.context.new_page()
    page.set_content("<iframe sandbox='allow-scripts' style='width:1200px;height:800px'></iframe>")
    page.evaluate("html => { document.querySelector('iframe').srcdoc = html }", html)
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Dark theme").click()
    frame.get_by_role("button", name="Light theme").wait_for()


def test_scale_and_range(finished: Run, visit: Callable[..., Any]) -> None:
    """The controls above the equity figure change its scale and its period, and say which is on."""
    page = visit(finished).page
    page.get_by_role("button", name="Log scale").click()
    assert page.evaluate("document.getElementById('plot-equity').layout.yaxis.type") == "log"
    assert page.get_by_role("button", name="Log scale").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="5Y: the last 5 years").click()
    start = page.evaluate("document.getElementById('plot-equity').layout.xaxis.range[0]")
    assert str(start).startswith("2013-12-31")
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate("document.getElementById('plot-equity').layout.yaxis.type") == "log"


def test_nothing_offers_to_send_the_data_away(finished: Run, visit: Callable[..., Any]) -> None:
    """plotly.js 4 has a button that uploads a figure to a server; the report has only the four it names."""
    page = visit(finished).page
    page.wait_for_selector("#plot-yearly .main-svg")
    titles = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert len(titles) == 4 * page.locator(".plot").count()
    assert not [title for title in titles if "loud" in title or "hare" in title]


def test_keyboard(finished: Run, visit: Callable[..., Any]) -> None:
    """The first tab stop skips to the report; contents and tables that scroll can be reached."""
    page = visit(finished).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("[...document.querySelectorAll('.table-box')].every(box => box.tabIndex === 0)")


def test_contents_fold_on_a_phone(finished: Run, visit: Callable[..., Any]) -> None:
    """On a phone the contents are one line until opened; on a wide screen they are open."""
    assert visit(finished, width=PHONE).page.locator(".contents details[open]").count() == 0
    assert visit(finished).page.locator(".contents details[open]").count() == 1


def test_trades_sort_and_search(finished: Run, visit: Callable[..., Any]) -> None:
    """Trades sort by number, not by text, up and down; the search keeps rows that hold every word and counts them."""
    page = visit(finished).page
    rows = "[...document.querySelectorAll('.trades tbody tr')].filter(r => !r.hidden)"
    column = f"{rows}.map(r => parseFloat(r.cells[8].textContent.replace(/,/g, '').replace('\u2212', '-')))"
    head = page.get_by_role("columnheader", name="Net P&L")
    button = head.get_by_role("button")
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = page.evaluate(column)
    assert up == sorted(up)
    assert up[0] < 0 < up[-1]
    button.press("Enter")
    assert page.evaluate(column) == sorted(up, reverse=True)
    search = page.get_by_label("Search")
    search.fill("LONG 2008-")
    shown = page.evaluate(f"{rows}.map(r => r.textContent)")
    assert 0 < len(shown) < len(up)
    assert all("2008-" in text for text in shown)
    assert page.locator(".find [role=status]").inner_text() == f"{len(shown)} of {len(up)} rows"
    search.fill("")
    assert len(page.evaluate(column)) == len(up)


def test_without_javascript(finished: Run, browser: Any) -> None:
    """Numbers, tables and figures are there without any script, figures as drawings of the same size."""
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(finished.dir.report.as_uri())
    assert page.locator(".verdict").is_visible()
    assert page.locator(".panel svg").count() == 4
    assert page.locator(".trades tbody tr").count() == len(finished.trades)
    for plot in page.locator(".plot").all():
        drawing = plot.locator("svg.chart[role=img]")
        assert drawing.get_attribute("aria-label") == plot.get_attribute("aria-label")
        assert drawing.bounding_box()["height"] <= plot.bounding_box()["height"] + 1
    context.close()


def test_the_drawing_gives_way_to_the_figure(finished: Run, visit: Callable[..., Any]) -> None:
    """With scripts each figure is there once."""
    page = visit(finished).page
    page.wait_for_selector("#plot-yearly .main-svg")
    assert page.locator(".plot > svg.chart").count() == 0


def test_the_focus_shows_on_the_buttons_of_figures(finished: Run, visit: Callable[..., Any]) -> None:
    """Buttons of a figure that have the focus by keyboard have a ring in the colour of the theme, dark as well."""
    page = visit(finished, dark=True).page
    page.wait_for_selector("#plot-equity .modebar-btn")
    page.locator(".tools button").last.focus()
    page.keyboard.press("Tab")
    assert "modebar-btn" in page.evaluate("document.activeElement.className")
    ring = page.evaluate("(s => [s.outlineColor, s.outlineWidth])(getComputedStyle(document.activeElement))")
    assert ring == ["rgb(109, 179, 238)", "2px"]


def test_a_phone_shows_that_tables_go_on_and_what_figures_are_of(finished: Run, visit: Callable[..., Any]) -> None:
    """A table wider than its box has a shaded edge, no number leaves its cell, and no buttons lie over a legend."""
    page = visit(finished, width=PHONE).page
    page.wait_for_selector("#plot-yearly .main-svg")
    attached = "getComputedStyle(document.querySelector('.table-box.intervals')).backgroundAttachment"
    assert page.evaluate(attached) == "local, local, scroll, scroll"
    assert page.locator(".modebar:visible").count() == 0
    assert (
        page.evaluate("[...document.querySelectorAll('.heat td')].filter(td => td.scrollWidth > td.clientWidth)") == []
    )


def test_failed_run(failed: Run, visit: Callable[..., Any]) -> None:
    """A failed run's page opens without errors, too."""
    page = visit(failed).page
    assert page.locator("#what-went-wrong").is_visible()
    assert page.evaluate(CONTRAST) == []


def test_print(finished: Run, visit: Callable[..., Any], tmp_path: Path) -> None:
    """Printed in the dark, the page is light and carries no buttons."""
    page = visit(finished, dark=True).page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".theme-toggle").is_visible()
    line = "getComputedStyle(document.querySelector('#plot-equity .js-line')).stroke"
    page.wait_for_function(f"{line} === 'rgb(11, 95, 165)'")
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 10_000


def test_printed_headings_of_the_trades_are_text(finished: Run, visit: Callable[..., Any]) -> None:
    """On paper a heading is no button: Chromium does not paint one where a further page repeats the headings."""
    page = visit(finished).page
    page.wait_for_selector(".trades th button.sort")
    page.emulate_media(media="print")
    shown = "[...document.querySelectorAll('.trades th button.sort')].map(one => getComputedStyle(one).display)"
    assert set(page.evaluate(shown)) == {"contents"}


def test_figures_of_plotly_s_own_classes_draw(
    copied: Run, tmp_path: Path, visit: Callable[..., Any], render: Any
) -> None:
    """The vendored plotly.js draws what the installed plotly emits, typed arrays included."""
    pytest.importorskip("plotly.graph_objects")
    mine = tmp_path / "mine.qmd"
    mine.write_text(
        "```{python}\n#| tags: [parameters]\nrun_id = page = None\n```\n\n```{python}\n#| output: asis\n"
        "import numpy as np\nimport plotly.graph_objects as go\nfrom pipeline.report.figures import figure_block\n"
        "figure = go.Figure([go.Bar(x=np.arange(3), y=np.array([1.5, 2.5, 3.5])), go.Scatter(y=np.ones(3))])\n"
        "print(figure_block('mine', figure, caption='Mine', label='Bars'))\n```\n"
    )
    render(copied, template=mine)
    page = visit(copied).page
    page.wait_for_selector("#plot-mine .main-svg")
    assert page.locator("#plot-mine .bars .point").count() == 3


def test_the_program_is_chromium() -> None:
    """The tests above ran in the real browser of this machine."""
    from tests.browser import CHROMIUM

    assert CHROMIUM
    done = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=False)
    assert "Chrom" in done.stdout
