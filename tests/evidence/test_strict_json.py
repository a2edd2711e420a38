"""What is signed or chained has one meaning and one form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.digest import canonical_json
from pipeline.evidence.strict_json import canonical, parse_canonical

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_the_fast_way_writes_the_canonical_form(value: Any) -> None:
    """Equal to the reference implementation of RFC 8785, byte for byte, and readable again."""
    data = canonical_json(value)
    assert canonical(value) == data
    assert canonical_json(parse_canonical(data)) == data


REFUSED = {
    "white space": b'{"a": 1}',
    "order": b'{"b":1,"a":1}',
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key, escaped": b'{"a":1,"\\u0061":1}',
    "escape": b'"\\u0041"',
    "upper-case escape": b'"\\u001F"',
    "NaN": b"NaN",
    "infinity": b"1e999",
    "minus zero": b"-0",
    "one as a float": b"1.0",
    "exponent": b"1e2",
    "python's exponent": b"1e-05",
    "beyond 2**53": b"9007199254740993",
    "five thousand digits": b"1" * 5000,
    "deep": b"[" * 100_000,
    "not UTF-8": b'"\xff"',
    "byte order mark": b"\xef\xbb\xbf1",
    "lone surrogate": b'"\\ud800"',
    "two values": b"1 1",
    "nothing": b"",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_any_other_form_is_refused(data: bytes) -> None:
    """Two programs could read two things from it, or two texts would mean one thing."""
    with pytest.raises(ValueError):  # noqa: PT011 - the kinds of ValueError differ: JSON, UTF-8, ours
        parse_canonical(data)
