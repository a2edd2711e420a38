"""Weights at prices: the portfolio is computed here, by conventions that the result states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.engines.adapter import Given
from pipeline.engines.conformance import AdapterConformance
from pipeline.engines.registry import as_result
from pipeline.engines.series import ADAPTER
from pipeline.errors import ResultError

DAYS = pd.bdate_range("2021-01-04", periods=6)
PRICES = pd.DataFrame({"A": [10.0, 11.0, 12.0, 12.0, 9.0, 10.0], "B": [20.0, 20.0, 10.0, 20.0, 20.0, 25.0]}, DAYS)
HALF = pd.DataFrame([[0.5, 0.5]], DAYS[:1], ["A", "B"])


def at_day_four(price: float) -> pd.DataFrame:
    return pd.DataFrame(np.where((PRICES.index == DAYS[3])[:, None], price, PRICES), DAYS, PRICES.columns)


def run(weights: Any, prices: Any = PRICES, **given: Any) -> Any:
    return as_result(weights, Given(prices=prices, **given))


class TestWeights(AdapterConformance):
    adapter = ADAPTER
    given = Given(prices=PRICES, costs_bps=10.0, capital=1000.0)
    known = ("positions", "weights", "prices", "fills", "cash", "leverage", "costs", "tables", "symbols", "notes")

    def value(self) -> Any:
        return HALF


def test_between_rebalances_the_weights_drift() -> None:
    """100 are 5 of A and 2.5 of B, held; the weights are what they become."""
    result = run(HALF, capital=100.0)
    assert result.equity.tolist() == [100.0, 105.0, 85.0, 110.0, 95.0, 112.5]
    assert result.weights["A"].tolist() == pytest.approx([0.5, 55 / 105, 60 / 85, 60 / 110, 45 / 95, 50 / 112.5])
    assert result.cash.tolist() == [0.0] * 6
    assert result.first_label == "start"
    assert "1 rows of weights" in result.notes[0]
    assert "none charged" in result.notes[0]


@pytest.mark.parametrize("form", [dict, pd.Series, lambda weights: pd.Series(weights).to_frame("weights")])
def test_an_allocation_without_a_date_is_bought_at_the_first_price(form: Any) -> None:
    """As an optimiser gives it: a mapping, a Series, a frame with a column; the result says what was made of it."""
    result = run(form({"A": 0.5, "B": 0.5}), capital=100.0)
    assert result.equity.tolist() == run(HALF, capital=100.0).equity.tolist()
    assert "bought at the first price and held" in result.notes[-1]
    with pytest.raises(ResultError, match="C"):
        run(form({"A": 0.5, "C": 0.5}))


def test_costs_are_paid_out_of_the_order() -> None:
    """An order of 50 at 1 % buys 50 / 1.01; the first return is the cost."""
    result = run(HALF, capital=100.0, costs_bps=100.0)
    assert result.fills["quantity"].tolist() == pytest.approx([50.0 / 1.01 / 10.0, 50.0 / 1.01 / 20.0])
    assert result.equity.iloc[0] == pytest.approx(100.0 / 1.01)
    assert result.first_label == "period"
    assert result.costs == {"fee_bps": 100.0}
    assert result.fills["fee"].sum() == pytest.approx(100.0 - 100.0 / 1.01)


def test_a_weight_of_zero_sells_all() -> None:
    """Nothing is left, and the cost of the sale is in the cash."""
    weights = pd.DataFrame([[1.0, 0.0], [0.0, 0.0]], DAYS[[0, 2]], ["A", "B"])
    result = run(weights, capital=100.0, costs_bps=100.0)
    assert result.positions["A"].tolist()[2:] == [0.0] * 4
    assert result.cash.iloc[-1] == pytest.approx(100.0 / 1.01 / 10.0 * 12.0 * 0.99)


def test_a_fill_at_the_next_open_is_one_label_later() -> None:
    """The weights of a label trade at the open of the next; at their own label nothing has happened yet."""
    opens = PRICES.shift(1).fillna(10.0)
    result = run(HALF, capital=100.0, fill="next_open", opens=opens)
    assert result.equity.tolist() == [100.0, 105.0, 85.0, 110.0, 95.0, 112.5]
    assert result.positions["A"].tolist()[:2] == [0.0, 5.0]
    assert result.fills["timestamp"].iloc[0] == pd.Timestamp("2021-01-05", tz="UTC")
    assert "open of the label after" in result.notes[0]


def test_rows_between_labels_trade_at_the_next_and_late_ones_never() -> None:
    """A month end that is no session is traded after it, never before; the notes say so."""
    weights = pd.DataFrame([[1.0, 0.0]] * 3, pd.DatetimeIndex(["2021-01-02", "2021-01-09", "2021-03-01"]), ["A", "B"])
    result = run(weights)
    assert list(dict.fromkeys(result.fills["timestamp"].dt.day)) == [4]
    assert "2 rows of weights have a label without prices" in result.notes[1]
    assert "1 rows of weights come after the last price" in result.notes[2]


def test_a_ruin_closes_all() -> None:
    """Four times A from 12 to 9 leaves nothing: closed there, and nothing is traded later."""
    weights = pd.DataFrame([[5.0, 0.0], [5.0, 0.0]], DAYS[[3, 5]], ["A", "B"])
    result = run(weights, capital=100.0)
    assert (result.equity.iloc[1:] <= 0.0).all()
    assert result.positions["A"].tolist()[1:] == [0.0, 0.0]
    assert "nothing was left" in result.notes[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": HALF.assign(C=0.0)}, "without prices: C"),
        ({"weights": HALF.assign(B=np.nan)}, r"1 blanks, first at 2021-01-04 00:00:00\+00:00 of B"),
        ({"weights": HALF * 100.0}, "look like percent"),
        ({"weights": HALF.set_axis(DAYS[:1] + pd.Timedelta(days=900))}, "do not overlap"),
        ({"weights": HALF["A"]}, "two frames"),
        ({"weights": HALF.set_axis(["A", "A"], axis=1)}, "column 'A' twice"),
        ({"prices": at_day_four(np.nan)}, "A is held or traded at 2021-01-07"),
        ({"prices": at_day_four(-1.0)}, "its price is -1"),
        ({"prices": PRICES[::-1]}, "order of time"),
        ({"fill": "next_open"}, "needs the open prices"),
        ({"fill": "next_open", "opens": PRICES[1:]}, "other labels"),
        ({"costs_bps": -1.0}, "costs_bps"),
    ],
)
def test_bad_weights_are_refused(change: dict[str, Any], words: str) -> None:
    """Each refusal names the symbol or the label."""
    with pytest.raises(ResultError, match=words):
        run(**({"weights": HALF} | change))


def test_a_symbol_without_prices_may_wait() -> None:
    """A price may be missing where nothing of it is held: before it was listed, or after it was sold."""
    prices = PRICES.assign(B=[np.nan, np.nan, 10.0, 20.0, np.nan, np.nan])
    weights = pd.DataFrame([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]], DAYS[[0, 2, 3]], ["A", "B"])
    assert run(weights, prices).equity.iloc[-1] == pytest.approx(1.2 * (0.5 + 1.0) * 10.0 / 12.0)


@settings(max_examples=12, deadline=None)
@examples(seed=st.integers(0, 10_000), bps=st.sampled_from([0.0, 3.0, 50.0]), at_open=st.booleans())
def test_cash_and_positions_are_the_equity(seed: int, bps: float, at_open: bool) -> None:
    """At every label; what the fills cost is what the cash lost; the return is that of the weights less the costs."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range("2020-01-01", periods=40)
    prices = pd.DataFrame(50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, (40, 3)), axis=0)), days, list("ABC"))
    rows = np.sort(rng.choice(39, 6, replace=False))
    weights = pd.DataFrame(rng.normal(0.2, 0.3, (6, 3)).round(1), days[rows], list("ABC"))
    how: dict[str, Any] = {"fill": "next_open", "opens": prices.shift(1).fillna(50.0)} if at_open else {}
    result = run(weights, prices, costs_bps=bps, capital=1000.0, **how)
    worth = (result.positions * result.prices).sum(axis=1) + result.cash
    np.testing.assert_allclose(worth, result.equity, rtol=1e-12)
    paid = (result.fills["quantity"] * result.fills["price"] + result.fills["fee"]).sum()
    assert result.cash.iloc[-1] == pytest.approx(1000.0 - paid, abs=1e-8)
    if not at_open:
        moves = (result.weights.shift(1) * result.prices.pct_change()).sum(axis=1)
        costs = result.tables["turnover"]["costs"].reindex(result.equity.index, fill_value=0.0)
        ours = (moves - costs / result.equity.shift(1))[1:]
        np.testing.assert_allclose(result.equity.pct_change()[1:], ours, atol=1e-12)


def test_costs_are_a_number_of_one_kind() -> None:
    """Basis points that come back from JSON as 5 instead of 5.0 are recorded alike: a replay writes the same bytes."""
    days = pd.bdate_range("2020-01-01", periods=3)
    prices = pd.DataFrame({"A": [1.0, 2.0, 3.0]}, days)
    costs = [as_result(prices * 0.0 + 1.0, Given(prices=prices, costs_bps=bps)).costs for bps in (5, 5.0, None)]
    assert [repr(one) for one in costs] == ["{'fee_bps': 5.0}", "{'fee_bps': 5.0}", "{'fee_bps': 0.0}"]
