"""The trials that a ledger counts, and what it knows of their results.

The first entry about a run or a batch decides what it is a trial of and whether it counts; a later one can add to a
count and never lower it. What contradicts that is named, and not followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.evidence.ledger import (
    BATCH,
    OF_SWEEP,
    ORIGIN,
    REPLAY,
    RUN_FAILED,
    RUN_KILLED,
    RUN_PRUNED,
    RUN_STARTED,
    SEALS,
    SWEEP,
    TRIAL_COUNTED,
    TRIALS,
    TRIALS_ENDED,
    Entry,
    Event,
)
from pipeline.evidence.trial import RESULT, SCOPE, Scope, TrialResult

ENDED, WITHOUT, RESULTS, PART = "ended", "without", "results", "part"  # in the details of ended trials
PER_ENTRY = 400  # ended trials that one entry tells of: it stays below the longest line
RUNS = SEALS | {RUN_STARTED, RUN_KILLED}


@dataclass(frozen=True)
class Counted:
    """One run, or one batch of a sweep's trials, as the ledger counts it; `seq` is the entry that counted it first.

    `ended` is of how many of its `trials` the outcome is known, `without` how many of these have no Sharpe ratio
    (failed, pruned, undefined). `results` are those of the others; trials that repeat a result share one.
    """

    seq: int
    run_id: str | None
    scope: Scope
    trials: int
    ended: int = 0
    without: int = 0
    results: tuple[TrialResult, ...] = ()


@dataclass(frozen=True)
class LedgerTrials:
    """All trials a ledger counts, in the order of their first entries.

    `stands_for` leads from a run that counts nothing itself to the run or sweep whose trial it is; `problems` are
    (seq, sentence) of entries that contradict an earlier one, or hold what no count can be made of.
    """

    counted: tuple[Counted, ...] = ()
    stands_for: dict[str, str] = field(default_factory=dict)
    problems: tuple[tuple[int, str], ...] = ()


def trials_in(entries: Iterable[Entry]) -> LedgerTrials:
    """Count the trials in the entries of a ledger."""
    book = _Book()
    for entry in entries:
        try:
            book.add(entry)
        except ValueError as error:
            book.problems.append((entry.seq, str(error)))
    found = sorted([*book.runs.values(), *book.batches.values()], key=lambda counted: counted.seq)
    return LedgerTrials(tuple(found), book.stands_for, tuple(book.problems))


def counted_event(sweep: str, subject: str, scope: Scope, *, batch: int, trials: int) -> Event:
    """Return trial_counted: so many trials of a batch of a sweep are about to run; `subject` is their list's digest."""
    details = {BATCH: batch, TRIALS: trials, SCOPE: scope.to_details()}
    return Event(TRIAL_COUNTED, sweep, subject, scope.strategy, scope.data_sha256, details)


def ended_events(
    sweep: str, subject: str, scope: Scope, *, batch: int, results: list[TrialResult | None], repeats: int = 0
) -> list[Event]:
    """Return trials_ended for trials of a batch, of which each has a result or None; equal results are told once.

    `repeats` more trials have a result that an earlier batch told of already.
    """
    events = []
    for part, start in enumerate(range(0, max(len(results), 1), PER_ENTRY)):
        some = results[start : start + PER_ENTRY]
        known = {result.key_at_any_rate: result for result in some if result is not None}
        details = {
            BATCH: batch,
            PART: part,
            ENDED: len(some) + (repeats if part == 0 else 0),
            WITHOUT: some.count(None),
            RESULTS: [result.to_row() for result in known.values()],
            SCOPE: scope.to_details(),
        }
        events.append(Event(TRIALS_ENDED, sweep, subject, scope.strategy, scope.data_sha256, details))
    return events


@dataclass
class _Book:
    """What was read so far. `first` is the entry that decides about a run."""

    first: dict[str, Entry] = field(default_factory=dict)
    runs: dict[str, Counted] = field(default_factory=dict)
    batches: dict[Any, Counted] = field(default_factory=dict)
    stands_for: dict[str, str] = field(default_factory=dict)
    parts: set[Any] = field(default_factory=set)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Take in one entry; raises ValueError that says what is wrong with it, and leaves what was known."""
        kind = entry.event.kind
        if kind == TRIAL_COUNTED:
            self._count(entry)
        elif kind == TRIALS_ENDED:
            self._end(entry)
        elif kind in RUNS and entry.event.run_id is not None:
            self._run(entry, entry.event.run_id)
        elif kind == RUN_PRUNED and RESULT in entry.event.details and entry.event.run_id in self.runs:
            self._removed(entry, entry.event.run_id)

    def _run(self, entry: Entry, run_id: str) -> None:
        known = self.first.get(run_id)
        if known is None:
            self.first[run_id] = entry
            self._open(entry, run_id)
        elif (text := _contradiction(known.event, entry.event)) is not None:
            raise ValueError(f"{text} of run {run_id} is another one than entry {known.seq} says, which counts")
        if known is not None and entry.event.kind in SEALS and run_id in self.runs and SCOPE in entry.event.details:
            self._complete(entry.event, run_id)
        if entry.event.kind in SEALS and run_id in self.runs and not self.runs[run_id].ended:
            self.runs[run_id] = replace(self.runs[run_id], **_outcome(entry.event))

    def _removed(self, entry: Entry, run_id: str) -> None:
        """Take the result of a removed run that was not known yet; a known one stays as it was told first."""
        known, first = self.runs[run_id], self.first[run_id]
        told = _outcome(entry.event)
        if (text := _contradiction(first.event, entry.event)) is not None:
            raise ValueError(f"{text} of the removed run {run_id} is another one than entry {first.seq} says")
        if not known.ended:
            self.runs[run_id] = replace(known, **told)
        elif known.results != told.get("results", ()):
            raise ValueError(f"it tells another result of the run {run_id} than its seal, which counts")

    def _complete(self, seal: Event, run_id: str) -> None:
        """Add what a seal knows of what the run was a trial of: the start of a notebook's run does not know it."""
        known = self.runs[run_id]
        try:
            self.runs[run_id] = replace(known, scope=known.scope.completed(Scope.of_event(seal)))
        except ValueError as error:
            text = f"{error} of run {run_id} is another one than entry {known.seq} says, which counts"
            raise ValueError(text) from None

    def _open(self, entry: Entry, run_id: str) -> None:
        """Count a run by its first entry, unless it is a sweep, or executes again what the ledger knows."""
        origin = str(entry.event.details.get(ORIGIN, ""))
        original = next((origin.removeprefix(start) for start in (REPLAY, *OF_SWEEP) if origin.startswith(start)), None)
        if original is not None and original in self.first and original != run_id:
            self.stands_for[run_id] = original
        elif origin != SWEEP:
            self.runs[run_id] = Counted(entry.seq, run_id, Scope(entry.event.strategy, entry.event.data_sha256), 1)
            if SCOPE in entry.event.details:  # what is wrong with these is a problem, and the run counts all the same
                self.runs[run_id] = Counted(entry.seq, run_id, Scope.of_event(entry.event), 1)

    def _count(self, entry: Entry) -> None:
        event = entry.event
        trials = _whole(event.details.get(TRIALS, 1), TRIALS, least=1)
        key = _batch_key(entry)
        known = self.batches.get(key)
        if known is None:
            self.batches[key] = Counted(entry.seq, event.run_id, Scope.of_event(event), trials)
        elif trials != known.trials:
            self.batches[key] = replace(known, trials=max(trials, known.trials))
            raise ValueError(f"it counts {trials} trials of a batch of which entry {known.seq} counts {known.trials}")

    def _end(self, entry: Entry) -> None:
        details, key = entry.event.details, _batch_key(entry)
        part = (key, _whole(details.get(PART, 0), PART))
        known = self.batches.get(key)
        if known is None:
            raise ValueError("it tells of trials that were never counted")
        if part in self.parts:
            return
        ended, without = (_whole(details.get(name), name) for name in (ENDED, WITHOUT))
        rows = details.get(RESULTS)
        if not isinstance(rows, list):
            raise ValueError(f"{RESULTS} is a list")  # noqa: TRY004 - a malformed file, not a wrong argument
        results = (*known.results, *(TrialResult.of_row(row) for row in rows))
        if without > ended or len(rows) > ended - without or known.ended + ended > known.trials:
            raise ValueError(f"it tells of more trials than were counted by entry {known.seq}")
        self.parts.add(part)
        self.batches[key] = replace(known, ended=known.ended + ended, without=known.without + without, results=results)


def _batch_key(entry: Entry) -> tuple[Any, ...]:
    """Return what tells batches apart: one may hold trials of several families, each with an entry of its own."""
    event = entry.event
    if event.run_id is None:
        return (entry.seq,)
    batch = _whole(event.details[BATCH], BATCH) if BATCH in event.details else None
    return (event.run_id, batch, Scope.of_event(event))


def _whole(value: object, name: str, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} = {value!r}: it must be a whole number of at least {least}")
    return value


def _contradiction(first: Event, later: Event) -> str | None:
    """Return what a later entry about a run says otherwise than its first one; None when both may be true."""
    for name, told in (("strategy", "the strategy"), ("data_sha256", "the digest of the data")):
        then, now = getattr(first, name), getattr(later, name)
        if None not in (then, now) and then != now:
            return told
    if first.kind == later.kind == RUN_STARTED and first.details != later.details:
        return "the start"
    return None


def _outcome(event: Event) -> dict[str, Any]:
    """Return what a seal says of its run's result; nothing when it is older than that."""
    if RESULT in event.details and event.details[RESULT] is not None:
        return {"ended": 1, "results": (TrialResult.of_row(event.details[RESULT]),)}
    known = RESULT in event.details or event.kind == RUN_FAILED
    return {"ended": 1, "without": 1} if known else {}
