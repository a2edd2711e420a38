"""The verification boundary: each thing stands in the list that is true of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.results.beside import Beside
from pipeline.results.boundary import Boundary, Inputs, boundary
from pipeline.results.contract import Engine, Fold, Result
from pipeline.results.reconcile import reconcile
from tests.results.accounts import CAPITAL, Order, account, prices, rebalanced, without

MARKET = prices(40, 3, seed=1)
LONG = account([Order(0, 1, 100.0, 2, 8)], MARKET[["S0"]])
SHORT = account([Order(0, -1, 100.0, 2, 8)], MARKET[["S0"]])


def of(result: Result, **known: object) -> Boundary:
    """Return the boundary of a result."""
    return boundary(result, reconcile(result), **known)  # type: ignore[arg-type]


def says(texts: tuple[str, ...], *words: str) -> bool:
    """Say whether one of the texts has all of the words."""
    return any(all(word in text for word in words) for text in texts)


def test_an_equity_alone_is_taken_as_given() -> None:
    """Of a curve alone only the metrics are ours; nothing is said to have been compared, nor to be long only."""
    found = of(replace(Result(LONG.equity, CAPITAL), engine=Engine("bt", "1.4.1")))
    assert len(found.checked) == 1
    assert found.given == ("The equity curve, as bt 1.4.1 gave it.",)
    assert says(found.unexamined, "nothing was saved beside it")
    assert says(found.unexamined, "sold short or on margin is not known")
    assert says(found.unexamined, "Costs", "not known")
    assert says(found.unexamined, "Look-ahead", "not run again")


def test_what_holds_and_what_does_not_is_what_was_checked() -> None:
    """An identity stands among what was checked whether it holds or not, and among the rest where it was not."""
    found = of(without(LONG, "cash", "fills"))
    assert says(found.checked, "Equity change", "holds")
    assert says(found.unexamined, "for want of cash", "Equity = positions x prices + cash")
    wrong = of(replace(LONG, capital=CAPITAL + 1.0))
    assert says(wrong.checked, "Equity change", "does not hold by -1.00")


def test_borrowing_is_named_when_something_is_borrowed() -> None:
    """Short positions and positions above the equity name what is not modelled; long ones within it do not."""
    assert says(of(SHORT).unexamined, "Borrowing for short positions")
    assert not says(of(LONG).unexamined, "orrow")
    weights = rebalanced(MARKET)
    assert not says(of(weights).unexamined, "Interest")
    assert says(of(replace(weights, weights=weights.weights * 3.0)).unexamined, "Interest", "2.7")
    assert not says(of(replace(SHORT, costs={"borrow_bps": 50.0})).unexamined, "Borrowing")


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ({"fee_bps": 0.0, "slippage_bps": 0.0}, "none are charged"),
        ({"fee_bps": 1.0, "slippage_bps": 0.0}, "Slippage: none"),
        (None, "not known"),
    ],
)
def test_costs_are_told_as_far_as_they_are_known(costs: dict[str, float] | None, words: str) -> None:
    """Unknown costs, no costs and costs without slippage are three different things."""
    assert says(of(replace(LONG, costs=costs)).unexamined, words)
    assert not says(of(replace(LONG, costs={"fee_bps": 1.0, "slippage_bps": 1.0})).unexamined, "lippage")


def test_a_universe_has_survivors_and_one_instrument_was_chosen() -> None:
    """Several symbols may be the survivors, a single one is a choice, and unknown ones are unknown."""
    assert says(of(rebalanced(MARKET)).unexamined, "Survivorship", "universe")
    assert says(of(replace(LONG, symbols=("SPX",))).unexamined, "why SPX and no other")
    assert says(of(Result(LONG.equity, CAPITAL)).unexamined, "instruments are not known")


def test_what_this_project_computed_is_not_taken_as_given() -> None:
    """A portfolio computed here takes weights and prices as given, and neither equity nor positions."""
    weights = replace(rebalanced(MARKET), engine=Engine("weights at prices"))
    given = of(weights).given
    assert len(given) == 2
    assert says(given, "weights")
    assert says(given, "prices")
    assert says(of(replace(LONG, engine=Engine("vectorbt"))).given, "fills", "filled at those times")


def test_inputs_folds_and_look_ahead_have_their_place() -> None:
    """Digested inputs and a clean look are checked; declared ones and folds are given; the network is neither."""
    inputs = Inputs(("eod.parquet",), ("vix.csv",), ("pipe",), ("stooq.com",))
    told = replace(LONG, folds=(Fold("2020-01-01", "2020-02-01"),))
    found = of(told, inputs=inputs, look_ahead="clean", beside=(Beside("Sharpe", 1.0, "sharpe", 2.0, equal=False),))
    assert says(found.checked, "eod.parquet")
    assert says(found.checked, "cut off or shuffled")
    own = of(replace(told, engine=Engine("evidence-chain")), look_ahead="clean")
    assert says(own.checked, "signals stay the same")
    assert says(found.checked, "own numbers, 1 beside ours", "1 not")
    assert says(found.given, "vix.csv")
    assert says(found.given, "folds")
    assert says(found.unexamined, "stooq.com")
    assert says(found.unexamined, "pipe")
    assert not says(found.unexamined, "Look-ahead")


def test_it_survives_as_json_and_nothing_else_is_read() -> None:
    """A boundary is the same after it was written and read; what is no list of texts is refused."""
    found = of(SHORT)
    assert Boundary.from_dict(found.to_dict()) == found
    with pytest.raises(ValueError, match="no list of texts"):
        Boundary.from_dict({"checked": [1]})
