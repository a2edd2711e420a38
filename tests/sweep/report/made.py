"""Real sweeps for the tests of their report: a directory of results, a strategy that fails for some params."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from pipeline.report.record import RenderRecord
from pipeline.run import Run
from pipeline.settings import Settings
from pipeline.sweep.report.render import render_sweep
from tests.sweep.sweeps import search, spec

REPOSITORY = Path(__file__).resolve().parents[3]
TEMPLATE = REPOSITORY / "reports" / "sweep_report.qmd"
STRATEGY = """
from pipeline.backtest.strategies import get_strategy

def some(df, params):
    if params["slow"] == 30:
        raise ValueError("<script>alert(1)</script> is no window {{< meta >}}")
    if params["slow"] == 60:
        raise MemoryError("too long a window")
    return get_strategy("ma_crossover").signal_fn(df, {"average": "sma", "allow_short": False, **params})

def none(df, params):
    raise RuntimeError("it never works")
"""
RANDOM = {"fast": {"low": 3, "high": 30}, "slow": {"low": 31, "high": 120}}
MIXED = {
    "average": ["sma", "ema"],
    "allow_short": [False, True],
    "fast": {"low": 3, "high": 30, "log": True},
    "slow": {"low": 31, "high": 120},
}


def settings_at(root: Path) -> Settings:
    """Return a project with the strategy that fails."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "sometimes_failing.py").write_text(STRATEGY)
    return replace(Settings.load(root), results=root / "results", tracking_uri=None)


def make(settings: Settings, **changes: Any) -> Run:
    """Run a small sweep and render its report."""
    run = search(settings, spec(**changes)).run
    render(run)
    return run


def render(run: Run, **options: Any) -> RenderRecord:
    """Render with the embedded renderer and the template of this checkout."""
    return render_sweep(run, **{"renderer": "embedded", "template": TEMPLATE, **options})


def html_of(run: Run) -> str:
    """Return the bytes of a report as text."""
    return run.dir.report.read_text(encoding="utf-8")


def page_of(run: Run) -> BeautifulSoup:
    """Return a parsed report, without the scripts of the package."""
    return BeautifulSoup(re.sub(r"<script>.*?</script>", "", html_of(run), flags=re.DOTALL), "html.parser")


def rows_of(run: Run, name: str) -> list[list[str]]:
    """Return the texts of the cells of the first table of a kind."""
    box = page_of(run).select_one(f".table-box.{name}")
    assert box is not None, name
    return [
        [re.sub(r"\s+", " ", cell.get_text(strip=True)) for cell in row.find_all(["th", "td"])]
        for row in box.select("tbody tr")
    ]
