"""Keep raw MLflow calls of a notebook in the notebook's own run, and in its journal.

MLflow takes MLFLOW_RUN_ID once and then forgets it: a second thread, a second `with mlflow.start_run()`, and
everything after an autologged training would start runs of their own. Inside a kernel this module makes
`mlflow.start_run()` and all that call it come back to the one run. Nested runs stay what they are.

Whatever is logged (`mlflow.log_…`, autologging, a client's own methods) is a call of a public method of MlflowClient.
Those in HOOKS are led through `RawCalls`.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from pipeline.errors import TrackingError
from pipeline.masking import masked
from pipeline.tracking.protocol import TrackingWarning
from pipeline.tracking.raw_calls import FOLLOWS, Call, RawCalls

FLUENT = "mlflow.tracking.fluent"
VARIABLE = "MLFLOW_RUN_ID"
HOOKS = (
    *("log_metric", "log_param", "log_batch", "set_tag", "log_artifact", "log_artifacts", "log_image"),
    *("log_inputs", "log_outputs", "_record_logged_model", "create_run", "update_run", "set_terminated"),
    *("get_run", "list_artifacts", "download_artifacts"),
)
EXPERIMENT_HOOKS = ("get_experiment", "get_experiment_by_name")
SERVICE = "TrackingServiceClient"
ORIGINAL = "_evidence_original"


class StickyRunId:
    """Stands where MLflow keeps its MLFLOW_RUN_ID setting, and answers every time, until the run is sealed.

    The variable itself stays, for the processes that the notebook starts.
    """

    def __init__(self, fluent: Any, calls: RawCalls) -> None:
        self._fluent = fluent
        self.calls = calls
        self._here = threading.local()

    @property
    def name(self) -> str:
        """The variable that MLflow deletes after asking: one of each thread, since several may ask at once."""
        return f"EVIDENCE_RESUMED_BY_{threading.get_ident()}"

    def get(self) -> str | None:
        """Return the run to resume; None where a nested run is being started."""
        if self.calls.sealed:
            return self._asked(os.environ.pop(VARIABLE, None))
        self.calls.note_use()
        if self._fluent._active_run_stack.get() or getattr(self._here, "nesting", False):
            return None
        if self._fluent._active_experiment_id is not None:
            message = "mlflow.set_experiment() has no effect here: this notebook's run belongs to its own experiment."
            warnings.warn(message, TrackingWarning, stacklevel=4)
            self._fluent._active_experiment_id = None
        return self._asked(self.calls.run_id)

    def _asked(self, run_id: str | None) -> str | None:
        os.environ[self.name] = ""
        return run_id

    def unset(self) -> None:
        """Keep answering: MLflow calls this when a run ends."""

    def nest(self, start_run: Callable[..., Any]) -> Callable[..., Any]:
        """Return MLflow's `start_run` such that a nested run is one in a thread without an active run, too."""
        signature = inspect.signature(start_run)

        def starting(*given: Any, **named: Any) -> Any:
            bound = signature.bind(*given, **named)
            wanted = bound.arguments
            if wanted.get("run_id"):
                self.calls.note_other(wanted["run_id"])
            nested = (wanted.get("nested") or wanted.get("parent_run_id")) and not wanted.get("run_id")
            if not nested or self.calls.sealed:
                return start_run(*given, **named)
            if not self.calls.is_own_store(_current_uri()):
                wanted["experiment_id"] = self.calls.experiment_id  # MLflow would look for one in the other store
            if self._fluent._active_run_stack.get():
                return start_run(*bound.args, **bound.kwargs)
            wanted["parent_run_id"] = wanted.get("parent_run_id") or self.calls.run_id
            self._here.nesting = True
            try:
                return start_run(*bound.args, **bound.kwargs)
            finally:
                self._here.nesting = False

        return starting


def keep_to_run(calls: RawCalls) -> None:
    """Lead MLflow's calls in this process to one run and its journal, now or once MLflow is imported."""
    for finder in [item for item in sys.meta_path if isinstance(item, _Finder)]:
        sys.meta_path.remove(finder)
    loaded = sys.modules.get(FLUENT)
    if loaded is not None:
        _patch(loaded, calls)
    else:
        sys.meta_path.insert(0, _Finder(calls))


def end_active_runs(run_id: str) -> None:
    """End what raw calls in this thread left active of a run: nested runs, and the run itself in MLflow's own books."""
    fluent = sys.modules.get(FLUENT)
    stack = fluent._active_run_stack.get() if fluent is not None else []
    if fluent is not None and stack and stack[0].info.run_id == run_id:
        while fluent._active_run_stack.get():
            fluent.end_run()


def is_kept() -> bool:
    """Return whether MLflow's calls in this process are led to a run that goes on, or will be once it is imported."""
    setting = getattr(sys.modules.get(FLUENT), VARIABLE, None)
    keepers = [setting, *sys.meta_path]
    return any(isinstance(item, StickyRunId | _Finder) and not item.calls.sealed for item in keepers)


def _patch(fluent: Any, calls: RawCalls) -> None:
    needed = ("MLFLOW_RUN_ID", "_active_run_stack", "_active_experiment_id")
    if all(hasattr(fluent, name) for name in needed):
        fluent.MLFLOW_RUN_ID = sticky = StickyRunId(fluent, calls)
        _replace(fluent, "start_run", sticky.nest)
        if hasattr(sys.modules["mlflow"], "start_run"):  # else it takes ours when it comes to importing it
            _replace(sys.modules["mlflow"], "start_run", sticky.nest)
    if hasattr(fluent, "_get_store"):
        _replace(fluent, "_get_store", functools.partial(_resuming, calls=calls))
    _lead(fluent.MlflowClient, HOOKS + EXPERIMENT_HOOKS, calls)
    if hasattr(fluent, SERVICE):  # mlflow.set_experiment() passes MlflowClient by
        _lead(getattr(fluent, SERVICE), EXPERIMENT_HOOKS, calls)


def _lead(client: Any, names: Sequence[str], calls: RawCalls) -> None:
    _replace(client, "__init__", functools.partial(_opening, calls=calls))
    for name in names:
        if hasattr(client, name):
            handler = getattr(calls, name.lstrip("_"))
            _replace(client, name, functools.partial(_around, handler=handler, calls=calls))


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of an original in its place; what an earlier call put there goes."""
    original = getattr(getattr(owner, name), ORIGINAL, getattr(owner, name))
    made = functools.wraps(original)(make(original))
    setattr(made, ORIGINAL, original)
    setattr(owner, name, made)


def _around(original: Callable[..., Any], handler: Callable[[Call], Any], calls: RawCalls) -> Callable[..., Any]:
    signature = inspect.signature(original)

    def method(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named)
        bound.apply_defaults()
        call = Call(given[0], bound.arguments, lambda: original(*bound.args, **bound.kwargs))
        if not calls.concern(call):
            return call.send()
        calls.lead_home(call)
        return handler(call)

    return method


def _resuming(original: Callable[..., Any], calls: RawCalls) -> Callable[..., Any]:
    def store(*given: Any) -> _Store:
        return _Store(lambda: original(*given), lambda: original(calls.tracking_uri), calls)

    return store


def _opening(original: Callable[..., None], calls: RawCalls) -> Callable[..., None]:
    def opening(client: Any, tracking_uri: str | None = None, *given: Any, **named: Any) -> None:
        uri = str(tracking_uri or _current_uri())
        follows = not tracking_uri
        setattr(client, FOLLOWS, follows)
        if not calls.opened(lambda: original(client, tracking_uri, *given, **named), uri, follows=follows):
            connection = client if type(client).__name__ == SERVICE else _Away()
            connection.tracking_uri = uri
            if connection is not client:
                client._tracking_client = connection

    return opening


def _current_uri() -> str:
    from mlflow import get_tracking_uri

    return str(get_tracking_uri())


class _Away:
    """Stands where a client keeps its connection when the store was away from the beginning."""

    tracking_uri: str

    def __getattr__(self, name: str) -> Any:
        raise TrackingError(f"The tracking store {masked(self.tracking_uri)} is away: {name} is not possible now.")


class _Store:
    """A store whose resumption of a run goes through RawCalls."""

    def __init__(self, find: Callable[[], Any], find_own: Callable[[], Any], calls: RawCalls) -> None:
        self._find = find
        self._find_own = find_own
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    def update_run_info(self, run_id: str, *given: Any, **named: Any) -> Any:
        call = Call(None, {"run_id": run_id}, lambda: self._find_own().update_run_info(run_id, *given, **named))
        if self._calls.concern(call):
            return self._calls.update_run_info(call)
        return self._find().update_run_info(run_id, *given, **named)


class _Finder(importlib.abc.MetaPathFinder):
    """Patches MLflow's fluent module when it is imported, then goes away."""

    def __init__(self, calls: RawCalls) -> None:
        self.calls = calls

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
            run, calls = spec.loader.exec_module, self.calls

            def exec_module(module: ModuleType) -> None:
                run(module)
                _patch(module, calls)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
