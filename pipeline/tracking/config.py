"""Build a tracker from a config: a dict, any mapping, or an object with `.raw`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pipeline.errors import nearest
from pipeline.tracking.mlflow_tracker import MLflowTracker
from pipeline.tracking.noop import NoopTracker
from pipeline.tracking.protocol import Tracker, TrackingWarning

NOOP_NAMES = ("noop", "none", "null", "off")
MLFLOW_KEYS = ("tracking_uri", "experiment_name", "run_name", "auto_start_run", "tags", "mode", "ui_url")
ALIASES = {"uri": "tracking_uri", "experiment": "experiment_name"}
KEYS = ("enabled", "backend", "mlflow", *MLFLOW_KEYS, *ALIASES)


def build_tracker_from_config(config: Any) -> Tracker:
    """Return the tracker a config asks for.

    Understands `{"enabled": …, "backend": "mlflow" | "noop", "mlflow": {…}}`, the keys of `mlflow` at top
    level, and all of it below `tracking`. Without a usable config a NoopTracker, with a TrackingWarning that
    says why. Raises TrackingNotInstalledError when MLflow is asked for and missing.
    """
    table = _table(config)
    if table is None:
        return _noop(f"the config is {'None' if config is None else f'a {type(config).__name__}, not a mapping'}")
    if table.get("enabled") is False or table.get("mode") == "off":
        return NoopTracker()
    backend = table.get("backend")
    if isinstance(backend, str) and backend.lower() in NOOP_NAMES:
        return NoopTracker()
    if backend is None and not ("mlflow" in table or any(key in table for key in (*MLFLOW_KEYS, *ALIASES))):
        return _noop("the config names no backend")
    if backend is not None and str(backend).lower() != "mlflow":
        return _noop(f"the backend {backend!r} is unknown. {nearest(str(backend), ('mlflow', 'noop'))}")
    return _mlflow(table)


def _mlflow(table: Mapping[str, Any]) -> Tracker:
    inner = table.get("mlflow")
    if inner is not None and not isinstance(inner, Mapping):
        return _noop(f"its `mlflow` is a {type(inner).__name__}, not a table")
    given = {**table, **(inner or {})}
    for name in given:
        if name not in KEYS:
            _warn(f"The tracking config has an unknown key {str(name)!r}, ignored. {nearest(str(name), KEYS)}")
    options = {ALIASES.get(key, key): value for key, value in given.items() if key in (*MLFLOW_KEYS, *ALIASES)}
    problem = _problem(options)
    if problem:
        return _noop(problem)
    return MLflowTracker(**{key: value for key, value in options.items() if value is not None})


def _problem(options: Mapping[str, Any]) -> str | None:
    """Return why the options are unusable, None when they are fine."""
    kinds = {"auto_start_run": bool, "tags": Mapping}
    for name, value in options.items():
        kind: type = kinds.get(name, str)
        if value is not None and not isinstance(value, kind) and not (kind is str and hasattr(value, "__fspath__")):
            return f"`{name}` must be a {kind.__name__.lower()}, not {value!r}"
    if options.get("mode", "warn") not in ("warn", "strict", None):
        return f"`mode` is {options['mode']!r}; valid: warn, strict, off"
    return None


def _table(config: Any) -> Mapping[str, Any] | None:
    raw = config if isinstance(config, Mapping) else getattr(config, "raw", None)
    if not isinstance(raw, Mapping):
        return None
    inner = raw.get("tracking")
    return inner if isinstance(inner, Mapping) else raw


def _noop(why: str) -> NoopTracker:
    _warn(f"Nothing will be tracked: {why}.")
    return NoopTracker()


def _warn(message: str) -> None:
    warnings.warn(message, TrackingWarning, stacklevel=4)
