"""Ask the lake in a process of its own, whose memory and time the system limits.

DuckDB keeps to a limit of memory and of time but within one long call of a function, so the process that asks is one
that can be ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pipeline import errors
from pipeline.errors import EvidenceError, LakeError
from pipeline.lake.connection import Limits
from pipeline.lake.place import Place, check_installed
from pipeline.settings import Settings

GRACE = 10.0  # seconds after its time that a query has to begin, to load, and to write


@dataclass(frozen=True)
class Question:
    """SQL, the format of the answer, and what it may take."""

    sql: str
    file_format: str = "table"
    limits: Limits = field(default_factory=Limits)
    unsafe: bool = False

    def to_json(self, place: Place) -> str:
        """Return what the process that asks reads."""
        return json.dumps({"place": str(place.path), **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> tuple[Self, Place]:
        """Read what to_json wrote."""
        values: dict[str, Any] = json.loads(text)
        place = Place(Path(values.pop("place")))
        return cls(**{**values, "limits": Limits(**values["limits"])}), place


def ask(settings: Settings, question: Question) -> bytes:
    """Return the answer to a question, in its format.

    Raises QueryError for SQL that is wrong, or does more than read; LakeError beyond a limit, and without a lake.
    """
    check_installed()
    limit = question.limits.seconds + GRACE
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pipeline.lake.child"],
            input=question.to_json(Place.of(settings)).encode(),
            capture_output=True,
            timeout=limit,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        raise LakeError(f"The query was ended after {limit:g} s: --timeout gives it more.") from None
    if done.returncode == 0:
        return done.stdout
    raise _told(done.stderr.decode(errors="replace"), question.limits)


def _environment() -> dict[str, str]:
    """Return the environment in which the process imports this very package."""
    home = str(Path(__file__).parents[2])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _told(text: str, limits: Limits) -> EvidenceError:
    """Return the error that the process told of, as its last line; a process that could not is out of memory."""
    try:
        told = json.loads(text.strip().rpartition("\n")[2])
        kind: type[EvidenceError] = getattr(errors, told["kind"])
        return kind(told["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        last = text.strip().rpartition("\n")[2][:300]
        memory = f"it may need more than {limits.memory:,} MB of memory (--memory)"
        return LakeError(f"The query ended without an answer; {memory}. {last}".strip())
