"""Series and frames of one column: returns or equity, told apart or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.engines.adapter import Given
from pipeline.engines.conformance import AdapterConformance
from pipeline.engines.registry import as_result
from pipeline.engines.series import ADAPTER
from pipeline.errors import ResultError

DAYS = pd.bdate_range("2020-01-01", periods=400)
RETURNS = pd.Series(np.random.default_rng(0).normal(0.0005, 0.01, 400), DAYS)
PRICES = 100.0 * (1.0 + RETURNS).cumprod()


class TestReturns(AdapterConformance):
    adapter = ADAPTER
    given = Given(capital=50_000.0)

    def value(self) -> Any:
        return RETURNS


class TestEquity(AdapterConformance):
    adapter = ADAPTER

    def value(self) -> Any:
        return PRICES.to_frame()


def refusal(value: Any, **given: Any) -> str:
    with pytest.raises(ResultError) as caught:
        as_result(value, Given(**given))
    return str(caught.value)


def test_returns_become_equity_of_the_capital() -> None:
    """Every return counts, the first too; the capital is 1 unless given."""
    result = as_result(RETURNS)
    assert (result.capital, result.first_label, len(result.returns)) == (1.0, "period", 400)
    np.testing.assert_allclose(result.returns, RETURNS, atol=1e-15)
    assert as_result(RETURNS, Given(capital=1000.0)).equity.iloc[-1] == pytest.approx(PRICES.iloc[-1] * 10.0)


def test_the_blank_that_pct_change_leaves_is_the_start() -> None:
    """The first label of prices has no return: the equity there is the capital."""
    result = as_result(PRICES.pct_change())
    assert (result.first_label, result.equity.iloc[0], len(result.returns)) == ("start", 1.0, 399)


def test_an_equity_curve_starts_from_its_first_value_or_the_given_capital() -> None:
    """Without a capital the first value is it; with one the first return counts from it."""
    assert as_result(PRICES).capital == PRICES.iloc[0]
    result = as_result(PRICES, Given(capital=100.0))
    assert result.returns.iloc[0] == pytest.approx(RETURNS.iloc[0])


@pytest.mark.parametrize(
    ("value", "given", "words"),
    [
        (RETURNS * 100.0, {}, "percent"),
        (RETURNS * 100.0, {"kind": "returns"}, "divide percent by 100"),
        (pd.Series([5.3, 0.1, -0.2], DAYS[:3]), {"kind": "returns"}, r"5.3 at 2020-01-01 00:00:00\+00:00"),
        (pd.Series([-1.2, *RETURNS[1:]], DAYS), {}, "loses more than everything"),
        (PRICES, {"kind": "returns"}, "look like prices"),
        (RETURNS, {"kind": "equity"}, "looks like returns"),
        (PRICES / 100.0 - 1.0, {}, "cumulative return"),
        ((PRICES - PRICES.iloc[0]) * 1000.0, {}, "profit and loss"),
        (RETURNS * 0.0 + 0.0001, {}, 'kind="returns"'),
        (PRICES, {"capital": 1.0}, "capital=100.176"),
        (pd.concat([PRICES[:200], PRICES[200:] / 100.0]), {}, "changes there"),
        (RETURNS.reset_index(drop=True), {}, "RangeIndex"),
        (RETURNS[::-1], {}, "order of time"),
        (pd.concat([RETURNS[:5], RETURNS[4:9]]), {}, "twice: 2020-01-07"),
        (RETURNS.where(RETURNS.index != DAYS[7]), {}, "2020-01-10"),
        (RETURNS.replace(RETURNS.iloc[3], np.inf), {}, "infinite"),
        (RETURNS.astype(str), {}, "not numbers"),
        (RETURNS[:0], {}, "no values"),
        (pd.DataFrame({"a": RETURNS, "b": RETURNS}), {}, "column='a'"),
        (pd.DataFrame({"a": RETURNS, "b": RETURNS}), {"column": "c"}, "no 'c'; it holds 'a', 'b'"),
        (pd.DataFrame(index=DAYS), {}, "no columns"),
        (RETURNS.set_axis([str(day.date()) for day in DAYS[:-1]] + ["soon"]), {}, "soon"),
        (
            pd.Series([0.01, 0.02], [DAYS[0].tz_localize("UTC"), DAYS[1].tz_localize("America/New_York")]),
            {},
            "several zones: America/New_York, UTC",
        ),
    ],
)
def test_what_cannot_be_true_is_refused(value: Any, given: dict[str, Any], words: str) -> None:
    """Each refusal says what was found and what to give."""
    with pytest.raises(ResultError, match=words):
        as_result(value, Given(**given))


@pytest.mark.parametrize(
    ("index", "label"),
    [
        (DAYS.tz_localize("America/New_York"), "2020-01-01"),
        (DAYS.tz_localize("Asia/Tokyo"), "2020-01-01"),
        (DAYS.as_unit("s"), "2020-01-01"),
        (pd.Index([day.date() for day in DAYS]), "2020-01-01"),
        (pd.Index([str(day.date()) for day in DAYS]), "2020-01-01"),
        (pd.period_range("1990-01", periods=400, freq="M"), "1990-01-31"),
        (pd.period_range("2020-01-01", periods=400, freq="D"), "2020-01-01"),
        ((DAYS + pd.Timedelta(hours=16)).tz_localize("America/New_York"), "2020-01-01 21:00"),
        (pd.period_range("2020-01-01 09:00", periods=400, freq="h"), "2020-01-01 09:00"),
    ],
)
def test_labels_are_days_or_instants(index: Any, label: str) -> None:
    """A day is midnight UTC wherever it was; a period is its last day; other times are instants."""
    assert as_result(RETURNS.set_axis(index)).equity.index[0] == pd.Timestamp(label, tz="UTC")


def test_numbers_of_every_kind_are_numbers() -> None:
    """Integers, nullable and Arrow columns are taken, text and truth values are not."""
    for kind in ("float32", "Float64", "double[pyarrow]"):
        assert as_result(RETURNS.astype(kind)).equity.iloc[-1] == pytest.approx(PRICES.iloc[-1] / 100.0, rel=1e-5)
    assert as_result((PRICES * 1000.0).astype(int)).capital == int(PRICES.iloc[0] * 1000.0)
    assert "not numbers" in refusal(RETURNS > 0.0)


def test_one_column_of_several() -> None:
    """`column` chooses."""
    frame = pd.DataFrame({"a": RETURNS, "b": -RETURNS})
    assert as_result(frame, Given(column="b")).returns.iloc[0] == pytest.approx(-RETURNS.iloc[0])
