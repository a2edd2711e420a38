"""The ledger: one line an event in `results/ledger.jsonl`, each holding the digest of the one before.

    {"digest": D, "entry": {"private": {…}, "public": {"seq": 7, "kind": "run_sealed", "previous": …, …}, "scope": {…}},
     "signatures": [{"keyid", "sig"}]}

D covers the three parts and the signatures (pipeline.evidence.leaf); the next line's `previous` is D, so D covers all
that came before. Format 1, which is read for ever, has all fields in `entry`, and D is the SHA-256 of the line without
it. Lines are canonical JSON. The signature is that of a DSSE envelope whose payload is the canonical entry.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.digest import sha256_bytes
from pipeline.errors import StorageError, UsageError, VerificationError
from pipeline.evidence.dsse import Signed, read_signatures, sign_detached
from pipeline.evidence.leaf import VERSION, digest_of_parts, joined, new_salts, split
from pipeline.evidence.strict_json import canonical, parse_canonical
from pipeline.file_lock import locked
from pipeline.files import write_atomic

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

ENTRY_TYPE = "application/vnd.evidence-chain.ledger-entry+json"
FIRST_VERSION = 1
START = "0" * 64
CHECKPOINT = re.compile(r"[0-9]{1,15}:[0-9a-f]{64}")
LONGEST = 1 << 16
BLOCK = 1 << 13

RUN_STARTED = "run_started"
RUN_SEALED = "run_sealed"
RUN_FAILED = "run_failed"
RUN_KILLED = "run_killed"
RUN_ADOPTED = "run_adopted"
RUN_PRUNED = "run_pruned"
RUN_RESTORED = "run_restored"
RUN_PINNED = "run_pinned"
RUN_UNPINNED = "run_unpinned"
REPORT_RENDERED = "report_rendered"
TRIAL_COUNTED = "trial_counted"
TRIALS_ENDED = "trials_ended"
KEY_ROTATED = "key_rotated"
ANCHOR_ADDED = "anchor_added"
LEDGER_REPAIRED = "ledger_repaired"
KINDS = frozenset(
    {RUN_STARTED, RUN_SEALED, RUN_FAILED, RUN_KILLED, RUN_ADOPTED, RUN_PRUNED, REPORT_RENDERED, TRIAL_COUNTED}
    | {TRIALS_ENDED, KEY_ROTATED, ANCHOR_ADDED, LEDGER_REPAIRED, RUN_RESTORED, RUN_PINNED, RUN_UNPINNED}
)
ORIGIN = "origin"  # in the details of a run's start: who asked for it
REPLAY = "replay:"  # how the origin of a replay begins
SWEEP = "sweep"  # the origin of a sweep
OF_SWEEP = ("sweep-trial:", "sweep-best:")  # how the origins of its trials' runs begin; its run_id follows
BATCH = "batch"  # in the details of counted and ended trials: which batch of the sweep `run_id` they are
TRIALS = "trials"  # in the details of counted trials: how many
SEALER = "signature_keyid"  # in the details of a seal's entry: which key had signed the manifest
SEALS = frozenset({RUN_SEALED, RUN_FAILED, RUN_ADOPTED})


@dataclass(frozen=True)
class Event:
    """What happened: a kind of `KINDS`, the run, the SHA-256 of what it is about, and what counts trials.

    The subject of run_started is the config snapshot, of run_sealed, run_failed and run_adopted the manifest, and of
    run_pruned and run_restored (pipeline.evidence.tombstone), of report_rendered the report, of trial_counted and
    trials_ended the batch's list of trials, of key_rotated the new public key, of anchor_added the token.
    """

    kind: str
    run_id: str | None = None
    subject_sha256: str | None = None
    strategy: str | None = None
    data_sha256: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """An event as it stands in the ledger. `digest` is this line's, `previous` the one before's; `signer` a keyid."""

    seq: int
    event: Event
    time: str
    previous: str
    digest: str
    signer: str | None
    signed: Signed | None
    version: int = FIRST_VERSION

    @property
    def checkpoint(self) -> Checkpoint:
        """The state of the ledger when this entry was its last."""
        return Checkpoint(self.seq, self.digest)


@dataclass(frozen=True)
class Checkpoint:
    """The number of the ledger's last entry, from 0, and its digest: kept elsewhere, it shows a roll-back."""

    seq: int
    digest: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read `seq:digest`, as printed; raises UsageError."""
        seq, _, digest = text.strip().partition(":")
        if not CHECKPOINT.fullmatch(text.strip()):
            raise UsageError(f"{text.strip()[:100]!r} is not a checkpoint: the form is SEQ:SHA256.")
        return cls(int(seq), digest)


def append(ledger: Path, event: Event, signer: Signer | None = None) -> Entry:
    """Add one entry to the ledger and return it; see `append_many`."""
    return append_many(ledger, [event], signer)[0]


def append_many(ledger: Path, events: Sequence[Event], signer: Signer | None = None) -> list[Entry]:
    """Add entries at the ledger's end, durably, and return them; only the last line is read.

    Safe under parallel writers (a lock on the file) and when this process is killed at any step: an entry is there
    or not. A line that a killed writer left unfinished is moved to `ledger.jsonl.torn-<offset>-<digest>`, and an entry
    ledger_repaired says so. Raises StorageError, and VerificationError when the last line is damaged.
    """
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with locked(ledger) as descriptor:
            end = os.fstat(descriptor).st_size
            whole, last = read_tail(descriptor, end, ledger)
            wanted = [*_repair(ledger, descriptor, whole, end), *events]
            lines, entries = _lines(wanted, last, signer)
            _write(descriptor, b"".join(lines), whole)
            return entries[len(wanted) - len(events) :]
    except OSError as error:
        raise StorageError(f"The ledger {ledger} cannot be written: {error.strerror}.") from error


def repair(ledger: Path, signer: Signer | None = None) -> Entry | None:
    """Move a torn tail aside, as the next append would; return the entry that says so, None when all is whole."""
    with locked(ledger) as descriptor:
        torn = os.fstat(descriptor).st_size != read_tail(descriptor, os.fstat(descriptor).st_size, ledger)[0]
    if not torn:
        return None
    append_many(ledger, [], signer)
    with ledger.open("rb") as file:
        return read_tail(file.fileno(), os.fstat(file.fileno()).st_size, ledger)[1]


def head(ledger: Path) -> Checkpoint | None:
    """Return the checkpoint of the last entry, unchecked, reading only that; None when the ledger is empty."""
    try:
        with ledger.open("rb") as file:
            last = read_tail(file.fileno(), os.fstat(file.fileno()).st_size, ledger)[1]
    except FileNotFoundError:
        return None
    return last.checkpoint if last else None


def parse_line(line: bytes) -> Entry:
    """Read one line without its line break; raises ValueError that says what is wrong with it."""
    value = parse_canonical(line)
    try:
        digest, given, signatures = value["digest"], value["entry"], value["signatures"]
        version = VERSION if "public" in given else FIRST_VERSION
        entry = joined(given) if version == VERSION else given
        event = Event(**{name: entry[name] for name in Event.__dataclass_fields__})
        known = value.keys() == {"digest", "entry", "signatures"} and entry.keys() == ENTRY_FIELDS
        if not known or entry["version"] != version or not _well_typed(entry):
            raise ValueError("it has unknown fields; a newer evidence-chain may know them")
    except (KeyError, TypeError, AttributeError):
        raise ValueError("it is not a ledger entry") from None
    whole = sha256_bytes(b"{" + line[len(b'{"digest":"",') + 64 :]) if version == FIRST_VERSION else ""
    if (whole or digest_of_parts(given, signatures)) != digest:
        raise ValueError("its digest is not that of its content")
    signed = read_signatures(canonical(given), ENTRY_TYPE, signatures) if signatures != [] else None
    if (signed.keyid if signed else None) != entry["signer"]:
        raise ValueError("its signature is not by the signer it names")
    return Entry(entry["seq"], event, entry["time"], entry["previous"], digest, entry["signer"], signed, version)


def _well_typed(entry: dict[str, Any]) -> bool:
    words = (entry["kind"], entry["time"], entry["previous"])
    optional = (entry["run_id"], entry["subject_sha256"], entry["strategy"], entry["data_sha256"], entry["signer"])
    return (
        type(entry["seq"]) is int
        and isinstance(entry["details"], dict)
        and all(isinstance(word, str) for word in words)
        and all(word is None or isinstance(word, str) for word in optional)
    )


ENTRY_FIELDS = {*Event.__dataclass_fields__, "version", "seq", "time", "previous", "signer"}


def read_tail(descriptor: int, end: int, ledger: Path) -> tuple[int, Entry | None]:
    """Return where the last whole line ends, and its entry; raises VerificationError when it is damaged."""
    start, data = end, b""
    while start > 0 and data.count(b"\n") < 2:
        step = min(BLOCK, start)
        start -= step
        data = _read_at(descriptor, step, start) + data
        if len(data) > 4 * LONGEST:
            raise VerificationError(f"The end of the ledger {ledger} is not made of entries: `evidence ledger check`.")
    whole = start + data.rfind(b"\n") + 1 if b"\n" in data else 0
    if whole == 0:
        return 0, None
    line = data[: whole - start - 1].rpartition(b"\n")[2]
    try:
        return whole, parse_line(line)
    except ValueError as error:
        raise VerificationError(
            f"The last entry of the ledger {ledger} is damaged ({error}). Nothing was added: `evidence ledger check`."
        ) from None


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = b""
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


@contextmanager
def opened(ledger: Path) -> Iterator[int]:
    """Open the ledger for reading, while nobody is writing to it."""
    with locked(ledger, shared=True) as descriptor:
        yield descriptor


def _repair(ledger: Path, descriptor: int, whole: int, end: int) -> list[Event]:
    """Copy the bytes after the last whole line to a file beside the ledger, before the next entry replaces them."""
    if whole == end:
        return []
    torn = _read_at(descriptor, end - whole, whole)
    digest = sha256_bytes(torn)
    aside = ledger.with_name(f"{ledger.name}.torn-{whole}-{digest[:8]}")
    write_atomic(aside, torn)
    return [Event(LEDGER_REPAIRED, subject_sha256=digest, details={"bytes": len(torn), "file": aside.name})]


def _lines(events: Sequence[Event], last: Entry | None, signer: Signer | None) -> tuple[list[bytes], list[Entry]]:
    lines, entries = [], []
    for event in events:
        line = _line(event, last, signer)
        last = parse_line(line[:-1])
        lines.append(line)
        entries.append(last)
    return lines, entries


def _line(event: Event, last: Entry | None, signer: Signer | None) -> bytes:
    if event.kind not in KINDS:
        raise UsageError(f"{event.kind!r} is not a kind of ledger entry.")
    entry = {
        **event.__dict__,
        "version": VERSION,
        "seq": last.seq + 1 if last else 0,
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "previous": last.digest if last else START,
        "signer": signer.public_key.keyid if signer else None,
    }
    parts = split(entry, new_salts())
    signatures = sign_detached(canonical(parts), ENTRY_TYPE, signer) if signer else []
    line = line_of(parts, signatures)
    if len(line) > LONGEST:
        raise UsageError(f"A ledger entry of {len(line)} bytes is too long; {LONGEST} is the most.")
    return line


def line_of(parts: dict[str, Any], signatures: list[Any]) -> bytes:
    """Return the line of an entry of format 2, with its line break."""
    digest = digest_of_parts(parts, signatures)
    return canonical({"digest": digest, "entry": parts, "signatures": signatures}) + b"\n"


def _write(descriptor: int, data: bytes, end: int) -> None:
    """Write all of `data` at `end`, the file's new end, and wait for the disk; leave nothing of it when that fails."""
    try:
        os.lseek(descriptor, end, os.SEEK_SET)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.ftruncate(descriptor, end + len(data))
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
