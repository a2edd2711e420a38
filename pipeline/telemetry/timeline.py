"""The timeline of a run: its stages, what they were made of, and the cells of its notebook."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.files import number, read_json
from pipeline.layout import Layout
from pipeline.telemetry.run_log import read_log

RUN, STAGE, CELL, NOTEBOOK = "run", "stage", "cell", "notebook"
ADDED = ("injected-parameters", "papermill-error-cell-tag")  # cells that the input notebook does not have
ORDER = ("open", "tracking", NOTEBOOK, "search", "walk_forward", "statistics", "best", "artifacts")  # of stages
LONGEST_TITLE = 60


@dataclass(frozen=True)
class Moment:
    """A step of a run. `began` is ISO-8601 UTC text; `seconds` is None for one that has not ended, as far as is known.

    `index` is a cell's place in the input notebook, counted from 0, None for one that was added; `title` its first
    line. `steps` are those within it.
    """

    kind: str
    name: str
    began: str
    seconds: float | None
    error: str | None = None
    index: int | None = None
    title: str = ""
    steps: tuple[Moment, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "steps": [step.to_dict() for step in self.steps]}

    @property
    def label(self) -> str:
        """Return what the step is called: a cell by its place."""
        if self.kind != CELL:
            return self.name.replace("_", " ")
        return "parameters" if self.index is None else f"cell {self.index}"

    @property
    def ended(self) -> dt.datetime | None:
        """When the step ended, None when that is not known."""
        return None if self.seconds is None else instant(self.began) + dt.timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Timeline:
    """What happened in a run, in the order it began. `source` is what tells it: `log`, or `record` of an older run."""

    began: str
    seconds: float | None
    source: str
    steps: tuple[Moment, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "steps": [step.to_dict() for step in self.steps]}

    def walk(self) -> Iterator[tuple[int, Moment]]:
        """Yield every step after the one it is in, with how deep it is."""
        yield from _walk(self.steps, 0)


def _walk(steps: Iterable[Moment], depth: int) -> Iterator[tuple[int, Moment]]:
    for step in steps:
        yield depth, step
        yield from _walk(step.steps, depth + 1)


def read_timeline(
    run: Layout, *, late: Path | None = None, began: str = "", stages: Mapping[str, float] | None = None
) -> Timeline | None:
    """Return the timeline of a run from its log and its notebook; None when neither that nor its record tells any.

    Of a run from before the log was kept, `began` and `stages` (seconds) are what its record says: how its stages
    followed one another is then taken from their order. What came after the seal is in the file `late`.
    """
    cells = [*_cells_of_notebook(run)]
    noted = [*_noted(run.log, *([late] if late else []))]
    if noted:
        titles = {cell.index: cell.title for cell in cells}
        steps = _nested([_titled(moment, titles) for moment in noted])
        return Timeline(steps[0].began, _span(steps), "log", tuple(steps))
    if not stages or not began:
        return None
    steps = [*_in_order(began, stages, _nested(cells))]
    return Timeline(began, _span(steps), "record", tuple(steps))


def _noted(*paths: Path) -> Iterator[Moment]:
    """Yield the steps that the log tells of, those that began and did not end, too."""
    open_steps: list[Moment] = []
    for line in read_log(*paths):
        moment = _moment(line)
        if moment is None or moment.kind == RUN:
            continue
        if line.get("event") == "began":
            open_steps.append(moment)
            continue
        begun = next((item for item in reversed(open_steps) if _same(item, moment)), None)
        if begun is not None:
            open_steps.remove(begun)
        yield moment
    yield from open_steps


def _same(one: Moment, other: Moment) -> bool:
    return (one.kind, one.name, one.index) == (other.kind, other.name, other.index)


def _moment(line: Mapping[str, Any]) -> Moment | None:
    event, name, kind = line.get("event"), line.get("step"), line.get("kind")
    began = line.get("began") if event == "ended" else line.get("time")
    if event not in ("began", "ended") or not isinstance(name, str) or not isinstance(kind, str) or not is_time(began):
        return None
    error, place = line.get("error"), line.get("index")
    return Moment(
        kind=kind,
        name=name,
        began=str(began),
        seconds=number(line.get("seconds")) if event == "ended" else None,
        error=error if isinstance(error, str) else None,
        index=place if isinstance(place, int) and place >= 0 else None,
    )


def _titled(moment: Moment, titles: Mapping[int | None, str]) -> Moment:
    return replace(moment, title=titles.get(moment.index, "")) if moment.kind == CELL else moment


def _in_order(began: str, stages: Mapping[str, float], cells: Sequence[Moment]) -> Iterator[Moment]:
    """Yield stages of which only the order is known, and how long each took; a seal has them by their names.

    What passed between two stages is not known. The notebook begins so that it holds its cells, whose times are.
    """
    at = instant(began)
    known = [name for name in ORDER if name in stages]
    for name in [*known, *sorted(stages.keys() - {*known})]:
        lasted = dt.timedelta(seconds=float(stages[name]))
        steps = tuple(cells) if name == NOTEBOOK else ()
        ends = [cell.ended for cell in steps if cell.ended is not None]
        if steps and ends:
            at = min(instant(steps[0].began), max(at, max(ends) - lasted))
        yield Moment(STAGE, name, text_of(at), float(stages[name]), steps=steps)
        at += lasted


def _cells_of_notebook(run: Layout) -> Iterator[Moment]:
    """Yield the code cells that the executed notebook says were executed."""
    place = -1
    for cell in _cells(run):
        tags = _of(cell.get("metadata"), "tags") or ()
        added = any(tag in ADDED for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else False
        place += not added
        told = _of(cell.get("metadata"), "papermill")
        began, seconds = _of(told, "start_time"), number(_of(told, "duration"))
        if cell.get("cell_type") == "code" and is_time(began) and seconds is not None:
            error = "it raised" if _of(told, "exception") is True else None
            index = None if added else place
            yield Moment(CELL, CELL, str(began), seconds, error, index, _title(cell.get("source")))


def _cells(run: Layout) -> Iterator[Mapping[str, Any]]:
    try:
        found = read_json(run.notebook)
    except (OSError, ValueError):
        return
    cells = _of(found, "cells")
    yield from (cell for cell in cells if isinstance(cell, dict)) if isinstance(cells, list) else ()


def _of(values: Any, name: str) -> Any:
    return values.get(name) if isinstance(values, dict) else None


def _title(source: Any) -> str:
    """Return the first line of a cell that says something."""
    text = "".join(map(str, source)) if isinstance(source, list) else str(source or "")
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("%%")), "")
    return first if len(first) <= LONGEST_TITLE else f"{first[: LONGEST_TITLE - 1]}…"


@dataclass
class _Node:
    moment: Moment
    within: list[_Node] = field(default_factory=list)

    def done(self) -> Moment:
        return replace(self.moment, steps=tuple(node.done() for node in self.within))


def _nested(moments: Iterable[Moment]) -> list[Moment]:
    """Return steps in the order they began, each within the one that was going on then; stages are in none."""
    top: list[_Node] = []
    going_on: list[_Node] = []
    for moment in sorted(moments, key=lambda item: (instant(item.began), item.kind != STAGE)):
        node = _Node(moment)
        while going_on and (moment.kind == STAGE or _is_over(going_on[-1].moment, moment)):
            going_on.pop()
        (going_on[-1].within if going_on else top).append(node)
        going_on.append(node)
    return [node.done() for node in top]


def _is_over(earlier: Moment, moment: Moment) -> bool:
    return earlier.ended is not None and earlier.ended <= instant(moment.began)


def _span(steps: Iterable[Moment]) -> float | None:
    """Return the seconds from the first beginning to the last end; None while a step has not ended."""
    known = [*steps]
    ends = [step.ended for step in known]
    if not known or any(end is None for end in ends):
        return None
    last = max(end for end in ends if end is not None)
    return (last - instant(known[0].began)).total_seconds()


def instant(text: str) -> dt.datetime:
    """Return ISO-8601 text as an instant; one without an offset is UTC. Raises ValueError."""
    found = dt.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def text_of(at: dt.datetime) -> str:
    """Return an instant as ISO-8601 UTC text with microseconds."""
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def is_time(text: object) -> bool:
    """Say whether a value is ISO-8601 text."""
    try:
        return isinstance(text, str) and instant(text) is not None
    except (ValueError, OverflowError):
        return False
