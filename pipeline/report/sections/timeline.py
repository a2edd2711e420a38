"""How a run went, step by step, up to its seal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.escape import html_text, raw_block
from pipeline.report.numbers import DASH, format_seconds
from pipeline.report.tables import wrapped
from pipeline.telemetry.timeline import Moment, Timeline, instant, read_timeline

if TYPE_CHECKING:
    from pipeline.report.facts import Facts

HEADS = ("Step", "Began after", "Took", "Ended")
INDENT = "\u2003"


def timeline(facts: Facts) -> str:
    """Return when each step began and how long it took, folded away; nothing for a run that left nothing of it.

    Neither the code of a cell nor the text of an error is in it: a public page shows it, too.
    """
    found = read_timeline(facts.run.dir, began=facts.record.started_at, stages=facts.record.stages)
    if found is None:
        return ""
    rows = [*_rows(found)]
    head = "".join(f'<th scope="col"{_number(place)}>{text}</th>' for place, text in enumerate(HEADS))
    body = "\n".join(rows)
    title = "How it ran, step by step"
    inner = wrapped(title, f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>", name="facts tall")
    return raw_block(f'<details class="folded"><summary>{title} ({len(rows)})</summary>\n{inner}\n</details>')


def _rows(found: Timeline) -> Iterator[str]:
    start = instant(found.began)
    for depth, step in found.walk():
        offset = format_seconds((instant(step.began) - start).total_seconds())
        took = DASH if step.seconds is None else format_seconds(step.seconds)
        cells = "".join(f"<td{_number(place)}>{text}</td>" for place, text in enumerate((offset, took, _end(step)), 1))
        yield f'<tr><th scope="row">{INDENT * depth}{html_text(step.label)}</th>{cells}</tr>'


def _number(place: int) -> str:
    return ' class="num"' if place in {1, 2} else ""


def _end(step: Moment) -> str:
    if step.seconds is None:
        return "after the seal"
    return "with an error" if step.error else "well"
