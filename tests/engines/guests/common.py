"""What the scripts in the engines' own environments share: made-up prices, and the numbers to compare as JSON."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import numpy as np
import pandas as pd

from pipeline.backtest.metrics import drawdown, return_stats
from pipeline.engines.adapter import Given
from pipeline.engines.answers import asked_for
from pipeline.engines.look_ahead import check_look_ahead
from pipeline.engines.registry import as_result
from pipeline.results.reconcile import reconcile


def prices(symbols=("AAA", "BBB"), days=260, seed=1):
    """Return closes of business days, a column a symbol."""
    moves = np.random.default_rng(seed).normal(0.0004, 0.012, (days, len(symbols)))
    index = pd.bdate_range("2022-01-03", periods=days)
    return pd.DataFrame(100.0 * np.exp(np.cumsum(moves, axis=0)), index, list(symbols))


def bars(seed=1):
    """Return bars of business days with the columns that engines expect."""
    close = prices(("AAA",), seed=seed)["AAA"]
    before = close.shift(1).fillna(100.0)
    high, low = np.maximum(close, before) * 1.002, np.minimum(close, before) * 0.998
    return pd.DataFrame({"Open": before, "High": high, "Low": low, "Close": close, "Volume": 1000.0})


def facts(value, periods, **given):
    """Return what the result of an object holds: its curve, figures and identities."""
    result = as_result(value, Given(**given))
    stats = return_stats(result.returns.to_numpy(), periods_per_year=periods)
    trades, fills = result.trades, result.fills
    reconciled = reconcile(result)
    found = {
        "mark": reconciled.mark,
        "broken": [f"{one.name}: {one.off_by} at {one.first}" for one in reconciled.broken],
        "engine": [result.engine.name, result.engine.version],
        "labels": [str(label) for label in result.equity.index],
        "equity": result.equity.tolist(),
        "capital": result.capital,
        "total_return": float(result.equity.iloc[-1] / result.capital - 1.0),
        "max_drawdown": float(drawdown(result.equity, result.capital).min()),
        "annual_volatility": stats["annual_volatility"],
        "sharpe": stats["sharpe"],
        "strategy": result.strategy,
        "params": None if result.params is None else {key: str(value) for key, value in result.params.items()},
        "symbols": list(result.symbols),
        "trades": None if trades is None else len(trades),
        "open": None if trades is None else int(trades["is_open"].sum()),
        "net_pnl": None if trades is None else float(trades["net_pnl"].sum()),
        "fees": None if trades is None or "fees" not in trades else float(trades["fees"].sum()),
        "fills": None if fills is None else len(fills),
        "fill_fees": None if fills is None or "fee" not in fills else float(fills["fee"].sum()),
        "reported": {one.name: [one.value, one.metric, one.convention] for one in result.reported},
        "folds": len(result.folds),
        "notes": list(result.notes),
    }
    if result.positions is not None and result.prices is not None and result.cash is not None:
        worth = (result.positions * result.prices.ffill().fillna(0.0)).sum(axis=1) + result.cash
        found["worth_gap"] = float((worth - result.equity).abs().max())
    if result.weights is not None:
        found["weights_end"] = float(result.weights.iloc[-1].sum())
    return found


def verdict(function, frame, **given):
    """Return what the look-ahead check finds of a function that makes a result again."""
    found = check_look_ahead(asked_for(function, frame, function(frame), given), cuts=8)
    return [found.status, found.reason, found.own_bars, found.sentence]


def tell(ours, own, **more):
    """Write what was found of one result to the file that the test named."""
    write({"ours": ours, "own": own, **more})


def write(found):
    """Write what was found to the file that the test named."""
    Path(sys.argv[1]).write_text(json.dumps(found, default=float), encoding="utf-8")
