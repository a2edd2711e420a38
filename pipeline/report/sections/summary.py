"""The head of the report and its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import WITH_BENCHMARK, metric
from pipeline.escape import html_text, raw_block, web_url
from pipeline.report.numbers import DASH, format_number, headlines, several, shown_names
from pipeline.report.tables import Column, Html, table
from pipeline.report.told import after_costs, meaning_of
from pipeline.report.verdict import interval, leak_word, verdict
from pipeline.results.identity import NOT_RECONCILED, RECONCILED

if TYPE_CHECKING:
    from pipeline.report.facts import Facts

SHORT = 10


def header(facts: Facts) -> str:
    """Return the page's title block: name, what was traded and when, status, headline numbers."""
    subject = " · ".join(html_text(part) for part in _subject(facts) if part)
    marks = " ".join([status_mark(facts.run.status), seal_mark(facts), signature_mark(facts)])
    marks = " ".join(filter(None, [marks, leak_mark(facts), reconciled_mark(facts)]))
    html = (
        '<header class="run-head">\n<p class="kicker">Backtest report</p>\n'
        f"<h1>{html_text(facts.title)}</h1>\n"
        f'<p class="subject">{subject}</p>\n'
        f'<p class="marks">{marks}</p>\n'
        f'<p class="ids">{" ".join(ids(facts))}</p>\n'
        "</header>"
    )
    return raw_block(html) + verdict_line(facts) + headline(facts)


def verdict_line(facts: Facts) -> str:
    """Return what the numbers say in plain sentences; empty without a Sharpe ratio."""
    said = verdict(facts)
    return raw_block(f'<p class="verdict">{html_text(said)}</p>') if said else ""


def headline(facts: Facts) -> str:
    """Return the six headline numbers as cards; empty for a run without metrics."""
    shown = headlines(facts.stats)
    if not shown:
        return ""
    cards = "\n".join(_card(facts, name) for name in shown)
    return raw_block(f'<dl class="cards">\n{cards}\n</dl>')


def status_mark(status: str) -> str:
    """Return the status as text with a coloured mark."""
    known = status if status in {"FINISHED", "FAILED", "KILLED", "RUNNING"} else "UNREADABLE"
    return f'<span class="mark mark-{known.lower()}">{html_text(status)}</span>'


def seal_mark(facts: Facts) -> str:
    """Say in a word whether the run directory matched its seal when the report was made."""
    if facts.run.manifest_digest is None:
        return '<span class="mark mark-killed">NOT SEALED</span>'
    if facts.verification.ok:
        return '<span class="mark mark-finished">SEAL MATCHES</span>'
    return '<span class="mark mark-failed">SEAL BROKEN</span>'


def signature_mark(facts: Facts) -> str:
    """Say in a word whether somebody signed the seal; empty for a run without one."""
    if facts.run.manifest_digest is None:
        return ""
    signed = facts.run.dir.signature.is_file()
    return f'<span class="mark mark-{"finished" if signed else "killed"}">{"SIGNED" if signed else "NOT SIGNED"}</span>'


def leak_mark(facts: Facts) -> str:
    """Say in a word what the look-ahead check found; empty for a run without results."""
    if not facts.stats:
        return ""
    return look_ahead_mark(facts.robustness.leak_status)


def reconciled_mark(facts: Facts) -> str:
    """Say in a word whether the parts of the result agree; empty for a run from before that was looked at."""
    found = None if facts.run.result is None else facts.run.result.reconciliation
    if found is None:
        return ""
    style = {RECONCILED: "finished", NOT_RECONCILED: "failed"}.get(found.mark, "killed")
    return f'<span class="mark mark-{style}" title="{html_text(found.sentence)}">{found.mark}</span>'


def look_ahead_mark(status: str) -> str:
    """Return the mark for a status of the look-ahead check."""
    style, word = leak_word(status)
    return f'<span class="mark mark-{style}">{word}</span>'


def metrics(facts: Facts) -> str:
    """Return all metrics that are known as a table, beside the benchmark's where there is one."""
    names = shown_names(facts.stats)
    if not names:
        return facts.missing("\nThis run left no metrics (`stats.json`).\n")
    benchmark = facts.benchmark
    columns = [Column("Metric"), Column("Strategy", numeric=True)]
    columns += [Column(facts.benchmark_heading, numeric=True)] if benchmark else []
    rows = [_metric_row(facts, name, benchmark) for name in names]
    costs = after_costs(facts)
    said = f"Returns are simple and per bar, {costs}. A dash means that a number is undefined for this run."
    return f"\n{said}\n" + table("Metrics of the whole period", [*columns, Column("Convention")], rows, name="metrics")


def _metric_row(facts: Facts, name: str, benchmark: dict[str, float | int | None]) -> list[str | Html]:
    shown = metric(name)
    row: list[str | Html] = [shown.label, format_number(facts.stats[name], shown.kind)]
    if benchmark:
        row.append(format_number(benchmark.get(name), shown.kind) if name in WITH_BENCHMARK else Html(""))
    return [*row, Html(f'<span class="meaning">{html_text(meaning_of(facts, name))}</span>')]


def _card(facts: Facts, name: str) -> str:
    shown = metric(name)
    value = format_number(facts.stats[name], shown.kind)
    found, beside = facts.interval(name), ""
    if found is not None and facts.intervals is not None:
        beside = f'<dd class="beside">{facts.intervals.percent}: {interval(found, shown.kind)}</dd>'
    if facts.benchmark and name in WITH_BENCHMARK:
        other = format_number(facts.benchmark.get(name), shown.kind)
        beside += f'<dd class="beside">{html_text(facts.benchmark_name)} {other}</dd>'
    label = html_text(shown.label)
    meaning = html_text(meaning_of(facts, name))
    return f'<div class="card" title="{meaning}"><dt>{label}</dt><dd>{value}</dd>{beside}</div>'


def ids(facts: Facts, noun: str = "run") -> Iterator[str]:
    """Yield what identifies the run, digests and commit shortened; the provenance section has them whole."""
    git, data, tracking = facts.record.git, facts.record.data, facts.run.tracking
    yield f"<span>{noun} <code>{html_text(facts.run.run_id)}</code></span>"
    for name, digest, remark in (
        ("manifest", facts.run.manifest_digest, ""),
        ("data", data and data.sha256, ""),
        ("commit", git and git.commit, " (with uncommitted changes)" if git and git.dirty else " (clean)"),
    ):
        if digest:
            yield f"<span>{name} <code>{html_text(digest[:SHORT])}</code>{remark}</span>"
    url = None if tracking is None else web_url(tracking.run_url)
    if url:
        yield f'<span><a href="{html_text(url)}">MLflow run</a></span>'


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
