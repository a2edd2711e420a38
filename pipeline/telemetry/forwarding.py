"""The steps of a run that its kernel took note of, exported by the process that owns the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.files import number
from pipeline.telemetry.exporting import exporting
from pipeline.telemetry.run_log import RunLog, read_log
from pipeline.telemetry.span import Span, SpanContext
from pipeline.telemetry.timeline import CELL, instant, is_time

NOT_ATTRIBUTES = ("time", "level", "message", "event", "step", "began", "seconds", "trace_id", "span_id", "parent_id")


def forward_kernel(log: RunLog) -> None:
    """Export what the kernel of a run wrote into its log, each step within the cell that it happened in."""
    out = exporting()
    if out is None:
        return
    known = [line for line in read_log(log.run.log) if _has_ended(line)]
    cells = [line for line in known if line.get("kind") == CELL]
    for line in known:
        if line.get("in") == "kernel" and (span := _span(line, cells)) is not None and span.context.sampled:
            out.add(span)


def _has_ended(line: Mapping[str, Any]) -> bool:
    return line.get("event") == "ended" and is_time(line.get("began")) and number(line.get("seconds")) is not None


def _span(line: Mapping[str, Any], cells: list[Mapping[str, Any]]) -> Span | None:
    context = SpanContext.parse(f"00-{line.get('trace_id')}-{line.get('span_id')}-01")
    if context is None:
        return None
    above = next((cell for cell in cells if _holds(cell, line)), None)
    over = line.get("parent_id") if above is None else above.get("span_id")
    began, ended = _times(line)
    error = line.get("error")
    return Span(
        name=str(line.get("step")),
        context=context,
        parent=SpanContext.parse(f"00-{context.trace_id}-{over}-01"),
        began=began,
        ended=ended,
        attributes=dict(_attributes(line)),
        error=error if isinstance(error, str) else None,
    )


def _attributes(line: Mapping[str, Any]) -> Iterator[tuple[str, str | int | float | bool]]:
    for name, value in line.items():
        if name not in NOT_ATTRIBUTES and isinstance(value, str | int | float):
            yield name, value


def _times(line: Mapping[str, Any]) -> tuple[int, int]:
    began = round(instant(str(line["began"])).timestamp() * 1e6) * 1000
    return began, began + round(float(line["seconds"]) * 1e9)


def _holds(cell: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    (first, last), (began, _) = _times(cell), _times(line)
    return first <= began <= last
