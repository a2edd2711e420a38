"""Metrics of any result: computed here from what is there, and unknown where nothing tells them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.backtest import Conventions
from pipeline.results.contract import Result
from pipeline.results.recompute import recompute
from tests.results.accounts import CAPITAL, Order, account, prices, rebalanced, without

MARKET = prices(60, 3, seed=2)
ORDERS = [Order(0, 1, 100.0, 2, 8), Order(1, -1, 50.0, 12, 20), Order(0, 1, 80.0, 25, None)]
KEPT = replace(account(ORDERS, MARKET, away=0.0), first_label="start")
COUNTS = ("total_trades", "open_trades")
OF_TRADES = (*COUNTS, "win_rate", "profit_factor", "best_trade", "worst_trade", "avg_trade", "avg_bars_held")
OF_ACTIVITY = ("exposure", "turnover", "fees_paid", "slippage_paid")
OF_WEIGHTS = ("avg_gross_exposure", "avg_net_exposure", "avg_concentration", "avg_effective_positions")


def test_of_a_curve_alone_nothing_else_is_known() -> None:
    """Without trades, fills, positions and weights their metrics are None: no zero is made up."""
    stats = recompute(Result(KEPT.equity, CAPITAL))
    assert {name: stats[name] for name in (*OF_TRADES, *OF_ACTIVITY, *OF_WEIGHTS)} == dict.fromkeys(
        (*OF_TRADES, *OF_ACTIVITY, *OF_WEIGHTS)
    )
    assert stats["sharpe"] is not None


def test_no_trade_at_all_is_known_to_be_none() -> None:
    """An empty list of trades and fills is knowledge: nothing was traded, and nothing paid."""
    idle = Result(
        pd.Series(CAPITAL, MARKET.index), CAPITAL, trades=KEPT.trades.iloc[:0], fills=KEPT.fills.iloc[:0],
        positions=KEPT.positions * 0.0,
    )  # fmt: skip
    stats = recompute(idle)
    assert [stats[name] for name in ("total_trades", "open_trades", "fees_paid", "turnover", "exposure")] == [0] * 5
    assert stats["win_rate"] is None


def test_the_first_period_counts_where_the_first_label_ends_one() -> None:
    """Twelve monthly returns are twelve returns over a year, its drawdown from the capital, and no more labels."""
    moves = np.array([-0.05, 0.02, 0.01, 0.03, -0.02, 0.04, 0.0, 0.01, 0.02, -0.01, 0.03, 0.02])
    ends = pd.date_range("2021-01-31", periods=12, freq="ME", tz="UTC", unit="ns")
    stats = recompute(Result(pd.Series(np.cumprod(1.0 + moves), ends), 1.0, first_label="period"))
    growth = float(np.prod(1.0 + moves))
    assert stats["n_bars"] == 12
    assert stats["total_return"] == pytest.approx(growth - 1.0)
    assert stats["cagr"] == pytest.approx(growth - 1.0, rel=0.01)
    assert stats["sharpe"] == pytest.approx(moves.mean() / moves.std(ddof=1) * math.sqrt(12))
    assert stats["max_drawdown"] == pytest.approx(-0.05)
    assert stats["time_in_drawdown"] == pytest.approx(5 / 12)


def test_a_given_number_of_periods_and_rate_are_used() -> None:
    """What the result says of its conventions counts; else its labels tell them."""
    told = replace(KEPT, conventions=Conventions(risk_free_rate=0.02, given_periods=365.0))
    assert recompute(told)["periods_per_year"] == 365.0
    assert recompute(KEPT)["periods_per_year"] == 252.0
    assert recompute(told)["sharpe"] < recompute(KEPT)["sharpe"] * math.sqrt(365 / 252)


def test_turnover_is_the_same_from_fills_positions_weights_and_trades() -> None:
    """Traded at the labels' prices, every part tells the same turnover; fees and exposure are told by any of them."""
    by = {
        "fills": KEPT,
        "positions": without(KEPT, "fills", "weights"),
        "weights": without(KEPT, "fills", "positions", "trades"),
        "trades": without(KEPT, "fills", "positions", "weights"),
    }
    stats = {name: recompute(each) for name, each in by.items()}
    value = (KEPT.fills["quantity"].abs() * KEPT.fills["price"]).sum()
    years = (MARKET.index[-1] - MARKET.index[0]).days / 365.25
    for name, each in stats.items():
        assert each["turnover"] == pytest.approx(value / KEPT.equity.mean() / years, rel=1e-9), name
        held = (KEPT.positions != 0.0).any(axis=1).mean()
        assert each["exposure"] == pytest.approx(held), name
    assert stats["trades"]["fees_paid"] == pytest.approx(KEPT.fills["fee"].sum()) == stats["fills"]["fees_paid"]
    assert stats["weights"]["fees_paid"] is None


def test_trades_need_only_what_the_contract_asks_of_them() -> None:
    """Returns and bars held of trades follow from their prices and times; which are open may be unknown."""
    needed = ["symbol", "side", "entry_time", "exit_time", "quantity", "entry_price", "exit_price", "net_pnl"]
    stats = recompute(Result(KEPT.equity, CAPITAL, trades=KEPT.trades[needed]))
    gains = KEPT.trades["net_pnl"] / (KEPT.trades["quantity"] * KEPT.trades["entry_price"])
    assert (stats["total_trades"], stats["open_trades"]) == (3, None)
    assert stats["best_trade"] == pytest.approx(gains.max())
    assert stats["fees_paid"] is None
    marked = recompute(Result(KEPT.equity, CAPITAL, trades=KEPT.trades[[*needed, "is_open"]]))
    assert (marked["total_trades"], marked["open_trades"]) == (2, 1)
    assert marked["avg_bars_held"] == 7.0
    gap = KEPT.trades.assign(net_pnl=[1.0, np.nan, 2.0])
    assert recompute(Result(KEPT.equity, CAPITAL, trades=gap))["win_rate"] is None


def test_weights_tell_exposure_and_concentration() -> None:
    """Gross and net exposure are means over all labels, concentration over those at which something is held."""
    weights = pd.DataFrame(
        {"A": [0.5, 0.5, 0.0, -0.5], "B": [0.5, 0.0, 0.0, 0.25], "C": [0.0, 0.0, 0.0, 0.25]}, MARKET.index[:4]
    )
    stats = recompute(Result(pd.Series(1.0, MARKET.index[:4]), 1.0, weights=weights))
    assert stats["avg_gross_exposure"] == pytest.approx((1.0 + 0.5 + 0.0 + 1.0) / 4)
    assert stats["avg_net_exposure"] == pytest.approx((1.0 + 0.5 + 0.0 + 0.0) / 4)
    assert stats["avg_concentration"] == pytest.approx((0.5 + 1.0 + 0.375) / 3)
    assert stats["avg_effective_positions"] == pytest.approx((2.0 + 1.0 + 1.0 / 0.375) / 3)
    assert stats["exposure"] == 0.75
    alone = recompute(Result(pd.Series(1.0, MARKET.index[:4]), 1.0, weights=weights[["A"]]))
    assert alone["avg_gross_exposure"] == pytest.approx(0.375)
    assert alone["avg_concentration"] is None


def test_a_portfolio_of_many_symbols_is_looked_at_in_one_go() -> None:
    """Five hundred symbols over a year take no longer than a moment: nothing loops over cells."""
    import time

    from pipeline.results.reconcile import reconcile

    small, large = (rebalanced(prices(250, symbols, seed=1), every=21) for symbols in (2, 500))
    spent = []
    for each in (small, large):
        started = time.process_time()
        recompute(each)
        reconcile(each)
        spent.append(time.process_time() - started)
    assert spent[1] < 40.0 * spent[0]
