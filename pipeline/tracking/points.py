"""Points of metrics as raw MLflow calls give them, in the types every store keeps, or refused as MLflow refuses them.

MLflow hands a numpy integer on as it is, and SQLite keeps it as eight bytes. It takes 1.5 for a step, and a server
refuses it. Here a step is a whole number, or the call raises; a time is cut to its millisecond.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

from pipeline.tracking.load import Point
from pipeline.tracking.values import whole


def as_point(name: Any, value: Any, time: Any, step: Any) -> Point:
    """Return one point: its value as MLflow converts it, time and step as integers of 64 bits.

    Raises MlflowException (INVALID_PARAMETER_VALUE), and what MLflow raises for a value without a float.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.metric_value_conversion_utils import convert_metric_value_to_float_if_possible
    from mlflow.utils.validation import _validate_metric

    at = whole(step)
    moment = whole(math.floor(time)) if isinstance(time, numbers.Real) and math.isfinite(time) else time
    if at is None or moment is None:
        text = f"The metric {name!r} has a timestamp or step beyond 64 bits: {time}, {step}."
        if not isinstance(step, numbers.Integral) and at is None:
            text = f"The metric {name!r} has the step {step!r}, which is not a whole number."
        raise MlflowException.invalid_parameter_value(text)
    number = convert_metric_value_to_float_if_possible(value)
    _validate_metric(name, number, moment, at)
    return name, float(number), moment, at


def as_metric(given: Any) -> Any:
    """Return MLflow's Metric with the number, time and step that `as_point` makes of its own."""
    from mlflow.entities import Metric

    point = as_point(given.key, given.value, given.timestamp, given.step)
    return Metric(*point, given.model_id, given.dataset_name, given.dataset_digest, given.run_id)


def records_of(points: Iterable[Point]) -> list[tuple[str, dict[str, Any]]]:
    """Return the journal's entries of points: those with finite values, and the names of the others."""
    finite: list[list[Any]] = []
    undefined: dict[str, str] = {}
    for name, value, time, step in points:
        if math.isfinite(value):
            finite.append([name, value, time, step])
        else:
            undefined[name] = str(value)
    records: list[tuple[str, dict[str, Any]]] = [("metrics", {"items": finite})] if finite else []
    return records + ([("skipped", {"items": undefined})] if undefined else [])


def stored_step(step: Any) -> int:
    """Return a step as a store gives it back; eight bytes are what SQLite keeps of a numpy integer."""
    return int.from_bytes(step, "little", signed=True) if isinstance(step, bytes) else int(step)
