"""Check the ledger from its first entry to its last: every edit, deletion, insertion, reordering and roll-back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pipeline.errors import VerificationError
from pipeline.evidence.ledger import (
    FIRST_VERSION,
    REPORT_RENDERED,
    RUN_ADOPTED,
    SEALS,
    START,
    Checkpoint,
    Entry,
    opened,
    parse_line,
)
from pipeline.evidence.ledger_trials import LedgerTrials, trials_in
from pipeline.evidence.problem import Problem
from pipeline.evidence.tombstone import Removals, Tombstone, removals_in
from pipeline.evidence.trust import Trust

MOST_PROBLEMS = 100
CONTRADICTION = "contradiction"


@dataclass(frozen=True)
class LedgerCheck:
    """The outcome of checking a ledger. `entries` are those that could be read, `head` the checkpoint to keep.

    `removals` are the tombstones and pins of entries that count (see `check_ledger`). `damage` are the problems of the
    chain itself: they leave signatures out, which concern single entries. `trials` are those it counts, whatever
    contradicts them later.
    """

    path: Path
    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    runs: dict[str, list[Entry]] = field(default_factory=dict)
    removals: Removals = field(default_factory=Removals)
    damage: tuple[Problem, ...] = ()
    trials: LedgerTrials = field(default_factory=LedgerTrials)

    @property
    def ok(self) -> bool:
        """Say whether the chain is whole."""
        return not self.problems

    @property
    def head(self) -> Checkpoint | None:
        """The checkpoint of the last entry."""
        return self.entries[-1].checkpoint if self.entries else None

    @property
    def pruned(self) -> frozenset[str]:
        """The runs whose directories were removed on purpose."""
        return self.removals.gone

    def tombstone_of(self, run_id: str) -> Tombstone | None:
        """Return the tombstone that stands for a run; None for one that is whole, or was restored."""
        return self.removals.standing.get(run_id)

    def seal_of(self, run_id: str) -> Entry | None:
        """Return the entry that says a run was sealed, the last if there are several."""
        return self._last(run_id, SEALS)

    def seals_of(self, run_id: str) -> list[Entry]:
        """Return all entries that say a run was sealed: more than one only when it was done again, or replaced."""
        return [entry for entry in self.runs.get(run_id, []) if entry.event.kind in SEALS]

    def adoption_of(self, run_id: str) -> Entry | None:
        """Return the entry that took a run up whose seal no entry tells of, the last if there are several."""
        seals = self.seals_of(run_id)
        return seals[-1] if seals and all(entry.event.kind == RUN_ADOPTED for entry in seals) else None

    def report_of(self, run_id: str) -> Entry | None:
        """Return the entry of the run's last rendered report."""
        return self._last(run_id, {REPORT_RENDERED})

    def _last(self, run_id: str, kinds: Iterable[str]) -> Entry | None:
        return next((e for e in reversed(self.runs.get(run_id, [])) if e.event.kind in kinds), None)


def check_ledger(
    ledger: Path,
    *,
    checkpoint: Checkpoint | None = None,
    trust: Trust | None = None,
    signatures: bool = True,
) -> LedgerCheck:
    """Read and check a ledger; never raises for what it finds.

    `checkpoint` is one kept elsewhere: without it a ledger cut back to an earlier state looks whole. With `trust`
    each signature is checked, at about 0.15 ms each; `signatures=False` checks that of the last signed entry only,
    whose signer vouches for the chain before it. After a signed entry each is to be signed. A removed run is one,
    after a signed entry, only when a key signed that, one of `trust` where that is given.
    """
    if ledger.is_symlink() or not ledger.is_file():
        gone = tuple(_checkpoint_problems([], checkpoint))
        return LedgerCheck(ledger, problems=gone, notes=("there is no ledger",), damage=gone)
    try:
        with opened(ledger) as descriptor, open(descriptor, "rb", closefd=False) as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        unread = (_problem("missing", f"it cannot be read ({error.strerror})"),)
        return LedgerCheck(ledger, problems=unread, damage=unread)
    torn = lines.pop()
    entries, damage = _read(lines)
    if torn:
        damage.append(_problem("torn", f"{len(torn)} bytes after the last entry are not a whole entry"))
    damage += _chain_problems(entries)
    damage += _checkpoint_problems(entries, checkpoint)
    problems = [*damage, *_signature_problems(entries, trust, every=signatures)]
    trials = trials_in(entries)
    removals = removals_in(entries, _counting(entries, trust))
    contradictions = sorted({*trials.problems, *removals.problems})
    problems += [_problem(CONTRADICTION, f"entry {seq}: {text}") for seq, text in contradictions]
    runs: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.event.run_id is not None:
            runs.setdefault(entry.event.run_id, []).append(entry)
    notes = tuple(_notes(entries, checkpoint, trust))
    return LedgerCheck(ledger, tuple(entries), _capped(problems), notes, runs, removals, tuple(damage), trials)


def _counting(entries: list[Entry], trust: Trust | None) -> Callable[[Entry], bool]:
    """Return which entries may say that a run was removed: somebody's word alone hides none where others sign.

    What nobody signed counts before the first signed entry, whose signature covers it: nobody can put it there later.
    """
    first = next((place for place, entry in enumerate(entries) if entry.signed is not None), len(entries))
    before = frozenset() if trust is not None and trust.demands else frozenset(e.digest for e in entries[:first])

    def counts(entry: Entry) -> bool:
        if entry.signed is None:
            return entry.digest in before
        return trust is None or not list(trust.check(entry.signed, entry.time))

    return counts


def trial_count(ledger: Path, strategy: str, data_sha256: str) -> int:
    """Count the trials of exactly this strategy on exactly these data: every run started, failed and killed ones too.

    A replay executes a trial again that was counted before, so it does not count. A sweep counts its trials itself,
    a batch at a time: neither the sweep nor the runs of its trials count once more. Families of trials, of which this
    is a part, are counted in pipeline.report.trials. Raises VerificationError for a ledger that cannot be read whole:
    a count of part of it would flatter. An entry that contradicts an earlier one is not followed.
    """
    found = check_ledger(ledger)
    if found.damage:
        raise VerificationError(f"The trials in {ledger} cannot be counted: {found.damage[0]}")
    return sum(one.trials for one in found.trials.counted if one.scope.exact == (strategy, data_sha256))


def _problem(kind: str, message: str) -> Problem:
    return Problem("ledger.jsonl", kind, message)


def _read(lines: list[bytes]) -> tuple[list[Entry], list[Problem]]:
    entries, problems = [], []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(parse_line(line))
        except ValueError as error:
            problems.append(_problem("edited", f"line {number}: {error}"))
    return entries, problems


def _chain_problems(entries: list[Entry]) -> Iterator[Problem]:
    """Compare each entry with the one before it: gaps, repetitions, disorder, and a digest that does not fit."""
    present = {entry.seq for entry in entries}
    seen: set[int] = set()
    expected, previous, version = 0, START, FIRST_VERSION
    for entry in entries:
        if entry.version < version:
            yield _problem("edited", f"entry {entry.seq} is of a format that no entry has after those before it")
        version = max(version, entry.version)
        if entry.seq in seen:
            yield _problem("added", f"there is a second entry {entry.seq}")
        elif entry.seq > expected and (gone := _gone(expected, entry.seq, present)):
            yield _problem("missing", f"{gone} before entry {entry.seq}")
        elif entry.seq != expected:
            yield _problem("reordered", f"entry {entry.seq} stands where entry {expected} belongs")
        elif entry.previous != previous:
            yield _problem(
                "edited", f"entry {entry.seq} follows another entry {entry.seq - 1} than the one that is here"
            )
        seen.add(entry.seq)
        expected, previous = entry.seq + 1, entry.digest


def _gone(start: int, stop: int, present: set[int]) -> str:
    """Say which of the entries from `start` to before `stop` are nowhere in the ledger, or nothing."""
    count = stop - start if stop - start > len(present) else sum(seq not in present for seq in range(start, stop))
    return f"{count} {'entry is' if count == 1 else 'entries are'} missing from {start} on," if count else ""


def _checkpoint_problems(entries: list[Entry], checkpoint: Checkpoint | None) -> Iterator[Problem]:
    if checkpoint is None:
        return
    last = max((entry.seq for entry in entries), default=-1)
    digests = {entry.digest for entry in entries if entry.seq == checkpoint.seq}
    if last < checkpoint.seq:
        yield _problem("rolled back", f"it ends at entry {last}, the checkpoint is of entry {checkpoint.seq}")
    elif checkpoint.digest not in digests:
        yield _problem(
            "rolled back", f"its entry {checkpoint.seq} is not the one of the checkpoint: it was written anew"
        )


def _signature_problems(entries: list[Entry], trust: Trust | None, *, every: bool) -> Iterator[Problem]:
    signed = [entry for entry in entries if entry.signed is not None]
    after = [entry.seq for entry in entries if entry.signed is None and signed and entry.seq > signed[0].seq]
    if after and not (trust and trust.require_signatures):
        text = f"{len(after)} entries, the first is {after[0]}; they are signed from entry {signed[0].seq} on"
        yield _problem("unsigned", text)
    if trust is None:
        return
    for entry in signed if every else signed[-1:]:
        assert entry.signed is not None  # noqa: S101 - filtered above
        for kind, message in trust.check(entry.signed, entry.time):
            yield _problem(kind, f"entry {entry.seq}: {message}")
    if trust.require_signatures and len(signed) < len(entries):
        first = next(entry.seq for entry in entries if entry.signed is None)
        yield _problem(
            "unsigned",
            f"{len(entries) - len(signed)} entries, the first is {first}; {trust.source} asks for a signature",
        )


def _notes(entries: list[Entry], checkpoint: Checkpoint | None, trust: Trust | None) -> Iterator[str]:
    unsigned = sum(entry.signed is None for entry in entries)
    if unsigned:
        yield f"{unsigned} of {len(entries)} ledger entries are unsigned"
    if trust is None and unsigned < len(entries):
        yield "the signatures in the ledger were not checked: there is no trust file"
    back = [entry.seq for before, entry in pairwise(entries) if entry.time < before.time]
    if back:
        yield f"the times of {len(back)} entries lie before those of the entries before them, the first is {back[0]}"
    if checkpoint is None:
        yield "no checkpoint was given: a ledger cut back to an earlier state would look whole"


def _capped(problems: list[Problem]) -> tuple[Problem, ...]:
    if len(problems) <= MOST_PROBLEMS:
        return tuple(problems)
    more = _problem(problems[MOST_PROBLEMS].kind, f"and {len(problems) - MOST_PROBLEMS} more problems")
    return (*problems[:MOST_PROBLEMS], more)
