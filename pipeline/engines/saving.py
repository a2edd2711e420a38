"""What `run.save` makes of an object and of what was said beside it: one result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.conventions import Conventions
from pipeline.engines.adapter import Given
from pipeline.engines.objects import relabelled
from pipeline.engines.registry import as_result
from pipeline.errors import UsageError, nearest
from pipeline.results.checks import check_result
from pipeline.results.contract import Engine, OwnFile, OwnMetric, Result
from pipeline.results.recompute import path_of

if TYPE_CHECKING:
    import pandas as pd

FOR_ADAPTERS = tuple(field.name for field in dataclasses.fields(Given))
OF_RESULTS = tuple(field.name for field in dataclasses.fields(Result) if field.name not in ("equity", "conventions"))
ON_LABELS = ("positions", "weights", "prices", "cash", "leverage")
CONVENTIONS = ("periods_per_year", "risk_free_rate")


def result_of(value: Any, given: Mapping[str, Any]) -> Result:
    """Return the checked result of an object, with what was given beside it in place of what the object says.

    Names in `given` are fields of Given and of Result, `periods_per_year` and `risk_free_rate`. Raises UsageError for
    any other name, ResultError for what is no result.
    """
    known = (*FOR_ADAPTERS, *OF_RESULTS, *CONVENTIONS)
    for name in given:
        if name not in known:
            raise UsageError(f"run.save knows nothing of {name!r}. {nearest(name, known)}")
    adapting = Given(**{name: value for name, value in given.items() if name in FOR_ADAPTERS})
    result = as_result(value, adapting)
    told = [name for name in FOR_ADAPTERS if getattr(result, name, None) is not None]  # on the result's labels by now
    parts = {name: _part(name, given[name], result) for name in OF_RESULTS if name in given and name not in told}
    if rates := {name: given[name] for name in CONVENTIONS if name in given}:
        parts["conventions"] = _conventions(result.conventions, **rates)
    completed = dataclasses.replace(result, **parts)
    check_result(completed)
    return completed


def _part(name: str, value: Any, result: Result) -> Any:
    """Return one field of the contract from what people give for it."""
    if name == "symbols":
        return (value,) if isinstance(value, str) else tuple(map(str, value))
    if name == "engine" and isinstance(value, str):
        return Engine(value)
    if name == "metrics" and isinstance(value, Mapping):
        return tuple(OwnMetric(str(key), float(number)) for key, number in value.items())
    if name == "benchmarks":
        return {str(key): _benchmark(curve, result) for key, curve in value.items()}
    if name == "files":
        return {str(key): _file(str(key), item) for key, item in value.items()}
    value = relabelled(value, f"the {name}") if name in ON_LABELS else value
    return tuple(value) if name in ("folds", "metrics", "notes", "reported") else value


def _benchmark(curve: pd.Series, result: Result) -> pd.Series:
    """Return a series of prices or of equity as the equity of the result's capital, on the result's labels.

    Where the first label ends a period and the series reaches back before it, it has that period's return, too.
    """
    import pandas as pd

    from pipeline.backtest.benchmark import match_benchmark
    from pipeline.backtest.timestamps import utc_labels

    series = curve.set_axis(utc_labels(pd.DatetimeIndex(curve.index)))
    labels, path = pd.DatetimeIndex(result.equity.index), pd.DatetimeIndex(path_of(result).index)
    if len(path) > len(labels) and len(series) and series.index[0] <= path[0]:
        return match_benchmark(series, path, result.capital).equity.iloc[1:]
    return match_benchmark(series, labels, result.capital).equity


def _file(name: str, value: Any) -> OwnFile:
    return value if isinstance(value, OwnFile) else OwnFile(Path(value), name)


def _conventions(
    found: Conventions, *, periods_per_year: float | None = None, risk_free_rate: float | None = None
) -> Conventions:
    rate = found.risk_free_rate if risk_free_rate is None else float(risk_free_rate)
    given = found.given_periods if periods_per_year is None else float(periods_per_year)
    return dataclasses.replace(found, risk_free_rate=rate, given_periods=given)
