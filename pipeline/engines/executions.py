"""Trades and fills of an engine as the frames of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.engines.objects import times

if TYPE_CHECKING:
    import pandas as pd


def trades_frame(
    *,
    symbol: Any,
    side: Any,
    entry_time: Any,
    exit_time: Any,
    quantity: Any,
    entry_price: Any,
    exit_price: Any,
    net_pnl: Any,
    fees: Any = None,
    is_open: Any = False,
    **known: Any,
) -> pd.DataFrame:
    """Return round trips, a row each in order of entry; arguments are columns, or one value for all rows.

    `side` is long or short, `quantity` above zero, `net_pnl` after fees. `gross_pnl` and `return_pct` follow from them.
    """
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame(
        {
            "entry_time": times(entry_time),
            "exit_time": times(exit_time),
            "entry_price": np.asarray(entry_price, dtype=float),
            "exit_price": np.asarray(exit_price, dtype=float),
            "quantity": np.abs(np.asarray(quantity, dtype=float)),
            "net_pnl": np.asarray(net_pnl, dtype=float),
        }
    )
    frame.insert(0, "symbol", _text(symbol, len(frame)))
    frame.insert(1, "side", _text(side, len(frame)))
    if fees is not None:
        frame["fees"] = np.asarray(fees, dtype=float)
        frame["gross_pnl"] = frame["net_pnl"] + frame["fees"]
    frame["return_pct"] = frame["net_pnl"] / (frame["quantity"] * frame["entry_price"]).abs() * 100.0
    for name, values in known.items():
        if values is not None:
            frame[name] = np.asarray(values)
    frame["is_open"] = np.asarray(is_open, dtype=bool) if np.ndim(is_open) else bool(is_open)
    frame = frame.sort_values("entry_time", kind="stable", ignore_index=True)
    frame.insert(0, "trade_id", np.arange(1, len(frame) + 1))
    return frame


def fills_frame(*, timestamp: Any, symbol: Any, quantity: Any, price: Any, fee: Any = None) -> pd.DataFrame:
    """Return single executions in the order of time; `quantity` is signed, `fee` money."""
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"timestamp": times(timestamp), "quantity": np.asarray(quantity, dtype=float)})
    frame.insert(1, "symbol", _text(symbol, len(frame)))
    frame["price"] = np.asarray(price, dtype=float)
    if fee is not None:
        frame["fee"] = np.asarray(fee, dtype=float)
    return frame.sort_values("timestamp", kind="stable", ignore_index=True)


def _text(values: Any, length: int) -> pd.Series:
    import pandas as pd

    if isinstance(values, str):
        return pd.Series([values] * length, dtype=str)
    return pd.Series([str(value) for value in values], dtype=str)


def positions_of(fills: pd.DataFrame, labels: pd.DatetimeIndex) -> pd.DataFrame:
    """Return signed units held at each label: what was filled until then, on the label's day where labels are days."""
    import pandas as pd

    from pipeline.backtest.timestamps import time_labels

    stamps = pd.DatetimeIndex(fills["timestamp"])
    if time_labels(labels) == "days":
        stamps = stamps.normalize()
    moved = fills["quantity"].groupby([stamps, fills["symbol"].to_numpy()]).sum().unstack(fill_value=0)
    held = moved.sort_index().cumsum().reindex(labels.union(pd.DatetimeIndex(moved.index))).ffill().fillna(0.0)
    return held.reindex(labels).rename_axis(columns=None).round(12)
