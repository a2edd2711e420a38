"""The adapter of backtrader on a strategy made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.engines.adapter import Given
from pipeline.engines.backtrader import ADAPTER
from pipeline.engines.conformance import AdapterConformance
from pipeline.engines.registry import as_result
from pipeline.errors import ResultError
from tests.engines.made import DAYS, kind, of

CLOSES = {"AAA": [10.0, 11.0, 12.0, 12.0, 13.0], "BBB": [20.0, 20.0, 21.0, 19.0, 18.0]}


def plain(**attributes: Any) -> Any:
    return of("backtrader.any", "Thing", **attributes)


def line(values: list[float]) -> Any:
    return plain(array=values)


def feed(name: str) -> Any:
    thing = kind("backtrader.feed", "Feed")
    thing.__len__ = lambda self: 5  # type: ignore[attr-defined]
    made = thing()
    made._name, made.close, made.datetime = name, line(CLOSES[name]), line([float(day) for day in range(5)])
    made.num2date = lambda number: DAYS[int(number)].to_pydatetime()
    return made


def analyzer(name: str, found: Any, **params: Any) -> Any:
    made = kind("backtrader.analyzers", name)()
    made.p, made.get_analysis = plain(**params), lambda: found
    return made


def strategy(*, observers: bool = True, analyzers: tuple[Any, ...] = (), mult: float = 1.0) -> Any:
    """Return one that bought 10 AAA at 11 for 1 and sold short 5 BBB at 21 for 2."""
    feeds = [feed("AAA"), feed("BBB")]
    bits = [(feeds[0], 1, 10.0, 11.0, 1.0), (feeds[1], 2, -5.0, 21.0, 2.0)]
    orders = [
        plain(data=data, executed=plain(exbits=[plain(dt=float(day), size=size, price=price, comm=fee)]))
        for data, day, size, price, fee in bits
    ]
    cash = [1000.0, 889.0, 992.0, 992.0, 992.0]
    value = [1000.0, 999.0, 889.0 + 120.0 - 2.0, 992.0 + 120.0 - 95.0, 992.0 + 130.0 - 90.0]
    padding = [float("nan")] * 5  # the arrays of observers are longer than the bars
    broker = kind("backtrader.observers", "Broker")()
    broker.lines = plain(value=line(value + padding), cash=line(cash + padding))
    account = plain(startingcash=1000.0, orders=orders, getcommissioninfo=lambda data: plain(p=plain(mult=mult)))
    return of("backtrader.strategy", "Strategy", datas=feeds, observers=[broker] if observers else [],
              analyzers=list(analyzers), broker=account, p=plain(_getkwargs=lambda: {"fast": 5}))  # fmt: skip


class TestBacktrader(AdapterConformance):
    adapter = ADAPTER
    known = ("trades", "fills", "positions", "weights", "prices", "cash", "strategy", "params", "symbols")

    def value(self) -> Any:
        return [strategy()]


def test_trades_of_two_feeds_add_up() -> None:
    """Closed trades keep neither size nor exit price there: they are made of the fills, open ones included."""
    result = as_result(strategy())
    assert result.trades is not None
    assert result.trades["net_pnl"].tolist() == [19.0, 13.0]
    assert result.trades["net_pnl"].sum() == result.equity.iloc[-1] - result.capital
    assert result.positions is not None
    assert result.cash is not None
    worth = (result.positions * result.prices).sum(axis=1) + result.cash
    assert worth.tolist() == result.equity.tolist()


def test_without_observers_the_analyzer_is_the_equity() -> None:
    """`stdstats=False` leaves none; without either the message says what to add."""
    found = dict(zip(DAYS.to_pydatetime(), [0.0, 0.1, 0.0, 0.0, -0.1], strict=True))
    result = as_result(strategy(observers=False, analyzers=(analyzer("TimeReturn", found, data=None),)))
    np.testing.assert_allclose(result.equity, [1000.0, 1100.0, 1100.0, 1100.0, 990.0])
    assert "TimeReturn" in result.notes[0]
    with pytest.raises(ResultError, match=r"addanalyzer\(backtrader.analyzers.TimeReturn\)"):
        as_result(strategy(observers=False))


def test_its_figures_name_their_conventions() -> None:
    """Sharpe is of years, the drawdown is positive percent; a Sharpe of None (less than two years) is left out."""
    none = analyzer("SharpeRatio", {"sharperatio": None}, riskfreerate=0.01)
    some = analyzer("SharpeRatio", {"sharperatio": 0.5}, riskfreerate=0.01)
    depth = analyzer("DrawDown", {"max": {"drawdown": 21.2}})
    assert [one.value for one in as_result(strategy(analyzers=(none, depth))).reported] == [-0.212]
    assert "risk-free 1.00%" in as_result(strategy(analyzers=(some,))).reported[0].convention


def test_feeds_without_a_name_are_numbered() -> None:
    """Two of them are two instruments."""
    mine = strategy()
    for data in mine.datas:
        data._name = ""
    result = as_result(mine)
    assert result.symbols == ("data0", "data1")
    assert result.fills is not None
    assert result.fills["symbol"].tolist() == ["data0", "data1"]


def test_futures_have_no_plain_value() -> None:
    """With a multiplier units times price are no money: positions and cash are left out, trades count it."""
    result = as_result(strategy(mult=2.0))
    assert (result.positions, result.cash) == (None, None)
    assert result.trades is not None
    assert result.trades["net_pnl"].tolist() == [39.0, 28.0]


def test_what_an_optimisation_leaves_is_refused() -> None:
    """It holds no account."""
    left = of("backtrader.cerebro", "OptReturn", p=plain())
    with pytest.raises(ResultError, match="optstrategy"):
        as_result([[left], [left]])
    with pytest.raises(ResultError, match="2 results"):
        as_result([strategy(), strategy()])
    assert as_result([strategy(), strategy()], Given(column="1")).capital == 1000.0
