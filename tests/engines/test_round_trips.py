"""Trades made of fills: from flat to flat, with what they cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engines.executions import fills_frame, positions_of
from pipeline.engines.round_trips import round_trips

DAYS = pd.date_range("2024-01-01", periods=10, tz="UTC").as_unit("ns")


def fills(*rows: tuple[int, float, float, float]) -> pd.DataFrame:
    day, quantity, price, fee = zip(*rows, strict=True)
    return fills_frame(timestamp=DAYS[list(day)], symbol="A", quantity=quantity, price=price, fee=fee)


def test_a_trade_is_entered_and_left_in_parts() -> None:
    """Means of the prices, sum of the fees."""
    trades = round_trips(
        fills((0, 2, 10.0, 1.0), (1, 2, 14.0, 1.0), (2, -1, 20.0, 1.0), (4, -3, 16.0, 1.0)), {}, DAYS[-1]
    )
    assert trades is not None
    row = trades.iloc[0]
    assert (row["quantity"], row["entry_price"], row["exit_price"]) == (4.0, 12.0, 17.0)
    assert (row["gross_pnl"], row["fees"], row["net_pnl"]) == (20.0, 4.0, 16.0)
    assert (row["entry_time"], row["exit_time"], row["is_open"]) == (DAYS[0], DAYS[4], False)


def test_a_fill_that_turns_the_position_is_two_trades() -> None:
    """Its fee is split by units."""
    trades = round_trips(fills((0, 1, 10.0, 1.0), (1, -3, 12.0, 3.0), (2, 2, 11.0, 2.0)), {}, DAYS[-1])
    assert trades is not None
    assert trades["side"].tolist() == ["long", "short"]
    assert trades["net_pnl"].tolist() == [2.0 - 2.0, 2.0 - 4.0]


def test_an_open_trade_is_at_the_last_price() -> None:
    """Without one nothing is said of trades at all."""
    rows = fills((0, 2, 10.0, 1.0), (1, -1, 12.0, 1.0))
    trades = round_trips(rows, {"A": 15.0}, DAYS[-1])
    assert trades is not None
    assert trades[["net_pnl", "exit_price", "is_open"]].to_numpy().tolist() == [[5.0, 13.5, True]]
    assert round_trips(rows, {}, DAYS[-1]) is None
    assert round_trips(rows, {"A": float("nan")}, DAYS[-1]) is None


def test_no_fills_are_no_trades() -> None:
    """An empty frame: it is known that there were none."""
    none = fills_frame(timestamp=pd.DatetimeIndex([], tz="UTC"), symbol=[], quantity=[], price=[], fee=[])
    trades = round_trips(none, {}, DAYS[-1])
    assert trades is not None
    assert len(trades) == 0
    assert {"symbol", "side", "net_pnl", "is_open"} <= set(trades)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(-4, 4).filter(bool), st.floats(1.0, 99.0), st.floats(0.0, 2.0)),
             min_size=1, max_size=15)
)  # fmt: skip
def test_trades_add_up_to_what_the_account_made(rows: list[tuple[int, float, float, float]]) -> None:
    """Net P&L of all trades, open ones too, is the value at the end less what the fills paid."""
    made = fills(*sorted(rows, key=lambda row: row[0]))
    trades = round_trips(made, {"A": 7.0}, DAYS[-1])
    assert trades is not None
    paid = float((made["quantity"] * made["price"] + made["fee"]).sum())
    assert trades["net_pnl"].sum() == pytest.approx(made["quantity"].sum() * 7.0 - paid, abs=1e-6)
    assert trades["fees"].sum() == pytest.approx(made["fee"].sum())


def test_positions_of_days_hold_what_was_filled_that_day() -> None:
    """A fill during a day is held at that day's label; at an instant's label only what came until then."""
    stamps = DAYS[[1, 3]] + pd.Timedelta(hours=15)
    made = fills_frame(timestamp=stamps, symbol=["A", "B"], quantity=[2.0, -1.0], price=[1.0, 1.0])
    assert positions_of(made, DAYS[:5])["A"].tolist() == [0.0, 2.0, 2.0, 2.0, 2.0]
    hours = pd.DatetimeIndex(np.array([DAYS[1] + pd.Timedelta(hours=h) for h in (14, 15, 16)])).as_unit("ns")
    assert positions_of(made, hours)["A"].tolist() == [0.0, 2.0, 2.0]
