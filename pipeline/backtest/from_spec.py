"""The bars and the engine a run spec asks for: one reading of it, for notebooks and for sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.spec import BacktestSection, DataSection

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.engine import BacktestEngine


def spec_bars(data: DataSection, root: Path) -> pd.DataFrame:
    """Return the bars that `data` names, checked against the data contract; raises DataError."""
    from pipeline.backtest.data import load_ohlcv, source_path

    return load_ohlcv(
        source_path(data.source, root),
        start=data.start,
        end=data.end,
        columns=data.columns or None,
        timezone=data.timezone,
        date_format=data.date_format,
    )


def spec_engine(rules: BacktestSection) -> BacktestEngine:
    """Return an engine under the account settings of `rules`."""
    from pipeline.backtest.engine import BacktestEngine

    return BacktestEngine(
        use_execution_pipeline=rules.execution == "pipeline",
        initial_cash=rules.initial_cash,
        stop_pct=rules.stop_pct,
    )
