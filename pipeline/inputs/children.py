"""The processes that this one starts. What they read is not seen, so the record says that there were some.

Most are seen by audit events when they start. `multiprocessing` with "spawn" or "forkserver", and joblib's workers,
raise none: those that still live at the end are asked for their names, and of those that are over, the system tells
that there were some.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from pipeline.running import children_since

FORK = "a fork of the run's own process"
SHELL = "a shell"
UNNAMED = "a process that is over"


class Children:
    """What is known of the processes that were started since this was made; programs by name, never their arguments."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._began, self._spent = time.time(), _spent()
        self.events: dict[str, Callable[..., None]] = {
            "subprocess.Popen": self._program,
            "os.posix_spawn": self._program,
            "os.spawn": lambda _mode, *arguments: self._program(*arguments),
            "os.fork": lambda *_: self._note(FORK),
            "os.forkpty": lambda *_: self._note(FORK),
            "os.system": lambda *_: self._note(SHELL),
        }

    def end(self) -> tuple[str, ...]:
        """Return the names, in the order of the first time."""
        for name in children_since(self._began):
            self._note(name)
        if not self._names and _spent() > self._spent:
            self._note(UNNAMED)
        return tuple(self._names)

    def _note(self, name: str) -> None:
        self._names.setdefault(name)

    def _program(self, path: Any, arguments: Any = (), *_: Any) -> None:
        given = path or (arguments if isinstance(arguments, str | bytes) else next(iter(arguments), ""))
        self._note(PurePath(os.fsdecode(given)).name)


def _spent() -> int:
    """Return how many pages the children that are over have asked for; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
