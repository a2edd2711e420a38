"""The run as a notebook sees it: the strategy that the spec names, and the backtest of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.robustness import Subject, robustness
from pipeline.rundir import RunDir, new_run_id
from pipeline.session import NotebookRun
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.tracking import NoopTracker

CLOSE_TO_A_RULE = {"fast": 45, "slow": 50, "average": "sma", "allow_short": False}
SMOOTHING = """
def signal(df, params):
    for name in ("open", "high", "low", "close"):
        df[name] = df["close"].ewm(span=50).mean()
    return (df["close"] > df["close"].shift(1)).astype(int)
"""


def opened(project: Settings, name: str, params: dict[str, object]) -> NotebookRun:
    values = {"data": {"start": "2010-01-01", "end": "2012-12-31"}, "strategy": {"name": name, "params": params}}
    return NotebookRun(RunDir(project.results, new_run_id()), RunSpec.from_mapping(values), project, NoopTracker())


@pytest.mark.parametrize("given", [False, True], ids=["named by the spec", "given to run.backtest"])
def test_what_is_run_again_keeps_the_strategys_schema(project: Settings, given: bool) -> None:
    """The examination of a run knows the bounds and rules of its strategy: fast = 54 with slow = 50 is not run."""
    run = opened(project, "ma_crossover", CLOSE_TO_A_RULE)
    bars = run.load_data()
    result = run.backtest(bars, run.strategy_fn() if given else None)
    rows = robustness(Subject(result, run._cases[result]))["sensitivity"]
    found = {(row["name"], row["value"]): row for row in rows if row["kind"] == "param"}
    assert found["fast", 47]["status"] == "ok"
    assert found["fast", 54]["status"] == "fast < slow does not hold: fast = 54, slow = 50"
    assert found["fast", 54]["sharpe"] is None
    assert given or result.config["strategy"] == "ma_crossover"


def test_a_strategy_does_not_change_the_notebooks_bars(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy that writes into its frame neither changes the bars shown nor the prices it is traded at."""
    (Path(project.root) / "smoothing_rule.py").write_text(SMOOTHING)
    monkeypatch.delitem(sys.modules, "smoothing_rule", raising=False)
    run = opened(project, "smoothing_rule:signal", {})
    bars = run.load_data()
    untouched = bars.copy()
    run.strategy_fn()(bars, {})
    assert bars.equals(untouched)
    first = run.backtest(bars).fills.iloc[0]
    assert first["price"] == pytest.approx(untouched["open"].loc[first["timestamp"]] * 1.0001)
