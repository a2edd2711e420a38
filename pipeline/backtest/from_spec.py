"""The bars, the conventions and the engine a run spec asks for: one reading of it, for notebooks and for sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backtest.conventions import Conventions
from pipeline.spec import RunSpec
from pipeline.spec_sections import BacktestSection, BenchmarkSection, DataSection

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.bars import Bars
    from pipeline.backtest.engine import BacktestEngine


def spec_bars(data: DataSection, root: Path) -> Bars:
    """Return the bars that `data` names, checked against the data contract; raises DataError."""
    from pipeline.backtest.bars import Reading, read_bars
    from pipeline.backtest.data import source_path

    reading = Reading(data.columns, data.timezone, data.date_format, data.decimal, data.skip_rows, data.symbol)
    return read_bars(source_path(data.source, root), reading, start=data.start, end=data.end)


def spec_benchmark(benchmark: BenchmarkSection, root: Path) -> pd.Series | None:
    """Return the series that `benchmark` names, None without a source; raises DataError."""
    if benchmark.source is None:
        return None
    from pipeline.backtest.benchmark import load_series
    from pipeline.backtest.data import source_path

    return load_series(
        source_path(benchmark.source, root),
        column=benchmark.column,
        timezone=benchmark.timezone,
        date_format=benchmark.date_format,
    )


def spec_conventions(spec: RunSpec, told: float | None = None) -> Conventions:
    """Return the conventions of a spec; `told` is how many bars a year its whole data file tells, None if unknown."""
    data, rate = spec.bundled.data, spec.bundled.backtest.risk_free_rate
    return Conventions(rate or 0.0, data.periods_per_year, told, currency=data.currency, rate_given=rate is not None)


def spec_engine(rules: BacktestSection, conventions: Conventions) -> BacktestEngine:
    """Return an engine under the account settings of `rules`."""
    from pipeline.backtest.engine import BacktestEngine

    return BacktestEngine(
        use_execution_pipeline=rules.execution == "pipeline",
        initial_cash=rules.initial_cash,
        stop_pct=rules.stop_pct,
        conventions=conventions,
    )


def with_strategy_params(spec: RunSpec, root: Path) -> RunSpec:
    """Return a spec whose strategy has all its params, checked against its schema; raises StrategyError."""
    from pipeline.backtest.strategies import get_strategy, resolve_params

    strategy = spec.bundled.strategy
    params = resolve_params(get_strategy(strategy.name, search=root), strategy.params)
    return spec.model_copy(update={"strategy": strategy.model_copy(update={"params": params})})
