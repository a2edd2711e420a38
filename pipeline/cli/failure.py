"""A failed run's error in a few lines: what was raised, and the last frame of the user's own code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.run_record import RunError

MOST_LINES = 12
KEPT_LINES = 3
FRAME = re.compile(
    r"(?:File (?P<file>.+?):(?P<line>\d+)(?:, in (?P<function>[^(]+)\(.*)?|(?P<cell>Cell In\[\d+\], line \d+))$"
)
ARROW = re.compile(r"-+> \d+ +(?P<code>.+)")
FOREIGN = re.compile(r"site-packages|dist-packages|[\\/]lib(?:64)?[\\/]python3|^<")
PACKAGE = str(Path(__file__).resolve().parent.parent)


def error_lines(error: RunError, *, whole: str) -> list[str]:
    """Return the lines that say why a run failed; `whole` says where the rest of a long text is.

    `error` is the record's: its message, and of a failed cell the traceback.
    """
    lines = short_lines(error.message, whole=whole)
    frame = own_frame(error.traceback or "")
    return [*lines, f"at {frame}"] if frame else lines


def error_facts(kind: str, message: str | None) -> dict[str, str] | None:
    """Return an error as `--json` says it; None without a message."""
    return None if message is None else {"kind": kind, "message": message}


def short_lines(text: str, *, whole: str) -> list[str]:
    """Return a text's lines; of more than a screen can hold the first ones, and where all of them are."""
    lines = text.strip().splitlines()
    if len(lines) <= MOST_LINES:
        return lines
    return [*lines[:KEPT_LINES], f"... {len(lines) - KEPT_LINES} more lines: {whole}"]


def own_frame(traceback: str) -> str | None:
    """Return the last frame of a traceback, as IPython prints it, that is neither a library's nor this package's."""
    return next(iter(reversed([*_own_frames(traceback)])), None)


def _own_frames(traceback: str) -> Iterator[str]:
    lines = traceback.splitlines()
    for number, line in enumerate(lines):
        found = FRAME.match(line)
        if found is None or _is_foreign(found["file"] or ""):
            continue
        where = found["cell"] or f"{found['file']}:{found['line']}" + (
            f", in {found['function']}" if found["function"] else ""
        )
        code = next((arrow["code"] for below in lines[number + 1 : number + 12] if (arrow := ARROW.match(below))), None)
        yield f"{where}: {code.strip()}" if code else where


def _is_foreign(file: str) -> bool:
    return bool(FOREIGN.search(file)) or str(Path(file).expanduser()).startswith(PACKAGE)
