"""Signals with vectorbt: one column, a group that shares cash, several columns of which one is chosen."""

import numpy as np
import pandas as pd
import vectorbt as vbt
from common import facts, prices, tell

from pipeline.errors import ResultError

closes = prices()
rng = np.random.default_rng(5)
entries = pd.DataFrame(rng.random(closes.shape) > 0.9, closes.index, closes.columns)
entries.iloc[0] = True
exits = pd.DataFrame(rng.random(closes.shape) > 0.9, closes.index, closes.columns)
exits.iloc[0] = False
together = {"fees": 0.001, "slippage": 0.0005, "freq": "1D", "init_cash": 10_000.0}


def own(portfolio):
    return {
        "equity": portfolio.value().tolist(),
        "total_return": float(portfolio.total_return()),
        "annual_volatility": float(portfolio.annualized_volatility()),
        "sharpe": float(portfolio.sharpe_ratio()),
        "max_drawdown": float(portfolio.max_drawdown()),
        "fees": float(portfolio.orders.records["fees"].sum()),
    }


several = vbt.Portfolio.from_signals(closes, entries, exits, **together)
shared = vbt.Portfolio.from_signals(closes, entries, exits, group_by=True, cash_sharing=True, **together)
try:
    refused = str(facts(several, 365.0))
except ResultError as error:
    refused = str(error)
tell(
    facts(several, 365.0, column="BBB"),
    own(several["BBB"]),
    shared={"ours": facts(shared, 365.0), "own": own(shared)},
    refused=refused,
)
