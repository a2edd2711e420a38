"""Target weights with bt, and the same weights at the same prices computed by this project."""

import bt
import numpy as np
import pandas as pd
from common import facts, prices, tell

closes = prices(("AAA", "BBB", "CCC"))
rng = np.random.default_rng(3)
monthly = pd.DataFrame(rng.dirichlet(np.ones(3), 13), closes.index[::20], closes.columns)
daily = pd.DataFrame(rng.normal(0.2, 0.4, closes.shape), closes.index, closes.columns)
daily = daily.where(daily.abs() > 0.2, 0.0)


def run(weights, cost, name="weights"):
    parts = [bt.algos.RunOnDate(*weights.index), bt.algos.WeighTarget(weights), bt.algos.Rebalance()]
    return bt.Backtest(bt.Strategy(name, parts), closes, initial_capital=1e6, integer_positions=False,
                       commissions=lambda q, p: abs(q) * p * cost, progress_bar=False)  # fmt: skip


same = {}
for label, weights in (("monthly", monthly), ("daily", daily)):
    for cost in (0.0, 0.001):
        backtest = run(weights, cost)
        bt.run(backtest)
        here = facts(weights, 252.0, prices=closes, costs_bps=cost * 10_000.0, capital=1e6)
        theirs = backtest.strategy.values.iloc[1:].to_numpy()
        same[f"{label} {cost}"] = float(np.abs(np.array(here["equity"]) / theirs - 1.0).max())

first, second = run(monthly, 0.001, "first"), run(daily, 0.0, "second")
result = bt.run(first, second)
stats = result.stats["first"]
own = {
    "equity": first.strategy.values.tolist(),
    "total_return": stats["total_return"],
    "max_drawdown": stats["max_drawdown"],
    "annual_volatility": stats["daily_vol"],
    "sharpe": stats["daily_sharpe"],
    "fees": float(first.strategy.fees.sum()),
    "transactions": len(result.get_transactions("first")),
}
tell(facts(result, 252.0, column="first"), own, same=same)
