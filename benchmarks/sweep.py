"""Measure sweeps: trials a second beside a plain loop, whole runs a minute, what storages and executors cost.

    python benchmarks/sweep.py                       fast, full, storages
    python benchmarks/sweep.py --only fast full storages dask
    python benchmarks/sweep.py --quick               fewer trials

fast      the same grid by a plain loop over the engine, by a loop over raptorbt, and by a fast sweep in this process,
          in another and in two; and 100 identical backtests by a naive loop
full      whole runs of the demo notebook (notebook, tracking, seal; no report) with one and two workers, by stage
storages  what a trial costs in each storage (PostgreSQL where it is installed), by a sweep's one writer and by 16
          processes that each ask and tell
dask      what a call costs on a cluster of two local workers, beside the pool of processes

Rounds are interleaved and medians printed. Everything is made in a temporary directory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pytest

from pipeline.backtest import BacktestEngine, get_strategy, load_ohlcv
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.sweep.executor import open_executor
from pipeline.sweep.space import search_space
from pipeline.sweep.spec import SweepSpec
from pipeline.sweep.study import KeptStudy, Proposer, open_storage
from pipeline.sweep.sweep import run_sweep
from pipeline.sweep.trial import Trial
from tests.servers import postgres_server

ROOT = Path(__file__).resolve().parent.parent
NOWHERE = {"tracking": {"mode": "off"}, "report": {"enabled": False}}
VALIDATION = {"walk_forward_windows": 0, "folds": 0, "blocks": 2}


def grid_sweep(trials: int, **section: Any) -> SweepSpec:
    values = {
        "backtest": {"fee_bps": 1.0, "slippage_bps": 1.0},
        "sweep": {"sampler": "grid", "trials": trials, "best": 0, **section},
        "space": {"fast": {"low": 2, "high": 41}, "slow": {"low": 50, "high": 300, "step": 5}},
        "validation": VALIDATION,
        **NOWHERE,
    }
    return SweepSpec.from_mapping(values)


def plain_loop(spec: SweepSpec, points: list[dict[str, Any]]) -> None:
    """What a user writes without this package's sweeps."""
    bars, engine = load_ohlcv(spec.base.data.source), BacktestEngine()
    signal_fn = get_strategy(spec.base.strategy.name).signal_fn
    found = []
    for params in points:
        result = engine.run_realistic(
            df=bars, strategy_signal_fn=signal_fn, strategy_params=params, symbol="SPX", fee_bps=1.0, slippage_bps=1.0
        )
        found.append((params, result.stats, result.equity_curve))
    max(found, key=lambda item: item[1]["sharpe"] or 0.0)


def raptorbt_loop(spec: SweepSpec, points: list[dict[str, Any]]) -> None:
    """The same grid through raptorbt, signals by the same functions."""
    import numpy as np
    import raptorbt

    bars = load_ohlcv(spec.base.data.source)
    signal_fn = get_strategy(spec.base.strategy.name).signal_fn
    columns = [bars[name].to_numpy(copy=True) for name in ("open", "high", "low", "close")]
    config = raptorbt.BacktestConfig(100_000.0, 1e-4, 1e-4, fill_timing="next_bar_open", periods_per_year=252.0)
    stamps, volume = bars.index.as_unit("ns").asi8.copy(), np.ones(len(bars))
    for params in points:
        signal = signal_fn(bars, {"average": "sma", "allow_short": False, **params}).to_numpy()
        change = np.diff(signal, prepend=0)
        raptorbt.run_single_backtest(
            stamps, *columns, volume, change > 0, change < 0, direction=1, config=config, symbol="SPX"
        )


def sweep_seconds(spec: SweepSpec, where: str, jobs: int) -> float:
    with tempfile.TemporaryDirectory() as directory, open_executor(where, jobs) as executor:
        for warm in range(jobs if where == "local" else 0):
            executor.submit(int, str(warm)).result()
        settings = Settings(ROOT, Path(directory) / "results")
        outcome = run_sweep(spec, settings=settings, executor=executor, signing_key=lambda: None)
        assert outcome.statistics is not None
        assert outcome.statistics.counts.complete == len(outcome.trials)
        return outcome.run.record.stages["search"]


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def fast(rounds: int, trials: int) -> None:
    spec = grid_sweep(trials)
    points = list(search_space(spec, search=ROOT).grid())[:trials]
    load_ohlcv(spec.base.data.source)
    ways: dict[str, Callable[[], float]] = {
        "plain loop over the engine": lambda: seconds(lambda: plain_loop(spec, points)),
        "fast sweep, in process": lambda: sweep_seconds(spec, "inline", 1),
        "fast sweep, 1 process": lambda: sweep_seconds(spec, "local", 1),
        "fast sweep, 2 processes": lambda: sweep_seconds(spec, "local", 2),
    }
    try:
        raptorbt_loop(spec, points[:1])
        ways["loop over raptorbt"] = lambda: seconds(lambda: raptorbt_loop(spec, points))
    except Exception as error:  # noqa: BLE001 - another engine is only here for comparison
        print(f"raptorbt left out: {error}")
    report(
        f"fast: {trials} trials of ma_crossover over {len(load_ohlcv(spec.base.data.source)):,} bars",
        ways,
        rounds,
        trials,
    )
    same = [{"fast": 20, "slow": 100}] * 100
    repeated = grid_sweep(100)
    ways = {
        "100 identical backtests, naive loop": lambda: seconds(lambda: plain_loop(spec, same)),
        "100 trials, fast sweep in process": lambda: sweep_seconds(repeated, "inline", 1),
        "100 trials, fast sweep, 2 processes": lambda: sweep_seconds(repeated, "local", 2),
    }
    report("100 backtests", ways, rounds, 100)


def report(title: str, ways: dict[str, Callable[[], float]], rounds: int, trials: int) -> None:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            found[name].append(call())
    base = statistics.median(next(iter(found.values())))
    print(f"\n{title}\n{'':40}{'ms a trial':>12}{'trials/s':>10}{'ratio':>8}")
    for name, values in found.items():
        value = statistics.median(values)
        print(f"{name:40}{value / trials * 1e3:12.2f}{trials / value:10.0f}{value / base:8.2f}")


def full(runs: int) -> None:
    print(f"\nfull: {runs} whole runs of notebooks/backtest.ipynb (tracking to SQLite, unsigned, no report)")
    print(f"{'':12}{'runs/min':>10}{'s a run':>10}   seconds by stage (median)")
    for jobs in (1, 2):
        with tempfile.TemporaryDirectory() as directory:
            values = grid_sweep(runs, mode="full").to_dict()
            values["tracking"] = {"mode": "warn", "uri": f"sqlite:///{directory}/mlflow.db"}
            settings = Settings(ROOT, Path(directory) / "results")
            spec = SweepSpec.from_mapping(values)
            with open_executor("local", jobs) as executor:
                warm = SweepSpec.from_mapping({**values, "sweep": {**values["sweep"], "trials": 2 * jobs}})
                run_sweep(warm, settings=settings, executor=executor, signing_key=lambda: None)
                outcome = run_sweep(spec, settings=settings, executor=executor, signing_key=lambda: None)
            assert {trial.state for trial in outcome.trials} == {"COMPLETE"}, outcome.trials
            took = outcome.run.record.stages["search"]
            made = [Run(RunDir(settings.results, trial.run_id)).record.stages for trial in outcome.trials]
            said = [Run(RunDir(settings.results, trial.run_id)).record.warnings for trial in outcome.trials]
            assert "forked" not in str(said), "fresh kernels were used"
            ends = [Run(RunDir(settings.results, trial.run_id)).pending for trial in outcome.trials]
            stages = {name: statistics.median(stage[name] for stage in made) for name in made[0]}
            shown = ", ".join(f"{name} {value:.3f}" for name, value in stages.items())
            print(
                f"{jobs} {'worker' if jobs == 1 else 'workers':9}{runs / took * 60:11.0f}{took / runs:10.2f}   {shown}"
            )
            assert not any(ends), "some runs were not delivered to MLflow"


def storages(trials: int) -> None:
    print(f"\nstorages: ms a trial, {trials} trials without work (two params, one objective)")
    print(f"{'':12}{'one writer':>12}{'16 processes that ask and tell':>34}")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        measure_storage("journal", None, f"{directory}/theirs.journal", Path(directory), trials)
        databases = f"sqlite:///{directory}/"
        measure_storage("sqlite", f"{databases}ours.db", f"{databases}theirs.db", Path(directory), trials)
        try:
            databases = stack.enter_context(postgres_server("ours", "theirs"))
        except pytest.skip.Exception as reason:
            print(f"postgresql left out: {reason}")
        else:
            measure_storage("postgresql", f"{databases}ours", f"{databases}theirs", Path(directory), trials)


def measure_storage(name: str, ours: str | None, theirs: str, directory: Path, trials: int) -> None:
    written = seconds(partial(one_writer, ours, directory, trials)) / trials * 1e3
    shared = seconds(partial(sixteen, theirs, trials)) / trials * 1e3
    print(f"{name:12}{written:12.2f}{shared:34.2f}", flush=True)


def one_writer(url: str | None, directory: Path, trials: int) -> None:
    section = grid_sweep(trials, sampler="random", storage=url).sweep
    space = search_space(grid_sweep(trials), search=ROOT)
    proposer = Proposer(section, space)
    kept = KeptStudy(open_storage(section, directory / "ours.journal"), section, name="ours")
    for batch in range(0, trials, 50):
        told = [
            Trial(number, f"{number}", params, "COMPLETE", (float(number),))
            for number, params in proposer.propose(batch, min(50, trials - batch))
        ]
        for trial in told:
            proposer.tell(trial)
        kept.add([(trial, proposer.frozen(trial)) for trial in told])


def sixteen(place: str, trials: int) -> None:
    import optuna

    optuna.create_study(storage=plain_storage(place), study_name="theirs")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=ask_and_tell, args=(place, trials // 16)) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def plain_storage(place: str) -> Any:
    """Open a URL, or the path of a journal, with plain Optuna."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if "://" in place:
        wait = {"connect_args": {"timeout": 100}} if place.startswith("sqlite") else {}
        return optuna.storages.RDBStorage(place, engine_kwargs=wait)
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(place))


def ask_and_tell(place: str, trials: int) -> None:
    import optuna

    study = optuna.load_study(
        storage=plain_storage(place), study_name="theirs", sampler=optuna.samplers.RandomSampler()
    )
    for number in range(trials):
        trial = study.ask()
        trial.suggest_int("fast", 2, 41)
        trial.suggest_int("slow", 50, 300)
        study.tell(trial, float(number))


def dask(calls: int) -> None:
    print(f"\nexecutors: ms a call, {calls} calls without work on two workers")
    with tempfile.TemporaryDirectory() as directory:
        processes = []
        try:
            file = Path(directory) / "scheduler.json"
            command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": directory}
            processes.append(subprocess.Popen([*command, "--no-dashboard", "--scheduler-file", str(file)], **quiet))
            while not file.exists() or not file.read_text():
                time.sleep(0.1)
            address = json.loads(file.read_text())["address"]
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
            processes += [subprocess.Popen([*worker, "--no-nanny"], **quiet) for _ in range(2)]
            for where in ("local", address.replace("tcp://", "dask://")):
                with open_executor(where, 2) as executor:
                    while executor.workers < 2:
                        time.sleep(0.1)
                    wait([executor.submit(int, "1") for _ in range(20)])
                    took = seconds(lambda executor=executor: wait([executor.submit(int, "1") for _ in range(calls)]))
                print(f"{where.partition(':')[0]:12}{took / calls * 1e3:12.2f}")
        finally:
            for process in processes:
                process.kill()
                process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=("fast", "full", "storages", "dask"), default=("fast", "full", "storages")
    )
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    for name in ("EVIDENCE_RESULTS", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    if "fast" in given.only:
        fast(2 if given.quick else 5, 100 if given.quick else 400)
    if "full" in given.only:
        full(8 if given.quick else 60)
    if "storages" in given.only:
        storages(160 if given.quick else 800)
    if "dask" in given.only:
        dask(200 if given.quick else 1000)


if __name__ == "__main__":
    main()
