"""The backtest engine: signals in, fills, trades, equity and metrics out. Rules of execution: docs/engine.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pipeline.backtest.column_names import PRICES
from pipeline.backtest.contract import check_frame
from pipeline.backtest.conventions import NOTHING_KNOWN, Conventions
from pipeline.backtest.kernel import run_kernel
from pipeline.backtest.metrics import Stat, compute_stats
from pipeline.backtest.strategies import SignalFn, as_strategy, check_signals, resolve_params
from pipeline.backtest.timestamps import utc_labels
from pipeline.backtest.trades import fills_frame, trades_frame
from pipeline.errors import UsageError

BPS = 10_000.0


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """Everything a backtest found out.

    stats         metric name -> float, int or None (undefined); see pipeline.backtest.metrics
    equity_curve  Series `equity` by bar: cash + position * close
    trades        one row a trade, the open one last; columns in pipeline.backtest.trades.TRADE_COLUMNS
    config        what was run, as JSON values: strategy, params with defaults, costs, execution mode, period
    fills         the event log, one row a fill; columns in pipeline.backtest.trades.FILL_COLUMNS
    positions     Series `position` by bar: signed quantity held at the close
    signals       Series `signal` by bar: 1, 0, -1 as the strategy gave it
    conventions   what its figures are annualised by; of a result without them, what the config says of them

    All three Series share one UTC DatetimeIndex named `timestamp` (nanoseconds).
    """

    stats: dict[str, Stat]
    equity_curve: pd.Series
    trades: pd.DataFrame
    config: dict[str, Any]
    fills: pd.DataFrame
    positions: pd.Series
    signals: pd.Series
    conventions: Conventions = NOTHING_KNOWN

    def __post_init__(self) -> None:
        if self.conventions is NOTHING_KNOWN:
            object.__setattr__(self, "conventions", Conventions.from_config(self.config))

    @property
    def open_trade(self) -> dict[str, Any] | None:
        """The trade still open at the end, marked to the last close, or None."""
        still_open = self.trades[self.trades["is_open"]]
        return None if still_open.empty else {str(key): value for key, value in still_open.iloc[0].items()}


class BacktestTracker(Protocol):
    """What the engine needs of a tracker; every tracker of pipeline.tracking has it."""

    def log_backtest(self, result: BacktestResult) -> None:
        """Record config, metrics and artifacts of a backtest."""


@dataclass(frozen=True, init=False)
class BacktestEngine:
    """Run strategies over bars under one set of account settings.

    `use_execution_pipeline` True: a change of the signal becomes an order that fills at the next bar's open.
    False: it fills at the close it was computed from, which is optimistic and labelled so in the config.
    `stop_pct` is a stop-loss in percent from the entry price, `risk_free_rate` an annual decimal that compounds;
    `periods_per_year` None infers it from the bars. `conventions` say both at once, as a run spec settles them, and
    take their place. `tracker` receives config, metrics and artifacts. Raises UsageError for settings out of range.
    """

    tracker: BacktestTracker | None
    use_execution_pipeline: bool
    initial_cash: float
    stop_pct: float | None
    conventions: Conventions

    def __init__(
        self,
        tracker: BacktestTracker | None = None,
        use_execution_pipeline: bool = True,  # noqa: FBT001, FBT002 - the documented signature
        *,
        initial_cash: float = 100_000.0,
        stop_pct: float | None = None,
        periods_per_year: float | None = None,
        risk_free_rate: float = 0.0,
        conventions: Conventions | None = None,
    ) -> None:
        _require("initial_cash", initial_cash, 0.0, math.inf)
        if stop_pct is not None:
            _require("stop_pct", stop_pct, 0.0, 100.0)
        if periods_per_year is not None:
            _require("periods_per_year", periods_per_year, 0.0, math.inf)
        _require("risk_free_rate", risk_free_rate, -1.0, math.inf)
        if conventions is not None and (periods_per_year is not None or risk_free_rate != 0.0):
            raise UsageError("Give conventions, or periods_per_year and risk_free_rate, not both.")
        if conventions is None:
            given = None if periods_per_year is None else float(periods_per_year)
            conventions = Conventions(float(risk_free_rate), given)
        for name, value in (
            ("tracker", tracker),
            ("use_execution_pipeline", bool(use_execution_pipeline)),
            ("initial_cash", float(initial_cash)),
            ("stop_pct", stop_pct),
            ("conventions", conventions),
        ):
            object.__setattr__(self, name, value)

    @property
    def periods_per_year(self) -> float | None:
        """Bars a year as given or told by a whole file; None infers it from the bars of each backtest."""
        return self.conventions.periods_per_year

    @property
    def risk_free_rate(self) -> float:
        """The annual risk-free rate, a decimal."""
        return self.conventions.rate

    def run_realistic(  # noqa: PLR0917 - existing code gives its arguments in this order
        self,
        df: pd.DataFrame,
        strategy_signal_fn: SignalFn,
        strategy_params: Mapping[str, Any] | None = None,
        symbol: str = "",
        fee_bps: float = 0.0,
        slippage_bps: float = 0.0,
    ) -> BacktestResult:
        """Backtest one strategy on one instrument.

        `df` holds bars as load_ohlcv returns them; an index without a zone is taken as UTC, one whose values all begin
        a day in its zone as those days. `strategy_signal_fn(df, params)` returns 1, 0 or -1 for every bar; params are
        checked against its schema when it has one. Fees and slippage are basis points of notional and of price,
        charged on every fill. The frame given is not changed.

        A high below the open or close, or a low above them, is a DataWarning with the rows. Raises DataError (bars
        break the contract), StrategyError (params or signals), UsageError (costs).
        """
        _require("fee_bps", fee_bps, 0.0, BPS, or_equal=True)
        _require("slippage_bps", slippage_bps, 0.0, BPS, or_equal=True)
        check_frame(df, orderings=False)
        stamps = pd.DatetimeIndex(df.index)
        bars = tuple(np.array(df[name], dtype=np.float64) for name in PRICES)
        strategy = as_strategy(strategy_signal_fn)
        params = resolve_params(strategy, strategy_params)
        given = strategy_signal_fn(df.copy(), dict(params))
        signals = check_signals(given, stamps, strategy=strategy.name)
        index = utc_labels(stamps)
        settled = self.conventions.of_bars(index)
        config = self._config(index, strategy.name, params, symbol, fee_bps=fee_bps, slippage_bps=slippage_bps)
        config |= {"risk_free_rate": settled.rate, "periods_per_year": settled.periods_per_year}
        result = self._simulate(bars, signals.to_numpy(), index, config, settled)
        self._track(result)
        return result

    def _simulate(
        self,
        bars: tuple[np.ndarray, ...],
        signal: np.ndarray,
        index: pd.DatetimeIndex,
        config: dict[str, Any],
        conventions: Conventions,
    ) -> BacktestResult:
        _, high, low, close = bars
        done = run_kernel(
            bars,
            signal,
            initial_cash=self.initial_cash,
            fee=config["fee_bps"] / BPS,
            slippage=config["slippage_bps"] / BPS,
            stop=(self.stop_pct or 0.0) / 100.0,
            next_open=self.use_execution_pipeline,
        )
        equity = pd.Series(done.equity, index=index, name="equity")
        positions = pd.Series(done.position, index=index, name="position")
        fills = fills_frame(done, index)
        trades = trades_frame(
            done, index, high=high, low=low, close=close, symbol=config["symbol"], next_open=self.use_execution_pipeline
        )
        stats = compute_stats(
            equity,
            trades=trades,
            fills=fills,
            positions=positions,
            initial_cash=self.initial_cash,
            periods_per_year=conventions.periods_per_year,
            risk_free_rate=conventions.rate,
        )
        stats["bankrupt"] = int(done.ruined >= 0)
        config["bankrupt_at"] = index[done.ruined].isoformat() if done.ruined >= 0 else None
        signals = pd.Series(signal, index=index, name="signal")
        return BacktestResult(stats, equity, trades, config, fills, positions, signals, conventions)

    def _config(
        self, index: pd.DatetimeIndex, strategy: str, params: dict[str, Any], symbol: str, **costs: float
    ) -> dict[str, Any]:
        pipeline = self.use_execution_pipeline
        return {
            "strategy": strategy,
            "params": params,
            "symbol": symbol,
            "execution": "pipeline" if pipeline else "simple",
            "execution_note": "orders fill at the next bar's open" if pipeline
            else "optimistic: fills at the close the signal was computed from",
            "initial_cash": self.initial_cash,
            **{name: float(value) for name, value in costs.items()},
            "stop_pct": None if self.stop_pct is None else float(self.stop_pct),
            "n_bars": len(index),
            "start": index[0].isoformat(),
            "end": index[-1].isoformat(),
        }  # fmt: skip

    def _track(self, result: BacktestResult) -> None:
        if self.tracker is not None:
            self.tracker.log_backtest(result)


def _require(name: str, value: float, low: float, high: float, *, or_equal: bool = False) -> None:
    number = not isinstance(value, bool) and isinstance(value, (int, float, np.integer, np.floating))
    if not number or not (low < value < high or (or_equal and value == low)):
        least = "at least" if or_equal else "above"
        below = f" and below {high:g}" if math.isfinite(high) else ""
        raise UsageError(f"{name} = {value!r}: must be a finite number {least} {low:g}{below}.")
