"""What a PNG says beside its picture: programs write authors, paths and programs into it."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks that hold no text, and the lengths that they have: anything longer was put there.
HARMLESS = {
    b"PLTE": range(3, 769, 3), b"tRNS": range(1, 257), b"pHYs": range(9, 10), b"gAMA": range(4, 5),
    b"cHRM": range(32, 33), b"sRGB": range(1, 2), b"sBIT": range(1, 5), b"bKGD": range(1, 7), b"IEND": range(1),
}  # fmt: skip
TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
LONGEST = 1 << 20
MOST_PIXELS = 1 << 28  # bytes
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # a pixel, by the type of colour
WHOLE = ((0, 0, 1, 1),)  # first column and row of a pass, and the distances between its columns and rows
INTERLACED = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip


def png_texts(data: bytes) -> list[str] | None:
    """Return the texts in a PNG; None when it is none, or holds what cannot be read as text, as a camera's data."""
    if not data.startswith(SIGNATURE):
        return None
    at, texts, head, pixels = len(SIGNATURE), [], b"", []
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
        elif kind == b"IHDR" and not head:
            head = content
        elif kind == b"IDAT":
            pixels.append(content)
        elif length not in HARMLESS.get(kind, ()):
            return None
        if kind == b"IEND":  # what follows the end is shown by nobody, and copied by all
            return texts if at == len(data) and _only_pixels(head, b"".join(pixels)) else None
    return None


def _only_pixels(head: bytes, packed: bytes) -> bool:
    """Say whether the data of a picture are its pixels and nothing more."""
    size = _size(head)
    if size is None or size > MOST_PIXELS:
        return False
    pixels = _unpacked(packed, size)
    return pixels is not None and len(pixels) == size


def _size(head: bytes) -> int | None:
    """Return how many bytes the pixels of a picture are, a byte before each row; None for what is no header."""
    if len(head) != struct.calcsize(">2I5B"):
        return None
    width, height, depth, colour, _, _, interlaced = struct.unpack(">2I5B", head)
    if colour not in SAMPLES or interlaced > 1:
        return None
    size = 0
    for left, top, across, down in INTERLACED if interlaced else WHOLE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + (columns * depth * SAMPLES[colour] + 7) // 8)
    return size


def _unpacked(packed: bytes, longest: int) -> bytes | None:
    """Return what was compressed; None when it is longer, not whole, or something follows it."""
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(packed, longest + 1)
    except zlib.error:
        return None
    return found if reader.eof and not reader.unused_data and len(found) <= longest else None


def _text(kind: bytes, content: bytes) -> str | None:
    """Return the keyword and the text of a chunk, in each encoding in which programs write it."""
    keyword, _, rest = content.partition(b"\0")
    if kind == b"iTXt":
        packed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        if len(parts) != 3:
            return None
        head, value = b" ".join((keyword, *parts[:2])), parts[2]
    else:
        packed, value, head = kind == b"zTXt", rest[1:] if kind == b"zTXt" else rest, keyword
    told = _unpacked(value, LONGEST) if packed else value
    if told is None or b"\0" in told:
        return None
    whole = head + b": " + told
    return "\n".join(dict.fromkeys((whole.decode("utf-8", "replace"), whole.decode("latin-1"))))
