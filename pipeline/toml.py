"""TOML that somebody wrote: parsed within limits of time and depth, before anything else looks at it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

MOST_BYTES = 2**20
MOST_PARTS = 32  # of a dotted key: the parser takes a time that grows with their square
MOST_DEPTH = 64  # of tables and lists in one another
TOO_DEEP = f"it nests tables and lists more than {MOST_DEPTH} deep"
TOO_LARGE = "it holds an integer of more than 64 bits; give it as text"
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?m)(?:^|[\[{{,])[ \t]*+(?:{_PART}[ \t]*+\.[ \t]*+){{{MOST_PARTS}}}")


def parse_toml(data: bytes | str) -> dict[str, Any]:
    """Return the values of a TOML document; raises ValueError that says what is wrong, TOMLDecodeError for its form.

    More than MOST_BYTES, keys of more than MOST_PARTS parts and what `check_values` refuses are not read.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES:,} bytes")
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"a key has more than {MOST_PARTS} parts (at line {line})")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python refuses to read a number of so many digits
        raise ValueError(TOO_LARGE) from None
    check_values(values)
    return values


def check_values(values: Mapping[str, Any]) -> None:
    """Raise ValueError for values that nothing else can hold: nested too deep, integers of more than 64 bits."""
    level: list[Any] = [values]
    for _ in range(MOST_DEPTH):
        level = [item for outer in level for item in items_of(outer)]
        if any(isinstance(item, int) and not -(2**63) <= item < 2**63 for item in level):
            raise ValueError(TOO_LARGE)
        level = [item for item in level if isinstance(item, Mapping | list | tuple)]
        if not level:
            return
    raise ValueError(TOO_DEEP)


def items_of(value: Any) -> Any:
    """Return what a table or a list holds; nothing for any other value."""
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
