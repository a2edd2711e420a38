"""A strategy of backtrader that has run, as `cerebro.run()` returns it in a list.

The equity is that of the observer Broker, at each bar, or else of an analyzer TimeReturn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import fills_frame, positions_of
from pipeline.engines.objects import engine_of, gathered, is_a, one_of, reported, times
from pipeline.engines.round_trips import NOTE, round_trips
from pipeline.errors import ResultError
from pipeline.results.contract import ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd


class BacktraderAdapter:
    """Takes a strategy of backtrader, or the list of them that cerebro.run returns."""

    name = "backtrader strategy (what cerebro.run returns)"

    def recognises(self, value: Any) -> bool:
        """Say whether it is a strategy of backtrader, a list of them, or what an optimisation leaves of one."""
        first = _first(value)
        return is_a(first, "backtrader", "Strategy", "OptReturn")

    def adapt(self, value: Any, given: Given) -> Result:
        """Return equity, fills, positions and prices of one strategy."""
        import pandas as pd

        strategy = _chosen(value, given)
        capital = float(strategy.broker.startingcash)
        equity, cash, source = _equity(strategy, capital)
        labels = pd.DatetimeIndex(equity.index)
        fills = _fills(strategy)
        prices = _prices(strategy, labels)
        positions = positions_of(fills, labels).reindex(columns=prices.columns, fill_value=0.0)
        many = {str(name): _multiplier(strategy, data) for name, data in _datas(strategy).items()}
        worth = positions * prices * pd.Series(many)
        weights = worth.div(equity.where(equity > 0.0), axis=0)
        last = {str(name): float(price) for name, price in prices.iloc[-1].items()}
        trades = round_trips(fills, last, labels[-1], many)
        plain = set(many.values()) <= {1.0}
        return Result(
            equity=equity,
            capital=capital,
            engine=engine_of("backtrader", "backtrader", "backtrader"),
            strategy=type(strategy).__name__,
            params=dict(strategy.p._getkwargs()),
            symbols=tuple(prices.columns),
            trades=trades,
            fills=fills,
            positions=positions if plain else None,
            weights=weights if not weights.isna().any(axis=None) else None,
            prices=prices,
            cash=cash if plain else None,
            reported=_reported(strategy),
            notes=(f"The equity is that of {source}; money that was added counts as a return there.", NOTE),
        )


ADAPTER = BacktraderAdapter()


def _first(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value


def _chosen(value: Any, given: Given) -> Any:
    if is_a(_first(value), "backtrader", "OptReturn") or (isinstance(value, list) and isinstance(value[0], list)):
        raise ResultError(
            "The results of backtrader's optstrategy hold params and analyzers only. Run the strategy you chose "
            "with cerebro.addstrategy and save what cerebro.run() returns then."
        )
    if not isinstance(value, list | tuple):
        return value
    names = [f"{place}" for place in range(len(value))] if len(value) > 1 else ["0"]
    return value[int(one_of(names, given.column, "The list of strategies"))]


def _equity(strategy: Any, capital: float) -> tuple[pd.Series, pd.Series | None, str]:
    """Return equity, cash where it is known, and where the equity is from."""
    import numpy as np
    import pandas as pd

    observer = next((one for one in strategy.observers if type(one).__name__ == "Broker"), None)
    if observer is not None:
        stamps = _stamps(strategy.datas[0])
        value = np.asarray(observer.lines.value.array, dtype=float)[: len(stamps)]  # longer than the bars: padded
        if len(value) == len(stamps) and np.isfinite(value).all():
            cash = np.asarray(observer.lines.cash.array, dtype=float)[: len(stamps)]
            equity = pd.Series(value, stamps, name="equity")
            return equity, pd.Series(cash, stamps, name="cash"), "the observer Broker"
    for analyzer in strategy.analyzers:
        if type(analyzer).__name__ == "TimeReturn" and analyzer.p.data is None:
            found = analyzer.get_analysis()
            stamps = times(list(found))
            growth = np.cumprod(1.0 + np.array(list(found.values()), dtype=float))
            return pd.Series(capital * growth, stamps, name="equity"), None, "the analyzer TimeReturn"
    raise ResultError(
        "The strategy of backtrader holds no equity: it ran without the observers, or with exactbars. Add the "
        "analyzer, cerebro.addanalyzer(backtrader.analyzers.TimeReturn), and run again."
    )


def _stamps(data: Any) -> pd.DatetimeIndex:
    return times([data.num2date(number) for number in data.datetime.array[: len(data)]])


def _datas(strategy: Any) -> dict[str, Any]:
    """Return the feeds by their name; one without a name is data0, data1, …"""
    found: dict[str, Any] = {}
    for place, data in enumerate(strategy.datas):
        name = str(data._name or f"data{place}")
        found[f"{name}.{place}" if name in found else name] = data
    return found


def _name(strategy: Any, data: Any) -> str:
    feeds = _datas(strategy)
    own = [name for name, feed in feeds.items() if feed is data]
    return own[0] if own else next((name for name, feed in feeds.items() if feed._name == data._name), str(data._name))


def _multiplier(strategy: Any, data: Any) -> float:
    return float(strategy.broker.getcommissioninfo(data).p.mult or 1.0)


def _prices(strategy: Any, labels: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the closes of all feeds at the labels, the last known one where a feed has no bar."""
    import numpy as np
    import pandas as pd

    closes = {}
    for name, data in _datas(strategy).items():
        series = pd.Series(np.asarray(data.close.array[: len(data)], dtype=float), _stamps(data))
        series = series[~series.index.duplicated(keep="last")]
        closes[name] = series.reindex(labels.union(pd.DatetimeIndex(series.index))).ffill().reindex(labels)
    return pd.DataFrame(closes)


def _fills(strategy: Any) -> pd.DataFrame:
    found: list[tuple[Any, str, float, float, float]] = []
    for order in strategy.broker.orders:
        name, data = _name(strategy, order.data), order.data
        found += [
            (data.num2date(one.dt), name, one.size, one.price, one.comm) for one in order.executed.exbits if one.size
        ]
    return fills_frame(
        timestamp=[row[0] for row in found],
        symbol=[row[1] for row in found],
        quantity=[row[2] for row in found],
        price=[row[3] for row in found],
        fee=[row[4] for row in found],
    )


def _reported(strategy: Any) -> tuple[ReportedMetric, ...]:
    """Return the figures of the analyzers that were added."""
    found: list[tuple[ReportedMetric, ...]] = []
    for analyzer in strategy.analyzers:
        name, values = type(analyzer).__name__, analyzer.get_analysis()
        if name == "SharpeRatio":
            rate = f"risk-free {analyzer.p.riskfreerate:.2%} a year" if analyzer.p.riskfreerate is not None else ""
            found.append(
                reported("SharpeRatio", values.get("sharperatio"), "sharpe",
                         f"of returns a calendar period (default: a year), ddof 0 unless set, {rate}")
            )  # fmt: skip
        if name == "DrawDown" and (depth := values.get("max", {}).get("drawdown")) is not None:
            found.append(reported("DrawDown max", -float(depth) / 100.0, "max_drawdown", "told as positive percent"))
        if name == "Returns":
            found.append(reported("Returns rtot", values.get("rtot"), None, "logarithmic"))
            found.append(reported("Returns rnorm", values.get("rnorm"), "cagr", "252 bars a year"))
    return gathered(found)
