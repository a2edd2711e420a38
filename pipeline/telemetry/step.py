"""A step of a run: when it began, how long it took, how it ended. One door for the log of a run and for spans."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from pipeline.telemetry.run_log import Fact, RunLog, now

_current: ContextVar[Step | None] = ContextVar("step", default=None)
LONGEST_ERROR = 500


@dataclass
class Step:
    """A step that is going on: `facts` may be added to until it ends; `error` says why it failed."""

    name: str
    kind: str
    log: RunLog | None
    facts: dict[str, Fact]
    began: str = field(default_factory=now)
    seconds: float | None = None
    error: str | None = None
    _clock: float = field(default_factory=time.perf_counter)

    def begin(self) -> None:
        """Say in the log of the run that the step begins."""
        if self.log is not None:
            told = {"event": "began", "kind": self.kind, "step": self.name, **self.facts}
            self.log.write(logging.DEBUG, f"{self.title} began", **told)

    def failed(self, error: BaseException) -> None:
        """Take note of what ended the step."""
        text = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
        self.error = text if self.log is None else self.log.hidden(text)

    def end(self) -> None:
        """Say in the log of the run how the step ended."""
        self.seconds = round(time.perf_counter() - self._clock, 6)
        if self.log is None:
            return
        how = f"failed after {self.seconds:.3f} s: {self.error}" if self.error else f"took {self.seconds:.3f} s"
        told = {"event": "ended", "kind": self.kind, "step": self.name, "began": self.began, "seconds": self.seconds}
        more = {"error": self.error} if self.error else {}
        self.log.write(logging.INFO, f"{self.title} {how}", **told, **more, **self.facts)

    @property
    def title(self) -> str:
        """Return what the step is called in a sentence."""
        name = self.name if self.kind == self.name else f"{self.kind} {self.name}"
        return f"{name} {self.facts['index']}" if "index" in self.facts else name


@contextmanager
def step(name: str, *, kind: str | None = None, log: RunLog | None = None, **facts: Fact) -> Iterator[Step]:
    """Take note of a step: `kind` is what sort of step (default: its name), `facts` what it is about.

    It belongs to the run whose `log` is given, else to that of the step it is in.
    """
    above = _current.get()
    found = log if log is not None or above is None else above.log
    made = Step(name, kind or name, found, dict(facts))
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
