"""Run a renderer's program in its scratch directory and judge what it says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline.errors import RenderError

TIMEOUT = 600.0


def run_program(command: list[str], scratch: Path, *, what: str, timeout: float = TIMEOUT) -> str:
    """Run `command` in `scratch` and return what it printed, both streams; raises RenderError when it fails.

    The program gets this process's environment, a fixed locale, a fixed date for what it makes, and a temporary
    directory inside `scratch`.
    """
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    fixed = {"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "0", "NO_COLOR": "1"}
    environment = {**os.environ, **fixed, "TMPDIR": str(temporary)}
    try:
        done = subprocess.run(  # noqa: S603 - a program found by this package, arguments of its own
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RenderError(f"{what} took longer than {timeout:.0f} s and was stopped.") from None
    except OSError as error:
        raise RenderError(f"{what} could not be started: {error.strerror} ({command[0]}).") from None
    said = done.stdout.decode(errors="replace").replace(str(scratch), ".")
    if done.returncode != 0:
        raise RenderError(f"{what} failed with exit code {done.returncode}:\n{said.strip()[-3000:]}")
    return said
