"""An equity traded with nautilus_trader on a margin and on a cash account."""

import pandas as pd
from common import bars, facts, tell
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

STOCK = TestInstrumentProvider.equity("AAA", "XNAS")
DAY = BarType.from_str(f"{STOCK.id}-1-DAY-LAST-EXTERNAL")


class Swing(Strategy):
    def on_start(self):
        self.bar = 0
        self.subscribe_bars(DAY)

    def on_bar(self, bar):
        self.bar += 1
        if self.bar % 20 == 5:
            self.submit(OrderSide.BUY, 100)
        elif self.bar % 20 == 15:
            self.submit(OrderSide.SELL, 100)

    def submit(self, side, units):
        order = self.order_factory.market(STOCK.id, side, Quantity.from_int(units))
        self.submit_order(order)


def run(account):
    engine = BacktestEngine(config=BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(venue=Venue("XNAS"), oms_type=OmsType.NETTING, account_type=account, base_currency=USD,
                     starting_balances=[Money(100_000, USD)])  # fmt: skip
    engine.add_instrument(STOCK)
    frame = bars().round(2)
    rows = []
    for stamp, row in frame.iterrows():
        when = int(pd.Timestamp(stamp, tz="UTC").value)
        high, low = max(row[["Open", "High", "Close"]]), min(row[["Open", "Low", "Close"]])
        prices = [Price(float(value), 2) for value in (row["Open"], high, low, row["Close"])]
        rows.append(Bar(DAY, *prices, Quantity.from_int(100_000), when, when))
    engine.add_data(rows)
    engine.add_strategy(Swing())
    engine.run()
    return engine, frame["Close"]


found = {}
for name, account in (("margin", AccountType.MARGIN), ("cash", AccountType.CASH)):
    engine, closes = run(account)
    balances = engine.trader.generate_account_report(Venue("XNAS"))
    positions = engine.trader.generate_positions_report()
    fills = engine.trader.generate_fills_report()
    own = {
        "total_end": float(balances["total"].iloc[-1]),
        "lowest_total": float(balances["total"].astype(float).min()),
        "fills": len(fills),
        "realized": sum(float(str(text).split()[0].replace("_", "")) for text in positions["realized_pnl"]),
    }
    reports = {"fills": fills, "positions": positions, "account": balances}
    by_reports = facts(reports, 252.0, prices=closes.to_frame(str(STOCK.id)))
    found[name] = {"ours": facts(engine, 252.0), "own": own, "by_reports": by_reports}
    engine.dispose()
tell(found["margin"]["ours"], found["margin"]["own"], **found)
