"""Stationary-bootstrap intervals for Sharpe ratio, CAGR and max drawdown, alone or against a benchmark.

Returns are resampled in blocks of random length (geometric, mean `block_length`) that wrap around the end, so that
short-range dependence stays. A seed gives the resamples that arch.bootstrap.StationaryBootstrap gives for it, but
all repetitions are computed as one matrix, and numpy is all that is needed.

Sources: Politis and Romano (1994), "The Stationary Bootstrap"; Politis and White (2004) with the correction of
Patton, Politis and White (2009) for the block length; Efron (1987) for BCa. What the intervals cover in simulations:
docs/statistics.md, made by benchmarks/statistics.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.backtest.conventions import per_period_rate
from pipeline.backtest.metrics import NO_VARIANCE
from pipeline.backtest.significance import NORMAL, Returns, finite_returns
from pipeline.errors import UsageError

Method = Literal["percentile", "basic", "bca"]
METHODS = ("percentile", "basic", "bca")
STATISTICS = ("sharpe", "cagr", "max_drawdown")

# An interval needs at least this share of resamples in which the statistic is defined.
MOSTLY_DEFINED = 0.95
_CHUNK = 40_000  # numbers held at once in each work array: small enough for the cache of a processor
_NEVER_ZERO = 1e-300  # growth of a total loss, so that its logarithm is finite
_DEBT = -1.0 - 1e-9  # a return below this, which is no rounding, leaves less than nothing


@dataclass(frozen=True)
class BootstrapOptions:
    """How to resample: repetitions, confidence, method, mean block length in periods (None: automatic), seed."""

    repetitions: int = 1_000
    confidence: float = 0.95
    method: Method = "percentile"
    block_length: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval; None where it is undefined.

    `standard_error` is the deviation (ddof 1) of the resampled statistic; `undefined` counts resamples without it.
    """

    name: str
    estimate: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    undefined: int


@dataclass(frozen=True)
class BootstrapResult:
    """Intervals by name, and how they were made. `block_length` is the one used."""

    intervals: dict[str, Interval]
    n: int
    block_length: float
    repetitions: int
    confidence: float
    method: Method
    seed: int

    def __getitem__(self, name: str) -> Interval:
        return self.intervals[name]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a statistic, indexed by name; None becomes NaN."""
        rows = [asdict(interval) for interval in self.intervals.values()]
        return pd.DataFrame(rows).set_index("name").astype({"undefined": "int64"})


@dataclass(frozen=True)
class _Scale:
    """What turns per-period statistics into annual ones."""

    root: float
    years: float
    rate: float


def bootstrap_intervals(
    returns: Returns,
    *,
    periods_per_year: float,
    benchmark: Returns | None = None,
    risk_free_rate: float = 0.0,
    years: float | None = None,
    options: BootstrapOptions | None = None,
) -> BootstrapResult:
    """Return intervals of sharpe (annual), cagr and max_drawdown (<= 0) of simple returns per period.

    With `benchmark` returns of the same periods, also benchmark_NAME and NAME_difference (returns minus benchmark),
    both sides resampled with the same indices. `years` is the calendar length behind cagr (default: n /
    periods_per_year); the risk-free rate is annual. Returns that end in a debt (one below -1) have no interval: a
    resample could not go on from it, and only the Sharpe ratio keeps its estimate. Raises UsageError for NaN, fewer
    than 2 returns, another length of the benchmark, or options out of range.
    """
    chosen = options or BootstrapOptions()
    series = [finite_returns(returns)] if benchmark is None else [finite_returns(returns), finite_returns(benchmark)]
    _check(series, chosen, periods_per_year)
    n = len(series[0])
    block = chosen.block_length or max(optimal_block_length(values) for values in series)
    span = years if years and years > 0.0 else n / periods_per_year
    scale = _Scale(math.sqrt(periods_per_year), span, per_period_rate(risk_free_rate, periods_per_year))
    plain = [_statistics(values, np.arange(n)[None, :], scale) for values in series]
    drawn = _resampled(series, scale, chosen, block)
    for values, own, resampled in zip(series, plain, drawn, strict=True):
        if values.min() < _DEBT:
            own |= {name: np.full(1, np.nan) for name in ("cagr", "max_drawdown")}
            resampled |= {name: np.full(chosen.repetitions, np.nan) for name in STATISTICS}
    estimates, draws = _with_differences(plain), _with_differences(drawn)
    if chosen.method == "bca":
        left_out = _with_differences([_jackknife(values, scale) for values in series])
    else:
        left_out = dict.fromkeys(estimates, np.empty(0))
    intervals = {
        name: _interval(name, float(estimates[name][0]), draws[name], left_out[name], chosen) for name in estimates
    }
    return BootstrapResult(intervals, n, block, chosen.repetitions, chosen.confidence, chosen.method, chosen.seed)


def stationary_indices(n: int, block_length: float, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """Return `repetitions` rows of n positions (int64) drawn by the stationary bootstrap.

    A new block starts with probability 1 / block_length, else the next position follows, wrapping around. The random
    numbers are used in the order in which arch uses them, so the rows are the same for the same seed.
    """
    rows = np.empty((repetitions, n), dtype=np.int64)
    place, share = np.arange(n, dtype=np.int64), 1.0 / block_length
    for row in rows:
        starts = rng.integers(n, size=n, dtype=np.int64)
        begins = rng.random(n) <= share
        begins[0] = True
        blocks = np.flatnonzero(begins)
        row[:] = np.repeat(starts[blocks] - blocks, np.diff(blocks, append=n))
    rows += place
    rows -= n * (rows >= n)
    return rows


def optimal_block_length(returns: Returns) -> float:
    """Return the mean block length, in periods, that suits the stationary bootstrap of the mean; at least 1.

    Politis and White (2004) as corrected by Patton, Politis and White (2009), with arch's choices: lags up to
    ⌈√n⌉ + max(5, ⌊log10 n⌋), bound 2·√(log10 n / n) on correlations, at most ⌈min(3·√n, n/3)⌉. It looks at the
    returns, not at their squares: volatility clustering alone gives short blocks. Raises UsageError for NaN.
    """
    values = finite_returns(returns)
    n = len(values)
    if n < 20 or float(np.std(values)) < NO_VARIANCE:
        return 1.0
    centred = values - values.mean()
    run = max(5, int(math.log10(n)))
    most = min(math.ceil(math.sqrt(n)) + run, n - 2)
    covariance = np.array([centred[lag:] @ centred[: n - lag] for lag in range(most + 1)])
    squares = np.append(0.0, np.cumsum(centred * centred))
    lags = np.arange(most + 1)
    size = np.sqrt((squares[n] - squares[lags + 1]) * squares[n - lags - 1])
    small = np.abs(covariance) < 2.0 * math.sqrt(math.log10(n) / n) * size
    first = next((lag - run for lag in range(run, most + 1) if small[lag - run : lag].all()), None)
    width = most if first is None else min(2 * max(first, 1), most)
    k = np.arange(1, width + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - k / width)) * covariance[1 : width + 1] / n
    slope = 2.0 * float(np.sum(weight * k))
    spectrum = float(covariance[0] / n + 2.0 * np.sum(weight))
    if spectrum == 0.0:
        return 1.0
    length = (slope * slope / (spectrum * spectrum)) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return float(min(max(length, 1.0), math.ceil(min(3.0 * math.sqrt(n), n / 3.0))))


def _resampled(
    series: list[np.ndarray], scale: _Scale, options: BootstrapOptions, block: float
) -> list[dict[str, np.ndarray]]:
    """Return, for each series, statistic -> values over all repetitions; every series takes the same indices."""
    n = len(series[0])
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in series]
    rng = np.random.default_rng(options.seed)
    for rows in _chunks(options.repetitions, n):
        indices = stationary_indices(n, block, rows, rng)
        for collected, values in zip(parts, series, strict=True):
            collected.append(_statistics(values, indices, scale))
    return [{name: np.concatenate([part[name] for part in collected]) for name in STATISTICS} for collected in parts]


def _chunks(repetitions: int, n: int) -> Iterator[int]:
    size = max(1, _CHUNK // n)
    for start in range(0, repetitions, size):
        yield min(size, repetitions - start)


def _statistics(values: np.ndarray, indices: np.ndarray, scale: _Scale) -> dict[str, np.ndarray]:
    """Return statistic -> one value a row of `indices` into the returns `values`; NaN where undefined.

    Logarithms and distances from the mean are taken before resampling, once for each return.
    """
    n = indices.shape[1]
    centre = values.mean()
    drawn = (values - centre)[indices]
    mean = drawn.mean(axis=1)
    variance = (np.einsum("ij,ij->i", drawn, drawn) - n * mean * mean) / (n - 1)
    if (variance < 1e-9 * values.var()).any():  # nearly nothing is left of the squares: take them again
        variance = np.var(drawn, axis=1, ddof=1)
    logs = np.log(np.maximum(1.0 + values, _NEVER_ZERO))[indices]
    np.cumsum(logs, axis=1, out=logs)
    total = logs[:, -1].copy()
    peak = np.maximum.accumulate(logs, axis=1)
    np.maximum(peak, 0.0, out=peak)  # the start is a peak
    logs -= peak
    return {
        "sharpe": _ratio(centre + mean - scale.rate, np.sqrt(np.maximum(variance, 0.0))) * scale.root,
        "cagr": _growth(total / scale.years),
        "max_drawdown": np.expm1(np.minimum(logs.min(axis=1), 0.0)),
    }


def _ratio(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    flat = deviation < NO_VARIANCE
    return np.where(flat, np.nan, mean / np.where(flat, 1.0, deviation))


def _growth(log_rate: np.ndarray) -> np.ndarray:
    """Return exp(log_rate) - 1, NaN where that is beyond all numbers (seconds of data raised to a year)."""
    return np.where(log_rate < 700.0, np.expm1(np.minimum(log_rate, 700.0)), np.nan)


def _jackknife(values: np.ndarray, scale: _Scale) -> dict[str, np.ndarray]:
    """Return the statistics with each return left out in turn, in one pass over the data."""
    n = len(values)
    if n < 3:
        return {name: np.full(n, np.nan) for name in STATISTICS}
    centre = values.mean()
    centred = values - centre
    mean = -centred / (n - 1)  # mean of the others, from `centre`
    variance = np.maximum((np.sum(centred**2) - centred**2 - (n - 1) * mean**2) / (n - 2), 0.0)
    logs = np.log(np.maximum(1.0 + values, _NEVER_ZERO))
    return {
        "sharpe": _ratio(centre + mean - scale.rate, np.sqrt(variance)) * scale.root,
        "cagr": _growth((logs.sum() - logs) / (scale.years * (n - 1) / n)),
        "max_drawdown": np.expm1(np.minimum(_drawdown_without_one(logs), 0.0)),
    }


def _drawdown_without_one(logs: np.ndarray) -> np.ndarray:
    """Return the log of 1 + max drawdown with each return left out.

    What is left is a head and a tail: the deepest fall lies in one of them, or goes from the head's peak to the
    tail's trough.
    """
    curve = np.append(0.0, np.cumsum(logs))
    peak = np.maximum.accumulate(curve)
    head = np.minimum.accumulate(curve - peak)[:-1]
    before = (curve - peak)[:-1]
    trough = np.minimum.accumulate(curve[::-1])[::-1]
    tail = np.minimum.accumulate((trough - curve)[::-1])[::-1][1:]
    across = before + (trough - curve)[1:]
    worst: np.ndarray = np.minimum(np.minimum(head, tail), across)
    return worst


def _with_differences(sides: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    out = dict(sides[0])
    if len(sides) == 2:
        out |= {f"benchmark_{name}": values for name, values in sides[1].items()}
        out |= {f"{name}_difference": sides[0][name] - sides[1][name] for name in STATISTICS}
    return out


def _interval(
    name: str, estimate: float, draws: np.ndarray, left_out: np.ndarray, options: BootstrapOptions
) -> Interval:
    known = draws[np.isfinite(draws)]
    undefined = len(draws) - len(known)
    if not math.isfinite(estimate):
        return Interval(name, None, None, None, None, undefined)
    shares = _shares(estimate, known, left_out, options)
    if shares is None or len(known) < MOSTLY_DEFINED * len(draws):
        return Interval(name, estimate, None, None, None, undefined)
    low, high = (float(value) for value in np.quantile(known, shares))
    if options.method == "basic":
        low, high = 2.0 * estimate - high, 2.0 * estimate - low
    return Interval(name, estimate, low, high, float(np.std(known, ddof=1)), undefined)


def _shares(
    estimate: float, draws: np.ndarray, left_out: np.ndarray, options: BootstrapOptions
) -> tuple[float, float] | None:
    """Return which quantiles of the draws bound the interval; None when BCa cannot say.

    BCa shifts them by the bias z0 = Φ⁻¹(share of draws below the estimate) and by the acceleration from the
    jackknife. It has no answer when all draws lie on one side.
    """
    tail = (1.0 - options.confidence) / 2.0
    if options.method != "bca":
        return tail, 1.0 - tail
    below = float((draws < estimate).mean()) if len(draws) else 0.0
    apart = left_out.mean() - left_out
    scale = 6.0 * float(np.sum(apart**2)) ** 1.5
    if not 0.0 < below < 1.0 or not scale > 0.0:
        return None
    bias, acceleration = NORMAL.inv_cdf(below), float(np.sum(apart**3)) / scale
    shifted = [bias + NORMAL.inv_cdf(share) for share in (tail, 1.0 - tail)]
    if any(1.0 - acceleration * value <= 0.0 for value in shifted):
        return None
    low, high = (NORMAL.cdf(bias + value / (1.0 - acceleration * value)) for value in shifted)
    return low, high


def _check(series: list[np.ndarray], options: BootstrapOptions, periods_per_year: float) -> None:
    n = len(series[0])
    problems = []
    if n < 2:
        problems.append(f"{n} returns: at least 2 are needed.")
    if len(series[-1]) != n:
        problems.append(f"The benchmark has {len(series[-1])} returns and the strategy {n}: give the same periods.")
    if not (math.isfinite(periods_per_year) and periods_per_year > 0.0):
        problems.append(f"periods_per_year = {periods_per_year!r}: must be a finite number above 0.")
    if options.repetitions < 2:
        problems.append(f"repetitions = {options.repetitions!r}: must be at least 2.")
    if not 0.0 < options.confidence < 1.0:
        problems.append(f"confidence = {options.confidence!r}: must be above 0 and below 1.")
    if options.method not in METHODS:
        problems.append(f"method = {options.method!r}: must be one of {', '.join(METHODS)}.")
    if options.block_length is not None and not 1.0 <= options.block_length < math.inf:
        problems.append(f"block_length = {options.block_length!r}: must be a finite number of at least 1.")
    if problems:
        raise UsageError(" ".join(problems))
