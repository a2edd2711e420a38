"""Two feeds traded with backtrader; with the observer, and with the analyzer alone."""

import backtrader as bt
import pandas as pd
from common import bars, facts, tell


class Cross(bt.Strategy):
    params = (("fast", 5), ("slow", 20))

    def __init__(self):
        self.gaps = {d: bt.ind.SMA(d, period=self.p.fast) - bt.ind.SMA(d, period=self.p.slow) for d in self.datas}

    def next(self):
        for data, gap in self.gaps.items():
            held = self.getposition(data).size
            if gap[0] > 0 and held <= 0:
                self.order_target_size(data, 40)
            elif gap[0] < 0 and held >= 0:
                self.order_target_size(data, -30)


def run(*, observers):
    cerebro = bt.Cerebro(stdstats=observers)
    for name, seed in (("AAA", 1), ("BBB", 2)):
        cerebro.adddata(bt.feeds.PandasData(dataname=bars(seed)), name=name)
    cerebro.addstrategy(Cross, fast=4)
    cerebro.broker.setcash(10_000.0)
    cerebro.broker.setcommission(commission=0.001)
    for analyzer in (bt.analyzers.TimeReturn, bt.analyzers.DrawDown, bt.analyzers.SharpeRatio, bt.analyzers.Returns):
        cerebro.addanalyzer(analyzer)
    return cerebro.run()


found = run(observers=True)
strategy = found[0]
growth = pd.Series(strategy.analyzers.timereturn.get_analysis())
gross = sum(trade.pnl for data in strategy._trades.values() for rows in data.values() for trade in rows)
own = {
    "equity": (10_000.0 * (1.0 + growth).cumprod()).tolist(),
    "final": strategy.broker.getvalue(),
    "max_drawdown": -strategy.analyzers.drawdown.get_analysis()["max"]["drawdown"] / 100.0,
    "positions": {data._name: strategy.getposition(data).size for data in strategy.datas},
}
tell(facts(found, 252.0), own, alone=facts(run(observers=False), 252.0))
