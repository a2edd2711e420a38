"""Signals with backtesting.py: stats, and the pair that optimize returns."""

import pandas as pd
from backtesting import Backtest, Strategy
from common import bars, facts, tell


class Cross(Strategy):
    fast = 5
    slow = 20

    def init(self):
        self.a = self.I(lambda x: pd.Series(x).rolling(self.fast).mean(), self.data.Close)
        self.b = self.I(lambda x: pd.Series(x).rolling(self.slow).mean(), self.data.Close)

    def next(self):
        if self.a[-1] > self.b[-1] and not self.position.is_long:
            self.position.close()
            self.buy(size=0.5)
        elif self.a[-1] < self.b[-1] and not self.position.is_short:
            self.position.close()
            self.sell(size=0.5)


test = Backtest(bars(), Cross, cash=10_000, commission=0.002)
stats = test.run()
own = {
    "equity": stats["_equity_curve"]["Equity"].tolist(),
    "total_return": stats["Return [%]"] / 100.0,
    "max_drawdown": stats["Max. Drawdown [%]"] / 100.0,
    "sharpe": stats["Sharpe Ratio"],
    "annual_volatility": stats["Volatility (Ann.) [%]"] / 100.0,
    "annual_return": stats["Return (Ann.) [%]"] / 100.0,
    "trades": len(stats["_trades"]),
}
best = test.optimize(fast=[4, 6], slow=[18, 22], return_heatmap=True, maximize="Return [%]")
tell(facts(stats, 252.0, symbol="AAA"), own, copied=facts(pd.Series(dict(stats)), 252.0), best=facts(best, 252.0))
