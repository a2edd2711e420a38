"""What the ledger says of runs that were removed, brought back, pinned: tombstones, and which of them stand.

A tombstone is an entry run_pruned. Its subject is the digest of the run's manifest; its details say what was removed
(level), by which rule, and the run's result, so that trial statistics outlast the directory.

    artifacts  the files that `dropped` names are gone, the manifest and all else is there; what remains verifies
    archive    the directory is gone, and `archive_sha256` is that of the archive that holds it
    delete     the directory is gone

It is written before anything is removed: a removal that somebody cut short is told by it, and gone on with. An entry
without a level is from before, and says no more than that the run was removed on purpose.

An entry counts only when somebody may say so (pipeline.evidence.ledger_check), about a run the ledger knows, with the
manifest the ledger knows, and from a state that allows it. Everything else is named, and not followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipeline.evidence.ledger import (
    RUN_KILLED,
    RUN_PINNED,
    RUN_PRUNED,
    RUN_RESTORED,
    RUN_STARTED,
    RUN_UNPINNED,
    SEALS,
    Entry,
    Event,
)
from pipeline.evidence.trial import RESULT
from pipeline.file_names import is_plain_name
from pipeline.layout import MANIFEST, SIGNATURE

LEVEL, RULE, DROPPED, FORCED = "level", "rule", "dropped", "forced"
FILES, BYTES, ARCHIVE_SHA256, NEVER_SEALED = "files", "bytes", "archive_sha256", "never_sealed"
ARTIFACTS, ARCHIVE, DELETE = "artifacts", "archive", "delete"
LEVELS = (ARTIFACTS, ARCHIVE, DELETE)
WORDS = {ARTIFACTS: "artifacts dropped", ARCHIVE: "archived", DELETE: "deleted", None: "removed on purpose"}
SHA256 = re.compile(r"[0-9a-f]{64}")
KNOWN = frozenset({RUN_STARTED, RUN_KILLED}) | SEALS
FOLDER = "/"
SEAL = ((), (MANIFEST,), (SIGNATURE,))  # what no run drops


@dataclass(frozen=True)
class Tombstone:
    """What was removed of a run, when, by which rule; `seq` is the ledger's entry.

    `level` is one of `LEVELS`, None of an entry from before levels. `subject` is the SHA-256 of its manifest, of a run
    that was `never_sealed` that of its config, if it had one. `dropped` are names of files, and of folders with `/` at
    the end. `files` and `bytes` count what was removed; `forced` are the reasons to keep it that somebody overruled.
    """

    seq: int
    time: str
    run_id: str
    level: str | None = None
    rule: str = ""
    subject: str | None = None
    dropped: tuple[str, ...] = ()
    files: int = 0
    bytes: int = 0
    archive_sha256: str | None = None
    forced: tuple[str, ...] = ()
    never_sealed: bool = False

    @property
    def gone(self) -> bool:
        """Say whether the run's directory was removed."""
        return self.level != ARTIFACTS

    def covers(self, name: str) -> bool:
        """Say whether a file of the run directory is one of those that were dropped."""
        return is_among(name, self.dropped)

    def __str__(self) -> str:
        rule = f" by {self.rule}" if self.rule else ""
        forced = f", although: {'; '.join(self.forced)}" if self.forced else ""
        return f"{WORDS[self.level]} on {self.time[:10]}{rule}{forced}"

    def event(self, *, strategy: str | None, data_sha256: str | None, result: object = None, told: bool) -> Event:
        """Return the entry to be written; `told` says that `result`, a row or None, is known to be that of the run."""
        details: dict[str, Any] = {LEVEL: self.level, RULE: self.rule, FILES: self.files, BYTES: self.bytes}
        details |= {DROPPED: list(self.dropped)} if self.dropped else {}
        details |= {ARCHIVE_SHA256: self.archive_sha256} if self.archive_sha256 else {}
        details |= {FORCED: list(self.forced)} if self.forced else {}
        details |= {NEVER_SEALED: True} if self.never_sealed else {}
        details |= {RESULT: result} if told else {}
        return Event(RUN_PRUNED, self.run_id, self.subject, strategy, data_sha256, details)

    @classmethod
    def of_entry(cls, entry: Entry) -> Tombstone:
        """Read an entry run_pruned; raises ValueError that says what is wrong with it."""
        details, run_id = entry.event.details, str(entry.event.run_id)
        if LEVEL not in details:
            return cls(entry.seq, entry.time, run_id)
        found = cls(
            entry.seq,
            entry.time,
            run_id,
            details[LEVEL],
            details.get(RULE),  # type: ignore[arg-type] # looked at below
            entry.event.subject_sha256,
            _texts(details.get(DROPPED, []), DROPPED),
            _count(details.get(FILES), FILES),
            _count(details.get(BYTES), BYTES),
            details.get(ARCHIVE_SHA256),
            _texts(details.get(FORCED, []), FORCED),
            details.get(NEVER_SEALED, False),
        )
        found._check()
        return found

    def _check(self) -> None:
        if self.level not in LEVELS or not isinstance(self.rule, str) or not isinstance(self.never_sealed, bool):
            raise ValueError("it does not say what was removed, or by which rule")
        archive = self.archive_sha256
        if (self.level == ARCHIVE) != (isinstance(archive, str) and SHA256.fullmatch(archive) is not None):
            raise ValueError("an archived run has the digest of its archive, and no other one has")
        if (self.level == ARTIFACTS) != bool(self.dropped) or not all(map(_is_droppable, self.dropped)):
            raise ValueError("it does not name the files that were dropped, or such as no run drops")
        if self.never_sealed and self.level != DELETE:
            raise ValueError("a run that was never sealed can only be deleted")


@dataclass(frozen=True)
class Removals:
    """What a ledger says of removed runs: the tombstone that stands for each, pins, contradictions.

    A run that was restored has no tombstone that stands, unless files of it were dropped before. `problems` are (seq,
    sentence) of entries that are not followed.
    """

    standing: Mapping[str, Tombstone] = field(default_factory=dict)
    pinned: Mapping[str, Entry] = field(default_factory=dict)
    problems: tuple[tuple[int, str], ...] = ()

    @property
    def gone(self) -> frozenset[str]:
        """The runs whose directories were removed on purpose."""
        return frozenset(run_id for run_id, tombstone in self.standing.items() if tombstone.gone)


def is_among(name: str, names: Iterable[str]) -> bool:
    """Say whether a file is one of these names, or in one of those that end with `/`."""
    return any(name.startswith(item) if item.endswith(FOLDER) else name == item for item in names)


def removals_in(entries: Iterable[Entry], counts: Callable[[Entry], bool]) -> Removals:
    """Read what the entries of a ledger say of removed runs; `counts` says whose word is taken."""
    book = _Book(counts)
    for entry in entries:
        if entry.event.run_id is None:
            continue
        try:
            book.add(entry, entry.event.run_id)
        except ValueError as error:
            book.problems.append((entry.seq, str(error)))
    return Removals(book.standing, book.pinned, tuple(book.problems))


@dataclass
class _Book:
    """What was read so far: of each run the manifests it was sealed with, and the subject of its first entry."""

    counts: Callable[[Entry], bool]
    seals: dict[str, dict[str | None, int]] = field(default_factory=dict)
    known: dict[str, str | None] = field(default_factory=dict)
    standing: dict[str, Tombstone] = field(default_factory=dict)
    pinned: dict[str, Entry] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, entry: Entry, run_id: str) -> None:
        """Take in one entry; raises ValueError that says what is wrong with it."""
        kind = entry.event.kind
        if kind == RUN_PINNED:
            self.pinned[run_id] = entry  # whoever asks for more to be kept is heard
        elif kind == RUN_UNPINNED and self.counts(entry):
            self.pinned.pop(run_id, None)
        elif kind == RUN_PRUNED and self.counts(entry):
            self._prune(Tombstone.of_entry(entry))
        elif kind == RUN_RESTORED and self.counts(entry):
            self._restore(entry, run_id)
        elif kind in KNOWN:
            self._know(entry, run_id)

    def _know(self, entry: Entry, run_id: str) -> None:
        self.known.setdefault(run_id, entry.event.subject_sha256)
        if entry.event.kind in SEALS:
            self.seals.setdefault(run_id, {}).setdefault(entry.event.subject_sha256, entry.seq)
            stands = self.standing.get(run_id)
            if stands is not None and stands.level is not None and stands.gone:
                raise ValueError(f"it seals the run {run_id}, which was {stands.level}d by entry {stands.seq}")

    def _prune(self, told: Tombstone) -> None:
        stands, run_id = self.standing.get(told.run_id), told.run_id
        if told.level is None:
            self.standing.setdefault(run_id, told)
            return
        if stands is not None and (stands.level in {DELETE, None} or told.level != DELETE):
            raise ValueError(f"the run {run_id} was {WORDS[stands.level]} before, by entry {stands.seq}")
        seals = self.seals.get(run_id, {})
        if told.never_sealed and seals:
            raise ValueError(f"it says that the run {run_id} was never sealed; entry {min(seals.values())} sealed it")
        if not told.never_sealed and not seals:
            raise ValueError(f"it removes the run {run_id}, which no entry before it knows to be sealed")
        if told.subject not in ({None, self.known.get(run_id)} if told.never_sealed else seals):
            raise ValueError(f"it removes another run {run_id} than the one that was sealed")
        self.standing[run_id] = told

    def _restore(self, entry: Entry, run_id: str) -> None:
        stands = self.standing.get(run_id)
        if stands is None or stands.level != ARCHIVE:
            raise ValueError(f"it restores the run {run_id}, which was not archived")
        if entry.event.subject_sha256 != stands.subject:
            raise ValueError(f"it restores another run {run_id} than was archived by entry {stands.seq}")
        del self.standing[run_id]


def _is_droppable(name: str) -> bool:
    plain = name.removesuffix(FOLDER)
    return is_plain_name(plain) and PurePosixPath(plain).parts[:1] not in SEAL


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} is a list of texts")
    return tuple(value)


def _count(value: Any, name: str) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} = {value!r}: it must be a whole number")
    return value
