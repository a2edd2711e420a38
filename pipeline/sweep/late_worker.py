"""A worker that is forked when its command has ended already: it has nothing to do, and nothing to say.

A fork server imports this before it forks: errors of the server and of its children are then shown by it. A command
that is interrupted while its pool starts is gone before the workers read what they are to be; what they then miss
(locks, the rest of a pipe) is no news to anybody.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from types import TracebackType

MISSED = (FileNotFoundError, EOFError, BrokenPipeError, ConnectionResetError, pickle.UnpicklingError)


def quiet_when_late(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Show what ended a process, as Python does, unless it is a worker whose command is gone."""
    if not (issubclass(kind, MISSED) and _reading_its_task(where)):
        sys.__excepthook__(kind, error, where)


def _reading_its_task(where: TracebackType | None) -> bool:
    """Say whether a new process had not yet read what it is to do."""
    frames = [(frame.f_globals.get("__name__"), frame.f_code.co_name) for frame, _ in traceback.walk_tb(where)]
    return ("multiprocessing.spawn", "_main") in frames and ("multiprocessing.process", "_bootstrap") not in frames


sys.excepthook = quiet_when_late
