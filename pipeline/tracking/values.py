"""Turn what callers log into what MLflow stores: flat params as text, finite metrics, short tags."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.secrets import of_this_process

# MLflow's limits. Beyond them it cuts silently (values) or refuses the whole batch (names).
MAX_PARAM = 6000
MAX_TAG = 8000
MAX_NAME = 250
BAD_CHARACTERS = re.compile(r"[^/\w.\- :]")


def as_text(value: Any) -> str:
    """Return the text of a param or tag: None is `null`, lists and mappings are JSON, dates ISO 8601, secrets `***`."""
    return storable(of_this_process().hidden(_text(value)))


def storable(text: str) -> str:
    """Return `text` as every store takes it: what UTF-8 cannot hold is `?`, NUL (PostgreSQL) U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def is_storable(number: int) -> bool:
    """Return whether a step or a time fits into the 64 bits that stores have for it."""
    return -(2**63) <= number < 2**63


def whole(step: Any) -> int | None:
    """Return a step as a whole number of 64 bits; None when it is none.

    Integers of any kind are taken (numpy's, a tensor's), and floats and decimals without a fraction; text is not.
    """
    given = plain(step)
    if isinstance(given, (str, bytes)) or hasattr(given, "shape"):
        return None
    try:
        number = int(given)
        return number if number == given and is_storable(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "null"
    if hasattr(value, "shape") and callable(getattr(value, "tolist", None)):
        value = value.tolist()
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        ordered = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return json.dumps(ordered, default=_json_default, ensure_ascii=False)
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return str(value)


def plain(value: Any) -> Any:
    """Return a scalar of numpy or a tensor library (or a zero-dimensional array) as the Python value it holds.

    Instants and spans of numpy are text: what they hold would be a bare count of nanoseconds.
    """
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return str(value) if getattr(getattr(value, "dtype", None), "kind", None) in ("m", "M") else value.item()
    return value


def _json_default(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, Mapping):
        return dict(value)
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else as_text(value)


def valid_name(name: str) -> str:
    """Return `name` as MLflow accepts it: at most 250 characters of letters, digits and `_-. :/`."""
    cleaned = BAD_CHARACTERS.sub("_", name) or "_"
    if posixpath.normpath(cleaned) != cleaned or cleaned.startswith(("/", "..")) or cleaned == ".":
        cleaned = re.sub(r"/+", "/", cleaned).strip("/").replace("..", "_").replace("./", "_/") or "_"
        cleaned = "_" if posixpath.normpath(cleaned) in (".", "..") else posixpath.normpath(cleaned)
    if len(cleaned) > MAX_NAME:
        cleaned = f"{cleaned[: MAX_NAME - 9]}~{fingerprint(name)}"
    return cleaned


def fingerprint(text: str) -> str:
    """Return eight hex digits that tell apart names which became equal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def shorten(text: str, limit: int, kept_in: str) -> str:
    """Return `text` cut to `limit` characters, its end naming the artifact that holds all of it."""
    note = f"… [{len(text)} characters, all of them in {kept_in}]"
    return text[: limit - len(note)] + note


@dataclass(frozen=True)
class Numbers:
    """Metrics sorted by what can be done with them: finite ones, undefined ones, and what is no number."""

    finite: dict[str, float]
    undefined: dict[str, str]
    refused: dict[str, str]


def sort_metrics(metrics: Mapping[Any, Any]) -> Numbers:
    """Sort metrics: ints and floats are recorded, NaN and infinities listed, booleans and others refused."""
    numbers = Numbers({}, {}, {})
    for key, given in metrics.items():
        value, name = plain(given), str(key)
        if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, str):
            numbers.refused[name] = type(value).__name__
            continue
        number = _to_float(value)
        if number is None:
            numbers.refused[name] = type(value).__name__
        elif math.isfinite(number):
            numbers.finite[name] = number
        else:
            numbers.undefined[name] = str(number)
    return numbers


def _to_float(value: Any) -> float | None:
    """Return the value, or an array's only element, as a float; too large an integer is infinite; None without one."""
    try:
        return float(value.item() if hasattr(value, "shape") else value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None
