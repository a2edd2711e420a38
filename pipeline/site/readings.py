"""The texts of a file, in every way in which somebody can read them: behind escapes, in base64, beside a picture."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote

from pipeline.site.pictures import SIGNATURE, png_texts

ESCAPED = re.compile(r"\\(u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|.)", re.DOTALL)
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
BASE64 = re.compile(r"[A-Za-z0-9+/]{64,}")
HEXADECIMAL = re.compile(r"[0-9A-Fa-f]+")


def texts_of(name: str, data: bytes) -> list[str] | None:
    """Return the texts of a PNG or of a text file; None for what cannot be read: compressed, binary, not in UTF-8."""
    if name.lower().endswith(".png"):
        return png_texts(data)
    if b"\0" in data:
        return None
    try:
        return [*_readings(data.decode("utf-8"))]
    except UnicodeDecodeError:
        return None


def encoded_texts(text: str) -> tuple[list[str], list[str]] | None:
    """Return what long base64 in a text says: beside pictures, and else; None for a picture that cannot be read whole.

    Most that is no picture is numbers: what they spell by chance is no address, so search these for given words only.
    """
    beside: list[str] = []
    other: list[str] = []
    for match in BASE64.finditer(text):
        if HEXADECIMAL.fullmatch(match[0]):
            continue
        data = base64.b64decode(match[0][: len(match[0]) // 4 * 4]) + _rest(match)
        if not data.startswith(SIGNATURE):
            other.append(data.decode("utf-8", "replace"))
        elif (texts := png_texts(data)) is not None:
            beside += texts
        else:
            return None
    return beside, other


def _rest(match: re.Match[str]) -> bytes:
    """Return the bytes that the padding ends, after the last whole group of four."""
    odd = match[0][len(match[0]) // 4 * 4 :]
    return base64.b64decode(odd + "=" * (-len(odd) % 4)) if len(odd) > 1 else b""


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is, and as JSON and source code, URLs, and HTML mean it."""
    yield text
    if "\\" in text:
        yield ESCAPED.sub(_meant, text)
    if "%" in text:
        yield unquote(text)
    if "&" in text:
        yield unescape(text)


def _meant(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else CONTROLS.get(code, code)
