"""Hostile strings: whatever a name, tag, param, symbol, warning or traceback holds is only text in the page."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import report_builder as builder
from bs4 import BeautifulSoup

from pipeline.errors import CellFailedError
from pipeline.escape import one_line
from pipeline.files import write_json
from pipeline.run import Run

NASTY = (
    "</title></script></style><img src=x onerror=alert(1)><script>alert(2)</script> \"'` ``` ```{=html} ~~~ "
    "{{< meta title >}} ::: {#fig-x} $x$ [a](javascript:alert(3)) ![b](http://x/y.png) @fig-equity <!-- --> ]]> "
    "&amp; \\ | # * _ ../../etc \u202e שלום 🙂"
)
LINES = f"{NASTY}\n```\n\n---\ntitle: no\n---\n\n# no\n\n{NASTY}"
PLAIN = "plain words"


def build(results: Path, backtest: Any, text: str, lines: str, *, fails: bool, number: int) -> Run:
    """Write a run with `text` in every place that a user or a notebook fills."""
    result, benchmark = backtest
    trades = result.trades.assign(symbol=text, exit_reason=text)
    spec = {
        "run": {
            "name": text[:200],
            "experiment": text[:200],
            "tags": {text: text},
            "parameters": {text: [text, {text: 1}]},
        },
        "data": {"symbol": text[:100], "columns": {text: text}},
        "strategy": {"name": text, "params": {text: text}},
        "tracking": {"uri": text, "ui_url": text},
    }
    tracking = {"mlflow_run_id": text, "experiment_name": text, "run_url": "javascript:alert(4)"}
    error = CellFailedError(text, cell=3, ename=text, evalue=lines, traceback=lines) if fails else None
    hostile = replace(result, trades=trades), benchmark
    run = builder.build_run(
        results, spec=spec, result=hostile, tracking=tracking, robust=examined(text), number=number, seal=False
    )
    write_json(run.dir.stats, {**result.stats, text: 1.0})
    name = "a\"'<b>&`c` {x}" if text == NASTY else "a?c"  # both are no file names on Windows, which is a warning
    (run.dir.plots / f"{name}.png").write_bytes(run.dir.equity_plot.read_bytes())
    builder.seal_open(run, error=error, warnings=(text, lines))
    return Run(run.dir)


def examined(text: str) -> dict[str, Any]:
    """Return a robustness.json with `text` wherever a strategy's author could put it."""
    values = copy.deepcopy(builder.examined())
    values["leakage"] |= {"status": "leak", "sentence": text}
    for row in values["sensitivity"]:
        row["status"] = text if row["change"] else "ok"
        row["name"] = text if row["name"] == "fast" else row["name"]
    for row in values["regimes"]:
        row["regime"] = text
    return values | {"notes": {"leakage": text, text: text}}


def structure(run: Run) -> list[tuple[str, tuple[str, ...]]]:
    """Return every element of the page with the names of its attributes, in order."""
    page = BeautifulSoup(run.dir.report.read_text(encoding="utf-8"), "html.parser")
    return [(tag.name, tuple(sorted(tag.attrs))) for tag in page.find_all(True)]


@pytest.fixture(
    scope="module", params=[pytest.param(False, id="finished"), pytest.param(True, id="failed", marks=pytest.mark.slow)]
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backtest: Any, render: Any) -> Any:
    """The same run twice, once with hostile strings, once with plain words, both rendered."""
    results = tmp_path_factory.mktemp("hostile") / "results"
    hostile = build(results, backtest, NASTY, LINES, fails=request.param, number=11)
    plain = build(results, backtest, PLAIN, LINES.replace(NASTY, PLAIN), fails=request.param, number=12)
    for run in (hostile, plain):
        render(run)
    return hostile, plain


def test_hostile_strings_add_nothing_to_the_page(pair: tuple[Run, Run]) -> None:
    """The page has the same elements with the same attributes as with plain words."""
    assert structure(pair[0]) == structure(pair[1])


def test_hostile_strings_are_shown(pair: tuple[Run, Run]) -> None:
    """They are readable as what they are, in title, heading and tables."""
    page = BeautifulSoup(pair[0].dir.report.read_text(encoding="utf-8"), "html.parser")
    shown = one_line(NASTY[:200])
    assert page.h1.get_text() == shown
    assert " ".join(page.title.get_text().split()).startswith(shown)
    assert one_line(NASTY) in [cell.get_text() for cell in page.select(".trades td")]
    assert one_line(NASTY) in [item.get_text() for item in page.select(".warnings li")]
    assert one_line(NASTY) in page.select_one(".look-ahead").get_text()
    assert one_line(NASTY) in [cell.get_text() for cell in page.select(".variations th, .variations td")]
    assert not page.find("a", href=lambda value: value and value.startswith("javascript"))


@pytest.mark.browser
def test_hostile_strings_do_nothing_in_a_browser(pair: tuple[Run, Run], visit: Callable[..., Any]) -> None:
    """No dialog, no request, no error: the figures are drawn as always."""
    one = visit(pair[0])
    one.page.on("dialog", lambda dialog: one.problems.append(dialog.message))
    one.page.wait_for_selector(".plot .main-svg")
    assert one.page.evaluate("document.images.length") == len(list(pair[0].dir.plots.glob("*.png")))
