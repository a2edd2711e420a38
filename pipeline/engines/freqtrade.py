"""A backtest of freqtrade: the zip or JSON file it wrote, its folder of results, or the content as a dict."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.executions import trades_frame
from pipeline.engines.objects import gathered, one_of, reported
from pipeline.engines.result_files import ResultFile, result_file
from pipeline.errors import ResultError
from pipeline.results.contract import Engine, ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd

WALLET = (
    "freqtrade writes the wallet down before the fills of a candle, so each value stands at the candle before; the "
    "last is the final balance, after the forced exits."
)
REALISED = "The file holds no wallet: the equity is the realised balance a day, open positions are not in it."


class FreqtradeAdapter:
    """Takes freqtrade's backtest results, one strategy of them."""

    name = "freqtrade backtest (zip, json or dict)"

    def recognises(self, value: Any) -> bool:
        """Say whether it is the content of such a file, or a path to one."""
        found = result_file(value)
        if found is None or not isinstance(found.content.get("strategy"), Mapping):
            return False
        strategies = found.content["strategy"].values()
        return bool(strategies) and all(isinstance(one, Mapping) and "trades" in one for one in strategies)

    def adapt(self, value: Any, given: Given) -> Result:
        """Return equity a day and trades, with what freqtrade reports."""
        found = result_file(value)
        if found is None:
            raise ResultError(f"{value} is no backtest result of freqtrade.")
        name = one_of(list(found.content["strategy"]), given.column, "The freqtrade result")
        facts = found.content["strategy"][name]
        capital = float(facts["starting_balance"])
        trades = _trades(facts["trades"])
        equity, note = _equity(found, str(name), facts, trades, capital)
        return Result(
            equity=equity,
            capital=capital,
            first_label="start" if float(equity.iloc[0]) == capital else "period",
            engine=Engine("freqtrade", _version(found)),
            strategy=str(name),
            symbols=tuple(dict.fromkeys(str(trade["pair"]) for trade in facts["trades"])),
            currency=facts.get("stake_currency"),
            costs=_costs(facts["trades"]),
            benchmarks=_market(found, equity, capital),
            trades=trades,
            reported=_reported(facts),
            notes=(note, "freqtrade's file holds no prices, so positions cannot be valued."),
        )


ADAPTER = FreqtradeAdapter()


def _trades(rows: list[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the trades; profit is after fees and funding, which are told as rates of the notional."""
    fees = [float(row["amount"]) * (float(row["open_rate"]) * float(row.get("fee_open") or 0.0)
            + float(row["close_rate"]) * float(row.get("fee_close") or 0.0))
            - float(row.get("funding_fees") or 0.0) for row in rows]  # fmt: skip
    return trades_frame(
        symbol=[str(row["pair"]) for row in rows],
        side=["short" if row.get("is_short") else "long" for row in rows],
        entry_time=_dates([row["open_date"] for row in rows]),
        exit_time=_dates([row["close_date"] for row in rows]),
        quantity=[row["amount"] for row in rows],
        entry_price=[row["open_rate"] for row in rows],
        exit_price=[row["close_rate"] for row in rows],
        net_pnl=[row["profit_abs"] for row in rows],
        fees=fees,
        exit_reason=[str(row.get("exit_reason", "")) for row in rows],
    )


def _dates(values: Any) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(pd.to_datetime(values, utc=True)).as_unit("ns")


def _equity(
    found: ResultFile, name: str, facts: Mapping[str, Any], trades: pd.DataFrame, capital: float
) -> tuple[pd.Series, str]:
    """Return the wallet's value a stamp, or else the realised balance a day; its last value is the final balance."""
    import pandas as pd

    wallet = next((other for other in found.others if other.endswith(f"_{name}_wallet.feather")), None)
    if wallet is None:
        days = pd.DatetimeIndex(trades["exit_time"]).normalize()
        gains = pd.Series(trades["net_pnl"].to_numpy(), days).groupby(level=0).sum()
        start, end = _dates([facts["backtest_start"], facts["backtest_end"]]).normalize()
        end = max(end, gains.index.max()) if len(gains) else end
        labels = pd.date_range(start, end, freq="D", name="timestamp")
        equity = capital + gains.reindex(labels, fill_value=0.0).cumsum()
        return pd.Series(equity.to_numpy(), pd.DatetimeIndex(labels.to_numpy(), tz="UTC"), name="equity"), REALISED
    frame = pd.read_feather(io.BytesIO(found.bytes_of(wallet)))
    equity = frame.groupby("date")["total_quote"].sum().rename("equity")
    stamps = _dates(equity.index)
    before = stamps[0] - (stamps[1] - stamps[0] if len(stamps) > 1 else pd.Timedelta(days=1))
    final = float(facts["final_balance"])
    note = f"{WALLET} These took {final - float(equity.iloc[-1]):+,.2f} at the last label."
    labels = stamps.insert(0, before).rename("timestamp")
    return pd.Series([*equity.to_list(), final], labels, name="equity"), note


def _market(found: ResultFile, equity: pd.Series, capital: float) -> dict[str, pd.Series]:
    """Return the mean price of the pairs, as freqtrade's market change holds it, from the first label on."""
    import pandas as pd

    name = next((other for other in found.others if other.endswith("_market_change.feather")), None)
    if name is None:
        return {}
    frame = pd.read_feather(io.BytesIO(found.bytes_of(name)))
    prices = pd.Series(frame["mean"].to_numpy(dtype=float), _dates(frame["date"]))
    prices = prices.reindex(equity.index.union(prices.index)).ffill().reindex(equity.index)
    if prices.isna().any():
        return {}
    return {"mean of the pairs": (capital * prices / prices.iloc[0]).rename("equity")}


def _costs(rows: list[Mapping[str, Any]]) -> dict[str, float] | None:
    rates = {float(row[name]) for row in rows for name in ("fee_open", "fee_close") if row.get(name) is not None}
    return {"fee_bps": rates.pop() * 10_000.0} if len(rates) == 1 else None


def _version(found: ResultFile) -> str | None:
    import json

    for name in found.others:
        if name.endswith((".meta.json", "_config.json")):
            try:
                content = json.loads(found.bytes_of(name))
            except (ValueError, OSError):
                continue
            version = content.get("version") or content.get("ft_version")
            if isinstance(version, str):
                return version
    return None


def _reported(facts: Mapping[str, Any]) -> tuple[ReportedMetric, ...]:
    wallet = facts.get("wallet_stats") or {}
    per_trade = "of the profits of trades by the days of the test, ddof 0, 365 days a year"
    daily = "of the wallet's daily returns, ddof 0, 365 days a year"
    drawdown = facts.get("max_drawdown_account")
    return gathered(
        (
            reported("profit_total", facts.get("profit_total"), "total_return"),
            reported("cagr", facts.get("cagr"), "cagr", "by the days of the test, 365 a year"),
            reported("sharpe", facts.get("sharpe"), "sharpe", per_trade),
            reported("wallet_stats.sharpe", wallet.get("sharpe"), "sharpe", daily),
            reported("sortino", facts.get("sortino"), "sortino", per_trade),
            reported("max_drawdown_account", None if drawdown is None else -float(drawdown), "max_drawdown",
                     "of the realised balance; told as positive"),
            reported("winrate", facts.get("winrate"), "win_rate"),
            reported("profit_factor", facts.get("profit_factor"), "profit_factor"),
        )
    )  # fmt: skip
