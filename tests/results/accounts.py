"""Accounts kept by hand, one order at a time, as an engine would: every part of a result follows from the orders."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from pipeline.results.contract import Result

CAPITAL = 100_000.0


@dataclass(frozen=True)
class Order:
    """A round trip: a symbol bought or sold short at one label, closed at a later one, or never."""

    symbol: int
    side: int
    units: float
    enter: int
    leave: int | None


@st.composite
def orders(draw: st.DrawFn, labels: int, symbols: int) -> list[Order]:
    """Draw round trips that may overlap; the last labels are left without any open one, or with some."""
    found = []
    for _ in range(draw(st.integers(1, 6))):
        enter = draw(st.integers(0, labels - 4))
        leave = draw(st.none() | st.integers(enter + 1, labels - 2))
        side, symbol = draw(st.sampled_from([1, -1])), draw(st.integers(0, symbols - 1))
        found.append(Order(symbol, side, draw(st.floats(1.0, 300.0)), enter, leave))
    return found


def prices(labels: int, symbols: int, seed: int) -> pd.DataFrame:
    """Return random walks on business days."""
    moves = np.random.default_rng(seed).normal(0.0, 0.02, (labels, symbols))
    index = pd.date_range("2020-01-01", periods=labels, freq="B", tz="UTC", unit="ns", name="timestamp")
    names = [f"S{number}" for number in range(symbols)]
    return pd.DataFrame(100.0 * np.exp(np.cumsum(moves, axis=0)), index=index, columns=names)


def account(given: list[Order], market: pd.DataFrame, *, fee: float = 0.001, away: float = 0.002) -> Result:
    """Return what an account that carries out the orders leaves: fills `away` from the price, `fee` of each."""
    index, names = market.index, list(market.columns)
    fills, trades = [], []
    for order in given:
        name = names[order.symbol]
        row = {"symbol": name, "side": "long" if order.side > 0 else "short", "quantity": order.units}
        ends = [(order.enter, order.side)] + ([(order.leave, -order.side)] if order.leave is not None else [])
        paid = 0.0
        executed = []
        for label, sign in ends:
            price = float(market.iloc[label][name]) * (1.0 + away * sign)
            charge = price * order.units * fee
            paid += charge
            executed.append(price)
            fills.append((index[label], name, sign * order.units, price, charge))
        is_open = order.leave is None
        last = float(market[name].iloc[-1]) if is_open else executed[1]
        trades.append(
            row
            | {
                "entry_time": index[order.enter],
                "exit_time": index[-1 if order.leave is None else order.leave],
                "entry_price": executed[0],
                "exit_price": last,
                "fees": paid,
                "net_pnl": order.side * order.units * (last - executed[0]) - paid,
                "is_open": is_open,
            }
        )
    fills.sort(key=lambda fill: fill[0])
    return book(pd.DataFrame(fills, columns=["timestamp", "symbol", "quantity", "price", "fee"]), trades, market)


def book(fills: pd.DataFrame, trades: list[dict], market: pd.DataFrame) -> Result:
    """Return the result of an account, kept label by label from its fills."""
    cash, held, names = CAPITAL, np.zeros(market.shape[1]), list(market.columns)
    at_label: dict[pd.Timestamp, list[tuple]] = {}
    for fill in fills.itertuples(index=False, name=None):
        at_label.setdefault(fill[0], []).append(fill)
    cashes, positions, equity = [], [], []
    for label, row in zip(market.index, market.to_numpy(), strict=True):
        for _, symbol, quantity, price, fee in at_label.get(label, []):
            cash -= quantity * price + fee
            held[names.index(symbol)] += quantity
        cashes.append(cash)
        positions.append(held.copy())
        equity.append(cash + float(held @ row))
    units, curve = pd.DataFrame(positions, market.index, names), pd.Series(equity, market.index)
    table = pd.DataFrame(trades)
    return Result(
        equity=curve,
        capital=CAPITAL,
        first_label="period",
        trades=table.assign(trade_id=range(1, len(table) + 1)),
        fills=fills,
        positions=units,
        weights=(units * market).div(curve, axis=0),
        prices=market,
        cash=pd.Series(cashes, market.index),
        leverage=(units * market).abs().sum(axis=1) / curve,
    )


def rebalanced(market: pd.DataFrame, *, every: int = 5, bps: float = 0.0, seed: int = 0) -> Result:
    """Return a portfolio that is set to random weights every few labels and drifts between; costs on what is traded."""
    rng = np.random.default_rng(seed)
    value, held = CAPITAL, np.zeros(market.shape[1])  # held: money in each symbol
    equity, weights = [], []
    growth = market.pct_change().to_numpy()
    for label in range(len(market)):
        if label:
            earned = held * growth[label]
            held, value = held + earned, value + earned.sum()
        if label % every == 0:
            wanted = rng.dirichlet(np.ones(market.shape[1])) * 0.9
            cost = bps / 10_000.0 * np.abs(wanted * value - held).sum()
            for _ in range(60):  # the cost depends on the equity after it
                cost = bps / 10_000.0 * np.abs(wanted * (value - cost) - held).sum()
            value -= cost
            held = wanted * value
        equity.append(value)
        weights.append(held / value)
    frame = pd.DataFrame(weights, index=market.index, columns=market.columns)
    curve = pd.Series(equity, market.index)
    return Result(curve, CAPITAL, first_label="period", weights=frame, prices=market, costs={"fee_bps": bps})


def without(result: Result, *parts: str) -> Result:
    """Return a result without some of its parts."""
    return replace(result, **dict.fromkeys(parts))
