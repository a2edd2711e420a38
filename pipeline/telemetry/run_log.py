"""The log of a run: JSON lines, sealed with the run; what comes after the seal lies beside it.

A line has `time` (ISO-8601 UTC), `level`, `message`, the labels of the run (`run_id`, `experiment`, `strategy`,
`symbol`, as far as they are known), its `status`, and what the line is about: of a step `event` (began, ended), `kind`,
`step`, `began`, `seconds`, `error`, `index`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.masking import masked_text
from pipeline.rundir import RunDir
from pipeline.spec import RunSpec
from pipeline.telemetry.exporting import IN_KERNEL, exporting
from pipeline.telemetry.span import Fact, Line, SpanContext

logger = logging.getLogger("pipeline.run")
logger.addHandler(logging.NullHandler())  # what a run warns of is told by whoever asked for it
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
LONGEST = 2_000  # characters of a message


@dataclass(frozen=True)
class Labels:
    """What every line, span and number of a run is labelled with; what is not known is empty."""

    run_id: str = ""
    experiment: str = ""
    strategy: str = ""
    symbol: str = ""

    @classmethod
    def of(cls, run_id: str, spec: RunSpec) -> Labels:
        """Return the labels of a run of this spec."""
        strategy = spec.strategy.name if spec.strategy is not None else ""
        symbol = spec.data.symbol if spec.data is not None else None
        return cls(run_id, spec.run.experiment, strategy, symbol or "")

    def known(self) -> dict[str, Fact]:
        """Return the labels that are known."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass
class RunLog:
    """Writes the log of one run; what cannot be written is left out, since a log must not end a run.

    `hide` masks secrets. Once `seal` was called, or the manifest is there, lines go beside the run directory.
    """

    run: RunDir
    labels: Labels
    hide: Callable[[str], str] = masked_text
    status: str = "RUNNING"
    sealing: bool = field(default=False, init=False)
    error: str | None = field(default=None, init=False)
    context: SpanContext | None = field(default=None, init=False)

    def write(self, level: int, message: str, *, context: SpanContext | None = None, **facts: Any) -> None:
        """Add a line, and hand it to whoever listens to the logger `pipeline.run`, or to what is exported.

        `context` is the span that it is about, by default that of the run.
        """
        text = self.hidden(message)
        facts = self._hidden_in(facts)
        place = {"in": "kernel"} if os.environ.get(IN_KERNEL) == self.run.run_id else {}
        labels = self._hidden_in({**self.labels.known(), "status": self.status, **place})
        line = {"time": now(), "level": logging.getLevelName(level), "message": text, **labels, **facts}
        with contextlib.suppress(OSError, ValueError):
            _append(self.path, (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())
        if level > logging.DEBUG and (out := exporting()) is not None:
            out.add(Line(time.time_ns(), level, text, {**labels, **facts}, context or self.context))
        if logger.isEnabledFor(level):
            logger.log(level, "%s", text, extra={"labels": labels, "facts": facts})

    def hidden(self, text: str) -> str:
        """Return a text as it may be kept: without secrets, in one form, not endless."""
        short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        return self.hide(short).encode("utf-8", "backslashreplace").decode()

    def _hidden_in(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.hidden(value) if isinstance(value, str) else value for name, value in values.items()}

    @property
    def path(self) -> Path:
        """Where a line goes now."""
        return self.run.late_log if self.sealing or self.run.manifest.is_file() else self.run.log

    def end(self, status: str, warnings: list[str], error: str | None) -> None:
        """Write how the run ends, the last the seal covers; what follows lies beside the run."""
        self.status, self.error = status, None if error is None else self.hidden(error)
        if self.sealing:  # of a seal that is tried once more
            return
        for text in warnings:
            self.write(logging.WARNING, text)
        if error is not None:
            self.write(logging.ERROR, error)
        self.sealing = True


def read_log(*paths: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of a run's log, the files in which they are in order; what is no such line is skipped."""
    for path in paths:
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                yield from _lines(path.read_text(encoding="utf-8", errors="replace"))


def _lines(text: str) -> Iterator[Mapping[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found


def now() -> str:
    """Return the time as ISO-8601 UTC text with microseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _append(path: Path, line: bytes) -> None:
    """Add a line in one call, so that the kernel and its owner do not cut into each other's.

    A link or a pipe that stands in the place of the log is left alone: raises OSError.
    """
    try:
        file = os.open(path, FLAGS, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(exist_ok=True)
        file = os.open(path, FLAGS, 0o666)
    try:
        os.write(file, line)
    finally:
        os.close(file)
