"""What went wrong with a run that did not finish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.escape import html_lines
from pipeline.report.blocks import Blocks, heading, markup
from pipeline.report.markup import NOTHING, Html, html, together

if TYPE_CHECKING:
    from pipeline.report.facts import Facts
    from pipeline.run_record import RunError

SAID = {
    "RUNNING": "This run was still running when the report was made; what follows is what it had left by then.",
    "KILLED": "This run was stopped from outside and was never sealed; what follows is what it left.",
    "FAILED": "This run failed. What it had gathered until then is sealed and shown below.",
    "UNREADABLE": "The record of this run cannot be read; what follows is what is left.",
}


def failure(facts: Facts) -> Blocks:
    """Return what failed, where, and the traceback; nothing for a finished run."""
    if facts.finished:
        return ()
    error = facts.record.error
    said = SAID.get(facts.run.status, SAID["UNREADABLE"])
    parts = [html("<p>{said}</p>", said=said), *([] if error is None else [_facts(error), _traceback(error)])]
    body = together((part for part in parts if part.text), "\n")
    box = html('<div class="failure">{body}</div>', body=body)
    return heading(2, "What went wrong", "what-went-wrong") + markup(box)


def _facts(error: RunError) -> Html:
    rows = [("Kind", error.kind), ("Cell", _cell(error.cell)), ("Exception", _exception(error))]
    if not error.ename:
        rows.append(("Message", error.message))
    pair = "<div><dt>{key}</dt><dd>{value}</dd></div>"
    lines = together(html(pair, key=key, value=value) for key, value in rows if value)
    return html('<dl class="failure-facts">{lines}</dl>', lines=lines) if lines.text else NOTHING


def _cell(cell: int | None) -> str | None:
    return None if cell is None else f"{cell} of the input notebook, counted from 0"


def _exception(error: RunError) -> str | None:
    return f"{error.ename}: {error.evalue or ''}".rstrip(": ") if error.ename else None


def _traceback(error: RunError) -> Html:
    if not error.traceback:
        return NOTHING
    return html(
        '<details class="traceback" open><summary>Traceback</summary>\n'
        '<pre tabindex="0" role="region" aria-label="Traceback">{lines}</pre></details>',
        lines=Html(html_lines(error.traceback)),
    )
