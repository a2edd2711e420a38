"""The log of runs for people, on a terminal, where it is asked for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

from pipeline.masking import masked_text

VARIABLE = "EVIDENCE_LOG"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class ForPeople(logging.Formatter):
    """A line: time, level, the beginning of the run's id, what happened; nothing that moves the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        run_id = str(vars(record).get("labels", {}).get("run_id", ""))[:8]
        text = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {run_id:<8} {record.getMessage()}"
        return masked_text("".join(char if char.isprintable() else "\ufffd" for char in text))


def listen(environ: Mapping[str, str], stream: TextIO | None = None) -> logging.Handler | None:
    """Print the log of runs as EVIDENCE_LOG asks: debug, info, warning or error; for anything else nothing."""
    level = LEVELS.get(environ.get(VARIABLE, "").strip().lower())
    if level is None:
        return None
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(ForPeople())
    handler.setLevel(level)
    log = logging.getLogger("pipeline")
    log.addHandler(handler)
    log.setLevel(level)
    return handler
