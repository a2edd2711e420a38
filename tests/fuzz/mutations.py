"""Ways to spoil a file, each a function of a random generator and the file's bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

TOKENS = [
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b"[", b"{", b'"', b"'", b"\\", b"\\ud800", b"\\u0000", b",",
    b"NaN", b"-0", b"1e999", b"-1", b"9" * 400, b"0x" + b"f" * 40, b"9007199254740993", b"9999-12-31", b"0000-00-00",
    b"1677-09-21", b"[" * 300, b"a." * 200, b"../" * 20, b"\xc3\x28", b"\xed\xa0\x80", b"\x1b[2J", b"%s{0}", b"=",
    b"__proto__", b"null", b"true", b"\xe2\x80\xae", b"a" * 300, b";", b"\t", b"#", b":", b"12:60:61", b"+25:00",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**53, 2**63, 2**64, 1e308, 1e-320, -0.0, 0.1, "", " ", "x", "\0", "\u202e", "é",
    "a" * 300,
    [], {}, [[]], [None], {"": ""}, {"a": {"a": {}}}, ["a", 1], "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "../x", "/",
    "nan", {"sha256": "00" * 32}, [[[[[[[[]]]]]]]], "00" * 32, -(2**63),
]  # fmt: skip
TOML = [
    "1", "-1", "0", "1e400", "nan", "inf", "true", '""', '"\\u0000"', '"' + "a" * 300 + '"', "[]", "{}", "[[]]",
    "[1, 'a']",
    "9999-12-31", "0001-01-01", "2020-01-01T00:00:00+23:59", "12:00:00", "1_0", "0b1", '"\\ud7ff"', "'''x\ny'''",
    "{ a = { b = { c = 1 } } }", "[" * 60 + "]" * 60, "9223372036854775808", '"sample:nothing"', '"/dev/null"', '"."',
    '"../../x.csv"', '"~nobody-at-all/x"', "[true]", '"*"', '"(a+)+$"', '"["', '"(?i)x"', "-9223372036854775808",
]  # fmt: skip
CELLS = [
    "", " ", "-", "0", "-1", "1e308", "1e-320", "nan", "inf", "-inf", "NaN", "1,5", "1.234,5", "$5", "5%", "x", '"',
    '""', "'",
    "9999-12-31", "0001-01-01", "1677-09-20", "2262-04-12", "20200101", "1577836800", "1577836800000", "43831",
    "2020-13-01",
    "2020-01-01T00:00:00Z", "2020-01-01 00:00:00-05:00", "12/31/20", "31.12.2020", "\0", "é", "a" * 300, "9" * 400,
    "1_0", "0x10",
]  # fmt: skip
Change = Callable[[random.Random, bytes], bytes]


def some_bytes(rng: random.Random, data: bytes) -> bytes:
    """Change bytes: a bit, a token, a piece taken out, doubled, moved, the rest cut off."""
    for _ in range(rng.choice([1, 1, 1, 2, 4, 8])):
        data = a_piece(rng, data)
    return data


def a_piece(rng: random.Random, data: bytes) -> bytes:
    """Change one piece of a file."""
    at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    piece, rest = data[at : min(end, at + 64)], data[min(end, at + 64) :]
    new = rng.choice([
        lambda: bytes(byte ^ 1 << rng.randrange(8) for byte in piece[:1]) + piece[1:],
        lambda: rng.choice(TOKENS) + piece,
        lambda: rng.choice(TOKENS),
        lambda: b"",
        lambda: piece * rng.choice([2, 3, 50]),
        lambda: rng.randbytes(rng.randrange(1, 16)) + piece,
        lambda: None,
    ])()  # fmt: skip
    return rng.choice([data[:at], data[end:] + data[:end]]) if new is None else data[:at] + new + rest


def a_number(rng: random.Random, data: bytes) -> bytes:
    """Write another number in the place of one."""
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return some_bytes(rng, data)
    place = rng.choice(found)
    other = rng.choice([b"0", b"-1", b"9" * 20, b"9" * 5000, b"1.5", b"1e5", b"", b"2" * 9, b"00", b"7"])
    return data[: place.start()] + other + data[place.end() :]


def a_line(rng: random.Random, data: bytes) -> bytes:
    """Take lines out, double them, exchange them, put another between."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    rng.choice([
        lambda: lines.pop(one),
        lambda: lines.insert(two, lines[one]),
        lambda: lines.__setitem__(slice(one, one + 1), [lines[two]]),
        lambda: lines.insert(one, rng.choice(TOKENS) + b"\n"),
        lambda: rng.shuffle(lines),
    ])()  # fmt: skip
    return b"".join(lines)


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value in JSON values."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from nodes(item, (*path, key))


def change_value(rng: random.Random, value: Any) -> Any:
    """Return JSON values with one of them replaced, taken out, put under another name, or wrapped, in place."""
    path = rng.choice([*nodes(value)])
    if not path:
        return rng.choice(VALUES)
    *parents, last = path
    owner = value
    for key in parents:
        owner = owner[key]
    how = rng.randrange(8)
    if how == 0:
        del owner[last]
    elif how == 1 and isinstance(owner, dict):
        owner[rng.choice(["", "x", "é", "\0", "a" * 300, *map(str, owner)])] = owner.pop(last)
    elif how == 2:
        owner[last] = [owner[last]]
    elif how == 3 and isinstance(owner[last], list):
        owner[last] = owner[last] * rng.choice([2, 50])
    else:
        owner[last] = rng.choice(VALUES)
    return value


def a_json_value(rng: random.Random, data: bytes) -> bytes:
    """Change values of a JSON document."""
    value = json.loads(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        value = change_value(rng, value)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def a_toml_value(rng: random.Random, data: bytes) -> bytes:
    """Give a key of a TOML document another value, or another name."""
    lines = data.decode().splitlines()
    said = [at for at, line in enumerate(lines) if "=" in line]
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.choice(said)
        key, _, value = lines[at].partition("=")
        if rng.random() < 0.2:
            key = rng.choice(
                ["x", '""', '"\\u0000"', "a.b.c", "params", ".".join("abc" * 20), "name", "'" + "k" * 300 + "'"]
            )
        else:
            value = rng.choice(TOML)
        lines[at] = f"{key} = {value}"
    return "\n".join(lines).encode()


def a_cell(rng: random.Random, data: bytes) -> bytes:
    """Write something else into cells of a table, into all of a column, or take columns out; or change its form."""
    table = [line.split(",") for line in data.decode().splitlines()]
    width = len(table[0])
    for _ in range(rng.choice([1, 1, 2, 5])):
        column, cell = rng.randrange(width), rng.choice(CELLS)
        first = rng.randrange(2)
        chosen = rng.choice([[rng.randrange(len(table))], range(first, len(table)), range(1, len(table), 3)])
        for at in chosen:
            if column < len(table[at]):
                table[at][column] = cell
    if rng.random() < 0.1:
        column = rng.randrange(width)
        table = [row[:column] + row[column + 1 :] for row in table]
    if rng.random() < 0.1:
        table[rng.randrange(len(table))] += ["x"] * rng.choice([1, 500])
    text = rng.choice(["\n", "\n", "\n", "\r\n", "\r"]).join(
        rng.choice([",", ",", ";", "\t"]).join(row) for row in table
    )
    return text.encode(rng.choice(["utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig", "utf-32"]))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, mtime=0), ".bz2": bz2.compress, ".xz": lzma.compress,
    ".zip": lambda data: zipped({"bars.csv": data}),
}  # fmt: skip


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Pack files as other programs do."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return out.getvalue()
