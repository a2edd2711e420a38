"""A command that is interrupted, by Ctrl-C or by what ends a job or closes a terminal."""

from __future__ import annotations

import _thread
import signal
import sys
import time
from typing import Any

from pipeline.errors import EvidenceError

INTERRUPTED = 130
ENDING = ("SIGTERM", "SIGHUP")  # what a job's end and a closed terminal send: to a command the same as Ctrl-C


class Interrupted(EvidenceError):  # noqa: N818 - it is no error
    """Ctrl-C, SIGTERM or SIGHUP while a command was at work."""

    exit_code = INTERRUPTED


def end_as_interrupted() -> None:
    """Have these signals end the command as Ctrl-C does; not one that is ignored, as under `nohup`."""
    sys.unraisablehook = _interrupt_again
    for name in ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt once more, a moment later, where Python could not pass it on: in a callback of its import system."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        _thread.start_new_thread(_interrupt_soon, (_thread.get_ident(),))
    else:
        sys.__unraisablehook__(lost)


def _interrupt_soon(thread: int) -> None:
    time.sleep(0.01)
    if hasattr(signal, "pthread_kill"):  # ends a wait of the system's, too
        ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as of a shell's job in the background
        signal.pthread_kill(thread, signal.SIGTERM if ignored else signal.SIGINT)
    else:
        _thread.interrupt_main()
