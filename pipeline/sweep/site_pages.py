"""The website's pages about sweeps: what each found, and its way to the report and to the runs of its trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.backtest.catalogue import COUNT, PERCENT, RATIO, metric
from pipeline.escape import html_text
from pipeline.report.numbers import format_number, several
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.site.entry import Entry
from pipeline.site.layout import link_to, root_of, run_page
from pipeline.site.pages import ExtraPage, Shown
from pipeline.site.run_page import SEAL_MARKS
from pipeline.sweep.repeats import first_of_each
from pipeline.sweep.report.header import paragraphs
from pipeline.sweep.report.page import build_sweep_page
from pipeline.sweep.stored import Sweep
from pipeline.sweep.trial import Trial

SWEEP_STAT = "trials_complete"  # a metric that only sweeps have
MOST_TRIALS = 25
LABELS = {
    "trials": ("Trials", COUNT),
    "trials_complete": ("Completed trials", COUNT),
    "trials_reused": ("Trials that repeat a configuration", COUNT),
    "effective_trials": ("Effective number of trials", RATIO),
    "deflated_sharpe": ("Deflated Sharpe ratio", PERCENT),
    "pbo": ("Probability of overfitting (PBO)", PERCENT),
    "walk_forward_sharpe": ("Sharpe ratio, walk-forward", RATIO),
}


class SweepPages:
    """One page a sweep."""

    group = "sweeps"
    label = "Sweeps"

    def __init__(self, results: Path) -> None:
        self._results = results

    def pages(self, entries: Sequence[Entry], shown: Shown) -> Iterable[ExtraPage]:
        """Return a page for each sweep that has ended, the one started last first."""
        known = {entry.run_id for entry in entries}
        for entry in reversed(entries):
            if SWEEP_STAT in entry.stats:
                path = f"{self.group}/{entry.run_id}.html"
                sweep = Sweep(Run(RunDir(self._results, entry.run_id)))
                main = _main(sweep, entry, path, known, shown) if sweep.problem is None else _unreadable(entry, path)
                yield ExtraPage(path, f"{entry.title}, {entry.started_at[:10]}", main)


def _unreadable(entry: Entry, path: str) -> str:
    page = f"{root_of(path)}{link_to(run_page(entry.run_id))}"
    return (
        f'<p class="kicker">Sweep</p>\n<h1>{html_text(entry.title)}</h1>\n'
        f'<p>What this sweep searched and found cannot be read (UNREADABLE). <a href="{page}">Its page as a run</a></p>'
    )


def _main(sweep: Sweep, entry: Entry, path: str, known: set[str], shown: Shown) -> str:
    root = root_of(path)
    facts = {
        "Strategy": entry.strategy,
        "Symbol": entry.symbol,
        "Sampler": sweep.spec.sweep.sampler,
        "Started (UTC)": entry.started_at.replace("T", " "),
        "Seal": SEAL_MARKS[entry.seal][1],
    }
    rows = [*facts.items(), *(_labelled(name, value) for name, value in sweep.run.stats.items())]
    listed = "\n".join(
        f'<tr><th scope="row">{html_text(name)}</th><td>{html_text(str(value))}</td></tr>' for name, value in rows
    )
    said = "\n".join(
        f'<p class="verdict">{html_text(shown(text))}</p>' for text in paragraphs(build_sweep_page(sweep.run))
    )
    report = f'<p><a href="{root}{link_to(run_page(entry.run_id))}">The report of this sweep</a></p>'
    return (
        f'<p class="kicker">Sweep</p>\n<h1>{html_text(entry.title)}</h1>\n{report}\n{said}\n'
        f"{_box('What was found', f'<tbody>{listed}</tbody>', 'facts')}\n{_trials(sweep, root, known, shown)}"
    )


def _trials(sweep: Sweep, root: str, known: set[str], shown: Shown) -> str:
    """Return the best trials as a table; those that are runs of this site are linked."""
    statistics = sweep.statistics
    by_number = {trial.number: trial for trial in sweep.trials}
    best = first_of_each(by_number[number] for number in statistics.ranking)[:MOST_TRIALS] if statistics else []
    if not best:
        return ""
    params = list(best[0].params)
    heads = ("Trial", *map(shown, params), *(metric(name).label for name in sweep.spec.sweep.objectives))
    head = "".join(f'<th scope="col" class="num">{html_text(name)}</th>' for name in heads)
    objectives = sweep.spec.sweep.objectives
    body = "\n".join(_row(trial, params, objectives, root, shown, linked=trial.run_id in known) for trial in best)
    content = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return _box(f"The best {len(best)} of {several(len(sweep.trials), 'trial')}", content, "by-side")


def _row(
    trial: Trial, params: Sequence[str], objectives: Sequence[str], root: str, shown: Shown, *, linked: bool
) -> str:
    name = str(trial.number)
    head = f'<a href="{root}{link_to(run_page(trial.run_id))}">{name}</a>' if linked else name
    values: list[Any] = [shown(str(trial.params[key])) for key in params]
    values += [_shown(name, value) for name, value in zip(objectives, trial.values, strict=True)]
    cells = "".join(f'<td class="num">{html_text(value)}</td>' for value in values)
    return f'<tr><th scope="row" class="num">{head}</th>{cells}</tr>'


def _labelled(name: str, value: float | int | None) -> tuple[str, str]:
    if name in LABELS:
        label, kind = LABELS[name]
        return label, format_number(value, kind)
    best = name.removeprefix("best_")
    return f"Best trial: {metric(best).label}" if best != name else metric(name).label, _shown(name, value)


def _shown(name: str, value: float | int | None) -> str:
    return format_number(value, metric(name.removeprefix("best_")).kind)


def _box(caption: str, content: str, name: str) -> str:
    title = html_text(caption)
    return (
        f'<div class="table-box {name}" tabindex="0" role="region" aria-label="{title}"><table>'
        f"<caption>{title}</caption>\n{content}\n</table></div>"
    )
