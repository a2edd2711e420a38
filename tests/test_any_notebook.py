"""A run says what it is: nothing of this package's own engine is recorded of a notebook that did not use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

import pipeline
from pipeline.errors import NotebookError, ResultError, UsageError
from pipeline.evidence.ledger_check import check_ledger
from pipeline.notebook.look import saves_nothing
from pipeline.request import read_request
from pipeline.run import Run
from pipeline.run_row import RunRow
from pipeline.runner import plan_run, run_backtest
from pipeline.session import NotebookRun
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.notebooks import write_notebook

OWN = ("ma_crossover", "SPX", "sample:sp500", "fee_bps", "100000", "100_000", "initial_cash")
SCRIPT = """
import numpy as np
import pandas as pd

import pipeline as ev

window = 20

days = pd.bdate_range("2019-01-01", periods=300)
returns = pd.Series(np.sin(np.arange(300) / window) / 100, index=days)

run = ev.start_run()
run.save(returns, kind="returns")
run.finish()
"""


def returns(bars: int = 300, seed: int = 1) -> pd.Series:
    days = pd.bdate_range("2019-01-01", periods=bars)
    return pd.Series(np.random.default_rng(seed).normal(0.0004, 0.01, bars), index=days)


def by_hand(project: Settings, **more: Any) -> NotebookRun:
    return pipeline.start_run(tracking={"mode": "off"}, settings=project, **more)


def texts_of(run: Run) -> str:
    """Return all that a sealed run says of itself, apart from which files this package has."""
    predicate = json.loads(run.dir.manifest.read_bytes())["predicate"]
    predicate["buildDefinition"].pop("resolvedDependencies")
    parts = [json.dumps(predicate), run.dir.result.read_text(), json.dumps(RunRow.of(run).to_dict())]
    return "\n".join(parts)


def test_nothing_of_the_bundled_engine_is_said_of_returns(project: Settings) -> None:
    """Strategy, instrument, data, costs and capital are unknown, and so every view says; trades are no zero."""
    run = by_hand(project)
    run.save(returns(), kind="returns")
    run.finish()
    sealed = Run(run.dir)
    said = texts_of(sealed)
    assert sealed.status == "FINISHED"
    assert [word for word in OWN if word in said] == []
    row = RunRow.of(sealed)
    assert (row.strategy, row.symbols, row.engine, row.params) == (None, (), None, {})
    assert sealed.stats["total_trades"] is None
    assert sealed.stats["max_drawdown"] == pytest.approx(float(sealed.equity["drawdown"].min()))
    assert not sealed.dir.trades_parquet.exists()
    assert sealed.result is not None
    assert sealed.result.reconciliation is not None
    assert sealed.result.reconciliation.mark == "NOT RECONCILABLE"
    assert sealed.verify().ok


def test_a_stranger_is_no_trial_of_the_demo(project: Settings) -> None:
    """Runs without a strategy are a family of their own, one for each notebook."""
    for _ in range(2):
        run = by_hand(project)
        run.save(returns(), kind="returns")
        run.finish()
    bundled = by_hand(project, strategy={"name": "ma_crossover"}, data={"source": "sample:sp500"})
    counted = check_ledger(bundled.dir.ledger).trials.counted
    assert [one.scope.family for one in counted] == ["by hand", "by hand", "ma_crossover"]
    assert [one.scope.instruments for one in counted] == [(), (), ("SPX",)]
    bundled.save(bundled.backtest(bundled.load_data()), robustness=False)
    bundled.finish()


def test_what_the_bundled_engine_did_is_said_by_its_result(project: Settings) -> None:
    """A section that was left out has defaults once it is used; then they are what ran, and the result says it."""
    run = by_hand(project, data={"source": "sample:sp500", "start": "2010-01-01", "end": "2011-12-31"})
    run.save(run.backtest(run.load_data()), robustness=False)
    run.finish()
    sealed = Run(run.dir)
    assert sealed.result is not None
    assert (sealed.what.strategy, sealed.what.symbols, sealed.what.capital) == ("ma_crossover", ("SPX",), 100_000.0)
    assert sealed.what.params == {"fast": 20, "slow": 50, "average": "sma", "allow_short": False}
    assert sealed.result.costs is not None
    assert sealed.result.costs["fee_bps"] == 1.0
    assert sealed.result.reconciliation is not None
    assert sealed.result.reconciliation.mark == "RECONCILED"


def test_what_a_notebook_declares_is_what_is_recorded(project: Settings, tmp_path: Path) -> None:
    """Name and params of a strategy, symbols, own metrics, tables and files are kept as they were given."""
    model = tmp_path / "model.txt"
    model.write_text("weights")
    run = by_hand(project)
    equity = 1_000.0 * (1 + returns()).cumprod()
    run.save(
        equity, kind="equity", capital=1_000, strategy="momentum", params={"window": 3}, symbols=["A", "B"],
        currency="USD", metrics={"hit_rate": 0.5}, tables={"picks": pd.DataFrame({"x": [1]})}, files={"model": model},
        engine="mine", periods_per_year=250, benchmarks={"flat": equity * 0 + 5.0},
    )  # fmt: skip
    run.finish()
    sealed = Run(run.dir)
    assert sealed.result is not None
    assert (sealed.what.strategy, sealed.what.symbol, sealed.what.params) == ("momentum", "A, B", {"window": 3})
    assert sealed.what.capital == 1_000.0
    assert sealed.stats["periods_per_year"] == 250
    assert (sealed.conventions.risk_free_rate, sealed.conventions.currency) == (0.0, "USD")
    assert sealed.equity["benchmark_equity"].nunique() == 1
    assert {"tables/picks.csv", "files/model.txt"} <= {file.path for file in sealed.artifacts}
    assert [metric.name for metric in sealed.result.metrics] == ["hit_rate"]


def test_a_result_is_saved_once(project: Settings) -> None:
    """A second one is refused, unless it is to take the place of the first; what is no result leaves nothing."""
    run = by_hand(project)
    with pytest.raises(ResultError):
        run.save(object())
    assert not run.dir.stats.exists()
    run.save(returns(), kind="returns")
    with pytest.raises(UsageError, match="has its result already"):
        run.save(returns(seed=2), kind="returns")
    run.save(returns(seed=3), kind="returns", replace=True)
    with pytest.raises(UsageError, match=r"knows nothing of 'captial'. Did you mean 'capital'"):
        run.save(returns(), captial=3, replace=True)
    run.finish()
    with pytest.raises(UsageError, match="is sealed"):
        run.save(returns(), kind="returns")


@pytest.mark.parametrize(
    ("cells", "nothing"),
    [
        (["x = 1", "%matplotlib inline\nplt.plot([1])", "%%bash\nrun.save(1)"], True),
        (["import pipeline\nrun = pipeline.start_run()", "run.save(x)"], False),
        (["%time run.save(x)"], False),
        (["%%time\nrun.save(x)"], False),
        (["keep = run.save", "keep(x)"], False),
        (["%run other.ipynb"], False),
        (["getattr(run, 'sa' + 've')(x)"], False),
        (["import mine\nmine.go()"], False),
        (["this is no python"], False),
        (["(run_dir / 'stats.json').write_text('{}')"], False),
    ],
)
def test_a_notebook_is_looked_at_before_it_starts(tmp_path: Path, cells: list[str], nothing: bool) -> None:
    """It is refused only where plainly nothing saves; magics are looked into, helper modules are trusted."""
    (tmp_path / "mine.py").write_text("")
    path = write_notebook(tmp_path / "n.ipynb", *cells)
    assert saves_nothing(path, path.read_bytes(), tmp_path) is nothing


def test_a_notebook_that_saves_nothing_is_refused_with_the_lines_that_help(project: Settings) -> None:
    """Before anything is started, unless it is to be run all the same."""
    write_notebook(project.root / "n.ipynb", "x = 1")
    spec = RunSpec.from_mapping({"run": {"notebook": "n.ipynb"}, "report": {"enabled": False}})
    with pytest.raises(NotebookError, match=r"(?s)Nothing in .*n\.ipynb saves a result.*run\.save\(result\)"):
        plan_run(spec, project)
    assert plan_run(spec, project, check=False).spec == spec


def test_a_notebook_alone_is_its_own_spec(project: Settings) -> None:
    """Its tagged cell says what this package's engine is asked for; -p is a param of the strategy there."""
    cell = 'run_id = None\nseed = 5\nstrategy = {"name": "donchian", "params": {"entry": 30}}'
    path = write_notebook(project.root / "mine" / "n.ipynb", "run.save(x)", parameters=cell)
    asked = read_request(None, path, ["exit=7"], {"tracking.mode": "off"}, project)
    assert asked.spec.run.notebook == "mine/n.ipynb"
    assert (asked.spec.run.name, asked.spec.run.seed, asked.spec.data) == ("n", 5, None)
    assert asked.spec.strategy is not None
    assert (asked.spec.strategy.name, asked.spec.strategy.params) == ("donchian", {"entry": 30, "exit": 7})
    assert asked.overrides == {"strategy.params.exit": 7, "tracking.mode": "off"}
    other = write_notebook(project.root / "other.ipynb", "window = 3", "run.save(window)", parameters=None)
    asked = read_request(None, other, ["window=7"], {}, project)
    assert asked.spec.run.parameters == {"window": 7}
    assert (asked.spec.strategy, asked.spec.backtest) == (None, None)
    with pytest.raises(UsageError, match="Nothing says what to run"):
        read_request(None, None, [], {}, project)


def test_params_that_a_notebook_would_not_see_are_refused(project: Settings) -> None:
    """A strategy's name says what the run is about; params would be recorded, and not have been used."""
    write_notebook(project.root / "n.ipynb", "run.save(1)", parameters=None)
    named = {"run": {"notebook": "n.ipynb"}, "report": {"enabled": False}, "strategy": {"name": "momentum"}}
    assert plan_run(RunSpec.from_mapping(named), project).parameters == {}
    with pytest.raises(NotebookError, match=r"would not see strategy\.params = \{'n': 3\}"):
        plan_run(RunSpec.from_mapping({**named, "strategy": {"name": "momentum", "params": {"n": 3}}}), project)
    with pytest.raises(NotebookError, match="has no parameter 'data'"):
        plan_run(RunSpec.from_mapping({**named, "data": {}}), project)


@pytest.mark.slow
def test_a_script_alone_is_run_verified_and_rendered(project: Settings) -> None:
    """Its parameter is given, its bytes are the input, its page says nothing of the bundled engine."""
    script = project.root / "her.py"
    script.write_text(SCRIPT)
    asked = read_request(None, script, ["window=5"], {}, project)
    outcome = run_backtest(asked.spec, settings=project, overrides=asked.overrides)
    run = outcome.run
    assert outcome.error is None, outcome.error
    expected = (1 + pd.Series(np.sin(np.arange(300) / 5) / 100)).cumprod()
    assert np.allclose(run.equity["equity"], expected, rtol=1e-12)
    assert run.verify().ok
    soup = BeautifulSoup(run.dir.report.read_bytes(), "html.parser")
    for script_or_style in soup(["script", "style"]):
        script_or_style.decompose()
    page = soup.get_text(" ", strip=True)
    assert [word for word in (*OWN, "rests on", "made no trades") if word in page] == []
    assert "notebook her.py (window=5)" in page
    assert "NOT RECONCILABLE" in page
