"""The trials in tables: the best ones, the Pareto front, all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import metric
from pipeline.report.blocks import Blocks, Cell, Column, chart, markup, side_by_side, table, text
from pipeline.report.markup import NOTHING, Html, html, link, together
from pipeline.report.numbers import DASH, format_number, several
from pipeline.sweep.report.words import label, objective_column, objective_text, param_text
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    from pipeline.sweep.report.facts import SweepFacts

LEADERS = 25
LISTED = 5_000
EXCERPT = 100  # of a report with drawn figures, which is small
KEY = ("sharpe", "cagr", "max_drawdown", "annual_volatility", "total_trades")
WORDS = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def leaders(facts: SweepFacts) -> Blocks:
    """Return the best trials by the first objective."""
    if facts.best is None:
        return text("No trial was completed.")
    shown = facts.configurations[:LEADERS]
    others = _others(facts, shown)
    runs = any(trial.run_id in facts.reports for trial in shown)
    on_front = set(facts.judged.front) if len(facts.objectives) > 1 else set()
    columns = [Column("Rank", numeric=True), *_columns(facts, others)]
    columns += [Column("Run")] if runs else []
    rows = []
    for rank, trial in enumerate(shown, start=1):
        star = html('<span class="star" title="On the Pareto front">★</span> ') if trial.number in on_front else NOTHING
        cells = [together([star, rank]), *_values(facts, trial, others)]
        rows.append([*cells, _run(facts, trial)] if runs else cells)
    marked = "; ★ is on the Pareto front" if on_front else ""
    marked += ", each configuration once" if len(facts.configurations) < len(facts.ranked) else ""
    caption = (
        f"The {f'best {len(shown)} trials' if len(shown) > 1 else 'only trial'} by {label(facts.objectives[0])}{marked}"
    )
    return table(caption, columns, rows, name="leaders")


def everything(facts: SweepFacts) -> Blocks:
    """Return all trials by number, to be searched and sorted; of very many, and without scripts, the best ones."""
    if not facts.tried:
        return text("This sweep left no trials (`trials.jsonl`).")
    shown, most = list(facts.tried), EXCERPT if facts.static else LISTED
    if len(shown) > most:
        best_first = [*facts.ranked, *(t for t in facts.tried if t.state != "COMPLETE")]
        shown = sorted(best_first[:most], key=lambda t: t.number)
    others = _others(facts, shown)
    note = f", of which the best {len(shown):,} are listed" if len(shown) < len(facts.tried) else ""
    runs = any(trial.run_id in facts.reports for trial in shown)
    columns = [*_columns(facts, others), Column("State"), *([Column("Run")] if runs else [])]
    rows = (_plain_row(facts, trial, others, runs=runs) for trial in shown)
    caption = f"{several(len(facts.tried), 'trial')}{note}"
    file = facts.run.dir.trials
    where = '<p class="note">All trials with all metrics, run ids and errors are in {address}.</p>'
    listed = table(caption, columns, rows, name="all-trials tall searchable", compact=True)
    return listed + markup(html(where, address=link(file.name, facts.address(file.name))))


def pareto(facts: SweepFacts) -> Blocks:
    """Return the Pareto front as figures and a table; empty for a single objective."""
    names = facts.objectives
    if len(names) < 2:
        return ()
    if facts.best is None:
        return ()
    from pipeline.sweep.report import figures as drawn

    front = f"{len(facts.judged.front)} trials on the front"
    what = "trials that no other beats in all objectives, and the rest"
    blocks = [
        chart(
            f"pareto-{other}", drawn.pareto_figure(facts.ranked, facts.judged.front, facts.best.number, names, other),
            caption=f"{metric(names[other]).label} over {label(names[0])}: {what}.",
            label=f"Scatter chart of {label(names[other])} over {label(names[0])}; {front}.",
            height=380,
        )
        for other in range(1, len(names))
    ]  # fmt: skip
    drawn_figures = blocks[0] if len(blocks) == 1 else side_by_side(*blocks)
    others = _others(facts, facts.ranked)
    members = [trial for trial in facts.ranked if trial.number in set(facts.judged.front)]
    rows = [_values(facts, trial, others) for trial in members[:LISTED]]
    caption = f"The Pareto front: {several(len(members), 'trial')}, by {label(names[0])}"
    name = "leaders tall searchable" if len(members) > LEADERS else "leaders"
    return drawn_figures + table(caption, _columns(facts, others), rows, name=name)


def _columns(facts: SweepFacts, others: Sequence[str]) -> list[Column]:
    params = [Column(name, numeric=name in facts.numeric) for name in facts.params]
    objectives = [objective_column(name) for name in facts.objectives]
    metrics = [Column(metric(name).label, numeric=True, title=metric(name).meaning) for name in others]
    return [Column("Trial", numeric=True), *params, *objectives, *metrics]


def _values(facts: SweepFacts, trial: Trial, others: Sequence[str]) -> list[Cell]:
    return [str(trial.number), *_texts(facts, trial, others)]


def _texts(facts: SweepFacts, trial: Trial, others: Sequence[str]) -> list[str]:
    values = trial.values or [None] * len(facts.objectives)
    return [
        *(param_text(trial.params.get(name)) for name in facts.params),
        *(objective_text(name, value) for name, value in zip(facts.objectives, values, strict=True)),
        *(format_number(trial.stats.get(name), metric(name).kind) for name in others),
    ]


def _others(facts: SweepFacts, trials: Sequence[Trial]) -> list[str]:
    """Return the key metrics that are no objectives and that a trial has."""
    known = {name for trial in (*trials[:LEADERS], *trials[-LEADERS:]) for name in trial.stats}
    return [name for name in KEY if name not in facts.objectives and name in known]


def _run(facts: SweepFacts, trial: Trial) -> Html:
    return link("report", facts.reports[trial.run_id]) if trial.run_id in facts.reports else Html(DASH)


def _plain_row(facts: SweepFacts, trial: Trial, others: Sequence[str], *, runs: bool) -> list[Cell]:
    state = WORDS.get(trial.state, trial.state)
    return [*_values(facts, trial, others), state, *([_run(facts, trial)] if runs else [])]
