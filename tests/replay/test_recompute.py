"""Figures computed again from sealed tables: equal where nothing was changed, named where something was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from pipeline.artifacts import parquet_bytes, write_backtest_artifacts
from pipeline.backtest.conventions import Conventions
from pipeline.backtest.data import load_ohlcv, source_path
from pipeline.backtest.engine import BacktestEngine
from pipeline.cli.replay_commands import register
from pipeline.errors import UsageError, VerificationError
from pipeline.evidence.bundle import make_bundle
from pipeline.files import write_json
from pipeline.opening import open_run
from pipeline.replay.recompute import Recomputation, recompute_run
from pipeline.result_files import write_result
from pipeline.results.contract import Fold, Result
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.sealing import seal_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.replay.runs import sealed_run
from tests.results.accounts import Order, account, prices, rebalanced

Change = Callable[[RunDir], Any]


def backtested(root: Path, change: Change = lambda _: None, **rules: Any) -> Run:
    """Seal a run of a strategy that is long, short and flat by turns, with costs; `change` edits it before the seal."""
    bars = load_ohlcv("sample:sp500").iloc[:400]
    signal = pd.Series([(1, 1, -1, 0, -1)[day // 9 % 5] for day in range(len(bars))], bars.index)
    engine = BacktestEngine(initial_cash=50_000.0, risk_free_rate=0.02, **rules)
    result = engine.run_realistic(bars, lambda df, _: signal.reindex(df.index), {}, "SPX", 2.0, 3.0)
    settings = Settings(root, root / "results")
    spec = RunSpec.from_mapping({"backtest": {"initial_cash": 50_000.0, "risk_free_rate": 0.02}})
    opened = open_run(
        spec, settings, origin="evidence-run", inputs={"data": ("sample:sp500", source_path("sample:sp500"))}
    )
    write_backtest_artifacts(result, opened.dir.path, figure=False)
    change(opened.dir)
    seal_run(opened)
    return Run(opened.dir)


def verdicts(found: Recomputation, verdict: str) -> list[str]:
    return [figure.name for figure in found.figures if figure.verdict == verdict]


@pytest.mark.parametrize(
    "rules", [{}, {"stop_pct": 1.0}, {"use_execution_pipeline": False}], ids=["plain", "stop", "simple"]
)
def test_every_metric_of_the_engine_comes_out_again(tmp_path: Path, rules: dict[str, Any]) -> None:
    """From equity.csv and the trades alone, those of positions and fills included; equity's change is the trades'."""
    found = recompute_run(backtested(tmp_path, **rules))
    assert verdicts(found, "differs") == []
    assert verdicts(found, "cannot be checked") == []
    assert {"sharpe", "exposure", "turnover", "fees_paid", "change of equity, from trades"} <= {
        figure.name for figure in found.figures
    }
    assert found.equal


def stat(name: str, value: Any) -> Change:
    return lambda run: write_json(run.stats, {**json.loads(run.stats.read_bytes()), name: value})


def trade(column: str, value: float) -> Change:
    def change(run: RunDir) -> None:
        trades = pd.read_parquet(run.trades_parquet)
        trades.loc[2, column] = value
        run.trades_parquet.write_bytes(parquet_bytes(trades, index=False))

    return change


def curve(run: RunDir) -> None:
    lines = run.equity.read_text().splitlines()
    lines[200] = ",".join([lines[200].split(",")[0], "99999.0", *lines[200].split(",")[2:]])
    run.equity.write_text("\n".join([*lines, ""]))


LIES: dict[str, tuple[Change, str]] = {
    "a better Sharpe ratio": (stat("sharpe", 2.61), "sharpe"),
    "a metric that is undefined": (stat("calmar", None), "calmar"),
    "fewer trades": (stat("total_trades", 3), "total_trades"),
    "a day in the market less": (stat("exposure", 0.5), "exposure"),
    "a bar of the curve": (curve, "drawdown of each bar"),
    "the profit of a trade": (trade("net_pnl", 9_000.0), "net_pnl of each trade"),
    "the fees of a trade": (trade("fees", 0.0), "net_pnl of each trade"),
    "the price of a trade": (trade("exit_price", 5_000.0), "gross_pnl of each trade"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_that_was_sealed_is_found(tmp_path: Path, lie: str) -> None:
    """A seal says who sealed what, not that it is right: what does not follow from the tables is named, by how much."""
    change, name = LIES[lie]
    found = recompute_run(backtested(tmp_path, change))
    assert name in verdicts(found, "differs"), list(found.lines())
    assert not found.equal


def of_another_engine(root: Path, result: Result, change: Change = lambda _: None) -> Run:
    """Seal a run that saved a result of another engine."""
    opened = open_run(RunSpec.from_mapping({}), Settings(root, root / "results"), origin="evidence-run", inputs={})
    write_result(result, opened.dir, figure=False)
    change(opened.dir)
    seal_run(opened)
    return Run(opened.dir)


MARKET = prices(60, 3, seed=2)
TRADED = replace(
    account([Order(0, 1, 100.0, 0, 8), Order(1, -1, 50.0, 12, 20), Order(2, 1, 80.0, 25, None)], MARKET),
    symbols=tuple(MARKET), conventions=Conventions(risk_free_rate=0.02),
)  # fmt: skip
WEIGHED = replace(rebalanced(MARKET), first_label="period", equity=rebalanced(MARKET).equity * 1.01)


@pytest.mark.parametrize(
    "result",
    [TRADED, replace(TRADED, first_label="period"), WEIGHED, Result(WEIGHED.equity, 1e5)],
    ids=["start", "period", "weights", "curve"],
)
def test_every_metric_of_another_engine_comes_out_again(tmp_path: Path, result: Result) -> None:
    """From its capital, its first return included where that counts; of its trades, fills and weights, too."""
    found = recompute_run(of_another_engine(tmp_path, result))
    assert verdicts(found, "differs") == []
    assert verdicts(found, "cannot be checked") == []
    assert {"sharpe", "exposure", "turnover", "avg_gross_exposure"} <= {figure.name for figure in found.figures}


def test_params_may_be_of_numpy_or_of_anything(tmp_path: Path) -> None:
    """As optimisers leave them: numbers stay numbers, what JSON does not have is text; of folds, too."""
    params = {
        "fast": np.int64(5),
        "stop": np.float64(0.1),
        "on": np.bool_(True),
        "of": {1: (np.int8(2), MARKET.index[0])},
    }
    fold = Fold("2020-01-01", "2020-02-01", params={"fast": np.int64(5)})
    run = of_another_engine(tmp_path, replace(TRADED, params={**params, "none": np.nan}, folds=(fold,)))
    assert run.result is not None
    assert run.result.params == {
        "fast": 5, "stop": 0.1, "on": True, "of": {"1": [2, str(MARKET.index[0])]}, "none": "nan",
    }  # fmt: skip
    assert json.loads(run.dir.folds.read_bytes())["folds"][0]["params"] == {"fast": 5}


def test_a_lie_about_another_engine_is_found(tmp_path: Path) -> None:
    """A metric that the tables do not give, and parts that disagree where the record says they agree, are named."""
    lie = of_another_engine(tmp_path, TRADED, stat("win_rate", 0.9))
    assert verdicts(recompute_run(lie), "differs") == ["win_rate"]
    changed = replace(TRADED, trades=TRADED.trades.assign(net_pnl=TRADED.trades["net_pnl"] + 5.0))

    def replaced(run: RunDir) -> None:
        run.trades_parquet.write_bytes(parquet_bytes(changed.trades, index=False))

    differs = verdicts(recompute_run(of_another_engine(tmp_path, TRADED, replaced)), "differs")
    assert "places where not: Equity change = net P&L of all trades, open ones marked" in differs


def test_a_table_of_another_engine_that_is_withheld_is_no_difference(tmp_path: Path) -> None:
    """What followed from it cannot be checked, and the table is named."""
    run = of_another_engine(tmp_path, TRADED, lambda run: run.trades_parquet.unlink())
    found = recompute_run(run)
    assert verdicts(found, "differs") == []
    assert {one.why for one in found.figures if one.name == "win_rate"} == {"the run's trades are not there"}


def test_what_cannot_be_checked_says_why(small: Settings) -> None:
    """Metrics of the notebook's own have no formula here; a run without an equity curve has nothing to compute from."""
    run = sealed_run(small)
    found = recompute_run(run)
    reasons = {figure.name: figure.why for figure in found.figures if figure.verdict == "cannot be checked"}
    assert reasons["trades"] == "it is a metric of the notebook's own"
    assert "change of equity" in reasons
    assert "sharpe" in verdicts(found, "differs")
    (run.dir.equity).unlink()
    with pytest.raises(UsageError, match="left no equity curve"):
        recompute_run(Run(run.dir))


def test_tables_of_any_shape_are_answered(tmp_path: Path) -> None:
    """Whoever sealed it: what is no table of a backtest is an error that says so."""
    run = backtested(tmp_path)
    for text in (
        "",
        "timestamp,equity\nnever,1.0\n",
        "timestamp\n2020-01-01T00:00:00Z\n",
        "timestamp,equity\n2020-01-01,x\n",
    ):
        run.dir.equity.write_text(text)
        with pytest.raises(UsageError):
            recompute_run(Run(run.dir))
    other = backtested(tmp_path, trade("side", "sideways"))  # type: ignore[arg-type]
    assert not recompute_run(other).equal
    other = backtested(tmp_path, lambda r: write_json(r.conventions, {"periods_per_year": {"value": 1e-300}}))
    recompute_run(other)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("EVIDENCE_ROOT", str(tmp_path))
    app = typer.Typer()
    register(app)
    return app


def test_the_command_takes_a_run_a_bundle_and_a_directory(commands: typer.Typer, tmp_path: Path) -> None:
    """0 for a run of one's own, 4 for what anybody can have made, 3 for a figure that differs or a broken seal."""
    run = backtested(tmp_path)
    bundle = str(make_bundle(run.dir, tmp_path / "b.zip").path)
    for target, code in ((run.run_id, 0), (bundle, 4), (str(run.dir.path), 4)):
        done = CliRunner().invoke(commands, ["recompute", target])
        assert done.exit_code == code, done.output
        assert " equal, 0 different, 0 that cannot be checked" in done.output
    facts = json.loads(CliRunner().invoke(commands, ["recompute", bundle, "--json"]).stdout)
    assert facts["equal"] is True
    assert facts["verdict"] == "consistent"
    assert facts["figures"][0].keys() == {"name", "sealed", "again", "verdict", "why"}
    lie = backtested(tmp_path, stat("sharpe", 2.61))
    done = CliRunner().invoke(commands, ["recompute", lie.run_id])
    assert done.exit_code == 3
    assert done.stdout.startswith("sharpe: differs by ")
    run.dir.stats.write_text("{}")
    assert isinstance(CliRunner().invoke(commands, ["recompute", run.run_id]).exception, VerificationError)
