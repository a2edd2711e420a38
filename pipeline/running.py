"""What lies in `results/.running` for a run: who executes it, is that process alive; files on their way into it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.errors import StorageError
from pipeline.files import PARTIAL, replace_file, write_atomic, write_json
from pipeline.objects import read_object
from pipeline.rundir import RunDir

TEXTS = ("status", "stage", "started_at", "origin", "reason")


def write_aside(run: RunDir, target: Path, data: bytes) -> Path:
    """Write a file into a sealed run directory by way of `.running`, atomically; raises StorageError.

    A process that is killed half way leaves nothing behind in the run directory.
    """
    waiting = write_atomic(run.scratch.parent / f"{PARTIAL}{os.getpid()}-{run.run_id}-{target.name}", data)
    try:
        target.parent.mkdir(exist_ok=True)
        replace_file(waiting, target)
    except OSError as error:
        raise StorageError(f"{target} could not be written: {error.strerror}.") from error
    return target


def write_state(run: RunDir, **facts: Any) -> None:
    """Record who executes the run, so that others can tell a running run from a killed one."""
    pid = os.getpid()
    write_json(run.state, {"pid": pid, "pid_created": born(pid), "host": socket.gethostname(), **facts})


@dataclass(frozen=True)
class Execution:
    """Who executes a run, as `write_state` recorded it; text that is not known is empty.

    `alive` is None when that was on another host, where nobody can tell. `reason` says why it was stopped.
    """

    status: str = ""
    stage: str = ""
    started_at: str = ""
    origin: str = ""
    reason: str = ""
    pid: int | None = None
    alive: bool | None = False

    @property
    def running(self) -> bool:
        """Say whether the run is still executed; on another host its recorded status counts."""
        return self.status == "RUNNING" and self.alive is not False


NOBODY = Execution()


def read_state(run: RunDir) -> Execution | None:
    """Return what `write_state` recorded, and whether that process is alive; None without a record."""
    try:
        state = read_object(run.state)
    except (OSError, ValueError):
        return None
    pid, told = state.get("pid"), {name: state.get(name) for name in TEXTS}
    return Execution(
        **{name: text for name, text in told.items() if isinstance(text, str)},
        pid=pid if isinstance(pid, int) else None,
        alive=is_alive(pid, state.get("pid_created"), state.get("host")),
    )


@lru_cache(maxsize=1)
def born(pid: int) -> float:
    """Return when a process of this machine began, in seconds since 1970: process ids are used again."""
    import psutil

    return float(psutil.Process(pid).create_time())


def is_alive(pid: Any, created: Any, host: Any) -> bool | None:
    """Say whether a process with this id and time of birth is there; None when it was on another host."""
    import psutil

    if host != socket.gethostname():
        return None
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - created) < 1.0)  # None would be this process
    except (psutil.NoSuchProcess, psutil.AccessDenied, TypeError, ValueError, OverflowError):
        return False


def children_since(moment: float) -> tuple[str, ...]:
    """Return the names of the programs that this process started since a time, as far as they are still alive.

    Births are told in ticks of the clock since the machine started, so those of a second before count, too.
    """
    import psutil

    names = []
    with suppress(psutil.Error, OSError):
        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if child.create_time() >= moment - 1.0:
                    names.append(child.name())
    return tuple(names)
