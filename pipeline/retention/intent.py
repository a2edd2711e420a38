"""What is about to be done to runs, written down before it is begun, so that whoever comes next finishes it.

results/.pruning/intent.json

It names runs and the kept inputs that they used, and no more. What becomes of a run the ledger says: an intent alone
removes nothing, so that nobody has a run removed by writing one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.digest import pretty_json
from pipeline.errors import StorageError
from pipeline.evidence.tombstone import SHA256
from pipeline.file_lock import locked
from pipeline.files import read_json, write_atomic
from pipeline.rundir import PRUNING_DIR, RUN_ID

NAME, LOCK, VERSION = "intent.json", "lock", 1


@dataclass(frozen=True)
class Intent:
    """The runs that something is done to, each with the SHA-256 of the kept inputs that it used."""

    runs: Mapping[str, tuple[str, ...]]


def write_intent(results: Path, intent: Intent) -> None:
    """Write down what is about to be done, durably; raises StorageError."""
    runs = {run_id: list(digests) for run_id, digests in intent.runs.items()}
    path = write_atomic(_path(results), pretty_json({"version": VERSION, "runs": runs}))
    sync_directory(path.parent)


def read_intent(results: Path) -> Intent | None:
    """Return what was begun and not finished; None without. What cannot be read names no run, and is no more."""
    path = _path(results)
    if not path.is_file():
        return None
    try:
        runs = read_json(path)["runs"]
        found = {run_id: tuple(map(str, digests)) for run_id, digests in runs.items() if RUN_ID.fullmatch(run_id)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Intent({})
    return Intent({run_id: tuple(filter(SHA256.fullmatch, digests)) for run_id, digests in found.items()})


def is_unfinished(results: Path) -> bool:
    """Say whether something was begun and not finished, or is being done right now."""
    return _path(results).is_file()


def remove_intent(results: Path) -> None:
    """Say that all is done."""
    with contextlib.suppress(FileNotFoundError):
        _path(results).unlink()
    sync_directory(_path(results).parent)


@contextmanager
def one_at_a_time(results: Path, seconds: float | None = None) -> Iterator[None]:
    """Let one process at a time remove or restore runs; raises StorageError, also after `seconds` of waiting."""
    path = _path(results).with_name(LOCK)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            held.enter_context(locked(path, seconds=seconds))
            yield
    except TimeoutError:
        raise StorageError(f"Runs of {results} are being removed or restored right now. Try again later.") from None


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk, where the system can say so."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _path(results: Path) -> Path:
    return results / PRUNING_DIR / NAME
