"""The rows of the listing are cut into files by what they are, not by how they came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.digest import sha256_bytes
from pipeline.site.entry import SPARK_LEVELS, SiteEntry, curve, rounded, spark
from pipeline.site.shards import cut, shard_script
from tests.site.site_runs import varied, walk

AVERAGE, LARGEST = 8, 32


def entry(number: int, started: int) -> SiteEntry:
    """Return the row of a made-up run."""
    run_id = f"{sha256_bytes(str(number).encode())[:8]}-0000-4000-8000-000000000000"
    return SiteEntry(run_id, "", "FINISHED", "sealed", f"{started:019d}", "s", "X", "e", (), *7 * [""], {"sharpe": 1.0})


entries = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 500)), max_size=200, unique_by=lambda pair: pair[0])


@pytest.mark.slow
@given(entries, st.randoms())
def test_cuts_depend_on_the_runs_alone(pairs: list[tuple[int, int]], random: object) -> None:
    """Whatever the order in which runs come, shards hold every run once, in order of start, and are never too large."""
    rows = [entry(*pair) for pair in pairs]
    shards = cut(rows, average=AVERAGE, largest=LARGEST)
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert cut(rows, average=AVERAGE, largest=LARGEST) == shards
    assert [row for shard in shards for row in shard] == sorted(rows, key=lambda row: row.order)
    assert all(0 < len(shard) <= LARGEST for shard in shards)


@pytest.mark.slow
@given(entries, st.integers(10_001, 20_000), st.integers(0, 500))
def test_one_more_run_changes_one_shard_or_two(pairs: list[tuple[int, int]], number: int, started: int) -> None:
    """A new run is added to one shard, cuts it in two, or moves the forced cuts of one overlong stretch."""
    rows = [entry(*pair) for pair in pairs]
    before = {shard_script(shard) for shard in cut(rows, average=AVERAGE, largest=10**9)}
    after = {shard_script(shard) for shard in cut([*rows, entry(number, started)], average=AVERAGE, largest=10**9)}
    assert len(after - before) <= 2
    assert len(before - after) <= 1


def test_a_curve_keeps_its_ends_and_extremes() -> None:
    """The thinned curve has the first, last, highest and lowest value, within the precision of 32 bits."""
    import base64

    import numpy as np

    equity = walk(varied(1, start="1850-01-02", bars=45_000))
    found = curve(equity)
    assert found is not None
    values = np.frombuffer(base64.b64decode(found["equity"]), "<f4")
    steps = np.frombuffer(base64.b64decode(found["steps"]), "<u4")
    assert len(values) == len(steps) + 1 <= 20_000
    whole = equity["equity"].to_numpy(dtype="<f4")
    assert [values[0], values[-1], values.max(), values.min()] == [whole[0], whole[-1], whole.max(), whole.min()]
    assert found["first"] + int(steps.sum()) * found["unit"] == found["last"] == int(equity.index[-1].timestamp())


def test_a_spark_line_spans_its_levels() -> None:
    """The small curve goes from the lowest to the highest level and has no more points than fit."""
    text = spark(walk(varied(1, bars=5000)))
    assert len(text) == 40
    assert {min(text, key=SPARK_LEVELS.index), max(text, key=SPARK_LEVELS.index)} == {"A", "_"}


def test_what_is_no_number_is_null() -> None:
    """NaN, infinities, text and booleans are undefined; whole numbers stay whole."""
    assert [rounded(value) for value in (float("nan"), float("inf"), "1", True, None, 3, 1.23456789)] == [
        None, None, None, None, None, 3, 1.23457,
    ]  # fmt: skip
