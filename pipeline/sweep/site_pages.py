"""The website's pages about sweeps: what each found, and its way to the report and to the runs of its trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.backtest.catalogue import COUNT, PERCENT, RATIO, metric
from pipeline.report.markup import NOTHING, Html, html, link, together
from pipeline.report.numbers import format_number, several
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.site.entry import SiteEntry
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

    def pages(self, entries: Sequence[SiteEntry], shown: Shown) -> Iterable[ExtraPage]:
        """Return a page for each sweep that has ended, the one started last first."""
        known = {entry.run_id for entry in entries}
        for entry in reversed(entries):
            if SWEEP_STAT in entry.stats:
                path = f"{self.group}/{entry.run_id}.html"
                sweep = Sweep(Run(RunDir(self._results, entry.run_id)))
                main = _main(sweep, entry, path, known, shown) if sweep.problem is None else _unreadable(entry, path)
                yield ExtraPage(path, f"{entry.title}, {entry.started_at[:10]}", main.text)


def _unreadable(entry: SiteEntry, path: str) -> Html:
    return html(
        '<p class="kicker">Sweep</p>\n<h1>{title}</h1>\n'
        '<p>What this sweep searched and found cannot be read (UNREADABLE). <a href="{page}">Its page as a run</a></p>',
        title=entry.title,
        page=root_of(path) + link_to(run_page(entry.run_id)),
    )


def _main(sweep: Sweep, entry: SiteEntry, path: str, known: set[str], shown: Shown) -> Html:
    root = root_of(path)
    facts = {
        "Strategy": entry.strategy,
        "Symbol": entry.symbol,
        "Sampler": sweep.spec.sweep.sampler,
        "Started (UTC)": entry.started_at.replace("T", " "),
        "Seal": SEAL_MARKS[entry.seal][1],
    }
    rows = [*facts.items(), *(_labelled(name, value) for name, value in sweep.run.stats.items())]
    row = '<tr><th scope="row">{name}</th><td>{value}</td></tr>'
    listed = together((html(row, name=name, value=value) for name, value in rows), "\n")
    said = (html('<p class="verdict">{said}</p>', said=shown(text)) for text in paragraphs(build_sweep_page(sweep.run)))
    return html(
        '<p class="kicker">Sweep</p>\n<h1>{title}</h1>\n<p><a href="{report}">The report of this sweep</a></p>\n'
        "{said}\n{found}\n{trials}",
        title=entry.title,
        report=root + link_to(run_page(entry.run_id)),
        said=together(said, "\n"),
        found=_box("What was found", html("<tbody>{listed}</tbody>", listed=listed), "facts"),
        trials=_trials(sweep, root, known, shown),
    )


def _trials(sweep: Sweep, root: str, known: set[str], shown: Shown) -> Html:
    """Return the best trials as a table; those that are runs of this site are linked."""
    statistics = sweep.statistics
    by_number = {trial.number: trial for trial in sweep.trials}
    best = first_of_each(by_number[number] for number in statistics.ranking)[:MOST_TRIALS] if statistics else []
    if not best:
        return NOTHING
    params, objectives = list(best[0].params), sweep.spec.sweep.objectives
    heads = ("Trial", *map(shown, params), *(metric(name).label for name in objectives))
    rows = (_row(trial, params, objectives, root, shown, linked=trial.run_id in known) for trial in best)
    content = html(
        "<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>",
        head=together(html('<th scope="col" class="num">{name}</th>', name=name) for name in heads),
        body=together(rows, "\n"),
    )
    return _box(f"The best {len(best)} of {several(len(sweep.trials), 'trial')}", content, "by-side")


def _row(
    trial: Trial, params: Sequence[str], objectives: Sequence[str], root: str, shown: Shown, *, linked: bool
) -> Html:
    values = [shown(str(trial.params[key])) for key in params]
    values += [_shown(name, value) for name, value in zip(objectives, trial.values, strict=True)]
    return html(
        '<tr><th scope="row" class="num">{head}</th>{cells}</tr>',
        head=link(str(trial.number), root + link_to(run_page(trial.run_id)) if linked else None),
        cells=together(html('<td class="num">{value}</td>', value=value) for value in values),
    )


def _labelled(name: str, value: float | int | None) -> tuple[str, str]:
    if name in LABELS:
        label, kind = LABELS[name]
        return label, format_number(value, kind)
    best = name.removeprefix("best_")
    return f"Best trial: {metric(best).label}" if best != name else metric(name).label, _shown(name, value)


def _shown(name: str, value: float | int | None) -> str:
    return format_number(value, metric(name.removeprefix("best_")).kind)


def _box(caption: str, content: Html, name: str) -> Html:
    return html(
        '<div class="table-box {name}" tabindex="0" role="region" aria-label="{caption}"><table>'
        "<caption>{caption}</caption>\n{content}\n</table></div>",
        name=name,
        caption=caption,
        content=content,
    )
