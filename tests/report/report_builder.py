"""Run directories for the tests of the report, made by the project's own engine and seal from real market data."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.artifacts import write_backtest_artifacts
from pipeline.backtest.data import load_ohlcv, source_path
from pipeline.backtest.engine import BacktestEngine, BacktestResult
from pipeline.backtest.sensitivity import Case
from pipeline.backtest.strategies import get_strategy
from pipeline.errors import CellFailedError, EvidenceError
from pipeline.files import write_json
from pipeline.open_run import OpenRun
from pipeline.opening import open_run
from pipeline.result_files import write_record, write_result
from pipeline.results.bundled import result_of
from pipeline.results.contract import Result
from pipeline.robustness import Subject, robustness
from pipeline.run import Run
from pipeline.sealing import seal_run
from pipeline.settings import Settings
from pipeline.spec import ENGINE_SECTIONS, RunSpec

TEMPLATE = Path(__file__).resolve().parents[2] / "reports" / "backtest_report.qmd"
SPEC = {
    "run": {"name": "S&P 500 crossover", "experiment": "demo"},
    "strategy": {"name": "ma_crossover", "params": {"fast": 20, "slow": 100}},
}
TRACKING = {
    "experiment_name": "demo",
    "mlflow_run_id": "0123456789abcdef0123456789abcdef",
    "run_url": "http://127.0.0.1:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef",
}
TRACEBACK = (
    'Traceback (most recent call last):\n  File "cell", line 3, in <module>\n\nZeroDivisionError: division by zero'
)
FAILURE = CellFailedError(
    "cell 5 raised", cell=5, ename="ZeroDivisionError", evalue="division by zero", traceback=TRACEBACK
)

_ids = itertools.count(1)


def run_id(number: int | None = None) -> str:
    """Return a valid, predictable run_id."""
    return f"{next(_ids) if number is None else number:08x}-0000-4000-8000-000000000000"


def case(fast: int = 20, slow: int = 100, **params: Any) -> Case:
    """Return a moving-average crossover on the bundled S&P 500 sample."""
    given = {"fast": fast, "slow": slow, **params}
    function = get_strategy("ma_crossover").signal_fn
    return Case(BacktestEngine(), load_ohlcv("sample:sp500"), function, given, "SPX", fee_bps=1.0, slippage_bps=1.0)


def run_case(given: Case) -> tuple[BacktestResult, pd.Series]:
    """Trade a case; return it with buying and holding."""
    result = given.engine.run_realistic(
        df=given.df,
        strategy_signal_fn=given.signal_fn,
        strategy_params=given.params,
        symbol=given.symbol,
        fee_bps=given.fee_bps,
        slippage_bps=given.slippage_bps,
    )
    close = given.df["close"]
    return result, close / float(close.iloc[0]) * 100_000.0


def backtest(fast: int = 20, slow: int = 100) -> tuple[BacktestResult, pd.Series]:
    """Trade a moving-average crossover on the bundled S&P 500 sample; return it with buying and holding."""
    return run_case(case(fast, slow))


@cache
def examined() -> dict[str, Any]:
    """Return what a run of `backtest()` finds out about itself, made once."""
    given = case()
    result, benchmark = run_case(given)
    return robustness(Subject(result, given, benchmark)).to_dict()


def build_run(
    results: Path,
    *,
    spec: dict[str, Any] | None = None,
    result: tuple[BacktestResult, pd.Series] | None = None,
    saved: Result | None = None,
    error: EvidenceError | None = None,
    warnings: tuple[str, ...] = (),
    tracking: dict[str, Any] | None = None,
    robust: Any = None,
    number: int | None = None,
    seal: bool = True,
) -> Run:
    """Write a run directory below `results` the way the runner does, and return it loaded.

    `saved` is a result of any engine, as `run.save` makes it.
    """
    run = _open(results, spec, number, data=saved is None)
    _OPEN[run.dir.run_id] = run
    if result is not None:
        write_backtest_artifacts(result[0], run.dir.path, benchmark=result[1])
    if saved is not None:
        write_result(saved, run.dir, figure=False)
    if robust is not None:
        write_json(run.dir.robustness, robust)
    if result is not None:
        write_record(result_of(result[0]), run.dir)
    if tracking is not None:
        write_json(run.dir.tracking, tracking)
    if seal:
        seal_open(Run(run.dir), error=error, warnings=warnings)
    return Run(run.dir)


def seal_open(run: Run, *, error: EvidenceError | None = None, warnings: tuple[str, ...] = ()) -> None:
    """Seal a run that `build_run` left open."""
    opened = _OPEN.pop(run.run_id)
    opened.warnings[:] = warnings
    opened.stages["notebook"] = 1.25
    seal_run(opened, error=error)


_OPEN: dict[str, OpenRun] = {}


def _open(results: Path, spec: dict[str, Any] | None, number: int | None, *, data: bool = True) -> OpenRun:
    settings = Settings(root=results.parent, results=results)
    inputs = {"data": ("sample:sp500", source_path("sample:sp500"))} if data else {}
    chosen = RunSpec.from_mapping(spec or {})
    chosen = chosen.asking(ENGINE_SECTIONS) if data else chosen
    return open_run(chosen, settings, origin="evidence-run", inputs=inputs, run_id=run_id(number))
