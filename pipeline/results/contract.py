"""The result contract: what a backtest leaves, whichever engine made it.

Only the equity is needed. Everything else may be missing: None is unknown, and never stands for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.backtest.conventions import NOTHING_KNOWN, Conventions

if TYPE_CHECKING:
    import pandas as pd

# What a trade needs; the other columns of pipeline.backtest.trades.TRADE_COLUMNS may be null.
TRADE_NEEDS = ("symbol", "side", "entry_time", "exit_time", "quantity", "entry_price", "exit_price", "net_pnl")
FILL_NEEDS = ("timestamp", "symbol", "quantity", "price")

UNNAMED = "unnamed"  # the instrument of a trade that nobody named


@dataclass(frozen=True)
class Engine:
    """The program that made the numbers: its name, and its version where it tells one."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version or ''}".rstrip()


@dataclass(frozen=True)
class OwnMetric:
    """A metric of the user's own: a number with its unit (`""` for a plain ratio) and a sentence what it means."""

    name: str
    value: float
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class ReportedMetric:
    """A number as the engine reports it.

    `metric` is the key of the metric computed here that it stands beside (`sharpe`, `max_drawdown`, …), in the same
    unit and sign; None where there is none. `convention` says what the engine does differently, as "365 days a year".
    """

    name: str
    value: float
    metric: str | None = None
    convention: str = ""


@dataclass(frozen=True)
class Fold:
    """A train and a test window, ISO-8601 text; scores and params where they are known."""

    test_start: str
    test_end: str
    train_start: str | None = None
    train_end: str | None = None
    params: Mapping[str, Any] | None = None
    score_in: float | None = None
    score_out: float | None = None


@dataclass(frozen=True)
class OwnFile:
    """A file of the user's own that belongs to the result, and what it is, as "model"."""

    path: Path
    role: str


@dataclass(frozen=True, eq=False)
class Result:
    """Everything that is known of a backtest. All frames and series share time labels: UTC, days as midnight UTC.

    equity        Series, n values in money, or in units of the capital; finite, on an increasing index
    capital       what the equity starts from, before the first label; returns and drawdowns count from it
    first_label   "start": the equity there is still the capital, and the first return is that of the second label;
                  "period": the first label ends a period, whose return counts from the capital. None: "start" where
                  its equity is the capital
    engine        what made it
    strategy      its name, and `params` its params, where they are told
    symbols       the instruments
    currency      of the equity, as "USD"
    costs         what the engine charged, as {"fee_bps": 1.0}; None unknown
    benchmarks    name -> equity of the same capital, on the labels of `equity`
    trades        round trips: TRADE_NEEDS and, where known, other columns of TRADE_COLUMNS; `is_open` marks open ones
    fills         single executions: FILL_NEEDS (quantity signed), `fee` where known
    positions     signed units at each label, a column a symbol
    weights       position values as a share of the equity at each label, a column a symbol
    prices        what positions are valued at, a column a symbol
    cash          Series of money
    leverage      Series, gross exposure over equity
    folds         train and test windows, in order
    metrics       of the user's own; `reported` are the engine's
    figures       name -> a matplotlib or plotly figure; `tables` name -> frame; `files` name -> file
    conventions   bars a year and risk-free rate, as given; what is not given is inferred from the labels
    notes         what a reader must know of how this was made from the engine's object
    """

    equity: pd.Series
    capital: float
    first_label: Literal["start", "period"] | None = None
    engine: Engine | None = None
    strategy: str | None = None
    params: Mapping[str, Any] | None = None
    symbols: tuple[str, ...] = ()
    currency: str | None = None
    costs: Mapping[str, Any] | None = None
    benchmarks: Mapping[str, pd.Series] = field(default_factory=dict)
    trades: pd.DataFrame | None = None
    fills: pd.DataFrame | None = None
    positions: pd.DataFrame | None = None
    weights: pd.DataFrame | None = None
    prices: pd.DataFrame | None = None
    cash: pd.Series | None = None
    leverage: pd.Series | None = None
    folds: tuple[Fold, ...] = ()
    metrics: tuple[OwnMetric, ...] = ()
    reported: tuple[ReportedMetric, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    files: Mapping[str, OwnFile] = field(default_factory=dict)
    conventions: Conventions = NOTHING_KNOWN
    notes: tuple[str, ...] = ()

    @property
    def returns(self) -> pd.Series:
        """Simple returns per period; compounded on `capital` they are the equity. 0 where nothing was left to lose.

        They are one fewer than the labels where the first label is the start.
        """
        import numpy as np
        import pandas as pd

        path = np.append(self.capital, self.equity.to_numpy(dtype=float))
        alive = path[:-1] > 0.0
        returns = pd.Series(np.where(alive, path[1:] / np.where(alive, path[:-1], 1.0) - 1.0, 0.0), self.equity.index)
        return returns if self.first_counts else returns.iloc[1:]

    @property
    def instruments(self) -> tuple[str, ...]:
        """The symbols; where nobody names them those of the tables: of what was held or traded, else of the prices."""
        held = [[*frame.columns] for frame in (self.weights, self.positions) if frame is not None]
        traded = [[*frame["symbol"].dropna()] for frame in (self.trades, self.fills) if frame is not None]
        valued = [] if self.prices is None else [[*self.prices.columns]]
        tables = ([*self.symbols], *held, *traded, *valued)
        told = ([str(name) for name in names if name != UNNAMED] for names in tables)
        return next((tuple(dict.fromkeys(names)) for names in told if names), ())

    @property
    def first_counts(self) -> bool:
        """Whether the first label ends a period, whose return counts from the capital."""
        if self.first_label is None:
            return float(self.equity.iloc[0]) != self.capital
        return self.first_label == "period"
