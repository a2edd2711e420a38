"""Why a run stays, although the rules let it go."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import TrackingError
from pipeline.evidence.ledger import KINDS, OF_SWEEP, REPLAY, Entry
from pipeline.evidence.ledger_check import LedgerCheck
from pipeline.evidence.trust import Trust
from pipeline.evidence.verify import verify_run
from pipeline.run_row import RunRow
from pipeline.rundir import RunDir
from pipeline.running import read_state
from pipeline.tracking.pruned import TrackedRuns

QUIET = 60.0  # seconds for which nothing may have happened in a directory of which nobody says who executes it


@dataclass(frozen=True)
class Hold:
    """One reason for which a run stays; `final` ones `--force` does not overrule, because nothing true could be told of
    the removal.
    """

    reason: str
    final: bool = False

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Known:
    """What is known of all runs of a project, read once. `others` are entries of kinds that this version does not know,
    as an approval: whoever wrote them may rely on the run.
    """

    results: Path
    ledger: LedgerCheck
    trust: Trust | None
    tracked: TrackedRuns
    linked: Mapping[str, Mapping[str, str]]
    others: Mapping[str, Entry] = field(default_factory=dict)
    unknown_results: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, results: Path, ledger: LedgerCheck, trust: Trust | None, tracked: TrackedRuns, rows: Sequence[RunRow]
    ) -> Known:
        """Gather what decides; `rows` are all runs."""
        ids = {row.run_id for row in rows}
        others: dict[str, Entry] = {}
        for entry in ledger.entries:
            if entry.event.kind not in KINDS:
                others |= {run_id: entry for run_id in _named_in(entry) if run_id in ids}
        silent = {one.run_id for one in ledger.trials.counted if one.ended < one.trials and one.run_id}
        sweeps = {row.run_id for row in rows if row.is_sweep and row.manifest_sha256 is not None}
        return cls(results, ledger, trust, tracked, links_between(rows), others, frozenset(silent & sweeps))


def links_between(rows: Sequence[RunRow]) -> dict[str, dict[str, str]]:
    """Return for each run the others that rely on it, with a sentence: replays, and a sweep and its trials' runs."""
    found: dict[str, dict[str, str]] = {}
    ids = {row.run_id for row in rows}
    for row in rows:
        origin = row.record.origin
        if origin.startswith(REPLAY) and (original := origin.removeprefix(REPLAY)) in ids:
            found.setdefault(original, {})[row.run_id] = f"the run {row.run_id} is a replay of it"
        for start in OF_SWEEP:
            if origin.startswith(start) and (sweep := origin.removeprefix(start)) in ids:
                found.setdefault(sweep, {})[row.run_id] = f"the run {row.run_id} is one of its trials"
                found.setdefault(row.run_id, {})[sweep] = f"it is a trial of the sweep {sweep}"
    return found


def holds_of(row: RunRow, known: Known) -> list[Hold]:
    """Return why a run stays, whatever else goes."""
    run = RunDir(known.results, row.run_id)
    found = [*_of_execution(run, row), *_of_ledger(row, known)]
    if row.tracking_pending:
        found.append(Hold(f"{row.tracking_pending} entries have not reached MLflow (`evidence sync {row.run_id}`)"))
    return [*found, *_of_tracking(run, known)]


def _of_execution(run: RunDir, row: RunRow) -> Iterator[Hold]:
    state = read_state(run)
    if row.status == "RUNNING":
        elsewhere = state is not None and state.alive is None
        text = "it is executed on another host, as far as anybody knows" if elsewhere else "it is executed right now"
        yield Hold(text, final=not elsewhere)
    elif row.manifest_sha256 is None and state is None and _is_recent(run.path):
        yield Hold("it may be about to begin: it was changed within the last minute", final=True)
    elif row.manifest_sha256 is None and run.begun.is_file():
        yield Hold("it is a sweep that was interrupted, which the same command resumes")


def _of_ledger(row: RunRow, known: Known) -> Iterator[Hold]:
    run_id, sealed = row.run_id, known.ledger.seal_of(row.run_id)
    if (pin := known.ledger.removals.pinned.get(run_id)) is not None:
        why = pin.event.details.get("reason")
        yield Hold(f"it is pinned{f' ({why})' if why else ''}: `evidence unpin {run_id}`")
    if (other := known.others.get(run_id)) is not None:
        yield Hold(f"the ledger's entry {other.seq} ({other.event.kind}) is about it")
    if run_id in known.unknown_results:
        yield Hold(
            "the results of its trials are nowhere but in its directory: it was made before the ledger told them"
        )
    if row.manifest_sha256 is None and sealed is not None:
        yield Hold(
            f"the ledger's entry {sealed.seq} sealed it, and its manifest is gone: that is no way out", final=True
        )
    if row.manifest_sha256 is not None and sealed is None:
        yield Hold(f"the ledger does not know its seal (`evidence ledger adopt {run_id}`)", final=True)


def _of_tracking(run: RunDir, known: Known) -> Iterator[Hold]:
    try:
        if known.tracked.is_registered(run):
            yield Hold("a registered model in MLflow is of it")
    except TrackingError as error:
        yield Hold(f"its MLflow run cannot be reached: {error}")


def verification_hold(run_id: str, known: Known) -> Hold | None:
    """Return why a run stays whose seal does not hold: what was tampered with is not to be cleared away."""
    problems = verify_run(RunDir(known.results, run_id), trust=known.trust, ledger=known.ledger).problems
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return Hold(f"it does not verify: {problems[0]}{more}") if problems else None


def dependents(run_id: str, going: Mapping[str, object], known: Known) -> list[Hold]:
    """Return why a run stays as long as others stay that rely on it."""
    links = known.linked.get(run_id, {})
    return [Hold(sentence) for other, sentence in sorted(links.items()) if other not in going]


def _named_in(entry: Entry) -> Iterator[str]:
    yield from (text for text in (entry.event.run_id, entry.event.details.get("run_id")) if isinstance(text, str))


def _is_recent(directory: Path) -> bool:
    try:
        return time.time() - directory.stat().st_mtime < QUIET
    except OSError:
        return True
