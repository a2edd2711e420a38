"""Two assets traded on an exchange's calendar with zipline, from bars of our own."""

import os
import sys
import tempfile

os.environ["ZIPLINE_ROOT"] = tempfile.mkdtemp()

import numpy as np
import pandas as pd
from common import facts, tell
from zipline import run_algorithm
from zipline.api import order, record, set_commission, set_slippage, symbol
from zipline.data.bundles import register
from zipline.finance import commission, slippage
from zipline.utils.calendar_utils import get_calendar

calendar = get_calendar("XNYS")
sessions = calendar.sessions_in_range("2022-01-03", "2022-12-30")


def made(environ, asset_db_writer, minute_writer, daily_writer, adjustment_writer, *rest):
    frames = []
    for place in range(2):
        moves = np.random.default_rng(place).normal(0.0004, 0.012, len(sessions))
        close = np.round(100.0 * np.exp(np.cumsum(moves)), 2)
        frame = pd.DataFrame(
            {"open": close, "high": close, "low": close, "close": close, "volume": 1_000_000}, sessions
        )
        frames.append((place, frame))
    daily_writer.write(iter(frames))
    asset_db_writer.write(
        equities=pd.DataFrame(
            {"symbol": ["AAA", "BBB"], "asset_name": ["a", "b"], "start_date": [sessions[0]] * 2,
             "end_date": [sessions[-1]] * 2, "auto_close_date": [sessions[-1] + pd.Timedelta(days=5)] * 2,
             "exchange": ["NYSE"] * 2}
        ),
        exchanges=pd.DataFrame({"exchange": ["NYSE"], "canonical_name": ["NYSE"], "country_code": ["US"]}),
    )  # fmt: skip
    adjustment_writer.write()


register("made", made, calendar_name="XNYS", start_session=sessions[0], end_session=sessions[-1])


def initialize(context):
    context.bar = 0
    set_commission(commission.PerShare(cost=0.01, min_trade_cost=1.0))
    set_slippage(slippage.FixedSlippage(spread=0.02))


def handle_data(context, data):
    context.bar += 1
    if context.bar % 20 == 1:
        order(symbol("AAA"), 20 if context.bar % 40 == 1 else -15)
        order(symbol("BBB"), 5 if context.bar < 120 else -10)
    record(mine=context.bar)


if __name__ == "__main__":
    from zipline.data.bundles import ingest

    ingest("made", show_progress=False)
    perf = run_algorithm(start=sessions[0], end=sessions[-1], initialize=initialize, handle_data=handle_data,
                         capital_base=10_000.0, bundle="made", data_frequency="daily",
                         benchmark_returns=pd.Series(0.0, sessions))  # fmt: skip
    last = perf.iloc[-1]
    own = {
        "equity": perf["portfolio_value"].tolist(),
        "total_return": float(last["algorithm_period_return"]),
        "annual_volatility": float(last["algo_volatility"]),
        "sharpe": float(last["sharpe"]),
        "max_drawdown": float(last["max_drawdown"]),
        "capital_used": float(perf["capital_used"].sum()),
        "sessions": [str(session.date()) for session in sessions],
    }
    tell(facts(perf, 252.0), own)
    sys.exit(0)
