"""The statistics of a sweep in a table: what the best trial is worth, each number with its convention and source."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from pipeline.backtest.catalogue import COUNT, PERCENT
from pipeline.report.blocks import Blocks, Cell, Column, markup, table, text
from pipeline.report.markup import html, meaning, together
from pipeline.report.numbers import format_number, risk_free, several
from pipeline.sweep.report.words import effective_text, joined, label, objective_text, ratio
from pipeline.sweep.statistics import NEAR_BEST, Counts, CrossValidated, Deflation, Forward, Overfit, Plateau

if TYPE_CHECKING:
    from pipeline.sweep.report.facts import SweepFacts


class Row(NamedTuple):
    """One statistic."""

    name: str
    value: str
    convention: str


def statistics(facts: SweepFacts) -> Blocks:
    """Return the table of all statistics, each with its convention and source."""
    found = facts.judged
    rows: list[Row] = []
    if found.deflation is not None:
        rows += _deflation(found.deflation, facts)
        rows += _effective(found.deflation) if facts.chosen else ()
    if found.overfitting is not None:
        rows += _overfitting(found.overfitting)
    if found.walk_forward is not None and facts.chosen:
        rows += _forward(found.walk_forward)
    if found.cross_validation is not None and facts.chosen:
        rows += _crossed(found.cross_validation)
    if found.plateau is not None:
        rows += _plateau(found.plateau, facts.objectives[0])
    columns = [Column("Statistic"), Column("Value", numeric=True), Column("Convention")]
    said = [*_left_out(facts), *(f"{text[:1].upper()}{text[1:].removesuffix('.')}." for text in found.notes)]
    notes = together(html('<p class="note">{each}</p>\n', each=each) for each in said)
    cells: list[list[Cell]] = [[row.name, row.value, meaning(row.convention)] for row in rows]
    shown = table("Statistics of the choice of the best trial", columns, cells, name="evidence") if cells else ()
    return shown + markup(notes) + _nothing(facts, cells)


def _left_out(facts: SweepFacts) -> Iterator[str]:
    """Say which trials are in the count and nowhere else."""
    counts = facts.judged.counts
    ends = [several(n, "trial") + f" {word}" for n, word in ((counts.pruned, "pruned"), (counts.failed, "failed")) if n]
    if ends and facts.best is not None:
        yield (
            f"Not all trials left returns of the whole period ({joined(ends)}): these are in the number of trials "
            "counted and in no other statistic, so what rests on comparing trials speaks of the completed ones only."
        )


def _nothing(facts: SweepFacts, rows: list[list[Cell]]) -> Blocks:
    return () if rows or facts.judged.notes else text("This sweep left no statistics (`statistics.json`).")


def _deflation(found: Deflation, facts: SweepFacts) -> Iterator[Row]:
    per_year = f"{facts.judged.periods_per_year or 0:g}"
    yield Row(
        "Sharpe ratio of the best trial", ratio(found.sharpe),
        f"Of trial {facts.judged.best}, the best {label(facts.objectives[0])}: mean over standard deviation (ddof 1) "
        f"of simple returns per bar, times the square root of {per_year} bars a year; "
        f"{risk_free(facts.run.conventions)}.",
    )  # fmt: skip
    yield Row(
        "Probabilistic Sharpe ratio", format_number(found.psr, PERCENT),
        "Probability that its true ratio is above 0 if it had been the only trial (Bailey and López de Prado 2012); "
        "kurtosis not excess, normal = 3.",
    )  # fmt: skip
    yield Row(
        "Trials counted", format_number(found.n, COUNT), _counted(facts.judged.counts),
    )  # fmt: skip
    yield Row(
        "Best ratio expected by luck", ratio(found.expected_max),
        "What the best of as many independent trials without skill is expected to reach a year; variance (ddof 1) over "
        "the different ratios per bar that are known of them (Bailey and López de Prado 2014).",
    )  # fmt: skip
    yield Row(
        "Deflated Sharpe ratio", format_number(found.dsr, PERCENT),
        "Probability that its true ratio is above that luck (Bailey and López de Prado 2014), from the ratio per bar.",
    )  # fmt: skip


def _counted(counts: Counts) -> str:
    """Say which trials are counted."""
    others = "when the sweep ended: failed and pruned ones and those of other sweeps and runs, too."
    if counts.family is None:
        return f"Every trial of this strategy on these data in the ledger of this results directory {others}"
    return (
        f"Every trial of this family on this instrument at an overlapping time in the ledger {others} "
        f"{counts.exact or 0:,} of them are of exactly this strategy, or notebook, and these data; the ledger counts "
        f"{counts.ledger:,} of all families."
    )


def _effective(found: Deflation) -> Iterator[Row]:
    yield Row(
        "Effective number of trials", effective_text(found.effective),
        "How many independent trials the completed ones are worth: effective rank of the correlation matrix of their "
        "returns (Roy and Vetterli 2007).",
    )  # fmt: skip
    yield Row(
        "Best ratio by luck, effective", ratio(found.expected_max_effective),
        "The same luck with the effective number of trials.",
    )  # fmt: skip
    yield Row(
        "Deflated by the effective number", format_number(found.dsr_effective, PERCENT),
        "The same probability against that, for comparison. The verdict has the one above: an effective number "
        "rests on how trials resemble each other, knows none counted from elsewhere, and is the milder of the two.",
    )  # fmt: skip


def _overfitting(found: Overfit) -> Iterator[Row]:
    splits = f"{found.n_splits:,} splits into halves of {found.n_blocks} blocks"
    blind = (
        ""
        if found.blind is None
        else f" A choice without looking at the first half has {format_number(found.blind, PERCENT)}."
    )
    yield Row(
        "Probability of overfitting (PBO)", format_number(found.pbo, PERCENT),
        f"CSCV, {splits}: share in which the best trial of one half ranks at or below the median in the other "
        f"(Bailey, Borwein, López de Prado and Zhu 2017).{blind}",
    )  # fmt: skip
    yield Row(
        "Probability of a loss", format_number(found.probability_of_loss, PERCENT),
        "Share of these splits in which the best trial of one half has a Sharpe ratio below 0 in the other.",
    )  # fmt: skip
    yield Row(
        "Slope of the decay", ratio(found.degradation_slope),
        "Least squares of the ratio out of sample on the one in sample over these splits. The halves share out one "
        "period, so what one has the other lacks: the slope of a single trial is near −1 by that alone.",
    )  # fmt: skip


def _forward(found: Forward) -> Iterator[Row]:
    windows = several(len(found.windows), "test window")
    chosen = f"what a search of {several(found.trials, 'trial')} found" if found.trials else "the trials chosen"
    yield Row(
        "Walk-forward, in sample", ratio(found.in_sample),
        f"Mean annual ratio of {chosen} before {windows}, each on all bars before its window (Pardo 2008).",
    )  # fmt: skip
    yield Row(
        "Walk-forward, out of sample", ratio(found.out_of_sample),
        "Annual ratio of their joined returns in these windows; switching costs nothing here.",
    )  # fmt: skip


def _crossed(found: CrossValidated) -> Iterator[Row]:
    rules = (
        f"{found.folds} folds, {found.test_folds} tested at a time, horizon {several(found.horizon, 'bar')}, "
        f"embargo {several(found.embargo, 'bar')}"
    )
    yield Row(
        "Cross-validation, median path", ratio(median(found.paths) if found.paths else None),
        f"Combinatorial purged: {rules} (López de Prado 2018, chapter 12); annual ratio of "
        f"{several(len(found.paths), 'path')}.",
    )  # fmt: skip
    if found.paths:
        yield Row(
            "Cross-validation, worst and best", f"{ratio(min(found.paths))} to {ratio(max(found.paths))}",
            "The lowest and the highest ratio among these paths. Paths share data, so this is no confidence interval.",
        )  # fmt: skip


def _plateau(found: Plateau, metric: str) -> Iterator[Row]:
    away = f"at most {found.radius * 100:.1f}% of a param's range away"
    near = f"The {several(len(found.neighbours), 'trial')} nearest to the best, {away}"
    middle, worst = (objective_text(metric, value) for value in (found.median, found.worst))
    yield Row(
        "Neighbours near the best", format_number(found.share, PERCENT),
        f"{near}: share that reach {NEAR_BEST:.0%} of its {label(metric)}; undefined when that is not above 0 or is to "
        "be small.",
    )  # fmt: skip
    yield Row(
        "Neighbours, median and worst", f"{middle} and {worst}",
        f"Their {label(metric)}. A best trial far above both stands on a peak.",
    )  # fmt: skip
