"""A step of a run: when it began, how long it took, how it ended. One door for the log of a run and for spans."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from pipeline.masking import masked_text
from pipeline.telemetry.exporting import exporting
from pipeline.telemetry.measures import (
    CELL_ERRORS,
    RENDER_DURATION,
    RUN_DURATION,
    RUNS,
    STAGE_DURATION,
    TRIALS,
    Measure,
)
from pipeline.telemetry.run_log import Labels, RunLog, now
from pipeline.telemetry.span import TRACEPARENT, Fact, Number, Span, SpanContext

_current: ContextVar[Step | None] = ContextVar("step", default=None)
_linked: ContextVar[tuple[SpanContext, ...]] = ContextVar("linked", default=())
TRACED = "EVIDENCE_TRACED"  # set for a kernel whose owner exports what the log of its run says
LONGEST_ERROR = 500
MOST_TRIALS = 1_000  # of a sweep that have spans of their own
CELL, RENDER = "cell", "render"
Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass
class Step:
    """A step that is going on: `facts` may be added to until it ends; `error` says why it failed.

    Without a `log` its labels are those given. It has a `context` only where spans are exported.
    """

    name: str
    kind: str
    log: RunLog | None
    facts: dict[str, Fact]
    labels: Labels = field(default_factory=Labels)
    above: SpanContext | None = None
    context: SpanContext | None = None
    links: tuple[SpanContext, ...] = ()
    began: str = field(default_factory=now)
    seconds: float | None = None
    error: str | None = None
    _clock: float = field(default_factory=time.perf_counter)
    _time: int = field(default_factory=time.time_ns)

    def within(self, above: Step | None) -> Step:
        """Have the step lie within another one, or within what started this process, where spans are exported."""
        out = exporting()
        if out is not None or os.environ.get(TRACED):
            self.above = above.context if above is not None else SpanContext.parse(os.environ.get(TRACEPARENT))
            self.context = SpanContext.new(self.above)
            if self.above is None and out is not None and not out.asked.keeps(self.context.trace_id):
                self.context = replace(self.context, sampled=False)
        return self

    def begin(self) -> None:
        """Say in the log of the run that the step begins."""
        if self.log is not None:
            told = {"event": "began", "kind": self.kind, "step": self.name, **self._ids(), **self.facts}
            self.log.write(logging.DEBUG, f"{self.title} began", context=self.context, **told)

    def failed(self, error: BaseException) -> None:
        """Take note of what ended the step."""
        self.error = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]

    def hidden(self, text: str) -> str:
        """Return a text without the secrets of the run."""
        return masked_text(text) if self.log is None else self.log.hidden(text)

    def end(self) -> None:
        """Say how the step ended, in the log of the run and to whom spans are exported."""
        self.seconds = round(time.perf_counter() - self._clock, 6)
        self.error = self.hidden(self.error) if self.error else None
        if self.log is not None:
            self._write(self.log, self.seconds)
        out = exporting()
        if out is None:
            return
        if self.context is not None and self.context.sampled:
            out.add(self.span(self.seconds))
        if self.kind == RENDER:
            number(RENDER_DURATION, self.seconds, self.labels, status="error" if self.error else "ok")
        if self.kind == CELL and self.error:
            number(CELL_ERRORS, 1, self.labels, status=self.log.status if self.log else "")

    def _write(self, log: RunLog, seconds: float) -> None:
        how = f"failed after {seconds:.3f} s: {self.error}" if self.error else f"took {seconds:.3f} s"
        told: dict[str, Fact] = {"event": "ended", "kind": self.kind, "step": self.name, "began": self.began}
        told["seconds"] = seconds
        more = {"error": self.error} if self.error else {}
        log.write(
            logging.INFO, f"{self.title} {how}", context=self.context, **told, **more, **self._ids(), **self.facts
        )

    def span(self, seconds: float) -> Span:
        """Return the step as a span."""
        assert self.context is not None  # noqa: S101 - asked before
        status = self.log.status if self.log is not None else ("error" if self.error else "ok")
        facts = {name: self.hidden(fact) if isinstance(fact, str) else fact for name, fact in self.facts.items()}
        known = {"kind": self.kind, **self.labels.known(), "status": status, **facts}
        end = self._time + round(seconds * 1e9)
        return Span(self.name, self.context, self.above, self._time, end, known, self.links, self.error)

    def _ids(self) -> dict[str, str]:
        if self.context is None:
            return {}
        above = {"parent_id": self.above.span_id} if self.above else {}
        return {"trace_id": self.context.trace_id, "span_id": self.context.span_id, **above}

    @property
    def traceparent(self) -> str:
        """Return the step as W3C Trace Context writes it; empty where no spans are exported."""
        return "" if self.context is None else self.context.traceparent

    @property
    def title(self) -> str:
        """Return what the step is called in a sentence."""
        name = self.name if self.kind == self.name else f"{self.kind} {self.name}"
        return f"{name} {self.facts['index']}" if "index" in self.facts else name


@contextmanager
def step(
    name: str,
    *,
    kind: str | None = None,
    log: RunLog | None = None,
    labels: Labels | None = None,
    above: Step | None = None,
    **facts: Fact,
) -> Iterator[Step]:
    """Take note of a step: `kind` is what sort of step (default: its name), `facts` what it is about.

    It lies within the step `above`, else within the one that is going on, and belongs to the same run unless a `log`
    is given. Without any run, `labels` say what it is about.
    """
    over = above or _current.get()
    found = log if log is not None or over is None else over.log
    if labels is not None and found is not None and found.labels.run_id != labels.run_id:
        found = None  # what is done to one run during another
    made = Step(name, kind or name, found, dict(facts), _labels(found, labels, over)).within(over)
    token = _current.set(made)
    made.begin()
    try:
        yield made
    except BaseException as error:
        made.failed(error)
        raise
    finally:
        _current.reset(token)
        made.end()


class HasRunId(Protocol):
    """A run, or its directory."""

    @property
    def run_id(self) -> str:
        """The id of the run."""
        ...


Owner = TypeVar("Owner", bound=HasRunId)


def about(
    name: str,
) -> Callable[[Callable[Concatenate[Owner, Given], Result]], Callable[Concatenate[Owner, Given], Result]]:
    """Have each call of a function be a step that is about the run it is given first."""

    def noted(function: Callable[Concatenate[Owner, Given], Result]) -> Callable[Concatenate[Owner, Given], Result]:
        @functools.wraps(function)
        def call(run: Owner, /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
            with step(name, labels=_labels_of(run)):
                return function(run, *args, **kwargs)

        return call

    return noted


def _labels_of(run: HasRunId) -> Labels:
    """Return the labels of a run, as far as they are worth reading its spec for."""
    spec = getattr(run, "spec", None) if exporting() is not None else None
    return Labels(run.run_id) if spec is None else Labels.of(run.run_id, spec)


def begin_run(log: RunLog) -> Step:
    """Return the step that a whole run is; whoever asked for it may have said what it is linked to."""
    made = Step("run", "run", log, {}, log.labels).within(_current.get())
    made.links = _linked.get() if made.context is not None else ()
    return made


@contextmanager
def linked_to(traceparent: str) -> Iterator[None]:
    """Link the runs that are begun meanwhile to a span elsewhere, as the trials of a sweep to its search."""
    context = SpanContext.parse(traceparent)
    token = _linked.set((context,) if context is not None else ())
    try:
        yield
    finally:
        _linked.reset(token)


def traceparent() -> str:
    """Return the step that is going on as W3C Trace Context writes it; empty where no spans are exported."""
    now_at = _current.get()
    return "" if now_at is None else now_at.traceparent


def number(measure: Measure, value: float, labels: Labels, **facts: Fact) -> None:
    """Export a number of a run; free where nothing is exported."""
    if (out := exporting()) is not None:
        out.add(Number(measure.name, value, {**labels.known(), **facts}))


def tell_run(run: Step, status: str, stages: Mapping[str, float]) -> None:
    """Export the numbers of a run that ended: how it did, how long it took, and each of its stages (seconds)."""
    told: dict[str, Fact] = {"status": status, "kind": run.name}
    number(RUNS, 1, run.labels, **told)
    number(RUN_DURATION, run.seconds or 0.0, run.labels, **told)
    for name, seconds in stages.items():
        number(STAGE_DURATION, seconds, run.labels, **told, stage=name)
    waiting_begins()


def tell_trial(place: int, run_id: str, state: str, seconds: float, error: str | None) -> None:
    """Export a trial that was executed in process, within the step that is going on: of the first 1,000 a span."""
    out, at = exporting(), _current.get()
    if out is None or at is None or at.context is None:
        return
    number(TRIALS, 1, at.labels, status=state)
    if place < MOST_TRIALS and at.context.sampled:
        ended = time.time_ns()
        facts: dict[str, Fact] = {**at.labels.known(), "kind": "trial", "trial": place, "trial_run_id": run_id}
        told = {**facts, "status": state}
        began = ended - round(seconds * 1e9)
        out.add(Span("trial", SpanContext.new(at.context), at.context, began, ended, told, error=error))


def flush_worker() -> None:
    """Send what a worker process has, as its end may come without a word."""
    import multiprocessing

    if multiprocessing.parent_process() is not None and (out := exporting()) is not None:
        out.flush()


def waiting_begins() -> None:
    """Say that this process is about to wait, or is done: what is exported is loaded and sent meanwhile."""
    if (out := exporting()) is not None:
        out.idle()


def _labels(log: RunLog | None, given: Labels | None, above: Step | None) -> Labels:
    if log is not None:
        return log.labels
    return given or (above.labels if above is not None else Labels())
