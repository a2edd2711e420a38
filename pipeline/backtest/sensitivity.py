"""How much does a result hang on its assumptions? Costs, delay, parameters varied; results split by year and regime.

The re-runs use the same engine settings and bars and change one thing at a time. Tables are tidy: one row a re-run,
NaN where a metric is undefined. Nothing is tracked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.backtest.conventions import Conventions
from pipeline.backtest.engine import BacktestEngine, BacktestResult
from pipeline.backtest.metrics import drawdown, return_stats, simple_returns
from pipeline.backtest.strategies import Parameter, SignalFn, Strategy, as_strategy, check_signals, resolve_params
from pipeline.backtest.windows import at_last, windows_of
from pipeline.errors import StrategyError, UsageError

METRICS = ("total_return", "cagr", "annual_volatility", "sharpe", "max_drawdown", "total_trades", "turnover")
COLUMNS = ("kind", "name", "change", "value", "is_base", "status", *METRICS)

COST_FACTORS = (0.0, 1.0, 2.0, 5.0)
DELAYS = (0, 1, 2, 3)
STEPS = (0.05, 0.10, 0.20)
REGIMES = ("low", "middle", "high")


@dataclass(frozen=True, eq=False)
class Case:
    """The backtest to vary: engine settings, bars, strategy, params, costs in basis points."""

    engine: BacktestEngine
    df: pd.DataFrame
    signal_fn: SignalFn
    params: Mapping[str, Any] = field(default_factory=dict)
    symbol: str = ""
    fee_bps: float = 0.0
    slippage_bps: float = 0.0


def sensitivity(case: Case) -> pd.DataFrame:
    """Return the tables of cost, delay and parameter sensitivity below each other; columns as in COLUMNS.

    kind is cost, delay or param; `change` the factor, the delay in bars or the relative step asked for; `value` the
    fee and slippage in bps together, the delay, or the parameter as run; `status` is ok or says why there is no run.
    """
    parts = [cost_sensitivity(case), delay_sensitivity(case), parameter_sensitivity(case)]
    return pd.concat([part for part in parts if not part.empty], ignore_index=True)


def cost_sensitivity(case: Case, factors: Sequence[float] = COST_FACTORS) -> pd.DataFrame:
    """Return one row a factor on fee and slippage; `value` is their sum in basis points a fill.

    The signals are computed once. When the case has no costs all rows are the same.
    """
    fixed = _fixed(case, _signals(case))
    rows = []
    for factor in factors:
        costs = {"fee_bps": case.fee_bps * factor, "slippage_bps": case.slippage_bps * factor}
        outcome = _outcome(case, fixed, {}, costs)
        rows.append(
            _row("cost", "fee_bps + slippage_bps", factor, sum(costs.values()), is_base=factor == 1.0, outcome=outcome)
        )
    return _table(rows)


def delay_sensitivity(case: Case, delays: Sequence[int] = DELAYS) -> pd.DataFrame:
    """Return one row a delay: the signals arrive that many bars later, on top of the engine's own execution."""
    signals = _signals(case)
    rows = []
    for bars in delays:
        if bars < 0:
            raise UsageError(f"delay = {bars}: must be at least 0 bars; a negative delay would know the future.")
        late = signals.shift(bars, fill_value=0).astype("int8")
        outcome = _outcome(case, _fixed(case, late), {}, {})
        rows.append(_row("delay", "signal_delay", float(bars), float(bars), is_base=bars == 0, outcome=outcome))
    return _table(rows)


def parameter_sensitivity(case: Case, steps: Sequence[float] = STEPS) -> pd.DataFrame:
    """Return one row a numeric parameter and relative step up and down, one parameter at a time, and the base.

    Integers are rounded and moved by at least 1, so the step really made is in `value`. A value outside the schema's
    bounds, or that breaks a rule between params, is not run: `status` says which. A function without a schema has
    its int and float params varied without bounds. Equal values are run once.
    """
    strategy = as_strategy(case.signal_fn)
    params = resolve_params(strategy, case.params)
    base = _outcome(case, case.signal_fn, params, {})
    rows = []
    for parameter in _numeric(strategy, params):
        value = params[parameter.name]
        done = {value: base}
        rows.append(_row("param", parameter.name, 0.0, value, is_base=True, outcome=base))
        for change in sorted([-step for step in steps] + list(steps)):
            moved = _moved(parameter, value, change)
            if moved not in done:
                done[moved] = _outcome(case, case.signal_fn, {**params, parameter.name: moved}, {})
            rows.append(_row("param", parameter.name, change, moved, is_base=False, outcome=done[moved]))
    return _table(rows)


def split_by_year(
    result: BacktestResult, *, benchmark: pd.Series | None = None, first_counts: bool = False
) -> pd.DataFrame:
    """Return one row a calendar year (UTC), indexed by `year`; returns of a year start at the close before it.

    Columns: start, end (first and last bar), bars, total_return, annual_volatility, sharpe, max_drawdown (from peaks
    inside the year), exposure, and benchmark_return for an equity or price series on the same bars. NaN where
    undefined. With `first_counts` the first bar ends a period: its return counts from the initial cash, as does that of
    the benchmark, whose equity starts from the same.
    """
    equity, rows = result.equity_curve, []
    years = pd.DatetimeIndex(equity.index).year.to_numpy()
    for year in np.unique(years):
        inside = np.flatnonzero(years == year)
        first = max(int(inside[0]) - 1, 0)
        start = result.config["initial_cash"] if inside[0] == 0 else None
        part = equity.iloc[first : int(inside[-1]) + 1]
        if first_counts and start is not None:
            part = pd.concat([part.iloc[:1], part])
        row = {"year": int(year), "start": equity.index[inside[0]], "end": equity.index[inside[-1]]}
        row |= _period_stats(simple_returns(part, start), result.conventions)
        row["max_drawdown"] = min(float(drawdown(part, start).min()), 0.0)
        row["exposure"] = float((result.positions.iloc[inside] != 0.0).mean())
        if benchmark is not None:
            held = benchmark.iloc[[first, int(inside[-1])]].to_numpy(dtype=np.float64, copy=True)
            held[0] = start if first_counts and start is not None else held[0]
            row["benchmark_return"] = float(held[1] / held[0] - 1.0)
        rows.append(row | {"bars": len(inside)})
    order = ["year", "start", "end", "bars", "total_return", "annual_volatility", "sharpe", "max_drawdown", "exposure"]
    columns = [*order, *(["benchmark_return"] if benchmark is not None else [])]
    return pd.DataFrame(rows, columns=columns).set_index("year")


def regimes(close: pd.Series, *, window: int = 63, min_history: int = 252) -> pd.DataFrame:
    """Label every bar by trend and volatility, columns of the same names, values low, middle, high or unknown.

    trend is the return over the last `window` bars, volatility the deviation of their returns. Terciles come from
    all values up to that bar, never from later ones; before `min_history` values the label is unknown.
    """
    if window < 2 or min_history < 3:
        raise UsageError(f"window = {window} must be at least 2 and min_history = {min_history} at least 3.")
    changes = close.pct_change(fill_method=None).to_numpy()
    deviation = np.sqrt(at_last(windows_of(changes, changes, window).covariance, len(close)))
    measures = {"trend": close / close.shift(window) - 1.0, "volatility": pd.Series(deviation, index=close.index)}
    labels = {}
    for name, values in measures.items():
        so_far = values.expanding(min_history)
        low, high = so_far.quantile(1.0 / 3.0), so_far.quantile(2.0 / 3.0)
        place = np.where(values <= low, 0, np.where(values <= high, 1, 2))
        known = (values.notna() & low.notna()).to_numpy()
        labels[name] = np.where(known, np.array(REGIMES, dtype=object)[place], "unknown")
    return pd.DataFrame(labels, index=close.index)


def split_by_regime(
    result: BacktestResult, close: pd.Series, *, window: int = 63, min_history: int = 252
) -> pd.DataFrame:
    """Return one row a regime, indexed by kind (trend, volatility) and regime, from `close` on the result's bars.

    The return from t - 1 to t belongs to the regime known at the close of t - 1. Columns: bars, share, total_return
    (compounded over the regime's bars), annual_return (mean times periods a year), annual_volatility, sharpe, and
    win_rate (share of bars above 0 among those not 0). NaN where undefined.
    """
    if not close.index.equals(result.equity_curve.index):
        raise UsageError("close must be on the bars of the result: pass the close column of the frame that was run.")
    returns = simple_returns(result.equity_curve, result.config["initial_cash"])
    labels = regimes(close, window=window, min_history=min_history).iloc[:-1]
    rows = []
    for kind in ("trend", "volatility"):
        given = labels[kind].to_numpy()
        for regime in (*REGIMES, "unknown"):
            part = returns[given == regime]
            moved = part[part != 0.0]
            row = {"kind": kind, "regime": regime, "share": len(part) / len(returns) if len(returns) else math.nan}
            row |= _period_stats(part, result.conventions) | {"bars": len(part)}
            rows.append(row | {"win_rate": float((moved > 0.0).mean()) if len(moved) else math.nan})
    order = ["bars", "share", "total_return", "annual_return", "annual_volatility", "sharpe", "win_rate"]
    return pd.DataFrame(rows).set_index(["kind", "regime"])[order]


def _signals(case: Case) -> pd.Series:
    strategy = as_strategy(case.signal_fn)
    given = case.signal_fn(case.df.copy(), resolve_params(strategy, case.params))
    return check_signals(given, pd.DatetimeIndex(case.df.index), strategy=strategy.name)


def _fixed(case: Case, signals: pd.Series) -> SignalFn:
    """Return a strategy without params that gives `signals`."""
    return lambda _df, _params: signals.set_axis(case.df.index)


def _outcome(
    case: Case, signal_fn: SignalFn, params: Mapping[str, Any], costs: Mapping[str, float]
) -> tuple[str, Mapping[str, Any]]:
    """Return (status, stats); stats is empty when the engine refuses the params, the costs or the signals.

    What a strategy of the user's raises for params that it was not made for is the status, too.
    """
    settings = case.engine
    engine = BacktestEngine(
        None,
        settings.use_execution_pipeline,
        initial_cash=settings.initial_cash,
        stop_pct=settings.stop_pct,
        conventions=settings.conventions,
    )
    charged = {"fee_bps": case.fee_bps, "slippage_bps": case.slippage_bps, **costs}
    try:
        result = engine.run_realistic(
            df=case.df, strategy_signal_fn=signal_fn, strategy_params=params, symbol=case.symbol, **charged
        )
    except (StrategyError, UsageError) as error:
        return str(error).rpartition("  - ")[2].strip(), {}
    except Exception as error:  # noqa: BLE001 - the user's code
        return f"{type(error).__name__}: {str(error).strip()[:200]}", {}
    return "ok", result.stats


def _numeric(strategy: Strategy, params: Mapping[str, Any]) -> Iterator[Parameter]:
    if strategy.has_schema:
        yield from (parameter for parameter in strategy.parameters if parameter.type in (int, float))
        return
    for name, value in params.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield Parameter(name, type(value), value)


def _moved(parameter: Parameter, value: float, change: float) -> float:
    moved = value * (1.0 + change)
    if parameter.type is not int:
        return moved
    whole = round(moved)
    return whole if whole != value else int(value) + (1 if change > 0.0 else -1)


def _row(
    kind: str, name: str, change: float, value: float, *, is_base: bool, outcome: tuple[str, Mapping[str, Any]]
) -> dict[str, Any]:
    status, stats = outcome
    given = {"kind": kind, "name": name, "change": change, "value": float(value), "is_base": is_base, "status": status}
    return given | {metric: _number(stats.get(metric)) for metric in METRICS}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _period_stats(returns: np.ndarray, conventions: Conventions) -> dict[str, Any]:
    """Return total_return, annual_return, annual_volatility and sharpe of a part of the returns."""
    per_year = conventions.periods_per_year
    stats = return_stats(returns, periods_per_year=per_year, risk_free_rate=conventions.rate)
    named = {name: _number(stats[name]) for name in ("annual_volatility", "sharpe")}
    mean = float(returns.mean()) * per_year if len(returns) and per_year else math.nan
    total = float(np.prod(1.0 + returns) - 1.0) if len(returns) else math.nan
    return {"total_return": total, "annual_return": mean, **named}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
