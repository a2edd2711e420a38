"""What a notebook declares as its input: a file, a folder, a pattern; a frame; or a function that makes a frame."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evidence.inputs import find_kept
from pipeline.inputs.declared import expanded
from pipeline.inputs.frames import keep_frame, read_frame
from pipeline.inputs.secret_files import holds_secrets
from pipeline.inputs.watch import Watch
from pipeline.spec_sections import INPUT_NAME

REPLAYED = "EVIDENCE_REPLAYED_FRAMES"  # in a replay: the Parquet file of each frame of the run, JSON


def declare(
    given: Any, name: str | None, *, watches: Sequence[Watch], asked: Mapping[str, str], root: Path, results: Path
) -> Any:
    """Declare an input; return the path to read, or the frame to work with.

    Of an input that the spec or `--input` names (`asked`), the path is theirs, whatever is given. Raises DataError.
    """
    if isinstance(given, str | os.PathLike):
        return _path(given, name, watches, asked, root)
    if name is None or not INPUT_NAME.fullmatch(name):
        raise DataError(
            f"A frame needs a name of letters, digits, - and _: run.input(frame, name='prices'), not {name!r}."
        )
    return _frame(given, name, watches, results)


def _path(
    given: str | os.PathLike[str], name: str | None, watches: Sequence[Watch], asked: Mapping[str, str], root: Path
) -> Any:
    name = name or Path(given).stem
    path = given
    if name in asked:
        path = type(given)(root / Path(asked[name]).expanduser()) if isinstance(given, Path) else asked[name]
    files = expanded(os.fspath(path), root if name in asked else Path.cwd())
    if not files:
        raise DataError(f"The input {name} = {os.fspath(path)!r} names no file. Give a file, a folder or a pattern.")
    for file in files:
        if holds_secrets(str(file)):
            raise DataError(f"The input {name} names a file of secrets, which must not be in evidence.")
        for watch in watches:
            watch.declare(str(file), name)
    return str(root / Path(asked[name]).expanduser()) if name in asked and isinstance(given, str) else path


def _frame(given: Any, name: str, watches: Sequence[Watch], results: Path) -> Any:
    """Keep a frame and return it as it reads back, so that a replay works with the same; see `keep_frame`."""
    replayed = json.loads(os.environ.get(REPLAYED) or "{}").get(name)
    made: Callable[[], Any] = given if callable(given) else lambda: given
    frame = (None if callable(given) else given) if replayed else made()
    if replayed:
        frame = read_frame(Path(replayed).read_bytes(), frame)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    kept, content = keep_frame(frame, name, now, results)
    for watch in watches:
        watch.declare_frame(replace(kept, replayed=bool(replayed)))
    return read_frame(content, frame)


def frames_of(recorded: Mapping[str, str], results: Path) -> tuple[dict[str, str], list[str]]:
    """Return the kept file of each frame of a run, by its name, and the names of those that were not found."""
    found = {name: find_kept(results, sha256) for name, sha256 in recorded.items()}
    return {name: str(path) for name, path in found.items() if path}, [name for name, path in found.items() if not path]
