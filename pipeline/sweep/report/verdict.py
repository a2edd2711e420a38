"""The verdict about a sweep: sentences made from its statistics, that say no more than these carry."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from pipeline.report.numbers import several
from pipeline.sweep.report.words import joined, label, objective_text, ratio
from pipeline.sweep.statistics import Counts, Deflation, Overfit, Plateau, SweepStatistics

CONVINCING = 0.95
FEW = 10
HOLDS, BARELY = 0.75, 0.25


def verdict(found: SweepStatistics, values: tuple[float, ...], *, adaptive: bool) -> tuple[str, ...]:
    """Return the verdict as paragraphs: what was chosen and whether it is luck, out of sample, the neighbourhood.

    `values` are the objectives of the best trial, `adaptive` says that the sampler learned from earlier trials.
    """
    if found.best is None:
        return (_nothing(found.counts),)
    if found.counts.complete == 1:
        return (" ".join([_chosen(found, values), *_alone(found.deflation, found.counts)]),)
    first = " ".join([_chosen(found, values), *_luck(found.deflation, found.counts), *_few(found.counts)])
    parts = [first, " ".join(_outside(found, adaptive=adaptive)), _neighbourhood(found.plateau, found.objectives[0])]
    return tuple(part for part in parts if part)


def _nothing(counts: Counts) -> str:
    if not counts.trials:
        return "No trial has ended: there is nothing to judge."
    ends = [
        several(count, "trial") + f" {word}"
        for count, word in ((counts.failed, "failed"), (counts.pruned, "pruned"))
        if count
    ]
    said = f" ({joined(ends)})" if ends else ""
    return f"No trial of {counts.trials:,} was completed{said}: there is nothing to judge."


def _chosen(found: SweepStatistics, values: tuple[float, ...]) -> str:
    first = found.objectives[0]
    value = objective_text(first, values[0]) if values else ""
    if found.counts.complete == 1:
        return f"Only trial {found.best} was completed, with a {label(first)} of {value}: nothing was chosen."
    said = f"Trial {found.best} has the best {label(first)} of {several(found.counts.complete, 'completed trial')}"
    if (different := _different(found.counts)) < found.counts.complete:
        said += f" of {several(different, 'different configuration')}"
    if len(found.objectives) == 1:
        return f"{said}." if first == "sharpe" else f"{said}, {value}."
    front = f"the Pareto front of {joined([label(name) for name in found.objectives])}"
    if found.best in found.front:
        return f"{said}, {value}; it is one of the {several(len(found.front), 'trial')} on {front}."
    return f"{said}, {value}, but is not among the {several(len(found.front), 'trial')} on {front}."


def _different(counts: Counts) -> int:
    """Return how many configurations were completed; of a sweep that did not count them, how many trials."""
    return counts.complete if counts.configurations is None else counts.configurations


def _what(counts: Counts) -> str:
    """Return what the trials counted are of: a family, or in a sweep from before families one strategy on its data."""
    return "this strategy on these data" if counts.family is None else "this family"


def _alone(deflation: Deflation | None, counts: Counts) -> Iterator[str]:
    if deflation is not None and deflation.n > 1:
        yield (
            f"The ledger counts {several(deflation.n, 'trial')} of {_what(counts)}, but one completed "
            "trial has no spread to deflate by."
        )


def _luck(deflation: Deflation | None, counts: Counts) -> Iterator[str]:
    if deflation is None or deflation.sharpe is None:
        yield "It has no Sharpe ratio that could be deflated for the number of trials."
        return
    if deflation.sharpe <= 0.0:
        yield f"Its Sharpe ratio is {ratio(deflation.sharpe)}, not above 0: there is no gain for luck to explain."
        return
    if deflation.dsr is None:
        yield f"Its Sharpe ratio of {ratio(deflation.sharpe)} could not be deflated for the number of trials."
        return
    yield (
        f"Its Sharpe ratio of {ratio(deflation.sharpe)} a year is more than the luck of choosing among the "
        f"{several(deflation.n, 'trial')} made of {_what(counts)} with a probability of "
        f"{_percent(deflation.dsr)}, {_against(deflation.dsr)}."
    )


def _few(counts: Counts) -> Iterator[str]:
    if (different := _different(counts)) < FEW:
        what = "completed trial" if different == counts.complete else "different configuration"
        yield f"With {several(different, what)} all of this rests on little."


def _outside(found: SweepStatistics, *, adaptive: bool) -> Iterator[str]:
    if found.overfitting is not None and found.overfitting.pbo is not None:
        yield _overfit(found.overfitting, found.overfitting.pbo)
    forward, crossed = found.walk_forward, found.cross_validation
    if forward is not None:
        windows = several(len(forward.windows), "window")
        ratios = f"{ratio(forward.out_of_sample)} out of sample, against {ratio(forward.in_sample)} in sample"
        if forward.trials:
            yield (
                f"Searched anew before each of {windows}, with the bars of the past alone in view, the best params had "
                f"a Sharpe ratio of {ratios}."
            )
        else:
            yield (
                f"Chosen anew before each of {windows} by the Sharpe ratio of the past alone, the trials had one of "
                f"{ratios}."
            )
        if adaptive and not forward.trials:
            yield "The sampler had seen the whole period when it proposed these trials, so walk-forward flatters."
    if crossed is not None and crossed.paths:
        paths = f"{several(len(crossed.paths), 'path')} of cross-validation"
        low, high = ratio(min(crossed.paths)), ratio(max(crossed.paths))
        yield f"On the {paths} the ratio lies between {low} and {high}, {ratio(median(crossed.paths))} at the median."
    if found.overfitting is None and forward is None and crossed is None:
        yield "The choice was not tested out of sample."


def _overfit(overfit: Overfit, pbo: float) -> str:
    share = f"In {_percent(pbo)} of {overfit.n_splits:,} splits of the period"
    text = f"{share} the trial with the best Sharpe ratio in one half was no better than the median in the other (PBO)"
    if overfit.blind is None:
        return f"{text}."
    blind = _percent(overfit.blind)
    if pbo >= overfit.blind:
        return f"{text}: no better than a blind choice among these trials, which has {blind}."
    return f"{text}; a blind choice among these trials has {blind}."


def _neighbourhood(plateau: Plateau | None, metric: str) -> str:
    if plateau is None:
        return ""
    near = f"The {several(len(plateau.neighbours), 'nearest trial')}"
    middle = f"{objective_text(metric, plateau.median)} at the median, {objective_text(metric, plateau.worst)} at worst"
    if plateau.share is None:
        return f"{near} in the search space have a {label(metric)} of {middle}."
    said = "holds" if plateau.share >= HOLDS else "does not hold" if plateau.share <= BARELY else "holds in part"
    return (
        f"The neighbourhood of the best trial {said}: {_percent(plateau.share)} of the "
        f"{several(len(plateau.neighbours), 'nearest trial')} reach 80% of its {label(metric)} ({middle})."
    )


def _against(probability: float) -> str:
    return f"{'at least' if probability >= CONVINCING else 'short of'} 95%"


def _percent(value: float) -> str:
    """Return a share for a sentence: one decimal, and no `100.0` or `0.0` that is not quite."""
    if value in {0.0, 1.0}:
        return f"{value:.0%}"
    if not 0.0005 <= value < 0.9995:
        return "less than 0.1%" if value < 0.5 else "more than 99.9%"
    return f"{value * 100:.1f}%"
