"""build_tracker_from_config: every shape of config, and what happens to unusable ones."""

from __future__ import annotations

import tomllib
import types
import warnings
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

from pipeline.tracking import MLflowTracker, NoopTracker, TrackingWarning, build_tracker_from_config

URI = "sqlite:///somewhere.db"
MLFLOW = {"tracking_uri": URI, "experiment_name": "exp", "run_name": "night", "auto_start_run": False}


@pytest.mark.parametrize(
    "config",
    [
        {"enabled": True, "backend": "mlflow", "mlflow": MLFLOW},
        {"backend": "mlflow", **MLFLOW},
        {"mlflow": MLFLOW},
        MLFLOW,
        {"tracking": {"backend": "mlflow", "mlflow": MLFLOW}},
        UserDict({"tracking": UserDict({"backend": "MLflow", "mlflow": UserDict(MLFLOW)})}),
        types.SimpleNamespace(raw={"tracking": {"backend": "mlflow", "mlflow": MLFLOW}}),
        {"backend": "mlflow", "uri": URI, "experiment": "exp", "run_name": "night"},
    ],
)
def test_mlflow_from_any_shape(config: Any) -> None:
    """A dict, a mapping, an object with `.raw`; the table `mlflow` or its keys at top level."""
    tracker = build_tracker_from_config(config)
    assert isinstance(tracker, MLflowTracker)
    assert (tracker.tracking_uri, tracker.experiment_name, tracker.run_name) == (URI, "exp", "night")
    assert tracker.run_id is None


@pytest.mark.parametrize(
    "config",
    [{"enabled": False, "backend": "mlflow"}, {"backend": "noop"}, {"backend": "none"}, {"tracking": {"mode": "off"}}],
)
def test_asked_for_nothing(config: Any) -> None:
    """Tracking that is switched off is no reason for a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(build_tracker_from_config(config), NoopTracker)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "None"),
        (7, "int"),
        ("mlflow", "str"),
        ({}, "names no backend"),
        ({"backend": "mlfow"}, "Did you mean 'mlflow'"),
        ({"backend": "mlflow", "mlflow": 3}, "`mlflow` is a int"),
        ({"backend": "mlflow", "experiment_name": 5}, "`experiment_name` must be a str, not 5"),
        ({"backend": "mlflow", "auto_start_run": "yes"}, "`auto_start_run` must be a bool"),
        ({"backend": "mlflow", "mode": "loud"}, "valid: warn, strict, off"),
        (types.SimpleNamespace(raw=None), "SimpleNamespace"),
    ],
)
def test_unusable_configs_say_why(config: Any, why: str) -> None:
    """Nothing is tracked, and the warning names the reason."""
    with pytest.warns(TrackingWarning, match="Nothing will be tracked") as told:
        assert isinstance(build_tracker_from_config(config), NoopTracker)
    assert why in str(told[0].message)


def test_an_unknown_key_is_told() -> None:
    """A misspelt key is named, with the nearest valid one."""
    with pytest.warns(TrackingWarning, match=r"'experiment_nam'.*Did you mean 'experiment_name'"):
        build_tracker_from_config({"backend": "mlflow", "experiment_nam": "x"})


def test_the_shipped_config_works() -> None:
    """config/tracking.toml is what the guide shows."""
    text = (Path(__file__).parents[2] / "config" / "tracking.toml").read_text()
    tracker = build_tracker_from_config(tomllib.loads(text))
    assert isinstance(tracker, MLflowTracker)
    assert tracker.experiment_name == "evidence-chain"
