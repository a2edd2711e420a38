"""The store of MLflow's fluent calls (`mlflow.get_run`, `mlflow.search_runs`) while a tracker's run is active.

After the run's end they have again what was set before it. Where nothing was set, the tracker's store is the default
that MLflow falls back to as long as the tracker exists, so that the ended run can still be read.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Any

URI = "MLFLOW_TRACKING_URI"
ORIGINAL = "_evidence_original"
_lock = threading.RLock()


class _Claims:
    """Which trackers are active, what was set before the first of them, and whose store is the default."""

    def __init__(self) -> None:
        self.active: list[weakref.ref[FluentStore]] = []
        self.before: str | None = None
        self.set_last: str | None = None
        self.default: weakref.ref[FluentStore] | None = None

    def give_back(self, claim: weakref.ref[FluentStore]) -> None:
        """Take a claim back: its run has ended, or its tracker is gone. What was set meanwhile stays."""
        with _lock:
            if claim not in self.active or sys.is_finalizing():
                return
            self.active.remove(claim)
            if _utils()._tracking_uri != self.set_last:
                return
            last = next((store for store in (known() for known in reversed(self.active)) if store is not None), None)
            self.set(self.before if last is None else last.uri)
            if last is None:
                self.default = claim
                _replace_default()

    def set(self, uri: str | None) -> None:
        """Set MLflow's store in this process; its environment stays, unlike with `mlflow.set_tracking_uri` alone."""
        inherited = os.environ.get(URI)
        _utils().set_tracking_uri(uri)
        if inherited is None:
            os.environ.pop(URI, None)
        else:
            os.environ[URI] = inherited
        self.set_last = uri


_claims = _Claims()


class FluentStore:
    """One tracker's claim on MLflow's fluent calls. Several trackers may be active: the one started last has them."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._claim: weakref.ref[FluentStore] = weakref.ref(self, _claims.give_back)

    def enter(self) -> None:
        """Make the store that of MLflow's fluent calls."""
        with _lock:
            if not _claims.active:
                _claims.before = _utils()._tracking_uri
            _claims.active.append(self._claim)
            _claims.set(self.uri)

    def leave(self) -> None:
        """Give back what was set before, once no other tracker is active."""
        _claims.give_back(self._claim)


def _utils() -> Any:
    from mlflow.tracking._tracking_service import utils

    return utils


def _replace_default() -> None:
    utils = _utils()
    original = getattr(utils._get_default_tracking_uri, ORIGINAL, utils._get_default_tracking_uri)

    def default() -> str:
        store = _claims.default() if _claims.default else None
        return str(original()) if store is None else store.uri

    setattr(default, ORIGINAL, original)
    utils._get_default_tracking_uri = default
