"""Backtests with backtesting.py made again: one that waits, one that knows tomorrow's close, one with a stop."""

import pandas as pd
from backtesting import Backtest, Strategy
from common import bars, verdict, write


def made(shift, stop=None):
    def again(frame):
        class Above(Strategy):
            def init(self):
                self.above = self.I(self.signal, self.data.Close)

            def signal(self, close):
                close = pd.Series(close)
                return (close > close.rolling(10).mean()).astype(float).shift(shift)

            def next(self):
                if self.above[-1] > 0 and not self.position:
                    self.buy(size=0.5, sl=None if stop is None else self.data.Close[-1] * (1 - stop))
                elif self.above[-1] == 0 and self.position:
                    self.position.close()

        return Backtest(frame, Above, cash=10_000, commission=0.001).run()

    return again


frame = bars()
found = {"waits": made(0), "knows": made(-1), "stopped": made(0, stop=0.01)}
write({name: verdict(function, frame, symbol="AAA") for name, function in found.items()})
