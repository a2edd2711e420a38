"""JSON with one meaning and one form: what is signed or chained is read through here only.

Ordinary JSON parsers accept duplicate keys (and keep the last), NaN, numbers no other program can hold, and any
white space. Two programs can then read two things from the same signed bytes. Here they are refused.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline.digest import canonical_json

LARGEST = 2**53 - 1
LONGEST = 2**24  # of a manifest, in bytes
LONGEST_READ = LONGEST // 3 * 4 + 4096  # with its envelope, which holds it in base64


def parse_canonical(data: bytes) -> Any:
    """Parse JSON in the canonical form of RFC 8785; raises ValueError for anything else.

    The canonical form of a value is unique, so this accepts exactly one sequence of bytes for every value. More than
    LONGEST_READ bytes are refused unread: a stranger's file must not cost minutes.
    """
    if len(data) > LONGEST_READ:
        raise ValueError(f"it is longer than {LONGEST_READ:,} bytes")
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
        # The standard encoder writes the canonical form of everything but unusual floats and non-ASCII keys, and
        # is many times faster; where it differs, the reference implementation decides.
        if not (data.isascii() and _ENCODER.encode(value) == text) and canonical_json(value) != data:
            raise ValueError("it is not in canonical form, so it was not written by this program")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def canonical(value: Any) -> bytes:
    """Serialise in canonical form, fast where the value holds no floats and only ASCII."""
    text = _ENCODER.encode(value)
    return text.encode() if text.isascii() and not _has_float(value) else canonical_json(value)


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_float(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_float(item) for item in value)
    return isinstance(value, float) or (isinstance(value, int) and abs(value) > LARGEST)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {twice!r}")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int | float:
    value = int(text) if len(text) < 20 else LARGEST + 1
    return value if abs(value) <= LARGEST else _float(text)


def _float(text: str) -> float:
    value = float(text)
    if repr(value) == text and "e" not in text and not text.endswith(".0"):
        return value  # without an exponent, Python and ECMAScript write the same shortest form
    if value in (float("inf"), float("-inf")) or canonical_json(value).decode() != text:
        raise ValueError(f"the number {text[:40]} is too large or not in canonical form")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_integer, parse_float=_float)
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
