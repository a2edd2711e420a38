"""What a PNG says beside its picture: programs write authors, paths and programs into it."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HARMLESS = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD"}
)
TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
LONGEST = 1 << 20


def png_texts(data: bytes) -> list[str] | None:
    """Return the texts in a PNG; None when it is none, or holds what cannot be read as text, as a camera's data."""
    if not data.startswith(SIGNATURE):
        return None
    at, texts = len(SIGNATURE), []
    while at < len(data):
        if at + 12 > len(data):
            return None
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        at += 12 + length
        if kind in TEXTS:
            text = _text(kind, content)
            if text is None:
                return None
            texts.append(text)
        elif kind not in HARMLESS:
            return None
        if kind == b"IEND":
            return texts if at == len(data) else None  # what follows the end is shown by nobody, and copied by all
    return None


def _text(kind: bytes, content: bytes) -> str | None:
    keyword, _, rest = content.partition(b"\0")
    try:
        if kind == b"iTXt":
            packed, rest = rest[:1] == b"\1", rest[2:]
            language, translated, value = rest.split(b"\0", 2)
            head = b" ".join((keyword, language, translated))
        else:
            packed, value, head = kind == b"zTXt", rest[1:] if kind == b"zTXt" else rest, keyword
        value = zlib.decompressobj().decompress(value, LONGEST) if packed else value
    except (ValueError, zlib.error):
        return None
    encoding = "utf-8" if kind == b"iTXt" else "latin-1"
    return f"{head.decode('utf-8', 'replace')}: {value.decode(encoding, 'replace')}"
