"""The catalogue has every metric that is computed, and nothing says a second time what it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pandas as pd

import pipeline
from pipeline.backtest.catalogue import DIRECTIONS, HEADLINE, IN_PLACE, METRICS, UNITS, metric
from pipeline.backtest.metrics import compute_stats
from pipeline.run import Run
from pipeline.settings import Settings

PACKAGE = Path(pipeline.__file__).parent


def test_every_metric_that_is_computed_is_there(project: Settings) -> None:
    """Of a run of the bundled engine, of a curve alone, and of weights."""
    run = pipeline.start_run(
        settings=project, tracking={"mode": "off"}, data={"start": "2012-01-01", "end": "2013-12-31"}
    )
    run.save(run.backtest(run.load_data()), robustness=False)
    days = pd.date_range("2024-01-01", periods=9, tz="UTC")
    weights = pipeline.start_run(settings=project, tracking={"mode": "off"})
    prices = pd.DataFrame({"a": range(10, 19), "b": range(20, 11, -1)}, index=days, dtype=float)
    weights.save(prices * 0 + 0.5, kind="weights", prices=prices, capital=100.0)
    found = {*Run(run.dir).stats, *Run(weights.dir).stats, *compute_stats(prices["a"])}
    assert found <= METRICS.keys()
    assert METRICS.keys() - found == set()


def test_an_entry_is_whole() -> None:
    """Each has a label, a unit and a sentence; headline names are names; an objective has a direction."""
    for name, known in METRICS.items():
        assert known.name == name
        assert known.label
        assert known.kind in UNITS
        assert known.meaning.endswith(".")
    assert {*HEADLINE, IN_PLACE} <= METRICS.keys()
    assert {*DIRECTIONS.values()} == {"maximize", "minimize"}
    assert (metric("sharpe").inside, metric("max_drawdown").inside) == ("Sharpe ratio", "maximum drawdown")
    assert (metric("mine").label, metric("mine").direction) == ("mine", None)


def test_no_module_has_a_label_of_its_own() -> None:
    """A label that the catalogue has stands in no other module as the label of that metric."""
    labels = {name: known.label for name, known in METRICS.items()}
    again = []
    for path in PACKAGE.rglob("*.py"):
        if path.name == "catalogue.py" or "engines" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
            texts = [[_text(key), _text(value)] for key, value in pairs]
            texts += [[*map(_text, node.elts[:2])]] if isinstance(node, ast.Tuple) else []
            said = [text for text in texts if len(text) == 2 and labels.get(text[0]) == text[1]]
            again += [f"{path.name}:{node.lineno}" for _ in said]
    assert again == []


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
