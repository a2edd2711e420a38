"""Bring an archived run back, byte for byte; pin runs so that no rule removes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.digest import sha256_file
from pipeline.errors import RunNotFoundError, UsageError, VerificationError
from pipeline.evidence.ledger import RUN_PINNED, RUN_RESTORED, RUN_UNPINNED, Entry, Event, append, append_many
from pipeline.evidence.ledger_check import LedgerCheck
from pipeline.evidence.tombstone import ARCHIVE
from pipeline.retention.archive import inputs_in, opened_archive, unpack_run
from pipeline.retention.intent import Intent, write_intent
from pipeline.retention.prune import Keeper, turn
from pipeline.retention.settle import Settled, settle
from pipeline.run import LAST
from pipeline.rundir import LEDGER, RunDir, find_run

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.evidence.signer import Signer
    from pipeline.settings import Settings


@dataclass(frozen=True)
class Restored:
    """A run that was brought back: its directory, the ledger's entry that says so, what came of it elsewhere."""

    run: RunDir
    entry: Entry
    settled: Settled


def restore(settings: Settings, wanted: str, *, signer: Signer | None = None) -> Restored:
    """Bring back the archived run with this id, the only one whose id starts with it, or the `last` that was archived.

    Its archive is removed then. Raises RunNotFoundError for a run that is not archived, UsageError where nobody signs
    in a signed ledger, VerificationError for an archive that is not the one of the ledger, and StorageError.
    """
    keeper = Keeper.of(settings, signer)
    seen = keeper.ledger()
    run = RunDir(settings.results, _archived(seen, wanted))
    keeper.require_signature(seen)
    with turn(settings):
        chain = keeper.whole_ledger()
        _archived(chain, run.run_id)
        stone = chain.removals.standing[run.run_id]
        if not run.archive.is_file() or sha256_file(run.archive) != stone.archive_sha256:
            raise VerificationError(
                f"{run.archive} is not there, or is not what the ledger's entry {stone.seq} tells of. Put it back."
            )
        with opened_archive(run.archive, trust=keeper.trust) as sent:
            used = tuple(path.name[:64] for path in inputs_in(sent))
            write_intent(settings.results, Intent({run.run_id: used}))
            unpack_run(run, sent)
        if sha256_file(run.manifest) != stone.subject:
            settle(settings)
            raise VerificationError(
                f"{run.archive} does not hold the run that the ledger's entry {stone.seq} archived."
            )
        seal = chain.seal_of(run.run_id)
        told = Event(
            RUN_RESTORED,
            run.run_id,
            stone.subject,
            seal.event.strategy if seal else None,
            seal.event.data_sha256 if seal else None,
        )
        entry = append(settings.results / LEDGER, told, signer)
        return Restored(run, entry, settle(settings))


def _archived(chain: LedgerCheck, wanted: str) -> str:
    stones = sorted(chain.removals.standing.values(), key=lambda stone: stone.seq)
    archived = [stone.run_id for stone in stones if stone.level == ARCHIVE]
    if wanted == LAST and archived:
        return archived[-1]
    found = [run_id for run_id in archived if wanted and run_id.startswith(wanted.lower())]
    if len(found) != 1:
        many = f"{wanted!r} is the start of {len(found)} ids" if found else f"No run {wanted!r} is archived"
        raise RunNotFoundError(f"{many}; archived are {len(archived)} runs. `evidence verify --all` lists them.")
    return found[0]


def pin(settings: Settings, wanted: Sequence[str], *, reason: str = "", signer: Signer | None = None) -> list[Entry]:
    """Pin runs: no rule removes them. Raises RunNotFoundError, and UsageError for a run that is pinned already."""
    return _entered(settings, wanted, RUN_PINNED, {"reason": reason} if reason else {}, signer)


def unpin(settings: Settings, wanted: Sequence[str], *, signer: Signer | None = None) -> list[Entry]:
    """Take pins away. Raises RunNotFoundError, and UsageError for a run that is not pinned."""
    return _entered(settings, wanted, RUN_UNPINNED, {}, signer)


def _entered(
    settings: Settings, wanted: Sequence[str], kind: str, details: dict[str, str], signer: Signer | None
) -> list[Entry]:
    """Enter pins into the ledger, where they are chained and signed: a file beside it anybody could take away."""
    keeper = Keeper.of(settings, signer)
    chain = keeper.ledger()
    keeper.require_signature(chain)
    runs = list(dict.fromkeys(find_run(settings.results, text).run_id for text in wanted))
    for run_id in runs:
        if (run_id in chain.removals.pinned) == (kind == RUN_PINNED):
            raise UsageError(f"The run {run_id} is {'pinned already' if kind == RUN_PINNED else 'not pinned'}.")
    told = [Event(kind, run_id, _sha256(RunDir(settings.results, run_id).manifest), details=details) for run_id in runs]
    return append_many(settings.results / LEDGER, told, signer)


def _sha256(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None
