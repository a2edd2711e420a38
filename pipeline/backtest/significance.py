"""Is a Sharpe ratio more than luck? Probabilistic and deflated Sharpe ratio, track record length, intervals.

Every function here works on the Sharpe ratio PER PERIOD (a bar), not annualised, with skewness and kurtosis as
population moments and kurtosis NOT in excess (normal = 3). An undefined number is None, never NaN or inf.
Only the standard library and numpy are needed. Conventions and limits: docs/statistics.md.

Sources: Mertens (2002), "Comments on variance of the IID estimator in Lo (2002)"; Opdyke (2007), "Comparing Sharpe
ratios: so where are the p-values?"; Bailey and López de Prado (2012), "The Sharpe Ratio Efficient Frontier", and
(2014), "The Deflated Sharpe Ratio"; Bailey, Borwein, López de Prado and Zhu (2014), "Pseudo-Mathematics and
Financial Charlatanism".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.backtest.conventions import per_period_rate
from pipeline.backtest.metrics import NO_VARIANCE
from pipeline.errors import UsageError

EULER_GAMMA = 0.5772156649015329
SAME = 1e-12  # relative difference up to which ratios are equal: they came another way through floating point
NORMAL = NormalDist()

# Where the Sharpe ratio inside the variance of the estimate comes from: the estimate itself (2012 and 2014) or the
# benchmark it is held against (López de Prado, Lipton and Zoonekynd, 2025).
VarianceAt = Literal["estimate", "benchmark"]
Returns = np.ndarray | pd.Series | Sequence[float]


@dataclass(frozen=True)
class Moments:
    """Moments of n returns per period in excess of the risk-free rate.

    `mean` and `deviation` (ddof 1) are decimals; `sharpe` = mean / deviation, not annualised; `skewness` and
    `kurtosis` are population moments, kurtosis not in excess. Without variance the last three are None.
    """

    n: int
    mean: float
    deviation: float
    sharpe: float | None
    skewness: float | None
    kurtosis: float | None


@dataclass(frozen=True)
class SharpeEvidence:
    """What one series of returns says about its own Sharpe ratio. Fields without "annual" are per period.

    `benchmark_annual` is the Sharpe ratio to beat. `standard_error_annual` and `interval_annual` are Mertens'; `psr` is
    the probability that the true ratio is above the benchmark; `min_track_record` the number of returns needed to
    say so at `confidence`, also in `min_track_record_years`. None where undefined.
    """

    moments: Moments
    periods_per_year: float
    benchmark_annual: float
    confidence: float
    variance_at: VarianceAt
    sharpe_annual: float | None
    standard_error_annual: float | None
    interval_annual: tuple[float, float] | None
    psr: float | None
    min_track_record: float | None
    min_track_record_years: float | None


@dataclass(frozen=True)
class DeflatedSharpe:
    """A Sharpe ratio held against the best that `n_trials` trials without skill reach by luck. Per period.

    `expected_max` (SR0) comes from `trials_variance`, the variance (ddof 1) of the trials' ratios; `dsr` is the
    probability that the true ratio is above it. None where undefined.
    """

    sharpe: float | None
    n_trials: float
    trials_variance: float | None
    expected_max: float | None
    dsr: float | None
    variance_at: VarianceAt


def moments(returns: Returns, *, periods_per_year: float | None = None, risk_free_rate: float = 0.0) -> Moments:
    """Return the moments of simple returns per period, the annual `risk_free_rate` taken off each.

    The rate becomes one per period by compounding, as in pipeline.backtest.metrics, and needs `periods_per_year`.
    Raises UsageError for NaN or infinite returns: a missing return is not a return of zero.
    """
    values = finite_returns(returns)
    if risk_free_rate != 0.0:
        values = values - per_period_rate(risk_free_rate, periods_per_year)
    n = len(values)
    mean = float(values.mean()) if n else 0.0
    deviation = float(np.std(values, ddof=1)) if n > 1 else 0.0
    if deviation < NO_VARIANCE:
        return Moments(n, mean, deviation, None, None, None)
    scores = (values - mean) / np.std(values)
    squares = scores * scores
    return Moments(
        n, mean, deviation, mean / deviation, float(np.mean(squares * scores)), float(np.mean(squares * squares))
    )


def sharpe_variance(
    sharpe: float, *, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float | None = None
) -> float | None:
    """Return n times the variance of the estimated Sharpe ratio: 1 - g3·SR + (g4 - 1)/4·SR² (Mertens 2002).

    SR is `sharpe`, or `benchmark` when given (2025 paper). None when the moments given make it zero or negative.
    """
    at = sharpe if benchmark is None else benchmark
    variance = 1.0 - skewness * at + (kurtosis - 1.0) / 4.0 * at * at
    return variance if variance > 0.0 and math.isfinite(variance) else None


def probabilistic_sharpe_ratio(
    sharpe: float | None,
    n: int,
    *,
    benchmark: float = 0.0,
    skewness: float | None = 0.0,
    kurtosis: float | None = 3.0,
    variance_at: VarianceAt = "estimate",
) -> float | None:
    """Return the probability that the true Sharpe ratio is above `benchmark`: Φ[(SR - SR*)·√(n - 1) / √variance].

    `sharpe` and `benchmark` are per period, from n returns; the variance takes `sharpe` unless `variance_at` says
    "benchmark". None when a moment is None, n < 2 or the variance is not positive.
    Source: Bailey and López de Prado (2012), equation for PSR.
    """
    if sharpe is None or skewness is None or kurtosis is None or n < 2:
        return None
    at = benchmark if variance_at == "benchmark" else None
    variance = sharpe_variance(sharpe, skewness=skewness, kurtosis=kurtosis, benchmark=at)
    if variance is None:
        return None
    return NORMAL.cdf((sharpe - benchmark) * math.sqrt(n - 1) / math.sqrt(variance))


def min_track_record_length(
    sharpe: float | None,
    *,
    benchmark: float = 0.0,
    skewness: float | None = 0.0,
    kurtosis: float | None = 3.0,
    confidence: float = 0.95,
    variance_at: VarianceAt = "estimate",
) -> float | None:
    """Return how many returns are needed to say, at `confidence`, that the true ratio is above `benchmark`.

    1 + variance·(Φ⁻¹(confidence) / (SR - SR*))², all per period; divide by periods_per_year for years. None when
    the ratio is not above the benchmark (no length is enough), a moment is None or the variance is not positive.
    Source: Bailey and López de Prado (2012), MinTRL.
    """
    _require_share("confidence", confidence, low=0.5)
    if sharpe is None or skewness is None or kurtosis is None or sharpe <= benchmark:
        return None
    at = benchmark if variance_at == "benchmark" else None
    variance = sharpe_variance(sharpe, skewness=skewness, kurtosis=kurtosis, benchmark=at)
    if variance is None:
        return None
    length = 1.0 + variance * (NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2
    return length if math.isfinite(length) else None


def expected_max_sharpe(n_trials: float, *, variance: float = 1.0) -> float:
    """Return SR0: the best Sharpe ratio that `n_trials` independent trials without skill are expected to show.

    √variance·[(1 - γ)·Φ⁻¹(1 - 1/N) + γ·Φ⁻¹(1 - 1/(N·e))], in the unit of `variance`, the variance of the trials'
    ratios. With one trial there is no selection and it is 0; an N between 1 and 2 (an effective number) is never
    taken below 0. Raises UsageError for n_trials < 1 or a negative variance.
    Source: Bailey and López de Prado (2014), equation 1 of the appendix.
    """
    if not (math.isfinite(n_trials) and n_trials >= 1.0):
        raise UsageError(f"n_trials = {n_trials!r}: must be a finite number of at least 1, all trials that ran.")
    if not (math.isfinite(variance) and variance >= 0.0):
        raise UsageError(f"variance = {variance!r}: must be a finite number of at least 0.")
    if n_trials == 1.0:
        return 0.0
    first = NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    second = NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return math.sqrt(variance) * max((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second, 0.0)


def deflated_sharpe_ratio(
    sharpe: float | None,
    n: int,
    *,
    n_trials: float,
    trials_variance: float | None,
    skewness: float | None = 0.0,
    kurtosis: float | None = 3.0,
    variance_at: VarianceAt = "estimate",
) -> float | None:
    """Return PSR(SR0): the probability that the chosen trial's true ratio beats the luck of choosing.

    All ratios are per period; `trials_variance` is the variance of the PER-PERIOD ratios of the trials and `n_trials`
    counts every trial that ran, failed and pruned ones too. None when anything it needs is None.
    Source: Bailey and López de Prado (2014).
    """
    if trials_variance is None:
        return None
    hurdle = expected_max_sharpe(n_trials, variance=trials_variance)
    return probabilistic_sharpe_ratio(
        sharpe, n, benchmark=hurdle, skewness=skewness, kurtosis=kurtosis, variance_at=variance_at
    )


def min_backtest_length(n_trials: float, *, target: float = 1.0) -> float:
    """Return the years of data below which `n_trials` trials without skill reach an annual Sharpe of `target`.

    (E[max of n_trials standard normals] / target)². Raises UsageError unless target > 0.
    Source: Bailey, Borwein, López de Prado and Zhu (2014), MinBTL.
    """
    if not (math.isfinite(target) and target > 0.0):
        raise UsageError(f"target = {target!r}: must be a finite annual Sharpe ratio above 0.")
    return (expected_max_sharpe(n_trials) / target) ** 2


def sharpe_standard_error(found: Moments) -> float | None:
    """Return the standard error of the per-period Sharpe ratio, √(variance / (n - 1)); None where undefined.

    n - 1 as in PSR, so the interval and PSR agree; Mertens (2002) and Opdyke (2007) write n. Serial correlation is
    not in it.
    """
    if found.sharpe is None or found.skewness is None or found.kurtosis is None:
        return None
    variance = sharpe_variance(found.sharpe, skewness=found.skewness, kurtosis=found.kurtosis)
    return None if variance is None else math.sqrt(variance / (found.n - 1))


def sharpe_interval(found: Moments, *, periods_per_year: float, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the two-sided analytic interval of the annualised Sharpe ratio: (SR ± z·se)·√periods_per_year."""
    _require_share("confidence", confidence)
    error = sharpe_standard_error(found)
    if error is None or found.sharpe is None:
        return None
    root, z = math.sqrt(periods_per_year), NORMAL.inv_cdf(0.5 + confidence / 2.0)
    return (found.sharpe - z * error) * root, (found.sharpe + z * error) * root


def assess_sharpe(
    returns: Returns,
    *,
    periods_per_year: float,
    risk_free_rate: float = 0.0,
    benchmark: float = 0.0,
    confidence: float = 0.95,
    variance_at: VarianceAt = "estimate",
) -> SharpeEvidence:
    """Return everything about the Sharpe ratio of simple returns per period, annual figures by √periods_per_year.

    `benchmark` is an ANNUAL Sharpe ratio, `risk_free_rate` an annual rate. Raises UsageError for NaN returns.
    """
    found = moments(returns, periods_per_year=periods_per_year, risk_free_rate=risk_free_rate)
    root = math.sqrt(periods_per_year)
    hurdle = benchmark / root
    error = sharpe_standard_error(found)
    length = min_track_record_length(
        found.sharpe,
        benchmark=hurdle,
        skewness=found.skewness,
        kurtosis=found.kurtosis,
        confidence=confidence,
        variance_at=variance_at,
    )
    psr = probabilistic_sharpe_ratio(
        found.sharpe,
        found.n,
        benchmark=hurdle,
        skewness=found.skewness,
        kurtosis=found.kurtosis,
        variance_at=variance_at,
    )
    return SharpeEvidence(
        moments=found,
        periods_per_year=periods_per_year,
        benchmark_annual=benchmark,
        confidence=confidence,
        variance_at=variance_at,
        sharpe_annual=None if found.sharpe is None else found.sharpe * root,
        standard_error_annual=None if error is None else error * root,
        interval_annual=sharpe_interval(found, periods_per_year=periods_per_year, confidence=confidence),
        psr=psr,
        min_track_record=length,
        min_track_record_years=None if length is None else length / periods_per_year,
    )


def deflate(
    found: Moments,
    trial_sharpes: Sequence[float | None] | np.ndarray,
    *,
    n_trials: float | None = None,
    variance_at: VarianceAt = "estimate",
) -> DeflatedSharpe:
    """Deflate the chosen trial's ratio by the PER-PERIOD ratios of all trials, the chosen one among them.

    None and NaN in `trial_sharpes` are trials that ran and have no ratio (failed, pruned, no variance): they count
    in N and not in the variance, which needs two different ratios: equal ones deflate nothing, and the result is None.
    `n_trials` overrides the count, with more trials than are listed or with an effective number. Raises UsageError
    when n_trials < 1.
    """
    given = np.array([math.nan if value is None else float(value) for value in trial_sharpes], dtype=np.float64)
    known = given[np.isfinite(given)]
    count = float(len(given)) if n_trials is None else float(n_trials)
    variance = float(np.var(known, ddof=1)) if _differ(known) else 0.0 if count == 1.0 else None
    hurdle = None if variance is None else expected_max_sharpe(count, variance=variance)
    dsr = deflated_sharpe_ratio(
        found.sharpe,
        found.n,
        n_trials=count,
        trials_variance=variance,
        skewness=found.skewness,
        kurtosis=found.kurtosis,
        variance_at=variance_at,
    )
    return DeflatedSharpe(found.sharpe, count, variance, hurdle, dsr, variance_at)


def _differ(ratios: np.ndarray) -> bool:
    """Say whether there are two ratios that differ by more than rounding."""
    return len(ratios) > 1 and float(np.ptp(ratios)) > SAME * float(np.abs(ratios).max())


def finite_returns(returns: Returns) -> np.ndarray:
    """Return one dimension of float64 returns; raises UsageError when there is NaN or infinity among them."""
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1:
        raise UsageError(f"Returns must be one series, not an array of shape {values.shape}.")
    bad = ~np.isfinite(values)
    if bad.any():
        raise UsageError(
            f"{int(bad.sum())} of {len(values)} returns are NaN or infinite (first at position "
            f"{int(np.argmax(bad))}). Drop or fill them first: a missing return is not a return of zero."
        )
    return values


def _require_share(name: str, value: float, *, low: float = 0.0) -> None:
    if not low < value < 1.0:
        raise UsageError(f"{name} = {value!r}: must be above {low:g} and below 1.")
