"""Where a run's journal lies and what of it has reached the store.

results/<run_id>/debug/tracking.jsonl       the journal, sealed with the run
results/<run_id>/debug/tracking/<n>/…       files that were logged and lie nowhere else
results/.outbox/<run_id>/late.jsonl         what is logged after the seal: digests, report, end
results/.outbox/<run_id>/state.json         how far delivery has come; can be deleted, costs one look-up
results/.outbox/<run_id>/tracking.jsonl     the journal of a script's run, which has no run directory
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.file_lock import locked
from pipeline.files import read_json, write_json
from pipeline.layout import JOURNAL, JOURNAL_FILES
from pipeline.rundir import OUTBOX_DIR, RUN_ID, RunDir
from pipeline.running import born, is_alive
from pipeline.tracking.journal import Journal, read_journal

ADOPTED = "adopted"  # in a journal's start: the run is somebody else's, who ends it


@dataclass(frozen=True)
class State:
    """How far delivery has come. `journal` and `late` are the last delivered sequence numbers.

    `sizes` are the bytes of both files when everything in them had been delivered; `rejected` names what the
    store refused for good; `error` is why the last attempt failed.
    """

    tracking_uri: str | None = None
    experiment_id: str | None = None
    mlflow_run_id: str | None = None
    artifact_uri: str | None = None
    journal: int = 0
    late: int = 0
    sizes: tuple[int, int] = (-1, -1)
    ended: bool = False
    rejected: tuple[str, ...] = field(default=())
    error: str | None = None


@dataclass(frozen=True)
class Home:
    """The files of one run's tracking. `base` is what paths in the journal are relative to."""

    run_id: str
    base: Path
    journal: Path
    files: Path
    outbox: Path

    @classmethod
    def of_run(cls, run: RunDir) -> Home:
        """Return the home of a run with a run directory."""
        return cls(run.run_id, run.path, run.journal, run.journal_files, run.outbox)

    @classmethod
    def of_script(cls, results: Path, run_id: str) -> Home:
        """Return the home of a run that a script tracks by itself."""
        outbox = RunDir(results, run_id).outbox
        return cls(run_id, outbox, outbox / JOURNAL, outbox / JOURNAL_FILES, outbox)

    @classmethod
    def find(cls, results: Path, run_id: str) -> Home:
        """Return the home of the run with this id, whichever kind it is."""
        run = RunDir(results, run_id)
        return cls.of_run(run) if run.path.is_dir() else cls.of_script(results, run_id)

    @property
    def late(self) -> Path:
        """The journal of what is logged after the seal."""
        return self.outbox / "late.jsonl"

    @property
    def state_file(self) -> Path:
        """How far delivery has come."""
        return self.outbox / "state.json"

    @property
    def owner(self) -> Path:
        """The process of a script that still logs to its journal."""
        return self.outbox / "owner.json"

    def read(self) -> tuple[Journal, Journal]:
        """Return the journal and the late journal."""
        return read_journal(self.journal), read_journal(self.late)

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of both journals; 0 for a missing one."""
        return _size(self.journal), _size(self.late)

    def load(self) -> State:
        """Return how far delivery has come; a missing or unreadable record is the beginning."""
        try:
            values = read_json(self.state_file)
            known = {item.name for item in fields(State)}
            kept = {name: value for name, value in values.items() if name in known}
            for name in ("sizes", "rejected"):
                kept[name] = tuple(kept.get(name) or getattr(State(), name))
            return State(**kept)
        except (OSError, ValueError, TypeError, AttributeError):
            return State()

    def save(self, state: State) -> State:
        """Write down how far delivery has come; raises StorageError."""
        write_json(self.state_file, asdict(state))
        return state

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time deliver this run; raises StorageError."""
        with ExitStack() as held:
            try:
                self.outbox.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.outbox / "lock"))
            except OSError as error:
                raise StorageError(f"{self.outbox} cannot be written: {error.strerror}.") from error
            yield

    def pending(self) -> int:
        """Return how many journal entries have not reached the store; a journal that cannot be read has one."""
        state = self.load()
        if self.sizes() == state.sizes:
            return 0
        try:
            journal, late = self.read()
        except StorageError:
            return 1
        return sum(e.seq > state.journal for e in journal.entries) + sum(e.seq > state.late for e in late.entries)


def tracked_runs(results: Path) -> list[str]:
    """Return the sorted ids of all runs below `results` that have something in an outbox."""
    directory = results / OUTBOX_DIR
    if not directory.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(directory) if RUN_ID.fullmatch(entry.name))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def write_owner(home: Home) -> None:
    """Record that this process logs to the journal, so that nobody takes its run for a killed one."""
    pid = os.getpid()
    write_json(home.owner, {"pid": pid, "created": born(pid), "host": socket.gethostname()})


def is_owned(home: Home) -> bool:
    """Return whether a script on this machine still logs to the journal."""
    try:
        owner = read_json(home.owner)
        return is_alive(owner["pid"], owner["created"], owner["host"]) is True
    except (OSError, ValueError, KeyError, TypeError):
        return False
