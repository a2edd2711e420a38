"""Coverage of the intervals on simulated returns, and speed of bootstrap and PBO beside other ways.

    python benchmarks/backtest_statistics.py              1,000 simulated histories a process, all ways of timing
    python benchmarks/backtest_statistics.py --quick      150 histories, without the slowest way of timing

Coverage: histories of 1,000 daily returns with a known Sharpe ratio and growth; counted is how often the nominal 95 %
interval holds the truth. For the max drawdown there is no true value: counted is how often the interval holds the
drawdown of another history of the same process. (The file is not called statistics.py: it would hide the standard
library's module from its neighbours.)
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import ffn
import numpy as np
import pandas as pd
from arch.bootstrap import StationaryBootstrap

from pipeline.backtest.bootstrap import METHODS, BootstrapOptions, bootstrap_intervals
from pipeline.backtest.overfitting import probability_of_overfitting
from pipeline.backtest.significance import moments, sharpe_interval

PER_YEAR = 252
N = 1_000
SHARPE = 0.8
DEVIATION = 0.01
MEAN = SHARPE * DEVIATION / math.sqrt(PER_YEAR)
BURN = 200
Simulate = Callable[[np.random.Generator, int, int], np.ndarray]


def independent(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    return rng.normal(MEAN, DEVIATION, (rows, n))


def autoregressive(dependence: float) -> Simulate:
    """AR(1) with the given coefficient; deviation and mean are those of the process, not of its noise."""

    def simulate(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
        noise = rng.normal(0.0, DEVIATION * math.sqrt(1 - dependence**2), (n + BURN, rows))
        out = np.zeros((n + BURN, rows))
        for t in range(1, n + BURN):
            out[t] = dependence * out[t - 1] + noise[t]
        return MEAN + out[BURN:].T

    return simulate


def garch(rng: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """GARCH(1,1), a = 0.08, b = 0.90, Student t noise of 6 degrees of freedom scaled to variance 1."""
    a, b = 0.08, 0.90
    noise = rng.standard_t(6, (n + BURN, rows)) * math.sqrt(4 / 6)
    variance = np.full(rows, DEVIATION**2)
    out = np.empty((n + BURN, rows))
    for t in range(n + BURN):
        out[t] = np.sqrt(variance) * noise[t]
        variance = (1 - a - b) * DEVIATION**2 + a * out[t] ** 2 + b * variance
    return MEAN + out[BURN:].T


PROCESSES: dict[str, Simulate] = {
    "independent normal": independent,
    "AR(1), 0.1": autoregressive(0.1),
    "AR(1), 0.3": autoregressive(0.3),
    "AR(1), -0.2": autoregressive(-0.2),
    "GARCH(1,1), t6": garch,
}


def max_drawdown(paths: np.ndarray) -> np.ndarray:
    logs = np.cumsum(np.log1p(paths), axis=1)
    return np.expm1(np.minimum((logs - np.maximum(np.maximum.accumulate(logs, axis=1), 0.0)).min(axis=1), 0.0))


def coverage(simulate: Simulate, histories: int, repetitions: int) -> dict[tuple[str, str], float]:
    """Return (statistic, method) -> share of histories whose nominal 95 % interval holds the truth."""
    rng = np.random.default_rng(20_260_101)
    growth = math.expm1(PER_YEAR * float(np.log1p(simulate(rng, 400, 5_000)).mean()))
    paths, others = simulate(rng, histories, N), max_drawdown(simulate(rng, histories, N))
    hits: dict[tuple[str, str], int] = {}
    for number, (path, other) in enumerate(zip(paths, others, strict=True)):
        low, high = sharpe_interval(moments(path), periods_per_year=PER_YEAR) or (math.nan, math.nan)
        hits["sharpe", "analytic"] = hits.get(("sharpe", "analytic"), 0) + (low <= SHARPE <= high)
        for method in METHODS:
            options = BootstrapOptions(repetitions, method=method, seed=number)
            found = bootstrap_intervals(path, periods_per_year=PER_YEAR, options=options)
            for name, truth in (("sharpe", SHARPE), ("cagr", growth), ("max_drawdown", other)):
                interval = found[name]
                inside = interval.low is not None and interval.low <= truth <= interval.high
                hits[name, method] = hits.get((name, method), 0) + inside
    return {key: count / histories for key, count in hits.items()}


def print_coverage(histories: int, repetitions: int) -> None:
    error = 100 * math.sqrt(0.95 * 0.05 / histories)
    print(
        f"\nCoverage in % of nominal 95 % intervals: {histories:,} histories of {N:,} returns, true Sharpe {SHARPE} a"
    )
    print(f"year, {repetitions} repetitions, automatic block length; standard error of a figure about {error:.1f}")
    print(f"{'process':20} {'Sharpe':^39} {'CAGR':^28} {'max drawdown (of another)':^28}")
    methods = ("analytic", *METHODS)
    print(f"{'':20} " + " ".join(f"{name:>9}" for name in (*methods, *METHODS, *METHODS)))
    for name, simulate in PROCESSES.items():
        shares = coverage(simulate, histories, repetitions)
        order = [("sharpe", method) for method in methods]
        order += [(statistic, method) for statistic in ("cagr", "max_drawdown") for method in METHODS]
        print(f"{name:20} " + " ".join(f"{100 * shares[key]:9.1f}" for key in order))


def median_seconds(call: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def three_statistics(values: np.ndarray) -> np.ndarray:
    equity = np.append(1.0, np.cumprod(1 + values))
    fall = (equity / np.maximum.accumulate(equity) - 1).min()
    sharpe = math.sqrt(PER_YEAR) * values.mean() / values.std(ddof=1)
    return np.array([sharpe, equity[-1] ** (PER_YEAR / len(values)) - 1, fall])


def print_bootstrap_speed(rounds: int) -> None:
    returns = independent(np.random.default_rng(0), 1, 5_000)[0]
    print("\nBootstrap of Sharpe, CAGR and max drawdown, 1,000 repetitions of 5,000 returns, block 10: seconds")
    for method in METHODS:
        options = BootstrapOptions(1_000, block_length=10, method=method)
        ours = median_seconds(
            lambda options=options: bootstrap_intervals(returns, periods_per_year=PER_YEAR, options=options), rounds
        )
        theirs = median_seconds(
            lambda method=method: StationaryBootstrap(10, returns, seed=0).conf_int(
                three_statistics, 1_000, method=method
            ),
            rounds,
        )
        print(f"{method:11} ours {ours:6.3f}   arch with one function of all three {theirs:6.3f}")


def plain_pbo(values: np.ndarray, n_blocks: int) -> float:
    """PBO as its description reads: cut out both halves, mean / deviation, rank."""
    blocks = np.array_split(values, n_blocks)
    worse = 0
    combinations = list(itertools.combinations(range(n_blocks), n_blocks // 2))
    for chosen in combinations:
        inside = np.concatenate([blocks[place] for place in chosen])
        outside = np.concatenate([blocks[place] for place in range(n_blocks) if place not in chosen])
        winner = (inside.mean(axis=0) / inside.std(axis=0, ddof=1)).argmax()
        ratios = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        worse += ((ratios <= ratios[winner]).sum()) / (values.shape[1] + 1) <= 0.5
    return worse / len(combinations)


def print_pbo_speed(*, quick: bool) -> None:
    splits = 12 if quick else 16
    values = np.random.default_rng(7).normal(0, 0.01, (800, 20))[: 800 // splits * splits]
    print(f"\nPBO of {len(values)} x 20 returns, S = {splits}, {math.comb(splits, splits // 2):,} splits: seconds")
    candidates: dict[str, Callable[[], float | None]] = {
        "ours": lambda: probability_of_overfitting(values, n_blocks=splits).pbo,
        "plain numpy": lambda: plain_pbo(values, splits),
        "ffn": lambda: ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(values), n_blocks=splits),
    }
    found = {}
    for name, call in candidates.items():
        seconds = median_seconds(lambda name=name, call=call: found.update({name: call()}), 5 if name == "ours" else 1)
        print(f"{name:12} {seconds:8.3f}   PBO {found[name]:.6f}")
    if quick:
        seconds = median_seconds(lambda: probability_of_overfitting(values), 5)
        print(f"{'ours':12} {seconds:8.3f}   S = 16, 12,870 splits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer histories, PBO beside others with S = 12")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}, ffn {ffn.__version__}")
    print_bootstrap_speed(3 if quick else 9)
    print_pbo_speed(quick=quick)
    print_coverage(150 if quick else 1_000, 200 if quick else 500)
    print(f"\nreproduce: python benchmarks/backtest_statistics.py{' --quick' if quick else ''}")


if __name__ == "__main__":
    main()
