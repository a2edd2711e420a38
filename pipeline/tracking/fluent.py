"""Keep raw MLflow calls of a notebook in the notebook's own run.

MLflow takes MLFLOW_RUN_ID once and then forgets it: a second thread, a second `with mlflow.start_run()`, and
everything after an autologged training would start runs of their own. Inside a kernel this module makes
`mlflow.start_run()` and all that call it come back to the one run. Nested runs stay what they are.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from pipeline.tracking.protocol import TrackingWarning

FLUENT = "mlflow.tracking.fluent"
VARIABLE = "MLFLOW_RUN_ID"


class StickyRunId:
    """Stands where MLflow keeps its MLFLOW_RUN_ID setting, and answers every time."""

    name = VARIABLE

    def __init__(self, fluent: Any, run_id: str, used: Callable[[], None]) -> None:
        self._fluent = fluent
        self._run_id = run_id
        self._used = used

    def get(self) -> str | None:
        """Return the run to resume; None inside an active run, where a nested run is being started."""
        self._used()
        if self._fluent._active_run_stack.get():
            return None
        if self._fluent._active_experiment_id is not None:
            message = "mlflow.set_experiment() has no effect here: this notebook's run belongs to its own experiment."
            warnings.warn(message, TrackingWarning, stacklevel=4)
            self._fluent._active_experiment_id = None
        os.environ[VARIABLE] = self._run_id  # MLflow deletes it right after asking
        return self._run_id

    def unset(self) -> None:
        """Keep answering: MLflow calls this when a run ends."""


def keep_to_run(run_id: str, used: Callable[[], None] = lambda: None) -> None:
    """Make MLflow's fluent calls in this process resume `run_id`, now or once MLflow is imported.

    `used` is called each time they do.
    """
    for finder in [item for item in sys.meta_path if isinstance(item, _Finder)]:
        sys.meta_path.remove(finder)
    loaded = sys.modules.get(FLUENT)
    if loaded is not None:
        _patch(loaded, run_id, used)
    else:
        sys.meta_path.insert(0, _Finder(run_id, used))


def _patch(fluent: ModuleType, run_id: str, used: Callable[[], None]) -> None:
    needed = ("MLFLOW_RUN_ID", "_active_run_stack", "_active_experiment_id")
    if all(hasattr(fluent, name) for name in needed):
        fluent.MLFLOW_RUN_ID = StickyRunId(fluent, run_id, used)  # type: ignore[attr-defined]


class _Finder(importlib.abc.MetaPathFinder):
    """Patches MLflow's fluent module when it is imported, then goes away."""

    def __init__(self, run_id: str, used: Callable[[], None]) -> None:
        self._run_id = run_id
        self._used = used

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Take over the import of one module only."""
        if fullname != FLUENT:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            run, self_run_id, used = spec.loader.exec_module, self._run_id, self._used

            def exec_module(module: ModuleType) -> None:
                run(module)
                _patch(module, self_run_id, used)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
