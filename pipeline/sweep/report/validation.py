"""What the choice of the best trial earns out of sample: CSCV, walk-forward, cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import PERCENT, RATIO
from pipeline.report.blocks import Blocks, Cell, Column, chart, markup, side_by_side, table
from pipeline.report.markup import html
from pipeline.report.numbers import DASH, format_number, several
from pipeline.sweep.report.words import joined, label, params_text, ratio

if TYPE_CHECKING:
    from pipeline.sweep.report.facts import SweepFacts
    from pipeline.sweep.statistics import Overfit, Window

ADAPTIVE = (
    "The {sampler} sampler learned from earlier trials, and every trial was judged on the whole period. So {methods} "
    "chose among trials that were themselves proposed with knowledge of the periods they are tested on, and the "
    "results below flatter. The grid, random and qmc samplers do not have this problem{remedy}."
)


def caveat(facts: SweepFacts) -> Blocks:
    """Return what an adaptive sampler means for everything out of sample; empty for the other samplers."""
    forward, crossed = facts.judged.walk_forward, facts.judged.cross_validation
    flattered = forward is not None and not forward.trials
    methods = [*(["walk-forward"] if flattered else []), *(["cross-validation"] if crossed is not None else [])]
    if facts.asked is None or not facts.adaptive or not facts.chosen or not methods:
        return ()
    remedy = ", nor has walk-forward with searches of its own (validation.walk_forward_trials)" if flattered else ""
    text = ADAPTIVE.format(sampler=facts.asked.sweep.sampler, methods=joined(methods), remedy=remedy)
    return markup(html('<p class="caveat">{text}</p>', text=text))


def decay(facts: SweepFacts) -> Blocks:
    """Return the Sharpe ratio in and out of sample by each method, and what is left of it."""
    rows = [_decay_row(*row) for row in _decays(facts)] if facts.chosen else []
    if not rows:
        return ()
    columns = [
        Column("Chosen by the best Sharpe ratio in"), Column("In sample", numeric=True),
        Column("Out of sample", numeric=True), Column("Left", numeric=True, title="Out of sample over in sample"),
    ]  # fmt: skip
    return table("Sharpe ratio of the chosen trial in and out of sample, annual", columns, rows, name="decay")


def overfitting_figures(facts: SweepFacts) -> Blocks:
    """Return the histogram of the logits beside the ratios in and out of sample; empty without CSCV."""
    found = facts.judged.overfitting
    if found is None or not found.logits:
        return ()
    from pipeline.sweep.report import figures_validation as drawn

    pbo, slope = format_number(found.pbo, PERCENT), ratio(found.degradation_slope)
    inside, outside = ([value * facts.annual for value in values] for values in (found.in_sample, found.out_of_sample))
    intercept = (found.degradation_intercept or 0.0) * facts.annual
    return side_by_side(
        chart(
            "logits", drawn.logits_figure(found.logits), height=300,
            caption="CSCV: logits of the rank that the best trial of one half has in the other half.",
            label=f"Histogram of the logits of {found.n_splits:,} splits; {pbo} are at or below 0.",
        ),
        chart(
            "decay", drawn.decay_figure(inside, outside, found.degradation_slope, intercept), height=300,
            caption="CSCV: annual Sharpe ratio of the best trial of one half, in that half and in the other.",
            label=f"Scatter chart of Sharpe ratios out of sample over in sample; regression slope {slope}.",
        ),
    )  # fmt: skip


def forward_table(facts: SweepFacts) -> Blocks:
    """Return the windows of the walk-forward, each with what was chosen before it; empty without one."""
    found = facts.judged.walk_forward
    if found is None or not facts.chosen:
        return ()
    columns = [
        Column("Window"), *([] if found.trials else [Column("Trial", numeric=True)]), Column("Params"),
        Column("In sample", numeric=True, title="Annual Sharpe ratio with these params on all bars before the window"),
        Column("Out of sample", numeric=True, title="Annual Sharpe ratio with these params in the window"),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for window in found.windows:
        days = f"{window.start[:10]} to {window.end[:10]}"
        rows.append([days, *_choice(facts, window), ratio(window.in_sample), ratio(window.out_of_sample)])
    what = "the trial that was best on all bars before it"
    if found.trials:
        what = f"what a search of its own found best on all bars before it ({several(found.trials, 'trial')} each)"
    return table(f"Walk-forward: in each window {what}", columns, rows, name="falls")


def _choice(facts: SweepFacts, window: Window) -> list[str]:
    if window.trial is None:
        return [params_text(window.params or {})]
    trial = facts.by_number.get(window.trial)
    return [str(window.trial), params_text(trial.params) if trial else DASH]


def forward_figures(facts: SweepFacts) -> Blocks:
    """Return the stitched equity of the walk-forward beside the ratios of the paths of cross-validation."""
    return side_by_side(_stitched(facts), _paths(facts)) if facts.chosen else ()


def _stitched(facts: SweepFacts) -> Blocks:
    found = facts.judged.walk_forward
    if found is None or not found.dates:
        return ()
    import pandas as pd

    from pipeline.sweep.report import figures_validation as drawn

    stitched = pd.Series(found.equity, index=pd.to_datetime(list(found.dates), utc=True, format="ISO8601"))
    best = facts.judged.best
    grown = facts.growth([best]) if best is not None else pd.DataFrame()
    hindsight = None
    if best in grown:
        own = grown[best]
        inside = own[own.index >= stitched.index[0]]
        before = own[own.index < stitched.index[0]]
        hindsight = inside / (float(before.iloc[-1]) if len(before) else 1.0)
    return chart(
        "forward", drawn.forward_figure(stitched, hindsight, best), height=320,
        caption="Walk-forward: growth of 1 over the joined test windows, beside the best trial of the whole period.",
        label=f"Line chart of the growth of 1; Sharpe ratio {ratio(found.out_of_sample)} out of sample.",
    )  # fmt: skip


def _paths(facts: SweepFacts) -> Blocks:
    found = facts.judged.cross_validation
    if found is None or not found.paths:
        return ()
    from pipeline.sweep.report import figures_validation as drawn

    low, high = ratio(min(found.paths)), ratio(max(found.paths))
    return chart(
        "paths", drawn.paths_figure(found.paths), height=320,
        caption="Cross-validation: annual Sharpe ratio of each path through the test folds.",
        label=f"Bar chart of the Sharpe ratios of {several(len(found.paths), 'path')}, from {low} to {high}.",
    )  # fmt: skip


def _decays(facts: SweepFacts) -> Iterator[tuple[str, float, float]]:
    found = facts.judged
    overfit, forward, crossed = found.overfitting, found.walk_forward, found.cross_validation
    if overfit is not None and overfit.in_sample:
        name = f"halves of the period (CSCV), mean of {_of_splits(overfit)}"
        yield name, fmean(overfit.in_sample) * facts.annual, fmean(overfit.out_of_sample) * facts.annual
    if forward is not None:
        anew = f", searched anew by {label(facts.judged.objectives[0])}" if forward.trials else ""
        yield f"all bars before a window (walk-forward{anew})", forward.in_sample, forward.out_of_sample
    if crossed is not None and crossed.in_sample:
        name = f"all other folds (cross-validation), mean of {several(len(crossed.in_sample), 'split')}"
        yield name, fmean(crossed.in_sample), fmean(crossed.out_of_sample)


def _of_splits(overfit: Overfit) -> str:
    kept, made = len(overfit.in_sample), overfit.n_splits
    return several(made, "split") if kept == made else f"{kept:,} of {several(made, 'split')}, evenly taken"


def _decay_row(name: str, inside: float, outside: float) -> list[Cell]:
    left = format_number(outside / inside, PERCENT) if inside > 0.0 else DASH
    return [name, format_number(inside, RATIO), format_number(outside, RATIO), left]
