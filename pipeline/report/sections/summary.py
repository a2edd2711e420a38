"""The head of the report and its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import WITH_BENCHMARK, metric
from pipeline.escape import web_url
from pipeline.report.blocks import Blocks, Cell, Column, markup, table, text
from pipeline.report.markup import NOTHING, Html, code, html, mark, meaning, together
from pipeline.report.numbers import DASH, format_number, headlines, several, shown_names
from pipeline.report.told import after_costs, meaning_of
from pipeline.report.verdict import interval, leak_word, verdict
from pipeline.results.identity import NOT_RECONCILED, RECONCILED

if TYPE_CHECKING:
    from pipeline.report.facts import Facts

SHORT = 10


def header(facts: Facts) -> Blocks:
    """Return the page's title block: name, what was traded and when, status, headline numbers."""
    subject = together((part for part in _subject(facts) if part), " · ")
    marks = [status_mark(facts.run.status), seal_mark(facts), signature_mark(facts)]
    marks += [found for found in (leak_mark(facts), reconciled_mark(facts)) if found.text]
    return (
        title_block("Backtest report", facts.title, subject, marks, ids(facts)) + verdict_line(facts) + headline(facts)
    )


def title_block(kicker: str, title: str, subject: Html, marks: Iterable[Html], names: Iterable[Html]) -> Blocks:
    """Return what a page begins with: what it is, of what, its marks, and what identifies it."""
    shown = html(
        '<header class="run-head">\n<p class="kicker">{kicker}</p>\n'
        "<h1>{title}</h1>\n"
        '<p class="subject">{subject}</p>\n'
        '<p class="marks">{marks}</p>\n'
        '<p class="ids">{names}</p>\n'
        "</header>",
        kicker=kicker,
        title=title,
        subject=subject,
        marks=together(marks, " "),
        names=together(names, " "),
    )
    return markup(shown)


def verdict_line(facts: Facts) -> Blocks:
    """Return what the numbers say in plain sentences; empty without a Sharpe ratio."""
    said = verdict(facts)
    return markup(html('<p class="verdict">{said}</p>', said=said)) if said else ()


def headline(facts: Facts) -> Blocks:
    """Return the six headline numbers as cards; empty for a run without metrics."""
    shown = headlines(facts.stats)
    return cards(_card(facts, name) for name in shown)


def cards(shown: Iterable[Html]) -> Blocks:
    """Return headline numbers; nothing without one."""
    inside = together(shown, "\n")
    return markup(html('<dl class="cards">\n{inside}\n</dl>', inside=inside)) if inside.text else ()


def status_mark(status: str) -> Html:
    """Return the status as text with a coloured mark."""
    known = status if status in {"FINISHED", "FAILED", "KILLED", "RUNNING"} else "UNREADABLE"
    return mark(known.lower(), status)


def seal_mark(facts: Facts) -> Html:
    """Say in a word whether the run directory matched its seal when the report was made."""
    if facts.run.manifest_digest is None:
        return mark("killed", "NOT SEALED")
    return mark("finished", "SEAL MATCHES") if facts.verification.ok else mark("failed", "SEAL BROKEN")


def signature_mark(facts: Facts) -> Html:
    """Say in a word whether somebody signed the seal; empty for a run without one."""
    if facts.run.manifest_digest is None:
        return NOTHING
    return mark("finished", "SIGNED") if facts.run.dir.signature.is_file() else mark("killed", "NOT SIGNED")


def leak_mark(facts: Facts) -> Html:
    """Say in a word what the look-ahead check found; empty for a run without results."""
    if not facts.stats:
        return NOTHING
    return look_ahead_mark(facts.robustness.leak_status)


def reconciled_mark(facts: Facts) -> Html:
    """Say in a word whether the parts of the result agree; empty for a run from before that was looked at."""
    found = None if facts.run.result is None else facts.run.result.reconciliation
    if found is None:
        return NOTHING
    style = {RECONCILED: "finished", NOT_RECONCILED: "failed"}.get(found.mark, "killed")
    return mark(style, found.mark, found.sentence)


def look_ahead_mark(status: str) -> Html:
    """Return the mark for a status of the look-ahead check."""
    return mark(*leak_word(status))


def metrics(facts: Facts) -> Blocks:
    """Return all metrics that are known as a table, beside the benchmark's where there is one."""
    names = shown_names(facts.stats)
    if not names:
        return facts.missing("This run left no metrics (`stats.json`).")
    benchmark = facts.benchmark
    columns = [Column("Metric"), Column("Strategy", numeric=True)]
    columns += [Column(facts.benchmark_heading, numeric=True)] if benchmark else []
    rows = [_metric_row(facts, name, benchmark) for name in names]
    costs = after_costs(facts)
    said = f"Returns are simple and per bar, {costs}. A dash means that a number is undefined for this run."
    return text(said) + table("Metrics of the whole period", [*columns, Column("Convention")], rows, name="metrics")


def _metric_row(facts: Facts, name: str, benchmark: dict[str, float | int | None]) -> list[Cell]:
    shown = metric(name)
    row: list[Cell] = [shown.label, format_number(facts.stats[name], shown.kind)]
    if benchmark:
        row.append(format_number(benchmark.get(name), shown.kind) if name in WITH_BENCHMARK else "")
    return [*row, meaning(meaning_of(facts, name))]


def _card(facts: Facts, name: str) -> Html:
    shown = metric(name)
    value = format_number(facts.stats[name], shown.kind)
    found, beside = facts.interval(name), []
    if found is not None and facts.intervals is not None:
        beside.append(f"{facts.intervals.percent}: {interval(found, shown.kind)}")
    if facts.benchmark and name in WITH_BENCHMARK:
        beside.append(f"{facts.benchmark_name} {format_number(facts.benchmark.get(name), shown.kind)}")
    return html(
        '<div class="card" title="{meaning}"><dt>{label}</dt><dd>{value}</dd>{beside}</div>',
        meaning=meaning_of(facts, name),
        label=shown.label,
        value=value,
        beside=together(html('<dd class="beside">{said}</dd>', said=said) for said in beside),
    )


def ids(facts: Facts, noun: str = "run") -> Iterator[Html]:
    """Yield what identifies the run, digests and commit shortened; the provenance section has them whole."""
    git, data, tracking = facts.record.git, facts.record.data, facts.run.tracking
    named = "<span>{name} {shown}{remark}</span>"
    yield html(named, name=noun, shown=code(facts.run.run_id), remark="")
    for name, digest, remark in (
        ("manifest", facts.run.manifest_digest, ""),
        ("data", data and data.sha256, ""),
        ("commit", git and git.commit, Html(" (with uncommitted changes)" if git and git.dirty else " (clean)")),
    ):
        if digest:
            yield html(named, name=name, shown=code(digest[:SHORT]), remark=remark)
    url = None if tracking is None else web_url(tracking.run_url)
    if url:
        yield html('<span><a href="{url}">MLflow run</a></span>', url=url)


def _subject(facts: Facts) -> list[str]:
    """Return what ran on what with which engine, as far as anybody said."""
    what = facts.run.what
    named = what.strategy or (f"notebook {what.notebook}" if what.notebook else "")
    given = ", ".join(f"{key}={plain(value)}" for key, value in what.params.items())
    engine = "" if what.engine is None else str(what.engine)
    return [f"{named} ({given})" if given else named, what.symbol, engine, period(facts)]


def plain(value: object) -> str:
    """Return a value of the configuration the way the spec writes it: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def period(facts: Facts) -> str:
    """Return the days the equity curve covers and its number of bars; empty without one."""
    if facts.equity.empty:
        return ""
    first, last = facts.equity.index[0], facts.equity.index[-1]
    return f"{first:%d %b %Y} {DASH} {last:%d %b %Y} · {several(len(facts.equity), 'bar')}"
