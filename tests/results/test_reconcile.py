"""Reconciliation: parts that agree are silent, whatever is planted is named, with its identity and its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.results.contract import Result
from pipeline.results.identity import NOT_RECONCILABLE, NOT_RECONCILED, RECONCILED, Reconciliation
from pipeline.results.reconcile import reconcile
from tests.results.accounts import CAPITAL, Order, account, orders, prices, rebalanced, without

LABELS, SYMBOLS = 40, 3
MARKET = prices(LABELS, SYMBOLS, seed=1)
# three round trips of S0 with flat labels between, one of S1 over all of it, one of S2 that stays open
ORDERS = [Order(0, 1, 100.0, 2, 8), Order(0, -1, 50.0, 12, 20), Order(0, 1, 80.0, 25, 30)]
ALONE = account(ORDERS, MARKET[["S0"]])
SEVERAL = account([*ORDERS, Order(1, 1, 200.0, 5, 33), Order(2, -1, 40.0, 22, None)], MARKET)


def broken(result: Result) -> dict[str, Any]:
    """Return the identities that do not hold, by name."""
    return {each.name: each for each in reconcile(result).broken}


def changed(frame: Any, label: int, column: Any, factor: float) -> Any:
    out = frame.copy()
    out.iloc[label, out.columns.get_loc(column)] *= factor
    return out


ACCOUNTS = st.tuples(st.integers(8, 60), st.integers(1, 4)).flatmap(
    lambda size: st.tuples(st.just(size), orders(*size))
)


def adds_up(drawn: Any, seed: int, fee: float, away: float) -> None:
    """Of an account kept by hand nothing is broken, whatever it traded, and all but the flat labels can be checked."""
    (labels, symbols), given_orders = drawn
    found = reconcile(account(given_orders, prices(labels, symbols, seed), fee=fee, away=away))
    assert found.broken == ()
    assert found.mark == RECONCILED
    assert {each.name for each in found.identities} - {each.name for each in found.checked} <= {"equity_flat"}


@settings(max_examples=10, deadline=None)
@given(ACCOUNTS, st.integers(0, 1000), st.sampled_from([0.0, 0.001]), st.sampled_from([0.0, 0.01]))
def test_an_account_that_adds_up_is_silent(drawn: Any, seed: int, fee: float, away: float) -> None:
    """Whatever an account traded, what it leaves agrees with itself."""
    adds_up(drawn, seed, fee, away)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(ACCOUNTS, st.integers(0, 1000), st.sampled_from([0.0, 0.001]), st.sampled_from([0.0, 0.01]))
def test_many_accounts_that_add_up_are_silent(drawn: Any, seed: int, fee: float, away: float) -> None:
    """The same of many accounts."""
    adds_up(drawn, seed, fee, away)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000), st.integers(1, 9), st.sampled_from([0.0, 7.5]))
def test_a_portfolio_of_weights_is_silent(symbols: int, seed: int, every: int, bps: float) -> None:
    """Weights that drift between rebalances, with their costs, give the equity; also when the costs are not told."""
    result = rebalanced(prices(50, symbols, seed), every=every, bps=bps, seed=seed)
    for each in (result, replace(result, costs=None)):
        found = reconcile(each)
        assert found.broken == ()
        assert found["returns_weights"].status == "holds", found["returns_weights"]
        assert found.mark == RECONCILED


def test_an_equity_alone_cannot_be_reconciled() -> None:
    """With nothing beside the equity every identity says what it would need, and the mark says so."""
    found = reconcile(Result(ALONE.equity, CAPITAL))
    assert found.mark == NOT_RECONCILABLE
    assert found.checked == ()
    assert all(each.missing for each in found.identities)
    assert "nothing was saved" in found.sentence


def test_a_changed_profit_is_named_by_its_trade() -> None:
    """One trade's P&L changed: the equity no longer agrees from its exit on, and the trade is named."""
    for which, label in ((0, 8), (1, 20), (2, 30)):
        trades = ALONE.trades.assign(net_pnl=ALONE.trades["net_pnl"] + np.eye(3)[which] * 0.01)
        found = broken(replace(ALONE, trades=trades))
        assert set(found) == {"equity_trades", "equity_flat", "trade_pnl"}
        for each in found.values():
            assert each.where == f"trade {which + 1} (S0)"
            assert each.first == MARKET.index[label].date().isoformat()
            assert abs(each.off_by) == pytest.approx(0.01, rel=1e-4)


def test_a_fee_left_out_is_named_by_its_trade() -> None:
    """A fee left out of a fill, or of a trade, breaks the fees at the trade, and what the fee is part of."""
    fills = ALONE.fills.copy()
    fee = fills["fee"].iloc[3]  # of the second trade's exit
    fills.loc[3, "fee"] = 0.0
    found = broken(replace(ALONE, fills=fills))
    assert set(found) == {"fees", "cash", "returns_weights"}
    assert (found["fees"].where, found["fees"].first) == ("trade 2 (S0)", MARKET.index[20].date().isoformat())
    assert found["fees"].off_by == pytest.approx(-fee)
    assert found["cash"].first == MARKET.index[20].date().isoformat()
    trades = changed(ALONE.trades, 1, "fees", 0.0)
    found = broken(replace(ALONE, trades=trades))
    assert set(found) == {"fees", "trade_pnl"}
    assert found["trade_pnl"].where == found["fees"].where == "trade 2 (S0)"


def test_a_changed_position_is_named_by_symbol_and_label() -> None:
    """One position changed: it no longer is what the fills add up to, nor what the equity is made of."""
    found = broken(replace(SEVERAL, positions=changed(SEVERAL.positions, 15, "S1", 1.01)))
    assert set(found) == {"positions_fills", "equity_positions", "weights_positions", "exposure"}
    when = MARKET.index[15].date().isoformat()
    assert {each.first for each in found.values()} == {when}
    assert {each.where for each in found.values()} == {"S1", ""}
    assert found["positions_fills"].off_by == pytest.approx(2.0)
    assert found["positions_fills"].failed == 1


def test_a_weight_that_does_not_sum_is_named() -> None:
    """One weight changed: with cash the weights are no longer one, and no longer positions x prices."""
    found = broken(replace(SEVERAL, weights=changed(SEVERAL.weights, 15, "S1", 1.01)))
    assert set(found) == {"weights_cash", "weights_positions", "leverage", "returns_weights"}
    assert found["weights_cash"].first == found["weights_positions"].first == MARKET.index[15].date().isoformat()
    assert found["weights_positions"].where == "S1"
    assert found["returns_weights"].first == MARKET.index[16].date().isoformat()


def test_weights_alone_with_a_wrong_one() -> None:
    """A changed weight of a portfolio of weights and prices alone is found by what the equity earned after it."""
    for bps in (0.0, 5.0):
        result = rebalanced(MARKET, bps=bps)
        for costs in ({"fee_bps": bps}, None):
            wrong = replace(result, weights=changed(result.weights, 15, "S1", 1.05), costs=costs)
            found = broken(wrong)
            assert set(found) == {"returns_weights"}
            assert found["returns_weights"].first in {MARKET.index[label].date().isoformat() for label in (15, 16)}


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("part", ["equity", "weights", "positions", "prices", "cash"])
def test_a_shifted_part_is_named(part: str, by: int) -> None:
    """A part whose values are a label off breaks what it is held against."""
    touched = {
        "equity": {"equity_positions", "equity_flat", "returns_weights", "weights_cash", "weights_positions"},
        "weights": {"weights_positions", "weights_cash", "returns_weights", "leverage"},
        "positions": {"positions_fills", "equity_positions", "weights_positions", "exposure"},
        "prices": {"equity_positions", "weights_positions", "returns_weights"},
        "cash": {"cash", "equity_positions", "weights_cash"},
    }[part]
    values = getattr(ALONE, part)
    moved = values.shift(by).bfill() if by > 0 else values.shift(by).ffill()
    found = broken(replace(ALONE, **{part: moved}))
    assert set(found) == touched
    if part == "equity":
        assert ("late" if by > 0 else "early") in found["equity_flat"].note


def test_weights_a_label_late_are_said_to_be() -> None:
    """Weights that earn the return of their own label are named as such, with nothing but prices beside them."""
    daily = rebalanced(MARKET, every=1)
    found = broken(replace(daily, weights=daily.weights.shift(1).bfill()))
    assert set(found) == {"returns_weights"}
    assert "a label apart" in found["returns_weights"].note


def test_a_wrong_capital_is_named_from_the_first_label_on() -> None:
    """A capital that is another one than the equity starts from is said to be that."""
    found = broken(without(replace(ALONE, capital=CAPITAL + 1.0), "weights"))
    assert set(found) == {"equity_trades", "equity_flat", "cash"}
    assert {each.first for each in found.values()} == {MARKET.index[0].date().isoformat()}
    assert found["equity_trades"].off_by == pytest.approx(-1.0)
    assert "capital" in found["equity_flat"].note


def test_a_position_that_no_trade_tells_of() -> None:
    """An open position that is in the equity and not among the trades is found, and said to be one."""
    held = account([*ORDERS, Order(0, 1, 30.0, 33, None)], MARKET[["S0"]])
    unlisted = replace(without(held, "fills", "positions", "weights", "cash"), trades=held.trades.iloc[:3])
    found = broken(unlisted)
    assert set(found) == {"equity_trades", "equity_flat"}
    assert found["equity_flat"].first == MARKET.index[33].date().isoformat()
    assert "a position is not among them" in found["equity_trades"].note


def test_what_is_checked_survives_as_json() -> None:
    """A reconciliation is the same after it was written and read."""
    import json

    for result in (ALONE, replace(ALONE, capital=CAPITAL + 1.0), Result(ALONE.equity, CAPITAL)):
        found = reconcile(result)
        assert Reconciliation.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_rounding_to_cents_is_recognised_and_said() -> None:
    """P&L and fees written in cents agree with an exact equity but for that, and a whole cent too much does not."""
    trades = ALONE.trades.assign(fees=ALONE.trades["fees"].round(2), net_pnl=ALONE.trades["net_pnl"].round(2))
    found = reconcile(without(replace(ALONE, trades=trades), "fills"))
    assert found.mark == RECONCILED
    assert "rounding" in found["equity_trades"].note
    assert "rounding" in found["trade_pnl"].note
    wrong = trades.assign(net_pnl=trades["net_pnl"] + np.array([0.0, 0.05, 0.0]))
    found = reconcile(without(replace(ALONE, trades=wrong), "fills"))
    assert found.mark == NOT_RECONCILED
    assert found["trade_pnl"].where == "trade 2 (S0)"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "x", "says": "y", "status": "fine"},
        {"name": "x", "says": ["y"], "status": "holds"},
        {"name": "x", "says": "y", "status": "holds", "off_by": "a lot"},
        {"name": "x", "says": "y", "status": "holds", "missing": [1]},
        {"name": "x", "says": "y", "status": "holds", "missing": 1},
    ],
)
def test_an_identity_of_another_form_is_refused(values: dict[str, Any]) -> None:
    """What was not written by a reconciliation is not read as one."""
    with pytest.raises(ValueError, match="identity"):
        Reconciliation.from_dict({"identities": [values]})


@settings(max_examples=4, deadline=None)
@given(st.integers(0, LABELS - 1), st.integers(0, SYMBOLS - 1), st.floats(1e-4, 1e4), st.sampled_from([1, -1]))
def test_any_single_value_that_is_changed_is_found_where_it_is(row: int, column: int, by: float, sign: int) -> None:
    """A position, price, weight, cash or equity changed at any label, by much or little, is found at that label."""
    when, symbol = MARKET.index[row].date().isoformat(), f"S{column}"
    positions = SEVERAL.positions.copy()
    positions.iloc[row, column] += sign * by
    found = broken(replace(SEVERAL, positions=positions))
    assert (found["positions_fills"].where, found["positions_fills"].first) == (symbol, when)
    assert found["positions_fills"].off_by == pytest.approx(sign * by, rel=1e-6)
    assert found["equity_positions"].first == when
    weights = SEVERAL.weights.copy()
    weights.iloc[row, column] += sign * by
    found = broken(replace(SEVERAL, weights=weights))
    assert (found["weights_positions"].where, found["weights_positions"].first) == (symbol, when)
    assert found["weights_cash"].first == when
    for part, name in (("cash", "cash"), ("equity", "equity_positions")):
        series = getattr(SEVERAL, part).copy()
        series.iloc[row] += sign * by * 100.0
        found = broken(replace(SEVERAL, **{part: series}))
        assert found[name].first == found["equity_positions"].first == when
        assert abs(found["equity_positions"].off_by) == pytest.approx(by * 100.0, rel=1e-6)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 4), st.sampled_from(["net_pnl", "fees", "entry_price", "quantity"]), st.floats(1e-3, 10.0))
def test_any_trade_that_is_changed_is_named(row: int, column: str, by: float) -> None:
    """Whatever number of a trade is changed, the trade is named by the identity of its own."""
    trades = SEVERAL.trades.copy()
    trades.loc[row, column] += by
    found = broken(replace(SEVERAL, trades=trades))
    assert found["trade_pnl"].where == f"trade {row + 1} ({trades.loc[row, 'symbol']})"
    assert ("equity_trades" in found) == (column == "net_pnl")
    assert ("fees" in found) == (column == "fees")


def test_times_between_labels_count_to_the_label_before_where_that_holds() -> None:
    """Bars labelled by their begin: what happens inside a bar counts to it, and the note says so."""
    hours = pd.date_range("2020-01-01 09:00", periods=LABELS, freq="h", tz="UTC", unit="ns")
    later = pd.Timedelta(minutes=20)

    def moved(name: str, *columns: str) -> pd.DataFrame:
        places = {old: new + later for old, new in zip(MARKET.index, hours, strict=True)}
        frame = getattr(ALONE, name)
        return frame.assign(**{column: frame[column].map(places) for column in columns})

    relabelled = {
        name: getattr(ALONE, name).set_axis(hours) for name in ("equity", "positions", "weights", "prices", "cash")
    }
    parts = {"fills": moved("fills", "timestamp"), "trades": moved("trades", "entry_time", "exit_time")}
    found = reconcile(replace(without(ALONE, "leverage"), **relabelled, **parts))
    assert found.mark == RECONCILED
    assert all("counts to the earlier one" in each.note for each in found.identities)


def test_a_contract_that_counts_more_than_one_is_recognised() -> None:
    """Trades of a future, whose unit counts 50, agree with their prices; one of them that does not is named."""
    factor = np.array([50.0, 50.0, 50.0])
    gross = ALONE.trades["net_pnl"] + ALONE.trades["fees"]
    future = Result(ALONE.equity, CAPITAL, trades=ALONE.trades.assign(net_pnl=gross * factor - ALONE.trades["fees"]))
    assert reconcile(future)["trade_pnl"].status == "holds"
    wrong = future.trades["net_pnl"] + np.array([0.0, 7.0, 0.0])
    found = reconcile(replace(future, trades=future.trades.assign(net_pnl=wrong)))["trade_pnl"]
    assert found.status == "does not hold"


def test_a_charge_that_is_no_cost_of_trading_is_not_taken_for_one() -> None:
    """All in one symbol, charged a share that changes: what must be sold for it is no trading; it stays unknown."""
    one = MARKET[["S0"]]
    share = np.where(np.arange(len(one)) < len(one) // 3, 0.001, 0.0004)
    growth = 1.0 + one["S0"].pct_change().fillna(0.0) - share
    weights = one * 0.0 + 1.0
    result = Result(CAPITAL * growth.cumprod(), CAPITAL, first_label="period", weights=weights, prices=one)
    found = reconcile(result)
    assert found["returns_weights"].missing == ("costs",)
    assert found.mark == NOT_RECONCILABLE


def test_unknown_costs_are_not_guessed() -> None:
    """Costs that nobody told and that follow no rule leave the return unchecked; a gain is no cost."""
    result = rebalanced(MARKET, every=1)
    lost = np.random.default_rng(3).uniform(0.0, 1e-4, LABELS)
    path = CAPITAL * np.cumprod(1.0 + np.append(0.0, result.equity.pct_change().to_numpy()[1:]) - lost)
    dear = replace(result, equity=pd.Series(path, MARKET.index), costs=None)
    found = reconcile(dear)
    assert found.mark == NOT_RECONCILABLE
    assert found["returns_weights"].missing == ("costs",)
    path = path * np.append(np.ones(20), np.full(LABELS - 20, 1.001))
    found = reconcile(replace(dear, equity=pd.Series(path, MARKET.index)))
    assert found["returns_weights"].first == MARKET.index[20].date().isoformat()


def test_parts_on_fewer_labels_are_compared_where_they_are() -> None:
    """Positions at every second label are compared there; at none in common, what is missing is a label."""
    half = replace(SEVERAL, positions=SEVERAL.positions.iloc[::2])
    found = reconcile(half)
    assert found.mark == RECONCILED
    assert found["positions_fills"].compared == found["exposure"].compared == LABELS // 2 * SYMBOLS
    assert found["equity_positions"].compared == LABELS // 2
    wrong = changed(SEVERAL.positions, 16, "S1", 1.5).iloc[::2]
    assert broken(replace(SEVERAL, positions=wrong))["exposure"].first == MARKET.index[16].date().isoformat()
    elsewhere = SEVERAL.positions.set_axis(SEVERAL.positions.index + pd.Timedelta(hours=1))
    found = reconcile(replace(SEVERAL, positions=elsewhere))
    assert found["positions_fills"].missing == ("a label at which all of them are known",)


def test_symbols_are_told_apart_by_their_text() -> None:
    """Columns that are numbers and fills that name them as text are the same symbols."""
    numbered = {name: getattr(ALONE, name).rename(columns={"S0": 7}) for name in ("positions", "weights", "prices")}
    fills, trades = (getattr(ALONE, name).assign(symbol="7") for name in ("fills", "trades"))
    assert reconcile(replace(ALONE, **numbered, fills=fills, trades=trades)).mark == RECONCILED
