"""Judge a sweep: deflation by the number of trials, overfitting, out of sample, the neighbourhood of the best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.backtest.catalogue import DIRECTIONS
from pipeline.backtest.conventions import per_period_rate
from pipeline.backtest.overfitting import effective_trials, probability_of_overfitting
from pipeline.backtest.selection import (
    cross_validated_selection,
    walk_forward_of_searches,
    walk_forward_selection,
)
from pipeline.backtest.significance import deflate, moments
from pipeline.errors import UsageError
from pipeline.sweep.objectives import better
from pipeline.sweep.ranking import front, rank
from pipeline.sweep.repeats import first_of_each
from pipeline.sweep.spec import Dimension, SweepSpec, ValidationSection
from pipeline.sweep.statistics import (
    NEAR_BEST,
    Counts,
    CrossValidated,
    Deflation,
    Forward,
    Overfit,
    Plateau,
    SweepStatistics,
    Window,
)
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.trials import Trials
    from pipeline.sweep.forward import Searched


def sweep_statistics(
    spec: SweepSpec,
    trials: Sequence[Trial],
    returns: pd.DataFrame,
    *,
    dimensions: dict[str, Dimension],
    counted: Trials,
    importances: dict[str, float],
    risk_free_rate: float = 0.0,
    searched: Searched | None = None,
    notes: Sequence[str] = (),
) -> SweepStatistics:
    """Judge a sweep.

    `returns` has a row a period, indexed by UTC timestamps, and a column for each completed trial, by its number.
    `counted` are the trials of its family in the ledger, these among them, their ratios at the rate of this sweep.
    `searched` is what walk-forward follows instead of the best trials so far. `risk_free_rate` is annual, and taken off
    all returns. `notes` are said before the judge's own. What compares trials takes each configuration once, however
    often it was tried; the number of trials that deflates is of all.
    """
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    ranking = rank(complete, spec.sweep.objectives[0])
    different = one_a_configuration(complete, returns)
    counts = _counts(trials, counted, different.shape[1])
    found_notes = [*notes, *_about_repeats(counts)]
    per_year = next((float(found) for t in complete if (found := t.stats.get("periods_per_year"))), None)
    best = ranking[0] if ranking else None
    judged = SweepStatistics(
        tuple(spec.sweep.objectives), counts, best, front(complete, spec.sweep.objectives), tuple(ranking), per_year
    )
    if best is None or per_year is None:
        return _with(judged, notes=("no trial was completed: there is nothing to judge",))
    annual = math.sqrt(per_year)
    rate = per_period_rate(risk_free_rate, per_year)
    excess = returns - rate
    return _with(
        judged,
        deflation=_deflation(
            excess, best, different, counted=counted, n=counts.family or 1, annual=annual, notes=found_notes
        ),
        overfitting=_overfitting(different, spec.validation.blocks, rate, counts.complete, found_notes),
        walk_forward=_forward(different, spec.validation, annual, found_notes, rate=rate, searched=searched),
        cross_validation=_cross_validation(different - rate, spec.validation, annual, found_notes),
        plateau=_plateau(complete, best, dimensions, spec.sweep.objectives[0]),
        importances=importances,
        notes=tuple(found_notes),
    )


def one_a_configuration(complete: Sequence[Trial], returns: pd.DataFrame) -> pd.DataFrame:
    """Return the returns with a column a configuration, under the number of its first trial.

    Trials are of one configuration when they have the same returns: their params are equal, or what differs in them
    changes nothing. A strategy with chance in it gives another one each time.
    """
    seen: set[bytes] = set()
    kept = []
    for trial in complete:
        if trial.number in returns and (row := returns[trial.number].to_numpy().tobytes()) not in seen:
            seen.add(row)
            kept.append(trial.number)
    return returns[kept]


def _counts(trials: Sequence[Trial], counted: Trials, configurations: int) -> Counts:
    states = [trial.state for trial in trials]
    return Counts(
        len(trials),
        states.count("COMPLETE"),
        states.count("PRUNED"),
        states.count("FAIL"),
        max(counted.ledger, len(trials)),
        max(counted.family, len(trials)),
        counted.exact,
        configurations,
        sum(trial.reused is not None for trial in trials),
    )


def _about_repeats(counts: Counts) -> Iterator[str]:
    if counts.configurations is not None and counts.configurations < counts.complete:
        yield (
            f"the {counts.complete:,} completed trials are of {counts.configurations:,} different configurations: what "
            "compares trials takes each once, the number of trials counts all"
        )
    if counts.reused:
        yield (
            f"{counts.reused:,} trials repeat a configuration that was executed before and took over its result; that "
            "executing one again gives the same was tried"
        )


def _deflation(
    returns: pd.DataFrame,
    best: int,
    different: pd.DataFrame,
    *,
    counted: Trials,
    n: int,
    annual: float,
    notes: list[str],
) -> Deflation | None:
    """Deflate as the report of the best trial's own run does: by the family's trials and the spread of their ratios."""
    if best not in returns:
        notes.append("the best trial left no returns: its Sharpe ratio was not deflated")
        return None
    ratios = () if counted.problem else counted.sharpes
    found = moments(returns[best].to_numpy())
    whole = deflate(found, ratios, n_trials=float(n))
    plain = deflate(found, [found.sharpe], n_trials=1.0)
    if counted.problem:
        notes.append(f"the Sharpe ratio was not deflated: {counted.problem}")
    elif found.sharpe is not None and whole.expected_max is None:
        notes.append("the Sharpe ratio was not deflated: that needs the spread of at least two different ratios")
    if counted.unknown:
        notes.append(f"of {counted.unknown:,} of the trials counted the result is unknown")
    effective = effective_trials(different.to_numpy()) if different.shape[1] > 1 else 1.0
    known = whole.expected_max is not None
    fewer = deflate(found, ratios, n_trials=max(effective, 1.0)) if effective and known else None
    return Deflation(
        sharpe=_times(found.sharpe, annual),
        n=n,
        expected_max=_times(whole.expected_max, annual),
        dsr=whole.dsr,
        psr=plain.dsr,
        effective=effective,
        expected_max_effective=_times(fewer.expected_max, annual) if fewer else None,
        dsr_effective=fewer.dsr if fewer else None,
    )


def _overfitting(returns: pd.DataFrame, blocks: int, rate: float, completed: int, notes: list[str]) -> Overfit | None:
    if returns.shape[1] == 1 < completed:
        notes.append("the probability of overfitting is not applicable: all trials have the same returns")
        return None
    try:
        found = probability_of_overfitting(returns.to_numpy(), n_blocks=blocks, rate=rate)
    except UsageError as error:
        notes.append(f"no probability of overfitting: {error}")
        return None
    if found.pbo is None:
        notes.append("no probability of overfitting: a trial has no Sharpe ratio in some block")
    if found.blind == 1.0:
        notes.append(
            "the probability of overfitting is not applicable: the trials have equal Sharpe ratios in each half"
        )
        return None
    return Overfit(
        found.pbo,
        found.probability_of_loss,
        found.degradation_slope,
        found.degradation_intercept,
        found.n_blocks,
        found.n_splits,
        _thinned(found.logits),
        _thinned(found.in_sample),
        _thinned(found.out_of_sample),
        found.blind,
    )


def _forward(
    returns: pd.DataFrame,
    section: ValidationSection,
    annual: float,
    notes: list[str],
    *,
    rate: float,
    searched: Searched | None,
) -> Forward | None:
    if not section.walk_forward_windows:
        return None
    try:
        if searched is None:
            found = walk_forward_selection(returns.to_numpy() - rate, windows=section.walk_forward_windows)
        else:
            found = walk_forward_of_searches(searched.returns - rate)
    except UsageError as error:
        notes.append(f"no walk-forward: {error}")
        return None
    stamps = [stamp.isoformat().replace("+00:00", "Z") for stamp in returns.index]
    windows = tuple(
        Window(
            stamps[choice.test[0]],
            stamps[choice.test[-1]],
            int(returns.columns[choice.column]) if searched is None else None,
            choice.in_sample * annual,
            choice.out_of_sample * annual,
            None if searched is None else searched.params[choice.column],
        )
        for choice in found.choices
    )
    growth = np.cumprod(1.0 + found.returns + rate)
    shown = np.unique(np.linspace(0, len(growth) - 1, min(len(growth), 1000)).round().astype(int))
    return Forward(
        windows,
        found.in_sample * annual,
        found.out_of_sample * annual,
        tuple(stamps[found.rows[place]] for place in shown),
        tuple(float(growth[place]) for place in shown),
        0 if searched is None else searched.trials,
    )


def _cross_validation(
    returns: pd.DataFrame, section: ValidationSection, annual: float, notes: list[str]
) -> CrossValidated | None:
    if not section.folds:
        return None
    rules = {name: getattr(section, name) for name in ("folds", "test_folds", "horizon", "embargo")}
    try:
        found = cross_validated_selection(returns.to_numpy(), **rules)
    except UsageError as error:
        notes.append(f"no cross-validation: {error}")
        return None
    return CrossValidated(
        **rules,
        in_sample=tuple(choice.in_sample * annual for choice in found.choices),
        out_of_sample=tuple(choice.out_of_sample * annual for choice in found.choices),
        paths=tuple(float(ratio) * annual for ratio in found.paths),
        trials=tuple(int(returns.columns[choice.column]) for choice in found.choices),
    )


def _plateau(complete: Sequence[Trial], best: int, dimensions: dict[str, Dimension], metric: str) -> Plateau | None:
    """Look at the nearest of the configurations tried: 2 a dimension, 8 at least."""
    own = next(trial for trial in complete if trial.number == best)
    others = [trial for trial in first_of_each(complete) if trial.params != own.params]
    if not others:
        return None
    far = np.array([_distance(own, trial, dimensions) for trial in others])
    nearest = np.argsort(far, kind="stable")[: max(8, 2 * len(dimensions))]
    values = np.array([others[place].values[0] for place in nearest])
    top = own.values[0]
    worst = values.min() if DIRECTIONS[metric] == "maximize" else values.max()
    reached = [better(metric, value, NEAR_BEST * top) for value in values]
    meaningful = DIRECTIONS[metric] == "maximize" and top > 0.0
    return Plateau(
        tuple(others[place].number for place in nearest),
        float(far[nearest].max()),
        float(np.median(values)),
        float(worst),
        float(np.mean(reached)) if meaningful else None,
    )


def _distance(left: Trial, right: Trial, dimensions: dict[str, Dimension]) -> float:
    """Return the largest difference over the dimensions, each as a share of its range; 1 between other categories."""
    apart = [_apart(dimension, left.params[name], right.params[name]) for name, dimension in dimensions.items()]
    return max(apart, default=0.0)


def _apart(dimension: Dimension, left: Any, right: Any) -> float:
    if left == right:
        return 0.0
    ends = dimension.range
    if ends is None:
        return 1.0
    low, high = ends
    if dimension.log:
        return float(abs(math.log(left / right)) / math.log(high / low))
    return float(abs(left - right) / (high - low))


def _thinned(values: np.ndarray, most: int = 2000) -> tuple[float, ...]:
    """Return up to `most` values in their order, evenly taken; the figures need no more."""
    shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))
    return tuple(float(value) for value in values[shown] if math.isfinite(value))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _with(statistics: SweepStatistics, **changes: Any) -> SweepStatistics:
    return replace(statistics, **changes)
