"""Make the results, MLflow, the site and the kept inputs what the ledger says of removed runs.

Each step may be done twice, and is done in an order in which nothing is lost that a later one needs: the tracked run,
the directory, what lies beside it, then the inputs that no run uses any more, the site, and last the intent. A process
that is killed anywhere leaves an intent, and `settle` finishes what it began.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_file
from pipeline.errors import EvidenceError, StorageError, TrackingError, VerificationError
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.tombstone import ARCHIVE, ARTIFACTS, DELETE, Tombstone
from pipeline.evidence.trust import project_trust
from pipeline.files import list_files
from pipeline.retention.intent import Intent, read_intent, remove_intent, sync_directory, write_intent
from pipeline.retention.kept_inputs import remove_unused
from pipeline.rundir import LEDGER, PRUNING_DIR, RUN_ID, RunDir
from pipeline.tracking.pruned import TrackedRuns

if TYPE_CHECKING:
    from pipeline.settings import Settings

SITE = Path("_site")


@dataclass(frozen=True)
class Settled:
    """What came of it: runs that are now as the ledger says, kept inputs that went with their last run, their bytes."""

    runs: int = 0
    inputs: int = 0
    bytes: int = 0
    warnings: tuple[str, ...] = ()


def settle(settings: Settings, tracked: TrackedRuns | None = None) -> Settled:
    """Finish what was begun; nothing when nothing was. Call it while no other process removes runs.

    A run whose tracking store is away stays begun, and a warning says so. Raises VerificationError for a ledger that is
    damaged but at its end, whose word is not followed, and StorageError.
    """
    intent = read_intent(settings.results)
    if intent is None:
        return Settled()
    chain = check_ledger(settings.results / LEDGER, trust=project_trust(settings))
    if damage := [problem for problem in chain.damage if problem.kind != "torn"]:
        raise VerificationError(f"What was begun is not gone on with, as the ledger is damaged: {damage[0]}")
    tracked, warnings = tracked or TrackedRuns(settings), []
    left: dict[str, tuple[str, ...]] = {}
    try:
        for run_id in intent.runs:
            run, stone = RunDir(settings.results, run_id), chain.tombstone_of(run_id)
            try:
                _mark(run, stone, tracked)
            except TrackingError as error:
                warnings.append(f"{run_id}: its MLflow run could not be changed: {error}")
                if stone is None or not stone.forced:
                    left[run_id] = intent.runs[run_id]
                    continue
            warnings += _settle_run(run, stone)
        _clear(settings.results)
        done = [digest for run_id in intent.runs if run_id not in left for digest in intent.runs[run_id]]
        inputs, size = remove_unused(settings.results, done)
        sync_directory(settings.results)
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}. `evidence prune` goes on with it.") from error
    warnings += _update_site(settings, intent.runs)
    if left:
        write_intent(settings.results, Intent(left))
    else:
        remove_intent(settings.results)
    return Settled(len(intent.runs) - len(left), inputs, size, tuple(warnings))


def _mark(run: RunDir, stone: Tombstone | None, tracked: TrackedRuns) -> None:
    """Tell MLflow: a tag says what was removed, nothing when the run is whole; a deleted run is deleted there."""
    if stone is None:
        if run.archive.is_file():
            tracked.mark(run, None)
    elif stone.level == DELETE:
        tracked.delete(run)
    elif stone.level is not None:
        tracked.mark(run, f"{stone.level} {stone.time[:10]}")


def _settle_run(run: RunDir, stone: Tombstone | None) -> list[str]:
    """Let the files of a run be what its tombstone says; return warnings."""
    if stone is None:
        if run.path.is_dir():  # it was restored, or its removal was not begun in earnest
            run.archive.unlink(missing_ok=True)
    elif stone.level == ARTIFACTS:
        _drop(run, stone)
    elif stone.level == ARCHIVE:
        if not run.archive.is_file() or sha256_file(run.archive) != stone.archive_sha256:
            return [f"{run.run_id}: its archive is not what the ledger says, so its directory stays"]
        _remove_directory(run)
        shutil.rmtree(run.scratch, ignore_errors=True)
    elif stone.level == DELETE:
        _remove_directory(run)
        run.archive.unlink(missing_ok=True)
        for beside in (run.outbox, run.unsealed, run.scratch):
            shutil.rmtree(beside, ignore_errors=True)
    return []


def _drop(run: RunDir, stone: Tombstone) -> None:
    """Remove the files that a tombstone names, and folders that are empty then."""
    for name in list_files(run.path) if run.path.is_dir() else ():
        if stone.covers(name):
            (run.path / name).unlink(missing_ok=True)
    for name in stone.dropped:
        for folder, _, _ in os.walk(run.path / name, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    sync_directory(run.path)


def _remove_directory(run: RunDir) -> None:
    """Remove a run directory in one step as others see it: it is moved away, then cleared."""
    if not run.path.is_dir() or run.path.is_symlink():
        return
    run.going.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(run.going, ignore_errors=True)
    run.path.rename(run.going)


def _clear(results: Path) -> None:
    """Remove directories on their way out, and what was begun of archives."""
    sync_directory(results)
    for entry in os.scandir(results / PRUNING_DIR):
        if entry.is_dir(follow_symlinks=False) and (RUN_ID.fullmatch(entry.name) or entry.name.startswith("archive-")):
            shutil.rmtree(entry.path, ignore_errors=True)


def _update_site(settings: Settings, runs: Mapping[str, object] | Collection[str]) -> list[str]:
    """Build the project's site again where it shows one of these runs, or should; a build that fails is a warning."""
    place = settings.root / SITE
    if not place.is_dir():
        return []
    from pipeline.site.build import build_site
    from pipeline.site.options import load_options
    from pipeline.site.state import read_state
    from pipeline.sweep.site_pages import SweepPages

    state = read_state(place)
    if state.public is None:  # no site
        return []
    if not any(run_id in state.runs or RunDir(settings.results, run_id).path.is_dir() for run_id in runs):
        return []
    try:
        options = load_options(settings, public=bool(state.public))
        build_site(settings, place, options, providers=[SweepPages(settings.results)])
    except EvidenceError as error:
        return [f"The site could not be built again (`evidence site build`): {error}"]
    return []
