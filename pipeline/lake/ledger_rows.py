"""The ledger as tables: its entries, and the trials that they count. Read on from where it was left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.evidence.ledger import OF_SWEEP, ORIGIN, REPLAY, Entry, Event, opened, parse_line
from pipeline.evidence.ledger_trials import Counted, trials_in
from pipeline.lake.index import LedgerRead
from pipeline.lake.rows import Rows, instant

ORIGINS = (REPLAY, *OF_SWEEP)


@dataclass(frozen=True)
class NewEntries:
    """What the ledger has beyond what was read; `whole` says that this is all of it, as what was read is not its start.

    `problem` says where it is damaged: what follows was not read.
    """

    entries: tuple[Entry, ...]
    read: LedgerRead
    whole: bool
    problem: str | None = None


def read_on(ledger: Path, before: LedgerRead) -> NewEntries:
    """Read what was added to a ledger; raises OSError."""
    data, start = _bytes_from(ledger, before.offset)
    found = _parsed(data, before if start else LedgerRead(), ledger)
    if start and not _follows(ledger, before, found):
        return read_on(ledger, LedgerRead())
    return NewEntries(found.entries, found.read, whole=not start, problem=found.problem)


def _bytes_from(ledger: Path, offset: int) -> tuple[bytes, int]:
    """Return the bytes from an offset on; all of them where the file is shorter."""
    try:
        with opened(ledger) as descriptor, open(descriptor, "rb", closefd=False) as file:
            start = offset if file.seek(0, 2) >= offset else 0
            file.seek(start)
            return file.read(), start
    except FileNotFoundError:
        return b"", 0


def _follows(ledger: Path, before: LedgerRead, found: NewEntries) -> bool:
    """Say whether the entries before the new ones are those that were read."""
    if found.entries:
        return found.entries[0].previous == before.digest
    from pipeline.errors import VerificationError
    from pipeline.evidence.ledger import head

    try:
        last = head(ledger)
    except VerificationError:
        return found.problem is not None
    return last is not None and last.digest == before.digest


def _parsed(data: bytes, before: LedgerRead, ledger: Path) -> NewEntries:
    entries: list[Entry] = []
    offset, digest = before.offset, before.digest
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break  # somebody is writing it
        try:
            entry = parse_line(line[:-1])
        except ValueError as error:
            problem = f"{ledger} is damaged after entry {entries[-1].seq if entries else 'that was read last'}: {error}"
            return NewEntries(tuple(entries), LedgerRead(offset, digest), whole=False, problem=problem)
        entries.append(entry)
        offset, digest = offset + len(line), entry.digest
    return NewEntries(tuple(entries), LedgerRead(offset, digest), whole=False)


def add_entries(rows: Rows, entries: Iterable[Entry]) -> None:
    """Add entries to the table `ledger`."""
    for entry in entries:
        event = entry.event
        rows.add(
            "ledger",
            {
                "seq": entry.seq, "time": instant(entry.time), "kind": event.kind, "run_id": event.run_id,
                "strategy": event.strategy, "data": event.data_sha256, "subject": event.subject_sha256,
                "signer": entry.signer, "previous": entry.previous, "digest": entry.digest,
                "details": json.dumps(event.details, ensure_ascii=False, sort_keys=True),
            },
        )  # fmt: skip


def add_trials(rows: Rows, entries: Sequence[Entry], only: set[str | None] | None = None) -> None:
    """Add the trials that entries count to `trials` and `trial_results`; of these runs only, where any are named."""
    for counted in trials_in(entries).counted:
        if only is None or counted.run_id in only:
            _add(rows, counted)


def _add(rows: Rows, counted: Counted) -> None:
    scope = counted.scope
    numbers = {name: getattr(counted, name) for name in ("seq", "run_id", "trials", "ended", "without")}
    about = {name: getattr(scope, name) for name in ("strategy", "family", "first", "last", "code")}
    more = {"data": scope.data_sha256, "instruments": list(scope.instruments)}
    rows.add("trials", {**numbers, **about, **more})
    for result in counted.results:
        rows.add("trial_results", {"seq": counted.seq, "run_id": counted.run_id, **asdict(result)})


def originals(entries: Iterable[Entry]) -> set[str]:
    """Return the runs and sweeps that entries say they execute again, or are trials of."""
    found = (str(entry.event.details.get(ORIGIN, "")) for entry in entries)
    return {text.removeprefix(start) for text in found for start in ORIGINS if text.startswith(start)}


def entry_of(row: dict[str, Any]) -> Entry:
    """Return an entry from its row in the table `ledger`, without its signature."""
    details = json.loads(row["details"])
    event = Event(row["kind"], row["run_id"], row["subject"], row["strategy"], row["data"], details)
    return Entry(row["seq"], event, str(row["time"]), row["previous"], row["digest"], row["signer"], None)
