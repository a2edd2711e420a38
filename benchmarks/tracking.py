"""What tracking costs: 100 backtests without a tracker, with Noop, with MLflow, beside hand-written MLflow code.

Usage: python benchmarks/tracking.py [BACKTESTS]. All ways take turns inside one process, backtest by backtest, on an
SQLite store on the local disk, so that the ratios hold on any machine. Hand-written means MlflowClient doing the same
writes: `plain` calls log_param, log_metric, set_tag and log_artifact for each thing, as MLflow's guides do; `batched`
is the least that MLflow allows: one log_batch, then the files. Both make their files with this package, the same
figure included; `plain, own files` makes all of it by hand: pyplot, pandas, json.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from pipeline.artifacts import write_backtest_artifacts
from pipeline.backtest.data import load_ohlcv
from pipeline.backtest.engine import BacktestEngine
from pipeline.backtest.strategies import get_strategy
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.tracking import MLflowTracker, NoopTracker, kernel_tracker, log_backtest_artifacts, open_tracking
from pipeline.tracking.backtest import ARTIFACTS
from pipeline.tracking.values import as_text, flatten

STRATEGY = get_strategy("ma_crossover").signal_fn
BARS = load_ohlcv("sample:sp500")


def backtest(tracker: Any = None) -> Any:
    engine = BacktestEngine(tracker=tracker)
    return engine.run_realistic(df=BARS, strategy_signal_fn=STRATEGY, strategy_params={"fast": 20}, symbol="SPX")


def content(result: Any) -> tuple[dict[str, str], dict[str, float], dict[str, str]]:
    """Return what has to be written: params, metrics, tags."""
    params = {name: as_text(value) for name, value in flatten(result.config)}
    metrics = {name: float(value) for name, value in result.stats.items() if value is not None}
    return params, metrics, {"strategy": "ma_crossover", "symbol": "SPX", "execution": "pipeline"}


def plain(client: MlflowClient, experiment: str, result: Any, files: Path) -> None:
    """Write a run as MLflow's guides do, a call for each thing."""
    run = client.create_run(experiment).info.run_id
    params, metrics, tags = content(result)
    for name, value in params.items():
        client.log_param(run, name, value)
    for name, number in metrics.items():
        client.log_metric(run, name, number)
    for name, text in tags.items():
        client.set_tag(run, name, text)
    log_files(client, run, files)
    client.set_terminated(run)


def batched(client: MlflowClient, experiment: str, result: Any, files: Path) -> None:
    """Write a run with as few calls as MLflow allows."""
    params, metrics, tags = content(result)
    now = int(time.time() * 1000)
    run = client.create_run(experiment).info.run_id
    client.log_batch(
        run,
        [Metric(name, value, now, 0) for name, value in metrics.items()],
        [Param(*pair) for pair in params.items()],
        [RunTag(*pair) for pair in tags.items()],
    )
    log_files(client, run, files)
    client.set_terminated(run)


def log_files(client: MlflowClient, run: str, files: Path) -> None:
    for name in ARTIFACTS:
        if (files / name).is_file():
            client.log_artifact(run, str(files / name), name.rpartition("/")[0] or None)


def ours(uri: str, result: Any, files: Path) -> None:
    """Write a run of finished files with the tracker."""
    from pipeline.tracking import log_backtest_metadata

    with MLflowTracker(uri, "ours", mode="strict") as tracker:
        log_backtest_metadata(tracker, result=result)
        log_backtest_artifacts(tracker, artifacts_dir=files)


def engine_with(tracker: MLflowTracker) -> None:
    with tracker:
        backtest(tracker)


def by_hand(write: Callable[..., None], client: MlflowClient, experiment: str) -> None:
    """Run a backtest, make its files and write all of it by hand."""
    result = backtest()
    with tempfile.TemporaryDirectory() as files:
        write_backtest_artifacts(result, Path(files))
        (Path(files) / "equity.csv").rename(Path(files) / "equity_curve.csv")
        write(client, experiment, result, Path(files))


def own_files(result: Any, directory: Path) -> None:
    """Make the same seven files with pyplot, pandas and json, a figure of the same size and content."""
    from matplotlib import pyplot as plt

    equity, trades = result.equity_curve, result.trades
    for folder in ("plots", "reports"):
        (directory / folder).mkdir()
    falls = equity / equity.cummax() - 1
    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, height_ratios=(3, 1), figsize=(10, 5.6))
    upper.plot(equity.index, equity)
    upper.set_title("SPX")
    upper.set_ylabel("Equity")
    lower.fill_between(falls.index, falls * 100, 0, alpha=0.35)
    lower.plot(falls.index, falls * 100)
    lower.set_ylabel("Drawdown")
    figure.tight_layout()
    figure.savefig(directory / "plots" / "equity_curve.png", dpi=130)
    plt.close(figure)
    pd.DataFrame({"equity": equity, "drawdown": falls}).to_csv(directory / "equity_curve.csv")
    trades.to_csv(directory / "trades.csv", index=False)
    trades.to_parquet(directory / "trades.parquet")
    (directory / "stats.json").write_text(json.dumps(result.stats, indent=2))
    summary = {"trades": len(trades), "winners": int((trades["net_pnl"] > 0).sum())}
    (directory / "reports" / "trades_summary.json").write_text(json.dumps(summary))
    lines = [f"{name:<24}{value}" for name, value in result.stats.items()]
    (directory / "reports" / "backtest_report.txt").write_text("\n".join(lines))


def by_hand_throughout(client: MlflowClient, experiment: str) -> None:
    """Run a backtest and do all the rest by hand."""
    result = backtest()
    with tempfile.TemporaryDirectory() as files:
        own_files(result, Path(files))
        plain(client, experiment, result, Path(files))


def orchestrated(settings: Settings, result: Any) -> tuple[float, float]:
    """Return (seconds in the notebook, seconds in the runner) that an orchestrated run spends on tracking."""
    spec = RunSpec()
    run = RunDir.create(settings.results, new_run_id())
    began = time.perf_counter()
    tracking = open_tracking(spec.tracking, run=run, spec=spec, settings=settings, tags={"symbol": "SPX"})
    opened = time.perf_counter()
    tracker = kernel_tracker(run)
    tracker.log_backtest(result)
    tracker.log_metrics({"extra": 1.0})
    tracker.set_tags({"regime": "calm"})
    noted = time.perf_counter()
    write_backtest_artifacts(result, run.path)
    files = [Path(name) for name in run.sealed_paths()]
    ready = time.perf_counter()
    tracking.deliver()
    tracking.finish("FINISHED", artifacts=files, tags={"evidence.manifest_sha256": "0" * 64}, description="x")
    done = time.perf_counter()
    assert tracking.pending == 0
    return noted - opened, opened - began + done - ready


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(count: int) -> None:
    warnings.simplefilter("ignore")
    mpl.use("agg")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        uri = f"sqlite:///{root / 'mlflow.db'}"
        settings = Settings(root, root / "results", uri)
        engine_with(MLflowTracker(uri, "warm-up"))
        client = MlflowClient(tracking_uri=uri)
        experiment = client.create_experiment("by hand", artifact_location=(root / "by-hand").as_uri())
        result, files = backtest(), root / "files"
        write_backtest_artifacts(result, files)
        (files / "equity.csv").rename(files / "equity_curve.csv")
        whole: dict[str, Callable[[], Any]] = {
            "no tracker": backtest,
            "NoopTracker": lambda: backtest(NoopTracker()),
            "MLflowTracker": lambda: engine_with(MLflowTracker(uri, "engine", mode="strict")),
            "by hand, plain": lambda: by_hand(plain, client, experiment),
            "by hand, batched": lambda: by_hand(batched, client, experiment),
            "plain, own files": lambda: by_hand_throughout(client, experiment),
        }
        writes: dict[str, Callable[[], Any]] = {
            "ours": lambda: ours(uri, result, files),
            "plain": lambda: plain(client, experiment, result, files),
            "batched": lambda: batched(client, experiment, result, files),
        }
        for call in (*whole.values(), *writes.values()):
            call()
        whole_times = measure(whole, count)
        write_times = measure(writes, count)
        runs = [orchestrated(settings, result) for _ in range(count)]
        noop = noop_cost(20 * count)
    report(whole_times, write_times, runs, noop)


def measure(ways: dict[str, Callable[[], Any]], count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(count):
        for name, call in ways.items():
            times[name].append(timed(call))
    return times


def noop_cost(count: int) -> tuple[float, float]:
    """Return median seconds of a backtest (without, with Noop), many small turns: the difference is tiny."""
    without, with_noop = [], []
    for _ in range(count):
        without.append(timed(backtest))
        with_noop.append(timed(lambda: backtest(NoopTracker())))
    return statistics.median(without), statistics.median(with_noop)


def report(
    whole: dict[str, list[float]],
    writes: dict[str, list[float]],
    runs: list[tuple[float, float]],
    noop: tuple[float, float],
) -> None:
    count = len(runs)
    print(f"\n{count} backtests of 5,031 bars each, with files (figure included)")
    print(f"{'way':<20}{'total s':>10}{'ms a run':>12}{'median ms':>12}")
    for name, times in whole.items():
        each, median = sum(times) / count * 1e3, statistics.median(times) * 1e3
        print(f"{name:<20}{sum(times):>10.2f}{each:>12.2f}{median:>12.2f}")
    print("\nthe writes alone: params, metrics, tags, 7 ready files")
    for name, times in writes.items():
        print(f"{name:<20}{sum(times):>10.2f}{sum(times) / count * 1e3:>12.2f}{statistics.median(times) * 1e3:>12.2f}")
    base, with_noop = noop
    ratio = {name: sum(times) / sum(writes["plain"]) for name, times in writes.items()}
    mlflow, hand = sum(whole["MLflowTracker"]), sum(whole["by hand, plain"])
    notebook = statistics.median(pair[0] for pair in runs) * 1e3
    runner = statistics.median(pair[1] for pair in runs) * 1e3
    print(f"\nNoop over none (medians)            {with_noop / base - 1:+.2%}   (target <= 1 %)")
    print(f"ours / plain, whole run             {mlflow / hand:.2f}x")
    print(f"ours / plain with own files         {mlflow / sum(whole['plain, own files']):.2f}x")
    print(f"ours / plain, writes alone          {ratio['ours']:.2f}x   (target <= 0.7x)")
    print(f"ours / batched, writes alone        {ratio['ours'] / ratio['batched']:.2f}x")
    print(f"orchestrated: in the notebook       {notebook:.2f} ms a run   (target <= 10 ms)")
    print(f"orchestrated: in the runner         {runner:.2f} ms a run")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
