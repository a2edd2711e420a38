"""Measure the engine: bars per second in both execution modes, beside the independent engine raptorbt.

    python benchmarks/engine.py            5,000 and 1,000,000 bars
    python benchmarks/engine.py --quick    5,000 bars only, fewer repetitions

All candidates run in turn, round after round, in one process on the same bars and signals; printed are medians.
`loop` is the simulation alone (what raptorbt's call does, its metrics included), `backtest` the whole of
run_realistic: checks, signals handed over, simulation, fills, trades, metrics.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import raptorbt

from pipeline.backtest import BacktestEngine
from pipeline.backtest.kernel import run_kernel

FEE, SLIPPAGE, STOP = 1e-4, 2e-4, 0.05
TIMING = {"pipeline": "next_bar_open", "simple": "same_bar_close"}


def market(n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return n random bars (bounded: the log price is pulled back to 100) and long-only signals."""
    rng = np.random.default_rng(1)
    log = np.zeros(n)
    steps = rng.normal(0.0, 0.01, n)
    for t in range(1, n):
        log[t] = 0.999 * log[t - 1] + steps[t]
    close = 100.0 * np.exp(log)
    open_ = np.append(100.0, close[:-1]) * np.exp(rng.normal(0.0, 0.003, n))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, 0.003, n)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, 0.003, n)))
    index = pd.date_range("1990-01-01", periods=n, freq="min", tz="UTC", unit="ns", name="timestamp")
    frame = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)
    return frame, np.repeat(rng.integers(0, 2, n // 20 + 1), 20)[:n].astype(np.int8)


def candidates(df: pd.DataFrame, signal: np.ndarray, mode: str) -> dict[str, Callable[[], object]]:
    """Return name -> one call, all with the same rules and costs."""
    bars = tuple(df[name].to_numpy(copy=True) for name in ("open", "high", "low", "close"))
    given = pd.Series(signal, index=df.index)
    stamps, volume = df.index.asi8.copy(), df["volume"].to_numpy(copy=True)
    change = np.diff(signal, prepend=np.int8(0))
    engine = BacktestEngine(None, mode == "pipeline", stop_pct=STOP * 100)
    config = raptorbt.BacktestConfig(100_000.0, FEE, SLIPPAGE, fill_timing=TIMING[mode], periods_per_year=252.0)
    config.set_fixed_stop(STOP)
    account = {"initial_cash": 1e5, "fee": FEE, "slippage": SLIPPAGE, "stop": STOP, "next_open": mode == "pipeline"}

    def backtest() -> object:
        return engine.run_realistic(
            df=df, strategy_signal_fn=lambda _df, _params: given, strategy_params={}, symbol="X",
            fee_bps=FEE * 1e4, slippage_bps=SLIPPAGE * 1e4,
        )  # fmt: skip

    def referee() -> object:
        return raptorbt.run_single_backtest(stamps, *bars, volume, change == 1, change == -1, 1, 1.0, "X", config)

    return {
        "raptorbt": referee,
        "loop, plain Python": lambda: run_kernel(bars, signal, compiled=False, **account),
        "loop, numba": lambda: run_kernel(bars, signal, compiled=True, **account),
        "backtest": backtest,
    }


def measure(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call over interleaved rounds, after one call to warm up."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compile_seconds() -> float:
    """Return the seconds a fresh process needs to import numba and load the cached loop."""
    code = """
import time, numpy as np
from pipeline.backtest.kernel import run_kernel
ones, settings = np.ones(2), dict(initial_cash=1.0, fee=0.0, slippage=0.0, stop=0.0, next_open=True)
start = time.perf_counter()
run_kernel((ones,) * 4, np.zeros(2, np.int8), compiled=True, **settings)
print(time.perf_counter() - start)
"""
    done = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    return statistics.median(done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5,000 bars only, fewer repetitions")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}, "
        f"raptorbt {raptorbt.__version__}"
    )
    print(f"\n{'mode':9} {'bars':>9}  {'candidate':19} {'ms':>9} {'bars/s':>13} {'times raptorbt':>14}")
    for n, rounds in ((5_000, 11 if quick else 51), *(() if quick else ((1_000_000, 5),))):
        df, signal = market(n)
        for mode in TIMING:
            medians = measure(candidates(df, signal, mode), rounds)
            for name, median in medians.items():
                ratio = median / medians["raptorbt"]
                print(f"{mode:9} {n:9,}  {name:19} {median * 1e3:9.2f} {n / median:13,.0f} {ratio:14.2f}")
    print(f"\nimport numba and load the cached loop in a fresh process: {compile_seconds():.2f} s")
    print(f"reproduce: python benchmarks/engine.py{' --quick' if quick else ''}")


if __name__ == "__main__":
    main()
