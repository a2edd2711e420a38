"""What becomes of the tracked run of a run that is removed: a tag says so, or it goes to MLflow's bin.

A run whose artifacts were dropped, or that was archived, keeps its tracked run, with the tag `evidence.pruned`. Of a
deleted run it is deleted as MLflow's own command does it: `mlflow runs restore` brings it back, `mlflow gc` frees
its files. Copies of artifacts that MLflow has are MLflow's.
"""

from __future__ import annotations

import contextlib

from pipeline.errors import TrackingError
from pipeline.masking import MASK, masked
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking.store import RejectedError, Store
from pipeline.tracking.sync import current_info
from pipeline.tracking.uri import absolute_uri

PRUNED_TAG = "evidence.pruned"


class TrackedRuns:
    """The tracked runs of a project's runs, each store opened once. All methods raise TrackingError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stores: dict[str, Store] = {}
        self._registered: dict[str, frozenset[str]] = {}

    def is_registered(self, run: RunDir) -> bool:
        """Say whether a version of a registered model is of the tracked run; also raises when the store is away."""
        if (found := self._find(run)) is None:
            return False
        store, mlflow_run_id = found
        if store.uri not in self._registered:
            self._registered[store.uri] = store.registered_runs()
        return mlflow_run_id in self._registered[store.uri]

    def mark(self, run: RunDir, text: str | None) -> None:
        """Let the tag say what was removed, None that nothing is; a tracked run that is not there is no error."""
        if (found := self._find(run)) is None:
            return
        store, mlflow_run_id = found
        with contextlib.suppress(RejectedError):
            tags = store.get_run(mlflow_run_id).data.tags
            if text is not None:
                store.log(mlflow_run_id, {}, [], {PRUNED_TAG: text})
            elif PRUNED_TAG in tags:
                store.delete_tag(mlflow_run_id, PRUNED_TAG)

    def delete(self, run: RunDir) -> None:
        """Delete the tracked run; one that is deleted already, or was never there, is no error."""
        if (found := self._find(run)) is None:
            return
        store, mlflow_run_id = found
        with contextlib.suppress(RejectedError):
            store.get_run(mlflow_run_id)
            store.delete_run(mlflow_run_id)

    def _find(self, run: RunDir) -> tuple[Store, str] | None:
        info = current_info(run)
        if info is None or info.mlflow_run_id is None or info.tracking_uri is None:
            return None
        store = self._store(info.tracking_uri)
        store.check()
        return store, info.mlflow_run_id

    def _store(self, recorded: str) -> Store:
        """Return the store of this address; a password, which is not recorded, is that of the project's store."""
        if recorded not in self._stores:
            configured = absolute_uri(self._settings.default_tracking_uri, self._settings.root)
            uri = configured if masked(configured) == masked(recorded) else recorded
            if MASK in uri:
                raise TrackingError(f"The password of {recorded} is not kept. Set MLFLOW_TRACKING_URI, try again.")
            self._stores[recorded] = Store(uri, artifact_root=self._settings.root / "mlartifacts")
        return self._stores[recorded]
