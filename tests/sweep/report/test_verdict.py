"""The verdict: what it says of which numbers, and that it never says more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.sweep.report.verdict import verdict
from pipeline.sweep.statistics import (
    Counts,
    CrossValidated,
    Deflation,
    Forward,
    Overfit,
    Plateau,
    SweepStatistics,
    Window,
)

WINDOW = Window("2015-01-01T00:00:00Z", "2016-01-01T00:00:00Z", 7, 0.9, 0.4)
WHOLE = SweepStatistics(
    objectives=("sharpe",),
    counts=Counts(trials=100, complete=90, pruned=6, failed=4, ledger=340),
    best=7,
    front=(7,),
    ranking=(7, 3),
    periods_per_year=252.0,
    deflation=Deflation(0.58, 340, 0.31, 0.8376, 0.99, 2.68, 0.07, 0.98738),
    overfitting=Overfit(0.43031, 0.02, -0.99, 0.05, 16, 12_870, (0.1,), (0.04,), (0.02,), 0.5),
    walk_forward=Forward((WINDOW,) * 6, 0.504, 0.588, (), ()),
    cross_validation=CrossValidated(8, 2, 1, 5, (0.6,), (0.4,), (0.3, 0.41, 0.52), (7,)),
    plateau=Plateau((1, 2, 3, 4), 0.1, 0.47, 0.39, 0.5),
)
LUCK = (
    "Its Sharpe ratio of 0.58 a year is more than the luck of choosing among the 340 trials made of this strategy on "
)


def said(found: SweepStatistics = WHOLE, values: tuple[float, ...] = (0.58,), *, adaptive: bool = False) -> str:
    return " ".join(verdict(found, values, adaptive=adaptive)).replace("\u00a0", " ")


def changed(part: str, **values: Any) -> SweepStatistics:
    return replace(WHOLE, **{part: replace(getattr(WHOLE, part), **values)})


def test_the_whole_verdict() -> None:
    """All that is known is said, in this order, in these words."""
    assert said() == (
        "Trial 7 has the best Sharpe ratio of 90 completed trials. " + LUCK + "these data with a probability of 83.8%, "
        "short of 95%. "
        "In 43.0% of 12,870 splits of the period the trial with the best Sharpe ratio in one half was no better than "
        "the median in the other (PBO); a blind choice among these trials has 50.0%. "
        "Chosen anew before each of 6 windows by the Sharpe ratio of the past alone, the trials had one of 0.59 out of "
        "sample, against 0.50 in sample. "
        "On the 3 paths of cross-validation the ratio lies between 0.30 and 0.52, 0.41 at the median. "
        "The neighbourhood of the best trial holds in part: 50.0% of the 4 nearest trials reach 80% of its Sharpe "
        "ratio (0.47 at the median, 0.39 at worst)."
    )


NOTHING = replace(WHOLE, best=None, front=(), ranking=(), deflation=None, overfitting=None, plateau=None)
CASES = {
    "no trial ended": (
        replace(NOTHING, counts=Counts(0, 0, 0, 0, 0)), "No trial has ended: there is nothing to judge."
    ),
    "all failed": (
        replace(NOTHING, counts=Counts(12, 0, 0, 12, 12)),
        "No trial of 12 was completed (12 trials failed): there is nothing to judge.",
    ),
    "failed and pruned": (
        replace(NOTHING, counts=Counts(4, 0, 1, 3, 4)),
        "No trial of 4 was completed (3 trials failed and 1 trial pruned): there is nothing to judge.",
    ),
    "one trial": (
        replace(WHOLE, counts=Counts(1, 1, 0, 0, 1), deflation=Deflation(0.58, 1, None, None, 0.99, 1.0, 0.0, 0.99)),
        "Only trial 7 was completed, with a Sharpe ratio of 0.58: nothing was chosen.",
    ),
    "one trial after many": (
        replace(WHOLE, counts=Counts(1, 1, 0, 0, 50), deflation=Deflation(0.58, 50, None, None, 0.99, 1.0, 0.0, 0.99)),
        (
            "Only trial 7 was completed, with a Sharpe ratio of 0.58: nothing was chosen. The ledger counts 50 trials "
            "of this strategy on these data, but one completed trial has no spread to deflate by."
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_nothing_chosen_nothing_claimed(case: str) -> None:
    """Without a choice there is one plain sentence, and no number about choosing."""
    found, text = CASES[case]
    assert said(found, (0.58,)) == text


WORDS = {
    "a family": (
        changed("counts", family=340, exact=100, configurations=12, reused=78),
        "is more than the luck of choosing among the 340 trials made of this family with a probability of 83.8%",
    ),
    "configurations": (
        changed("counts", configurations=12),
        "Trial 7 has the best Sharpe ratio of 90 completed trials of 12 different configurations.",
    ),
    "few configurations": (
        changed("counts", configurations=4), "With 4 different configurations all of this rests on little."
    ),
    "few trials": (
        changed("counts", trials=4, complete=4), "With 4 completed trials all of this rests on little."
    ),
    "a negative Sharpe ratio": (
        changed("deflation", sharpe=-0.2),
        "Its Sharpe ratio is −0.20, not above 0: there is no gain for luck to explain.",
    ),
    "no deflated ratio": (
        changed("deflation", dsr=None), "Its Sharpe ratio of 0.58 could not be deflated for the number of trials."
    ),
    "no deflation": (
        replace(WHOLE, deflation=None), "It has no Sharpe ratio that could be deflated for the number of trials."
    ),
    "almost certain": (changed("deflation", dsr=0.99999), "with a probability of more than 99.9%, at least 95%."),
    "almost impossible": (changed("deflation", dsr=0.00001), "with a probability of less than 0.1%, short of 95%."),
    "a blind choice": (
        changed("overfitting", pbo=0.62), "(PBO): no better than a blind choice among these trials, which has 50.0%."
    ),
    "a blind choice of three": (
        changed("overfitting", pbo=0.62, blind=2 / 3), "(PBO); a blind choice among these trials has 66.7%."
    ),
    "an earlier version": (changed("overfitting", blind=None), "no better than the median in the other (PBO). Chosen"),
    "never overfitted": (changed("overfitting", pbo=0.0), "In 0% of 12,870 splits"),
    "a plateau": (changed("plateau", share=1.0), "The neighbourhood of the best trial holds: 100% of the 4 nearest"),
    "a peak": (changed("plateau", share=0.0), "The neighbourhood of the best trial does not hold: 0% of the 4 nearest"),
    "no share": (
        changed("plateau", share=None),
        "The 4 nearest trials in the search space have a Sharpe ratio of 0.47 at the median, 0.39 at worst.",
    ),
    "nothing out of sample": (
        replace(WHOLE, overfitting=None, walk_forward=None, cross_validation=None),
        "The choice was not tested out of sample.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WORDS)
def test_each_case_has_its_words(case: str) -> None:
    """Every kind of number has the sentence that fits it."""
    found, text = WORDS[case]
    assert text in said(found)


ABSENT = {
    "no PBO": (changed("overfitting", pbo=None), "PBO"),
    "no walk-forward": (replace(WHOLE, walk_forward=None), "windows"),
    "no cross-validation": (replace(WHOLE, cross_validation=None), "paths"),
    "no neighbours": (replace(WHOLE, plateau=None), "nearest"),
    "a second answer about luck": (WHOLE, "independent"),
    "a negative Sharpe ratio": (changed("deflation", sharpe=-0.2), "probability"),
    "enough trials": (WHOLE, "rests on little"),
}


@pytest.mark.parametrize("case", ABSENT)
def test_what_is_unknown_is_not_spoken_of(case: str) -> None:
    """A statistic that is missing leaves no words behind, and no dash inside a sentence."""
    found, word = ABSENT[case]
    assert word not in said(found)
    assert "–" not in said(found)
    assert "None" not in said(found)


def test_an_adaptive_sampler_flatters_walk_forward() -> None:
    """The warning stands where walk-forward is quoted, for samplers that learn, and nowhere else."""
    warning = "The sampler had seen the whole period when it proposed these trials, so walk-forward flatters."
    assert warning in said(adaptive=True)
    assert warning not in said()
    assert warning not in said(replace(WHOLE, walk_forward=None), adaptive=True)


@pytest.mark.parametrize(
    ("front", "text"),
    [((7, 9, 11), "it is one of the 3 trials on"), ((9, 11), "but is not among the 2 trials on")],
)
def test_several_objectives(front: tuple[int, ...], text: str) -> None:
    """With several objectives the verdict says which one ranks, and where the best stands among them."""
    found = replace(WHOLE, objectives=("max_drawdown", "sharpe"), front=front)
    shown = said(found, (-0.1502, 0.58))
    assert "Trial 7 has the best maximum drawdown of 90 completed trials, −15.02%" in shown
    assert f"{text} the Pareto front of maximum drawdown and Sharpe ratio." in shown
    assert "reach 80% of its maximum drawdown (47.00% at the median, 39.00% at worst)" in shown
