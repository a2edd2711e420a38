"""What went wrong with a run that did not finish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.escape import html_lines, html_text, raw_block

if TYPE_CHECKING:
    from pipeline.report.facts import Facts
    from pipeline.run_record import RunError

SAID = {
    "RUNNING": "This run was still running when the report was made; what follows is what it had left by then.",
    "KILLED": "This run was stopped from outside and was never sealed; what follows is what it left.",
    "FAILED": "This run failed. What it had gathered until then is sealed and shown below.",
    "UNREADABLE": "The record of this run cannot be read; what follows is what is left.",
}


def failure(facts: Facts) -> str:
    """Return what failed, where, and the traceback; empty text for a finished run."""
    if facts.finished:
        return ""
    error = facts.record.error
    said = SAID.get(facts.run.status, SAID["UNREADABLE"])
    parts = [f"<p>{said}</p>", *([] if error is None else [_facts(error), _traceback(error)])]
    body = "\n".join(part for part in parts if part)
    box = raw_block(f'<div class="failure">{body}</div>')
    return f"\n## What went wrong {{#what-went-wrong}}\n{box}"


def _facts(error: RunError) -> str:
    rows = [("Kind", error.kind), ("Cell", _cell(error.cell)), ("Exception", _exception(error))]
    if not error.ename:
        rows.append(("Message", error.message))
    lines = "".join(f"<div><dt>{key}</dt><dd>{html_text(value)}</dd></div>" for key, value in rows if value)
    return f'<dl class="failure-facts">{lines}</dl>' if lines else ""


def _cell(cell: int | None) -> str | None:
    return None if cell is None else f"{cell} of the input notebook, counted from 0"


def _exception(error: RunError) -> str | None:
    return f"{error.ename}: {error.evalue or ''}".rstrip(": ") if error.ename else None


def _traceback(error: RunError) -> str:
    if not error.traceback:
        return ""
    return (
        '<details class="traceback" open><summary>Traceback</summary>\n'
        f'<pre tabindex="0" role="region" aria-label="Traceback">{html_lines(error.traceback)}</pre></details>'
    )
