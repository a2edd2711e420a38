"""The head of a sweep's report: what was searched, the verdict, headline numbers, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import PERCENT, RATIO, metric
from pipeline.masking import masked
from pipeline.report.blocks import Blocks, markup, text
from pipeline.report.markup import Html, html, together
from pipeline.report.numbers import DASH, format_number, several
from pipeline.report.sections.provenance import command
from pipeline.report.sections.summary import (
    cards,
    ids,
    look_ahead_mark,
    plain,
    seal_mark,
    signature_mark,
    status_mark,
    title_block,
)
from pipeline.report.verdict import look_ahead_sentence
from pipeline.sweep.report.verdict import verdict
from pipeline.sweep.report.words import joined, label, objective_text, ratio

if TYPE_CHECKING:
    from pipeline.sweep.report.facts import SweepFacts

SHORT = 10
SHOWN = 2  # objectives among the headline numbers


def header(facts: SweepFacts) -> Blocks:
    """Return the page's title block, the verdict and the headline numbers."""
    about = together((part for part in _subject(facts) if part), " · ")
    subject = html("{about}<br>{search}", about=about, search=" · ".join(_search(facts)))
    marks = [status_mark(facts.run.status), seal_mark(facts), signature_mark(facts)]
    marks += [look_ahead_mark(facts.best_examined.leak_status)] if facts.best else []
    head = title_block("Sweep report", facts.title, subject, marks, ids(facts, "sweep"))
    return head + verdict_block(facts) + cards(_card(*card) for card in _cards(facts))


def verdict_block(facts: SweepFacts) -> Blocks:
    """Return the verdict, a paragraph a sentence or two."""
    return markup(together((html('<p class="verdict">{said}</p>', said=said) for said in paragraphs(facts)), "\n"))


def paragraphs(facts: SweepFacts) -> list[str]:
    """Return the verdict: what the look-ahead check forbids to trust of the best trial, then what the numbers say."""
    values, best = facts.best.values if facts.best else (), facts.best
    who = f"trial {best.number}, the best," if best else ""
    ahead = look_ahead_sentence(facts.best_examined, who, "sweep") if best else ""
    return [*([ahead] if ahead else []), *verdict(facts.judged, values, adaptive=facts.adaptive)]


def how_to_use(facts: SweepFacts) -> Blocks:
    """Return the commands that check the sweep, run its best trial, and open its study."""
    run_id = facts.run.run_id
    lines = [f"evidence verify {run_id}"]
    if facts.run.dir.best_config.is_file():
        lines.append(f"evidence run --config results/{run_id}/best.toml")
    lines.append(f"evidence render {run_id}")
    return command("\n".join(lines), "Commands") + _study(facts)


def _study(facts: SweepFacts) -> Blocks:
    """Return how the study is opened: a copy of its journal, since opening one may write to it."""
    storage = facts.storage
    if storage is None and not facts.run.dir.study_journal.is_file():
        return ()
    name = facts.title if storage else f"{facts.title} {facts.run.run_id[:8]}"
    if storage:
        place, before = masked(storage), ""
        where = repr(place)
        said = "The study is in the storage of the spec. To open it:"
    else:
        where, place = 'JournalStorage(JournalFileBackend("study.journal"))', "study.journal"
        before = f"cp results/{facts.run.run_id}/study.journal .\n"
        said = "The study is a journal file. Open a copy, so that nothing is written into the sealed directory:"
    imports = (
        ""
        if storage
        else "from optuna.storages import JournalStorage\nfrom optuna.storages.journal import JournalFileBackend\n\n"
    )
    python = (
        f"import optuna\n{imports}storage = {where}\nstudy = optuna.load_study(study_name={name!r}, storage=storage)"
    )
    shell = command(f"{before}optuna-dashboard {place}", "Open the study in a dashboard")
    return text(said) + shell + command(python, "Open the study in Python")


def _subject(facts: SweepFacts) -> list[str]:
    what, span = facts.run.what, facts.span
    fixed = ", ".join(f"{key}={plain(value)}" for key, value in what.params.items())
    period = f"{span[0]} {DASH} {span[1]} · {several(span[2], 'return')}" if span else _asked_days(facts)
    name = what.strategy or what.notebook
    return [f"{name} ({fixed})" if fixed else name, what.symbol, period]


def _asked_days(facts: SweepFacts) -> str:
    data = None if facts.run.spec is None else facts.run.spec.data
    return f"{data.start or ''} {DASH} {data.end or ''}" if data is not None and (data.start or data.end) else ""


def _search(facts: SweepFacts) -> list[str]:
    counts = facts.judged.counts
    ends = [f"{counts.complete:,} completed"]
    ends += [f"{count:,} {word}" for count, word in ((counts.pruned, "pruned"), (counts.failed, "failed")) if count]
    asked = None if facts.asked is None else facts.asked.sweep
    return [
        f"{several(counts.trials, 'trial')} ({', '.join(ends)})",
        *([] if asked is None else [f"{asked.sampler} sampler, seed {asked.seed}"]),
        f"objective{'' if len(facts.objectives) == 1 else 's'}: {joined([label(name) for name in facts.objectives])}",
        *([f"{asked.pruner} pruner"] if asked is not None and asked.pruner != "none" else []),
    ]


def _cards(facts: SweepFacts) -> Iterator[tuple[str, str, str]]:
    """Yield label, value and what stands below it."""
    best, found = facts.best, facts.judged
    if best is None:
        return
    for name, value in list(zip(facts.objectives, best.values, strict=True))[:SHOWN]:
        yield (
            f"Best {label(name)}" if name == facts.objectives[0] else metric(name).label,
            objective_text(name, value),
            f"trial {best.number}",
        )
    if found.deflation is not None:
        deflation = found.deflation
        yield (
            "Deflated Sharpe ratio",
            format_number(deflation.dsr, PERCENT),
            f"{several(deflation.n, 'trial')} counted",
        )
    if found.overfitting is not None:
        blind = found.overfitting.blind
        beside = "" if blind is None else f"a blind choice: {format_number(blind, PERCENT)}"
        yield "Overfitting (PBO)", format_number(found.overfitting.pbo, PERCENT), beside
    if found.walk_forward is not None and found.counts.complete > 1:
        forward = found.walk_forward
        yield (
            "Sharpe, walk-forward",
            format_number(forward.out_of_sample, RATIO),
            f"in sample {ratio(forward.in_sample)}",
        )


def _card(name: str, value: str, beside: str) -> Html:
    card = '<div class="card"><dt>{name}</dt><dd>{value}</dd><dd class="beside">{beside}</dd></div>'
    return html(card, name=name, value=value, beside=beside)
