"""What a prune would do: which runs go, which stay and why. Reads only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.evidence.ledger_check import LedgerCheck
from pipeline.evidence.tombstone import ARCHIVE, ARTIFACTS, DELETE, WORDS
from pipeline.evidence.trust import Trust
from pipeline.retention.bulk import Measure, measure
from pipeline.retention.holds import Hold, Known, dependents, holds_of, verification_hold
from pipeline.retention.rules import Rules
from pipeline.run import all_runs
from pipeline.run_row import RunRow
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking.pruned import TrackedRuns


@dataclass(frozen=True)
class Going:
    """A run that goes: its row, what is removed of it, which holds somebody overruled."""

    row: RunRow
    removed: Measure
    forced: tuple[Hold, ...] = ()


@dataclass(frozen=True)
class Staying:
    """A run that the rules let go, and that stays, and why."""

    run_id: str
    name: str
    holds: tuple[Hold, ...]


@dataclass(frozen=True)
class Plan:
    """What would become of the runs; `kept` counts those that no rule lets go, or of which nothing is left to go."""

    level: str
    rule: str
    going: tuple[Going, ...]
    staying: tuple[Staying, ...]
    kept: int

    @property
    def files(self) -> int:
        """How many files would be removed."""
        return sum(one.removed.files for one in self.going)

    @property
    def bytes(self) -> int:
        """How many bytes would be removed."""
        return sum(one.removed.bytes for one in self.going)


def make_plan(
    settings: Settings,
    rules: Rules,
    level: str,
    *,
    ledger: LedgerCheck,
    trust: Trust | None,
    tracked: TrackedRuns,
    force: bool = False,
    now: dt.datetime | None = None,
) -> Plan:
    """Decide about every run of a project. `force` overrules the holds that can be; raises UsageError."""
    level = DELETE if rules.unsealed else level
    rows = [RunRow.of(run) for run in all_runs(settings=settings)]
    known = Known.of(settings.results, ledger, trust, tracked, rows)
    selected = rules.select(rows, now or dt.datetime.now(dt.UTC))
    measures = {row.run_id: measure(RunDir(settings.results, row.run_id), level) for row in selected}
    chosen = [row for row in selected if not _is_done(row, level, measures[row.run_id], ledger)]
    holds = {row.run_id: [*_of_level(row, level, ledger), *holds_of(row, known)] for row in chosen}
    going = _settled(
        [row.run_id for row in chosen if _may_go(holds[row.run_id], force=force)], known, holds, force=force
    )
    for run_id in going if not rules.unsealed else ():
        if (hold := verification_hold(run_id, known)) is not None:
            holds[run_id].append(hold)
    going = _settled([run_id for run_id in going if _may_go(holds[run_id], force=force)], known, holds, force=force)
    return Plan(
        level,
        str(rules),
        tuple(Going(row, measures[row.run_id], (*holds[row.run_id],)) for row in chosen if row.run_id in going),
        tuple(Staying(row.run_id, row.name, (*holds[row.run_id],)) for row in chosen if row.run_id not in going),
        len(rows) - len(chosen),
    )


def _is_done(row: RunRow, level: str, removed: Measure, ledger: LedgerCheck) -> bool:
    """Say whether nothing is left to be done: its artifacts were dropped before, or it has none."""
    stands = ledger.tombstone_of(row.run_id)
    return level == ARTIFACTS and (removed.files == 0 or (stands is not None and stands.level == ARTIFACTS))


def _of_level(row: RunRow, level: str, ledger: LedgerCheck) -> list[Hold]:
    stands = ledger.tombstone_of(row.run_id)
    if stands is None or (stands.level == ARTIFACTS and level == DELETE):
        return []
    if stands.level == ARTIFACTS and level == ARCHIVE:
        return [Hold("its artifacts were dropped before: what is left is kept as it is, or deleted", final=True)]
    return [Hold(f"the ledger's entry {stands.seq} says it was {WORDS[stands.level]}, and here it is", final=True)]


def _may_go(holds: Iterable[Hold], *, force: bool) -> bool:
    return not any(hold.final or not force for hold in holds)


def _settled(ids: Sequence[str], known: Known, holds: Mapping[str, list[Hold]], *, force: bool) -> set[str]:
    """Return the runs that go when whatever relies on them goes, too; add to `holds` what others rely on."""
    going = dict.fromkeys(ids)
    while True:
        kept = {run_id: found for run_id in going if (found := dependents(run_id, going, known))}
        for run_id, found in kept.items():
            holds[run_id].extend(hold for hold in found if hold not in holds[run_id])
        if force or not kept:
            return set(going)
        going = {run_id: None for run_id in going if run_id not in kept}
