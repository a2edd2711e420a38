"""Check in about fifteen seconds that tracking works here: six checks against a real MLflow store.

Usage: python scripts/smoke_test_mlflow.py [TRACKING_URI]. Without a URI a temporary SQLite store is used.
Exit code 0 when all checks pass, 1 otherwise.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXPERIMENT = "smoke-test"


def tracker_basics(uri: str, _place: Path) -> str:
    """Params, metrics and tags arrive."""
    from pipeline.tracking import MLflowTracker

    tracker = MLflowTracker(uri, EXPERIMENT, run_name="basics", mode="strict")
    run_id = tracker.start_run()
    expect(tracker.start_run() == run_id, "a second start keeps the run")
    tracker.log_params({"strategy": {"fast": 10}})
    tracker.log_metrics({"sharpe": 1.5}, step=1)
    tracker.set_tags({"purpose": "smoke test"})
    tracker.end_run()
    run = stored(uri, run_id)
    expect(run.data.params == {"strategy.fast": "10"}, f"params are {run.data.params}")
    expect(run.data.metrics == {"sharpe": 1.5}, f"metrics are {run.data.metrics}")
    expect(run.data.tags["purpose"] == "smoke test", "the tag is missing")
    return f"run {run_id}"


def context_manager(uri: str, _place: Path) -> str:
    """A run ends as FINISHED, and as FAILED after an exception."""
    from pipeline.tracking import MLflowTracker

    with MLflowTracker(uri, EXPERIMENT, run_name="context", mode="strict") as good:
        good.log_metrics({"x": 1})
    bad = MLflowTracker(uri, EXPERIMENT, run_name="context, failing", mode="strict")
    try:
        with bad:
            _ = 1 / 0
    except ZeroDivisionError:
        pass
    found = [stored(uri, tracker.run_id).info.status for tracker in (good, bad)]
    expect(found == ["FINISHED", "FAILED"], f"end states are {found}")
    return ", ".join(found)


def artifacts(uri: str, place: Path) -> str:
    """Files, text, mappings and figures arrive."""
    from matplotlib.figure import Figure

    from pipeline.tracking import MLflowTracker

    (place / "data.csv").write_text("a,b\n1,2\n")
    with MLflowTracker(uri, EXPERIMENT, run_name="artifacts", mode="strict") as tracker:
        tracker.log_artifact(place / "data.csv", "data")
        tracker.log_text("hello", "notes.txt")
        tracker.log_dict({"a": 1}, "settings.json")
        tracker.log_figure(Figure(), "plots/empty.png")
    names = files(uri, tracker.run_id)
    wanted = {"data/data.csv", "notes.txt", "settings.json", "plots/empty.png"}
    expect(names == wanted, f"artifacts are {sorted(names)}")
    return f"{len(names)} files"


def config_builder(uri: str, _place: Path) -> str:
    """Configs give the tracker they ask for."""
    from pipeline.tracking import MLflowTracker, NoopTracker, build_tracker_from_config

    table = {"tracking_uri": uri, "experiment_name": EXPERIMENT, "run_name": "config", "mode": "strict"}
    tracker = build_tracker_from_config({"tracking": {"backend": "mlflow", "mlflow": table}})
    expect(isinstance(tracker, MLflowTracker), f"got a {type(tracker).__name__}")
    with tracker:
        tracker.log_metrics({"x": 1})
    off = build_tracker_from_config({"enabled": False})
    expect(isinstance(off, NoopTracker), f"got a {type(off).__name__}")
    return "MLflowTracker, NoopTracker"


def engine_integration(uri: str, _place: Path) -> str:
    """A backtest with a tracker records itself."""
    from pipeline.backtest.engine import BacktestEngine
    from pipeline.tracking import MLflowTracker

    with MLflowTracker(uri, EXPERIMENT, run_name="engine", mode="strict") as tracker:
        result = sample_backtest(BacktestEngine(tracker=tracker))
    run = stored(uri, tracker.run_id)
    expect(run.data.metrics["sharpe"] == result.stats["sharpe"], "the Sharpe ratio differs")
    expect(run.data.params["strategy.params.fast"] == "20", "the strategy's params are missing")
    return f"{len(run.data.metrics)} metrics, {len(run.data.params)} params"


def backtest_artifacts(uri: str, place: Path) -> str:
    """The files of a backtest arrive, and a local copy stays."""
    from pipeline.backtest.engine import BacktestEngine
    from pipeline.tracking import MLflowTracker, log_backtest_artifacts

    result = sample_backtest(BacktestEngine())
    with MLflowTracker(uri, EXPERIMENT, run_name="backtest artifacts", mode="strict") as tracker:
        kept = log_backtest_artifacts(tracker, result=result, artifacts_dir=place / "kept")
    names = files(uri, tracker.run_id)
    wanted = {"stats.json", "equity_curve.csv", "plots/equity_curve.png"}
    wanted |= {"reports/trades_summary.json", "reports/backtest_report.txt"}
    expect(wanted <= names, f"missing: {sorted(wanted - names)}")
    expect(all(path.is_file() for path in kept), "the local copy is missing")
    return f"{len(names)} files"


CHECKS: dict[str, Callable[[str, Path], str]] = {
    "tracker basics": tracker_basics,
    "context manager": context_manager,
    "artifacts": artifacts,
    "config builder": config_builder,
    "engine integration": engine_integration,
    "backtest artifacts": backtest_artifacts,
}


def sample_backtest(engine: Any) -> Any:
    """Backtest a bundled strategy on the bundled data."""
    from pipeline.backtest.data import load_ohlcv
    from pipeline.backtest.strategies import get_strategy

    strategy = get_strategy("ma_crossover").signal_fn
    bars = load_ohlcv("sample:sp500").tail(500)
    return engine.run_realistic(df=bars, strategy_signal_fn=strategy, strategy_params={"fast": 20}, symbol="SPX")


def client_of(uri: str) -> Any:
    """Return MLflow's own client, so that the checks do not believe the tracker."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def stored(uri: str, run_id: str | None) -> Any:
    """Return the run as MLflow has it."""
    return client_of(uri).get_run(run_id)


def files(uri: str, run_id: str | None) -> set[str]:
    """Return the paths of a run's artifacts."""
    with tempfile.TemporaryDirectory() as copy:
        root = Path(client_of(uri).download_artifacts(run_id, "", copy))
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def expect(condition: object, otherwise: str) -> None:
    """Fail the check unless the condition holds."""
    if not condition:
        raise AssertionError(otherwise)


def main(arguments: list[str]) -> int:
    """Run the checks and print a line for each."""
    if any(argument.startswith("-") for argument in arguments):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    failed = 0
    warnings.simplefilter("ignore")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        uri = arguments[0] if arguments else f"sqlite:///{place / 'mlflow.db'}"
        print(f"Tracking store: {uri}")
        for number, (name, check) in enumerate(CHECKS.items(), 1):
            began = time.perf_counter()
            try:
                told, mark = check(uri, place), "ok  "
            except Exception as error:  # noqa: BLE001 - a check that fails in any way is told
                failed += 1
                told, mark = f"{type(error).__name__}: {error}", "FAIL"
                traceback.print_exc()
            print(f"{number}/{len(CHECKS)} {mark} {name:<20} {time.perf_counter() - began:5.1f} s  {told}", flush=True)
    print("All checks passed." if not failed else f"{failed} of {len(CHECKS)} checks failed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
