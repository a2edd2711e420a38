"""Verify a results directory as a whole: the ledger, every run, and the runs that should be there and are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.digest import sha256_file
from pipeline.evidence.ledger import SEALS, Checkpoint
from pipeline.evidence.ledger_check import LedgerCheck, check_ledger
from pipeline.evidence.problem import Problem, Verification
from pipeline.evidence.timestamp import AnchorVerifier, check_anchors
from pipeline.evidence.tombstone import ARCHIVE
from pipeline.evidence.trust import TRUST_FILE, Trust
from pipeline.evidence.verify import verify_run
from pipeline.rundir import LEDGER, RunDir, run_ids


def verify_ledger(
    results: Path,
    *,
    trust: Trust | None = None,
    checkpoint: Checkpoint | None = None,
    anchors: Mapping[str, AnchorVerifier] | None = None,
    signatures: bool = True,
) -> tuple[LedgerCheck, Verification]:
    """Check the ledger of a results directory and its anchors; the verification's `files` counts entries.

    Signed entries without `trust` are a problem: a trust file that was taken away must not pass for none. So is a
    ledger without any signature where keys are named (`--trust`): anybody can have left runs out of it.
    `signatures=False` checks the last signature only, which is enough beside a run whose own entries are checked.
    """
    ledger = check_ledger(results / LEDGER, checkpoint=checkpoint, trust=trust, signatures=signatures)
    notes = list(ledger.notes)
    problems = [*ledger.problems, *check_anchors(ledger, anchors or {}, notes)]
    if not ledger.entries and not ledger.problems and (sealed := _sealed(results)):
        text = f"it has no entry, although there are {sealed} sealed runs: it was taken away, or they are older than it"
        problems.append(Problem(LEDGER, "missing", f"{text} (then: `evidence ledger adopt --all`)"))
    if trust is None and any(entry.signed is not None for entry in ledger.entries):
        text = "the ledger is signed, and no trust file says by whom it may be: put it back, or give one with --trust"
        problems.append(Problem(TRUST_FILE.as_posix(), "missing", text))
    if trust is not None and trust.named and ledger.entries and not any(entry.signed for entry in ledger.entries):
        text = f"none of its {len(ledger.entries)} entries, and {trust.source} asks for a signature"
        problems.append(Problem(LEDGER, "unsigned", text))
    notes += _tombstones(ledger, set(run_ids(results)))
    whose = trust is not None and not problems and all(entry.signed for entry in ledger.entries)
    trusted = bool(ledger.entries) and whose
    return ledger, Verification(LEDGER, tuple(problems), len(ledger.entries), None, tuple(notes), trusted=trusted)


def verify_all(
    results: Path, *, trust: Trust | None = None, checkpoint: Checkpoint | None = None
) -> Iterator[Verification]:
    """Verify the ledger once, then every run against it; a run the ledger knows and nobody pruned must be there.

    So must be the archive of a run that was archived, as it was.
    """
    ledger, verification = verify_ledger(results, trust=trust, checkpoint=checkpoint)
    present = set(run_ids(results))
    gone = [_missing(run_id) for run_id in sorted(ledger.runs.keys() - present) if _expected(ledger, run_id)]
    gone += _archive_problems(results, ledger)
    yield replace(verification, problems=(*verification.problems, *gone), trusted=verification.trusted and not gone)
    for run_id in sorted(present):
        yield verify_run(RunDir(results, run_id), trust=trust, ledger=ledger)


def _tombstones(ledger: LedgerCheck, present: set[str]) -> Iterator[str]:
    """Yield a note for each time runs were removed, by name; of what was dropped the run itself tells."""
    told: dict[str, list[str]] = {}
    for run_id, tombstone in sorted(ledger.removals.standing.items()):
        if tombstone.level is not None or run_id not in present:
            told.setdefault(str(tombstone), []).append(run_id)
    for text, names in sorted(told.items()):
        yield f"{text}, as the ledger says: {', '.join(names)}"


def _archive_problems(results: Path, ledger: LedgerCheck) -> Iterator[Problem]:
    for run_id, tombstone in sorted(ledger.removals.standing.items()):
        if tombstone.level != ARCHIVE:
            continue
        archive = RunDir(results, run_id).archive
        if archive.is_symlink() or not archive.is_file():
            text = f"the archive {archive.name}, which the ledger's entry {tombstone.seq} tells of, is not there"
            yield Problem(run_id, "missing run", text)
        elif sha256_file(archive) != tombstone.archive_sha256:
            text = f"the archive {archive.name} is not the one that the ledger's entry {tombstone.seq} tells of"
            yield Problem(run_id, "edited", text)


def _sealed(results: Path) -> int:
    return sum(RunDir(results, run_id).manifest.is_file() for run_id in run_ids(results))


def _expected(ledger: LedgerCheck, run_id: str) -> bool:
    return any(e.event.kind in SEALS for e in ledger.runs[run_id]) and run_id not in ledger.pruned


def _missing(run_id: str) -> Problem:
    return Problem(run_id, "missing run", "the ledger says it was sealed, its directory is gone, and nobody pruned it")
