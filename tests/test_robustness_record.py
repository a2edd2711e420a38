"""What is written is what is read, and what somebody else wrote is read as far as it says something."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.robustness_record import (
    LOOK_AHEAD,
    RERUN,
    STATUSES,
    Intervals,
    Leak,
    Leakage,
    Range,
    Regime,
    Robustness,
    Variation,
)

FULL = Robustness(
    True,
    Leakage(
        "leak", "It looks.", responses=12, first=Leak("2020-01-01T00:00:00", "shuffle", 5, 4, 1, 0), cuts=24, seed=0,
        calls=70, differences=3, failures={"5": "x"},
    ),
    Intervals(
        {"sharpe": Range(1 / 3, 0.1, 0.5, 0.01, 2), "cagr": Range(None, None, None)},
        1000, 5.5, 0.95, "percentile", 0, 99,
    ),
    (Variation("cost", "fee_bps", 2.0, 4.0, False, "ok", {"sharpe": 0.25, "cagr": None}),),
    (Regime("trend", "low", 30, 0.5, 0.01, 0.02, 0.03, None, 0.5),),
    True,
    {"leakage": "why"},
)  # fmt: skip


def test_what_is_written_is_read() -> None:
    """Numbers to ten significant digits; what a rerun of any engine says, too."""
    read = Robustness.from_dict(json.loads(json.dumps(FULL.to_dict(), allow_nan=False)))
    assert read.to_dict() == FULL.to_dict()
    assert (read.leakage, read.sensitivity, read.regimes) == (FULL.leakage, FULL.sensitivity, FULL.regimes)
    assert read.intervals is not None
    assert read.intervals.ranges["sharpe"].estimate == 0.3333333333
    again = Robustness(True, Leakage("clean", first=Leak("2020-01-01"), subject=RERUN, own_bars=3, positions=False))
    content = again.to_dict()["leakage"]
    assert content["first"] == {"timestamp": "2020-01-01"}
    assert (content["subject"], content["own_bars"], content["positions"]) == (RERUN, 3, False)
    assert Robustness.from_dict(again.to_dict()) == again
    assert {"subject", "own_bars", "positions"}.isdisjoint(FULL.to_dict()["leakage"])


def test_nothing_is_nulls() -> None:
    """A part that is missing is null, and is missing again when it is read."""
    empty = Robustness(True)
    assert {name for name, value in empty.to_dict().items() if value is None} == {
        "leakage", "bootstrap", "sensitivity", "regimes", "base_equal",
    }  # fmt: skip
    assert Robustness.from_dict(empty.to_dict()) == empty
    assert tuple(LOOK_AHEAD) == STATUSES


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from([0, 1, -9, 10**400, "clean", "leak", "x", "delay"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["leakage", "bootstrap", "intervals", "sensitivity", "regimes", "notes", "kind", "name", "regime", "status",
             "first", "timestamp", "sharpe", "seed", "repetitions", "block_length", "confidence", "failures", "bars"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


@given(JSON)
def test_whatever_is_in_the_file_it_is_read(values: object) -> None:
    """No shape raises, and what was read is strict JSON that reads to the same again."""
    found = Robustness.from_dict(values)
    assert found.leak_status in LOOK_AHEAD
    written = json.dumps(found.to_dict(), allow_nan=False)
    assert Robustness.from_dict(json.loads(written)).to_dict() == found.to_dict()


@pytest.mark.parametrize("status", [None, 3, [], "CLEAN", "clean "])
def test_a_status_that_is_none_is_unchecked(status: object) -> None:
    """Only the words of the list say that something was found."""
    assert Robustness.from_dict({"leakage": {"status": status}}).leak_status == "unchecked"
