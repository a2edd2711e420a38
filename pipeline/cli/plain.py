"""The one way out to the terminal: what is printed is text, whatever the data hold.

An exception, a name, a tag or a path may hold codes that move the cursor, set the window's title, or turn the direction
of what follows. Each such character is shown as U+FFFD; in JSON it is written as its escape.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, TextIO

SHOWN = "\ufffd"


def plain(text: object) -> str:
    """Return lines of text without a character that is not printed as itself; tabs and ends of lines stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else SHOWN for char in str(text).replace("\r\n", "\n"))


def one_line(text: object) -> str:
    """Return text without any such character, ends of lines included, so that a name cannot write a line of its own."""
    return "".join(char if char.isprintable() else SHOWN for char in str(text))


def say(*texts: object, file: TextIO | None = None) -> None:
    """Print text."""
    print(*map(plain, texts), file=file)


def say_json(value: Any) -> None:
    """Print strict JSON, in ASCII where the terminal holds no more."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(_UNPRINTED.sub(_escaped, json.dumps(value, indent=2, ensure_ascii=not utf8, allow_nan=False)))


_UNPRINTED = re.compile(r"[^\n\x20-\x7e]")


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]
