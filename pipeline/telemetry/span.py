"""What is exported: spans, lines of logs, numbers. Plain data, made without any library."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

TRACEPARENT = "TRACEPARENT"  # the environment variable of W3C Trace Context
FORM = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
Fact = str | int | float | bool
Attributes = Mapping[str, Fact]


@dataclass(frozen=True)
class SpanContext:
    """Which span of which trace: ids in hex, and whether the trace is kept."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @classmethod
    def new(cls, above: SpanContext | None, *, sampled: bool = True) -> SpanContext:
        """Return a new span of the trace above, or of a new one.

        The ids come from the system: the random numbers of a process belong to its run.
        """
        if above is not None:
            return cls(above.trace_id, os.urandom(8).hex(), above.sampled)
        return cls(os.urandom(16).hex(), os.urandom(8).hex(), sampled)

    @classmethod
    def parse(cls, text: str | None) -> SpanContext | None:
        """Return what a `traceparent` says, None for anything else."""
        found = FORM.fullmatch((text or "").strip().lower())
        if found is None or not int(found[1], 16) or not int(found[2], 16):
            return None
        return cls(found[1], found[2], bool(int(found[3], 16) & 1))

    @property
    def traceparent(self) -> str:
        """Return the span as W3C Trace Context writes it."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


@dataclass(frozen=True)
class Span:
    """A step that ended; times are nanoseconds since 1970."""

    name: str
    context: SpanContext
    parent: SpanContext | None
    began: int
    ended: int
    attributes: Attributes
    links: tuple[SpanContext, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Line:
    """A line of a log; `level` is that of `logging`."""

    time: int
    level: int
    text: str
    attributes: Attributes
    context: SpanContext | None = None


@dataclass(frozen=True)
class Number:
    """A number of one of the measures of `pipeline.telemetry.measures`."""

    measure: str
    value: float
    attributes: Attributes = field(default_factory=dict)


Item = Span | Line | Number
