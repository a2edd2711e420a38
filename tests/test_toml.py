"""TOML of strangers: read within limits, refused in a sentence."""

from __future__ import annotations

import pytest

from pipeline.toml import MOST_BYTES, MOST_DEPTH, MOST_PARTS, check_values, parse_toml

LONG_KEY = b".".join([b"a"] * 50_000)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a = " + b"[" * 3000, "deep"),
        (b"a = " + b"[" * 3000 + b"]" * 3000, "deep"),
        (b"a = " + b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1), "deep"),
        (b"x = 1\n" + LONG_KEY + b" = 1", "parts .at line 2"),
        (b"[" + LONG_KEY + b"]", "parts"),
        (b"x = { 'a' . " + LONG_KEY + b" = 1 }", "parts"),
        (b"'a'." * MOST_PARTS + b"a = 1", "parts"),
        (b"a = " + b"1" * 100_000, "64 bits"),
        (b"a = 0x" + b"f" * 100_000, "64 bits"),
        (b"a = 9223372036854775808", "64 bits"),
        (b"#" * (MOST_BYTES + 1), "longer than"),
        (b"a = '\xff'", "utf-8"),
        (b"a = ", "Invalid value"),
    ],
    ids=lambda value: repr(value[:16]),
)
def test_what_nobody_writes_is_refused_at_once(data: bytes, said: str) -> None:
    """No depth, no length of a key and no number makes the parser fail otherwise, or takes it more than a moment."""
    with pytest.raises(ValueError, match=said):
        parse_toml(data)


def test_what_people_write_is_read() -> None:
    """Keys with dots and quotes, texts with many dots, tables in tables, the largest integers."""
    text = f"""
        [a."b.c".'d']
        e = {{ f.g = [1, {{ h = "{"x." * 200}" }}] }}
        i = [-9223372036854775808, 9223372036854775807]
        {".".join(f"k{n}" for n in range(MOST_PARTS))} = 1
    """
    inner = parse_toml(text)["a"]["b.c"]["d"]
    assert inner["e"]["f"]["g"][1]["h"].count(".") == 200
    assert inner["i"] == [-(2**63), 2**63 - 1]


def test_values_from_elsewhere_have_the_same_limits() -> None:
    """A spec may be given as tables, without a file."""
    deep: dict[str, object] = {}
    for _ in range(3000):
        deep = {"a": deep}
    for values in (deep, {"a": [10**5000]}):
        with pytest.raises(ValueError, match=r"deep|64 bits"):
            check_values(values)
