"""The bundled engine as one producer of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.results.contract import Engine, Result

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.engine import BacktestResult

ENGINE = "evidence-chain"
COSTS = ("fee_bps", "slippage_bps")


def result_of(done: BacktestResult, prices: pd.Series | None = None) -> Result:
    """Return a backtest of the bundled engine as a result of the contract.

    `prices` are the closes it was run on; without them positions cannot be valued. Fills are signed, cash is what they
    leave of the initial cash.
    """
    from importlib.metadata import version

    import pandas as pd

    from pipeline.backtest.timestamps import utc_labels

    symbol, index = str(done.config.get("symbol") or ""), done.equity_curve.index
    units = done.fills["quantity"].where(done.fills["side"] == "buy", -done.fills["quantity"])
    fills = done.fills.assign(symbol=symbol, quantity=units)
    capital = float(done.config["initial_cash"])
    cash = fills.groupby("timestamp")["cash_after"].last().reindex(index).ffill().fillna(capital)
    frame = None
    if prices is not None:
        frame = prices.set_axis(utc_labels(pd.DatetimeIndex(prices.index))).reindex(index).to_frame(symbol)
    return Result(
        equity=done.equity_curve,
        capital=capital,
        engine=Engine(ENGINE, version(ENGINE)),
        strategy=done.config.get("strategy"),
        params=done.config.get("params"),
        symbols=(symbol,) if symbol else (),
        currency=done.conventions.currency,
        costs={name: done.config[name] for name in COSTS if name in done.config},
        trades=done.trades,
        fills=fills,
        positions=done.positions.to_frame(symbol),
        prices=frame,
        cash=cash,
        conventions=done.conventions,
    )
