"""Remove runs: decide, write down what is about to be done, put it into the ledger, do it.

The order is what makes it safe. An intent is written first; then archives, which hold all of their runs; then the
tombstones, signed, in one writing; and only what the ledger then says was removed is removed
(pipeline.retention.settle). Killed before its tombstone a run is as it was; after it the removal is finished by whoever
prunes, restores or verifies next.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from pipeline.errors import EvidenceError, StorageError, UsageError, VerificationError
from pipeline.evidence import events
from pipeline.evidence.keys import check_signer
from pipeline.evidence.ledger import Event, append_many, repair
from pipeline.evidence.ledger_check import LedgerCheck, check_ledger
from pipeline.evidence.tombstone import ARCHIVE, KNOWN, Tombstone
from pipeline.evidence.trial import RESULT, TrialResult
from pipeline.evidence.trust import Trust, project_trust
from pipeline.retention.archive import make_archive
from pipeline.retention.intent import Intent, is_unfinished, one_at_a_time, write_intent
from pipeline.retention.kept_inputs import inputs_of
from pipeline.retention.plan import Going, Plan, make_plan
from pipeline.retention.rules import Rules
from pipeline.retention.settle import Settled, settle
from pipeline.rundir import LEDGER, RunDir
from pipeline.tracking.pruned import TrackedRuns

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer
    from pipeline.settings import Settings

BATCH = 500  # runs that are removed at once
ARCHIVES = 20  # the same, of runs that are archived
Told = Mapping[str | None, tuple[TrialResult, ...]]
Progress = Callable[[Iterator[Going], int], Iterator[Going]]


@dataclass(frozen=True)
class Pruned:
    """What was done: the plan that was followed, what came of it, and which runs could not be archived and stay."""

    plan: Plan
    settled: Settled
    failed: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False


@dataclass(frozen=True)
class Keeper:
    """Who removes runs, and where: what they sign with, whose signatures count."""

    settings: Settings
    signer: Signer | None
    trust: Trust | None

    @classmethod
    def of(cls, settings: Settings, signer: Signer | None) -> Keeper:
        """Return the keeper of a project; raises UsageError for a signer that the trust file does not allow."""
        check_signer(signer, settings)
        return cls(settings, signer, project_trust(settings))

    def ledger(self) -> LedgerCheck:
        """Return the ledger, checked; raises VerificationError for one that is damaged, but at its end."""
        chain = check_ledger(self.settings.results / LEDGER, trust=self.trust)
        if damage := [problem for problem in chain.damage if problem.kind != "torn"]:
            raise VerificationError(f"Nothing is removed or brought back, as the ledger is damaged: {damage[0]}")
        return chain

    def whole_ledger(self) -> LedgerCheck:
        """Return the ledger, its end repaired where a process was killed; raises VerificationError."""
        path = self.settings.results / LEDGER
        if path.is_file():
            repair(path, self.signer)
        return self.ledger()

    def require_signature(self, chain: LedgerCheck) -> None:
        """Raise UsageError when nobody signs in a ledger where an entry without a signature counts for nothing."""
        demanded = self.trust is not None and self.trust.demands
        if self.signer is None and (demanded or any(entry.signed is not None for entry in chain.entries)):
            raise UsageError(
                "The ledger is signed, so a tombstone must be: no signing key was found. EVIDENCE_KEY_FILE says where "
                "one is, `evidence keys init` makes one."
            )


@contextmanager
def turn(settings: Settings, tracked: TrackedRuns | None = None) -> Iterator[Settled]:
    """Wait for this process's turn to remove or restore, and finish what another one began; raises StorageError."""
    with one_at_a_time(settings.results):
        yield settle(settings, tracked)


def resume(settings: Settings) -> Settled:
    """Finish a removal that was cut short, if there is one and nobody is at it."""
    if not is_unfinished(settings.results):
        return Settled()
    with one_at_a_time(settings.results, seconds=0.0):
        return settle(settings)


def prune(
    settings: Settings,
    rules: Rules,
    level: str,
    *,
    signer: Signer | None = None,
    force: bool = False,
    dry_run: bool = False,
    now: dt.datetime | None = None,
    progress: Progress = lambda items, _total: items,
) -> Pruned:
    """Remove what the rules let go and nothing holds, at a level of `LEVELS`; `dry_run` only says what that is.

    `force` overrules the holds that can be, and the tombstone says so. Raises UsageError for rules that let nothing go,
    and for a ledger that is signed where nobody signs; VerificationError for a damaged one; StorageError.
    """
    if rules.empty:
        raise UsageError(
            "Nothing says which runs may go: give --keep-last N, --max-age AGE, --where CONDITION or --unsealed, or "
            "write a policy into config/settings.toml, [retention]."
        )
    keeper, tracked = Keeper.of(settings, signer), TrackedRuns(settings)
    seen = keeper.ledger()
    plan = _plan(keeper, tracked, seen, rules, level, force=force, now=now)
    if dry_run:
        return Pruned(plan, Settled(), dry_run=True)
    if not plan.going:
        return Pruned(plan, resume(settings))
    keeper.require_signature(seen)
    with turn(settings, tracked) as before:
        chain = keeper.whole_ledger()
        if before != Settled() or chain.head != seen.head:  # others were at it meanwhile
            plan = _plan(keeper, tracked, chain, rules, level, force=force, now=now)
        settled, failed = before, []
        going = progress(iter(plan.going), len(plan.going))
        while batch := list(islice(going, ARCHIVES if plan.level == ARCHIVE else BATCH)):
            done, lost = _remove(keeper, tracked, plan, batch, chain)
            settled = _added(settled, done)
            failed += lost
    return Pruned(plan, settled, tuple(failed))


def _plan(
    keeper: Keeper,
    tracked: TrackedRuns,
    chain: LedgerCheck,
    rules: Rules,
    level: str,
    *,
    force: bool,
    now: dt.datetime | None,
) -> Plan:
    settings, trust = keeper.settings, keeper.trust
    return make_plan(settings, rules, level, ledger=chain, trust=trust, tracked=tracked, force=force, now=now)


def _remove(
    keeper: Keeper, tracked: TrackedRuns, plan: Plan, going: list[Going], chain: LedgerCheck
) -> tuple[Settled, list[tuple[str, str]]]:
    """Remove some runs; return what came of it, and which could not be archived, and why."""
    results = keeper.settings.results
    write_intent(results, Intent({one.row.run_id: inputs_of(RunDir(results, one.row.run_id)) for one in going}))
    entries, failed = [], []
    told = {one.run_id: one.results for one in chain.trials.counted if one.ended and one.trials == 1}
    for one in going:
        try:
            entries.append(_tombstone(keeper, plan, one, chain, told))
        except EvidenceError as error:
            if isinstance(error, StorageError):
                settle(keeper.settings, tracked)
                raise
            failed.append((one.row.run_id, str(error)))
    if entries:
        append_many(results / LEDGER, entries, keeper.signer)
    return settle(keeper.settings, tracked), failed


def _tombstone(keeper: Keeper, plan: Plan, one: Going, chain: LedgerCheck, told: Told) -> Event:
    run = RunDir(keeper.settings.results, one.row.run_id)
    sealed = chain.seal_of(run.run_id)
    seal = None if sealed is None else sealed.event
    archive = None
    if plan.level == ARCHIVE:
        archive = make_archive(run, ledger=chain, signer=keeper.signer, trust=keeper.trust)
    stone = Tombstone(
        seq=0,
        time="",
        run_id=run.run_id,
        level=plan.level,
        rule=plan.rule,
        subject=_subject(run, chain) if seal is None else seal.subject_sha256,
        dropped=one.removed.names,
        files=one.removed.files,
        bytes=one.removed.bytes,
        archive_sha256=archive,
        forced=tuple(hold.reason for hold in one.forced),
        never_sealed=seal is None,
    )
    row, known = _result(run, seal, told)
    return stone.event(
        strategy=seal.strategy if seal else None,
        data_sha256=seal.data_sha256 if seal else None,
        result=row,
        told=known,
    )


def _subject(run: RunDir, chain: LedgerCheck) -> str | None:
    """Return what the first entry about a run that was never sealed is about; None when there is none."""
    entries = (entry for entry in chain.runs.get(run.run_id, []) if entry.event.kind in KNOWN)
    return next((entry.event.subject_sha256 for entry in entries), None)


def _result(run: RunDir, seal: Event | None, told: Told) -> tuple[object, bool]:
    """Return the result of a run as the ledger tells it, else as its directory does, and whether one is known."""
    if run.run_id in told:
        results = told[run.run_id]
        return (results[0].to_row() if results else None), True
    if seal is None:
        return None, False
    if RESULT in seal.details:
        return seal.details[RESULT], True
    try:
        details = events.sealed(run).details
    except EvidenceError:
        return None, False
    return details.get(RESULT), RESULT in details


def _added(one: Settled, other: Settled) -> Settled:
    return Settled(
        one.runs + other.runs, one.inputs + other.inputs, one.bytes + other.bytes, (*one.warnings, *other.warnings)
    )
