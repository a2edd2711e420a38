"""The search: its history, what mattered, how the objective lies over the params, equity curves, failures."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import PERCENT, metric
from pipeline.escape import markdown_text
from pipeline.report.blocks import Blocks, Cell, Column, chart, markup, side_by_side, table, text
from pipeline.report.markup import Html, code, html
from pipeline.report.numbers import format_number, several
from pipeline.sweep.report.words import label, objective_text, param_text, params_text

if TYPE_CHECKING:
    from pipeline.sweep.report.facts import SweepFacts

BEST = 5
MAPS = 3
SLICES = 8
ERRORS = 12
LISTED = 100
NONE = "No trial was completed, so there is nothing to show here."


def equity(facts: SweepFacts) -> Blocks:
    """Return the growth of 1 of the best trials beside the median trial and the benchmark."""
    if facts.best is None:
        return text(NONE)
    from pipeline.sweep.report import figures as drawn

    middle = facts.ranked[len(facts.ranked) // 2].number if len(facts.ranked) > BEST else None
    numbers = [trial.number for trial in facts.configurations[:BEST]]
    curves = facts.growth([*numbers, *([middle] if middle is not None else [])])
    if curves.empty:
        return text("The trials left no returns.")
    figure = drawn.growth_figure(curves, facts.best.number, middle, facts.held, facts.benchmark_heading)
    beside = [f"the best {len(numbers)} trials" if len(numbers) > 1 else "the trial"]
    beside += ["the one in the middle of the ranking"] if middle is not None else []
    beside += [facts.benchmark_name] if facts.held is not None else []
    what = beside[0] + (", beside " + " and ".join(beside[1:]) if beside[1:] else "")
    caption = f"Growth of 1 of {what}, after costs, over the whole period they were chosen on."
    return chart(
        "growth",
        figure,
        caption=caption,
        label=f"Line chart of the growth of 1 of {what}.",
        height=420,
        tools=("range", "log"),
    )


def history(facts: SweepFacts) -> Blocks:
    """Return the objective by trial, with the best so far."""
    complete = [trial for trial in facts.tried if trial.state == "COMPLETE"]
    if len(complete) < 2:
        return text("One trial was completed: there is no search to show." if complete else NONE)
    from pipeline.sweep.report import figures as drawn

    first = facts.objectives[0]
    counts = facts.judged.counts
    left = [f"{several(n, 'trial')} {word}" for n, word in ((counts.pruned, "pruned"), (counts.failed, "failed")) if n]
    shown = f" {drawn.POINTS:,} of {len(complete):,} trials are drawn." if len(complete) > drawn.POINTS else ""
    top = objective_text(first, facts.ranked[0].values[0])
    missing = f" Not shown: {' and '.join(left)}." if left else ""
    return chart(
        "history", drawn.history_figure(complete, first), height=340,
        caption=f"{metric(first).label} of the completed trials in their order, and the best so far.{missing}{shown}",
        label=f"Scatter chart of the {label(first)} by trial; the best is {top}.",
    )  # fmt: skip


def importances(facts: SweepFacts) -> Blocks:
    """Return the importances of the params."""
    found = facts.judged.importances
    if len(found) < 2:
        return ()
    from pipeline.sweep.report import figures as drawn

    said = ", ".join(f"{name} {format_number(found[name], PERCENT)}" for name in facts.by_importance(list(found)))
    source = "(PED-ANOVA, Watanabe, Bansal and Hutter 2023)"
    return chart(
        "importances", drawn.importance_figure(found), height=120 + 30 * len(found),
        caption=f"Importance of each param for being in the best tenth by {label(facts.objectives[0])} {source}.",
        label=f"Bar chart of importances: {said}.",
    )  # fmt: skip


def slices(facts: SweepFacts) -> Blocks:
    """Return the first objective over each param, the most important first; empty without a completed trial."""
    if facts.best is None or not facts.chosen:
        return ()
    from pipeline.sweep.report import figures as drawn

    first, best = facts.objectives[0], facts.best
    names = facts.by_importance(facts.params)[:SLICES]
    blocks = (
        chart(
            f"slice-{i}", drawn.slice_figure(facts.ranked, best, name, first, logarithmic=facts.logarithmic(name)),
            caption=f"{metric(first).label} over {name}; the best trial is orange.", height=280,
            label=f"Scatter chart of the {label(first)} over {name}; best at {param_text(best.params.get(name))}.",
        )
        for i, name in enumerate(names, start=1)
    )  # fmt: skip
    left = len(facts.params) - len(names)
    more = text(f"{several(left, 'further param')} of less importance not shown.") if left else ()
    return side_by_side(*blocks) + more


def maps(facts: SweepFacts) -> Blocks:
    """Return a map of each of the most important pairs of numeric params."""
    from pipeline.sweep.report.maps import pair_map

    varied = [name for name in facts.params if len({trial.params.get(name) for trial in facts.ranked}) > 1]
    names = facts.by_importance([name for name in varied if name in facts.numeric])
    if facts.best is None or len(names) < 2:
        return ()
    order = {name: place for place, name in enumerate(names)}
    pairs = sorted(itertools.combinations(names, 2), key=lambda pair: order[pair[0]] + order[pair[1]])[:MAPS]
    first = facts.objectives[0]
    blocks = (
        pair_map(
            facts.ranked, facts.best, pair, first, logarithmic=(facts.logarithmic(pair[0]), facts.logarithmic(pair[1]))
        )
        for pair in pairs
    )
    said = (
        f"A cell shows the median {label(first)} of its trials: the stronger its colour, the better. A cell without a "
        "trial is empty; where nearly all have trials there are contour lines. The best trial's cell has an orange "
        "border."
    )
    return text(markdown_text(said)) + side_by_side(*blocks)


def parallel(facts: SweepFacts) -> Blocks:
    """Return the parallel coordinates of the trials."""
    from pipeline.sweep.report.parallel import parallel_figure

    if len(facts.ranked) < 2:
        return ()
    names = facts.by_importance(facts.params)
    return parallel_figure(facts.ranked, names, facts.objectives, facts.logarithmic)


def failures(facts: SweepFacts) -> Blocks:
    """Return when trials failed and why: kinds of errors over time, and the failed trials with their errors."""
    if not facts.failed:
        lost = sum(bool(trial.attempts) for trial in facts.tried)
        return text(f"No trial failed{f'; {lost:,} were tried again after their worker was lost' if lost else ''}.")
    from pipeline.sweep.report import figures as drawn

    kinds = _kinds(facts)
    figure = chart(
        "failures", drawn.failure_figure(kinds, len(facts.tried)), height=110 + 30 * len(kinds),
        caption="Failed trials in the order of the search, by the kind of error.",
        label="Failed trials: " + ", ".join(f"{kind} {len(numbers)}" for kind, numbers in kinds.items()) + ".",
    )  # fmt: skip
    return figure + _failed_table(facts)


def _kinds(facts: SweepFacts) -> dict[str, list[int]]:
    """Return the failed trials by kind of error, the most frequent first; rare kinds are summed up."""
    found: dict[str, list[int]] = {}
    for trial in facts.failed:
        found.setdefault(_kind(trial.error), []).append(trial.number)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    kinds = dict(ordered[:ERRORS])
    rest = sorted(number for _, numbers in ordered[ERRORS:] for number in numbers)
    return {**kinds, **({"other": rest} if rest else {})}


def _kind(error: str | None) -> str:
    """Return the class of an error, else the first words of its message."""
    text = (error or "unknown").strip()
    head, _, _ = text.partition(":")
    return head[:40] if head else "unknown"


def _failed_table(facts: SweepFacts) -> Blocks:
    columns = [Column("Trial", numeric=True), Column("Params"), Column("Error"), Column("Run")]
    rows: list[list[Cell]] = [
        [str(trial.number), params_text(trial.params), _error(trial.error), code(trial.run_id[:8])]
        for trial in facts.failed[:LISTED]
    ]
    left = len(facts.failed) - len(rows)
    note = f", of which the first {LISTED} are listed; trials.jsonl has all" if left > 0 else ""
    return table(f"{several(len(facts.failed), 'failed trial')}{note}", columns, rows, name="errors tall searchable")


def _error(said: str | None) -> Html:
    shown = html("{said}", said=said or "")
    return shown if len(shown.text) <= 400 else html("{said} …", said=(said or "")[:400])


def style() -> Blocks:
    """Return the style sheet of the sweep's own figures as an element of the page, for plain `quarto render`."""
    return markup(html("<style>\n{style}</style>", style=Html(stylesheet())))


def stylesheet() -> str:
    """Return the style sheet of the sweep's own figures."""
    from pathlib import Path

    return (Path(__file__).parent / "assets" / "sweep.css").read_text(encoding="utf-8")
