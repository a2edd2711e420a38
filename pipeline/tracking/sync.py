"""Deliver what is pending, and rebuild an MLflow store from the results directory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_file
from pipeline.errors import EvidenceError, TrackingError
from pipeline.files import read_json
from pipeline.layout import MANIFEST
from pipeline.masking import MASK, masked
from pipeline.rundir import RunDir, run_ids
from pipeline.running import read_state
from pipeline.settings import Settings
from pipeline.tracking.delivery import deliver
from pipeline.tracking.journal import JournalWriter
from pipeline.tracking.outbox import ADOPTED, Home, State, is_owned, tracked_runs
from pipeline.tracking.run_tracking import KEPT_FILES, TrackingInfo
from pipeline.tracking.store import MANIFEST_TAG, REPORT_TAG, Store
from pipeline.tracking.uri import absolute_uri, run_url, sqlite_path


@dataclass(frozen=True)
class SyncResult:
    """What came of delivering one run.

    `delivered` and `pending` count journal entries; `rejected` names what the store refused for good (param
    values that had changed, names it does not accept); `error` says why something is still pending.
    """

    run_id: str
    delivered: int
    pending: int
    mlflow_run_id: str | None = None
    run_url: str | None = None
    rejected: tuple[str, ...] = ()
    error: str | None = None


def pending(run: RunDir) -> int:
    """Return how many journal entries of a run have not reached the store; 0 for a run without tracking."""
    return Home.of_run(run).pending()


def current_info(run: RunDir) -> TrackingInfo | None:
    """Return where a run is tracked now: as delivered last, else as tracking.json says; None without either.

    It differs from the sealed tracking.json when the run was created later, or in a rebuilt store.
    """
    try:
        sealed = TrackingInfo(**read_json(run.tracking))
    except (OSError, ValueError, TypeError):
        sealed = None
    state = Home.of_run(run).load()
    if state.mlflow_run_id is None:
        return sealed
    known = sealed or TrackingInfo()
    return replace(
        known,
        tracking_uri=state.tracking_uri,
        experiment_id=state.experiment_id,
        mlflow_run_id=state.mlflow_run_id,
        artifact_uri=state.artifact_uri,
        run_url=_url(Home.of_run(run), state),
        status="tracked",
    )


def sync_run(run: RunDir, settings: Settings, *, uri: str | None = None) -> SyncResult:
    """Deliver what one run has pending. A store that fails is an `error` in the result, not an exception.

    `uri` overrides the store the run was meant for; a password that was masked in the journal is taken from
    `uri` or MLFLOW_TRACKING_URI. A run that is still being executed is left alone.
    """
    return _sync(Home.of_run(run), settings, uri)


def publish_report(run: RunDir, settings: Settings, *, uri: str | None = None) -> SyncResult | None:
    """Attach the report, as it is now, to the tracked run: the file, and its digest as a tag. None without tracking.

    Recorded first and delivered then, so that a store that is away gets it with the next `evidence sync`.
    """
    home = Home.of_run(run)
    if not home.journal.is_file():
        return None
    late = JournalWriter(home.late)
    name = run.report.relative_to(run.path).as_posix()
    late.append("tags", {"items": {REPORT_TAG: sha256_file(run.report)}})
    late.append("artifact", {"path": name, "file": name})
    return _sync(home, settings, uri)


def sync_runs(settings: Settings, ids: Iterable[str] | None = None, *, uri: str | None = None) -> list[SyncResult]:
    """Deliver what the runs with these ids have pending, all runs and scripts by default; in order of id."""
    wanted = all_tracked(settings.results) if ids is None else list(ids)
    homes = [Home.find(settings.results, run_id) for run_id in wanted]
    return [_sync(home, settings, uri) for home in homes if ids is not None or home.pending()]


def rebuild(settings: Settings, ids: Iterable[str] | None = None, *, uri: str | None = None) -> list[SyncResult]:
    """Recreate runs in a store from the results directory: params, metrics, tags, artifacts, times.

    For a store that was lost or a new one at `uri`. Runs that are there already are completed, not doubled.
    """
    wanted = all_tracked(settings.results) if ids is None else list(ids)
    return [_sync(Home.find(settings.results, run_id), settings, uri, afresh=True) for run_id in wanted]


def all_tracked(results: Path) -> list[str]:
    """Return the sorted ids of all runs that have a journal."""
    found = {run_id for run_id in run_ids(results) if Home.of_run(RunDir(results, run_id)).journal.is_file()}
    return sorted(found | set(tracked_runs(results)))


def _sync(home: Home, settings: Settings, uri: str | None, *, afresh: bool = False) -> SyncResult:
    if not home.journal.is_file():
        return SyncResult(home.run_id, 0, 0)
    if _is_running(home):
        return SyncResult(home.run_id, 0, home.pending(), error="The run is being executed; it delivers by itself.")
    try:
        _complete(home)
        store = Store(store_uri(home, settings, uri), artifact_root=settings.root / "mlartifacts")
        if afresh:
            home.save(State())
        waiting = home.pending()
        state = deliver(home, store)
    except EvidenceError as error:
        return SyncResult(home.run_id, 0, home.pending(), error=str(error))
    left = home.pending()
    return SyncResult(home.run_id, waiting - left, left, state.mlflow_run_id, _url(home, state), state.rejected)


def _is_running(home: Home) -> bool:
    state = read_state(RunDir(home.outbox.parent.parent, home.run_id))
    return is_owned(home) or bool(state and state.alive)


def _complete(home: Home) -> None:
    """Add what a run could not log itself: the end of a killed run, or all of it when the outbox was lost."""
    journal, late = home.read()
    if late.of("end") or any(start.data.get(ADOPTED) for start in journal.of("start")):
        return
    writer = JournalWriter(home.late)
    manifest = home.base / MANIFEST
    if not manifest.is_file():
        last = journal.entries[-1].time if journal.entries else None
        writer.append("end", {"status": "KILLED"}, at=last)
        return
    names, status, ended = _sealed(manifest)
    logged = {entry.data["path"] for entry in late.of("artifact")}
    writer.append("tags", {"items": {MANIFEST_TAG: sha256_file(manifest)}})
    for name in (*names, manifest.name):
        if name not in logged and not name.startswith(KEPT_FILES):
            writer.append("artifact", {"path": name, "file": name})
    writer.append("end", {"status": status}, at=ended)


def _sealed(manifest: Path) -> tuple[list[str], str, int]:
    """Return a manifest's file names, end status and end time (ms since 1970 UTC)."""
    try:
        value = read_json(manifest)
        names = [str(item["name"]) for item in value["subject"]]
        ended = dt.datetime.fromisoformat(value["predicate"]["runDetails"]["metadata"]["finishedOn"])
        return names, str(value["predicate"]["evidence_run"]["status"]), round(ended.timestamp() * 1000)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{manifest} is not a manifest: {error!r}. `evidence verify` says what is wrong."
        raise TrackingError(message) from error


def _start(home: Home) -> dict[str, Any]:
    starts = home.read()[0].of("start")
    return starts[0].data if starts else {}


def store_uri(home: Home, settings: Settings, given: str | None) -> str:
    """Return the store a run belongs to: the one given, else the one it was meant for."""
    if given is not None:
        return absolute_uri(given, settings.root)
    meant = _start(home).get("uri")
    configured = absolute_uri(settings.default_tracking_uri, settings.root)
    if not meant or masked(configured) == meant:
        return configured
    database = sqlite_path(str(meant))
    if database is not None and not database.parent.is_dir():
        raise TrackingError(
            f"The run belongs to {meant}, whose directory is not there. If it was moved, name the store with --uri."
        )
    if MASK not in meant:
        return str(meant)
    raise TrackingError(f"The run belongs to {meant}, whose password is not kept. Set MLFLOW_TRACKING_URI, try again.")


def _url(home: Home, state: State) -> str | None:
    if not (state.tracking_uri and state.experiment_id and state.mlflow_run_id):
        return None
    return run_url(state.tracking_uri, _start(home).get("ui_url"), state.experiment_id, state.mlflow_run_id)
