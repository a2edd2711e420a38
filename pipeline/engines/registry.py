"""Turn what `run.save` was given into a result: by an adapter of this package, or by one that is installed."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from pathlib import Path
from typing import Any, cast

from pipeline.engines.adapter import GROUP, Adapter, Given
from pipeline.engines.weights import is_allocation
from pipeline.errors import EvidenceError, ResultError
from pipeline.results.checks import check_result
from pipeline.results.contract import Result

# Asked in this order: what is known by its class, what is known by its columns, plain series and frames.
BUILT_IN = (
    "vectorbt",
    "backtesting_py",
    "bt",
    "skfolio",
    "backtrader",
    "nautilus",
    "zipline",
    "freqtrade",
    "lean",
    "investing_algorithm",
    "series",
)


def as_result(value: Any, given: Given | None = None) -> Result:
    """Return `value` as a checked result; a Result is checked and passes.

    Built-in adapters are asked first, then those of the entry points of the group `evidence_chain.results`. Raises
    ResultError for an object that no adapter knows and for a result that cannot be true, whoever made it.
    """
    result = value if isinstance(value, Result) else _adapted(value, given or Given())
    check_result(result)
    return result


def _adapted(value: Any, given: Given) -> Result:
    if given.prices is not None and is_allocation(value):
        import pandas as pd

        value = pd.Series(dict(value))
    for adapter in built_in():
        if (result := _asked(adapter, adapter.name, value, given)) is not None:
            return result
    for name in sorted(entry.name for entry in _entries()):
        if (result := _asked(installed(name), name, value, given)) is not None:
            return result
    raise unknown(value)


@functools.cache
def built_in() -> tuple[Adapter, ...]:
    """Return the adapters of this package, in the order they are asked."""
    return tuple(cast("Adapter", importlib.import_module(f"pipeline.engines.{module}").ADAPTER) for module in BUILT_IN)


def _entries() -> tuple[importlib.metadata.EntryPoint, ...]:
    return tuple(importlib.metadata.entry_points(group=GROUP))


def installed(name: str) -> Adapter:
    """Return the adapter of an entry point; it names an Adapter or a class of one. Raises ResultError if it fails."""
    (entry, *_) = [entry for entry in _entries() if entry.name == name]
    try:
        found = entry.load()
        adapter = found() if isinstance(found, type) else found
    except Exception as error:
        raise ResultError(
            f"The adapter {name!r} ({entry.value}) could not be loaded: {type(error).__name__}: {error}. "
            "Repair or uninstall the package that brings it."
        ) from error
    if not (callable(getattr(adapter, "recognises", None)) and callable(getattr(adapter, "adapt", None))):
        raise ResultError(f"The adapter {name!r} ({entry.value}) has no recognises(value) and adapt(value, given).")
    return cast("Adapter", adapter)


def _asked(adapter: Adapter, name: str, value: Any, given: Given) -> Result | None:
    """Return what an adapter makes of the object, None of one it leaves to others.

    What it raises or returns else is a ResultError.
    """
    try:
        if not adapter.recognises(value):
            return None
        result: object = adapter.adapt(value, given)
    except EvidenceError:
        raise
    except Exception as error:
        raise ResultError(
            f"The adapter {name!r} failed on {_kind(value)}: {type(error).__name__}: {error}. It may be of a version "
            "that the adapter does not know: give its equity as a Series, "
            'run.save(equity, kind="equity", capital=100_000).'
        ) from error
    if not isinstance(result, Result):
        raise ResultError(f"The adapter {name!r} returned {_kind(result)}, not a pipeline.results.contract.Result.")
    return result


def unknown(value: Any) -> ResultError:
    """Return the error for an object that no adapter takes: what is known, and what helps."""
    if isinstance(value, str | Path) and not Path(value).exists():
        return ResultError(f"There is no file {str(value)!r}. Give the path of what the engine wrote.")
    names = [adapter.name for adapter in built_in()] + sorted(entry.name for entry in _entries())
    return ResultError(
        f"No adapter knows {_kind(value)}. Known are: {'; '.join(names)}.\n"
        "Three lines help: give its equity as a Series with dates,\n"
        "    equity = pd.Series(values, index=pd.DatetimeIndex(dates))\n"
        '    run.save(equity, kind="equity", capital=100_000)\n'
        "or write an adapter: docs/results.md shows one in 20 lines."
    )


def _kind(value: Any) -> str:
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"
