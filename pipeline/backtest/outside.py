"""Data that a function reads from outside of its arguments: variables around it, globals, defaults, attributes."""

from __future__ import annotations

import dis
import functools
import sysconfig
from collections.abc import Iterator, Mapping
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

_COLLECTIONS = (np.ndarray, pd.Series, pd.DataFrame, pd.Index, list, tuple, Mapping, set, frozenset)
_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
_DEPTH = 8

Named = tuple[str, Any]


def outside_data(function: Any, least: int) -> tuple[str, ...]:
    """Return the names of arrays, tables and collections of at least `least` values that a function can reach.

    Looked at are the variables around it, the globals that its code names and what it names of them, defaults, bound
    arguments, and the same of functions that it calls, as far as these are not of the standard library or installed.
    What it reads from files is not seen.
    """
    found: dict[str, None] = {}
    seen: set[int] = set()

    def look(name: str, value: Any, names: frozenset[str], depth: int) -> None:
        if depth == 0 or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, _COLLECTIONS) and len(value) >= least:
            found[name] = None
            return
        if isinstance(value, FunctionType):
            names = _attribute_names(value.__code__)
        for inner_name, inner in _inside(name, value, names):
            look(inner_name, inner, names, depth - 1)

    call = getattr_static(type(function), "__call__", None)
    names = _attribute_names(call.__code__) if isinstance(call, FunctionType) else frozenset[str]()
    look("self", function, names, _DEPTH)
    return tuple(found)


def _inside(name: str, value: Any, names: frozenset[str]) -> Iterator[Named]:
    """Yield what may be, or hold, data: of objects and modules what the code that holds them names."""
    if isinstance(value, FunctionType):
        yield from _around(value)
    elif isinstance(value, MethodType):
        yield name, value.__func__
        called = value.__func__
        named = _attribute_names(called.__code__) if isinstance(called, FunctionType) else names
        yield from _attributes(value.__self__, named)
    elif isinstance(value, functools.partial):
        yield from ((name, value.func), *(("a bound argument", given) for given in value.args), *value.keywords.items())
    elif isinstance(value, Mapping):
        yield from ((name, inner) for inner in value.values())
    elif isinstance(value, list | tuple):
        yield from ((name, inner) for inner in value)
    elif not isinstance(value, _COLLECTIONS):
        yield from _attributes(value, names)


def _around(function: FunctionType) -> Iterator[Named]:
    """Yield the function that this one wraps, and, unless it is installed, its variables, defaults and globals."""
    yield from ((key, inner) for key, inner in vars(function).items() if key == "__wrapped__")
    code = function.__code__
    if code.co_filename.startswith(_INSTALLED):
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from zip(code.co_varnames[: code.co_argcount][::-1], (function.__defaults__ or ())[::-1], strict=False)
    yield from (function.__kwdefaults__ or {}).items()
    named = _named(code, "LOAD_GLOBAL", "LOAD_NAME")
    yield from ((name, function.__globals__[name]) for name in sorted(named) if name in function.__globals__)


def _attributes(value: Any, names: frozenset[str]) -> Iterator[Named]:
    """Yield what an object wraps or calls, and its named attributes; nothing of an installed module."""
    if isinstance(value, ModuleType) and (getattr(value, "__file__", None) or _INSTALLED[0]).startswith(_INSTALLED):
        return
    held = getattr(value, "__dict__", {})
    yield from ((name, held[name]) for name in sorted(names | {"__wrapped__"}) if name in held)
    call = getattr_static(type(value), "__call__", None)
    if isinstance(call, FunctionType):
        yield "self", call


def _attribute_names(code: CodeType) -> frozenset[str]:
    return _named(code, "LOAD_ATTR", "LOAD_METHOD")


def _named(code: CodeType, *operations: str) -> frozenset[str]:
    """Return the names that these operations load in code and in the functions inside of it."""
    own = {str(step.argval) for step in dis.get_instructions(code) if step.opname in operations}
    inner = [_named(part, *operations) for part in code.co_consts if isinstance(part, CodeType)]
    return frozenset(own.union(*inner))
