"""How a run went, step by step, up to its seal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.report.blocks import Blocks, Cell, Column, folded, table
from pipeline.report.markup import Html, together
from pipeline.report.numbers import DASH, format_seconds
from pipeline.telemetry.timeline import Moment, Timeline, instant, read_timeline

if TYPE_CHECKING:
    from pipeline.report.facts import Facts

COLUMNS = (Column("Step"), Column("Began after", numeric=True), Column("Took", numeric=True), Column("Ended"))
INDENT = "\u2003"


def timeline(facts: Facts) -> Blocks:
    """Return when each step began and how long it took, folded away; nothing for a run that left nothing of it.

    Neither the code of a cell nor the text of an error is in it: a public page shows it, too.
    """
    found = read_timeline(facts.run.dir, began=facts.record.started_at, stages=facts.record.stages)
    if found is None:
        return ()
    title = "How it ran, step by step"
    return folded(title, table(title, COLUMNS, _rows(found), name="facts tall"))


def _rows(found: Timeline) -> Iterator[list[Cell]]:
    start = instant(found.began)
    for depth, step in found.walk():
        offset = format_seconds((instant(step.began) - start).total_seconds())
        took = DASH if step.seconds is None else format_seconds(step.seconds)
        yield [together([Html(INDENT * depth), step.label]), offset, took, _end(step)]


def _end(step: Moment) -> str:
    if step.seconds is None:
        return "after the seal"
    return "with an error" if step.error else "well"
