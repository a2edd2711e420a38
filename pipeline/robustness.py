"""How far a backtest can be trusted, computed in the run while its bars and its strategy are there: `robustness.json`.

    leakage       the verdict of the truncation and future-shuffle test, and whether the strategy can be judged by it
    bootstrap     intervals of Sharpe ratio, CAGR and maximum drawdown, alone and against the benchmark
    sensitivity   re-runs with other costs, delays and parameters, nothing tracked
    regimes       the same returns split by trend and volatility known at the bar before
    base_equal    whether re-running the backtest gave the numbers of the run itself
    notes         part -> why it is missing

Each part stands for itself: what one raises becomes its note, never a failed run. Numbers carry ten significant
digits, undefined ones are null, and nothing in the file depends on the clock unless a strategy exceeds the time
budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.files import write_json
from pipeline.layout import Layout
from pipeline.robustness_record import (
    SEALED,
    Intervals,
    Leak,
    Leakage,
    Range,
    Regime,
    Robustness,
    Variation,
    rounded,
)

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.bootstrap import BootstrapOptions
    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.engine import BacktestResult
    from pipeline.backtest.sensitivity import Case

T = TypeVar("T")
CUTS = 24
SEED = 0
REPETITIONS = 1_000
# The parts that call the strategy are left out when all their calls would take longer than this.
BUDGET_SECONDS = 30.0
# Repetitions times bars of the bootstrap; beyond it, it would take longer than the backtests themselves.
BOOTSTRAP_CELLS = 200_000_000
NO_CASE = "The result was not made by `run.backtest`, so there was nothing to run again."
NO_BARS_A_YEAR = "Fewer than two bars, so nothing can be annualised."


@dataclass(frozen=True, eq=False)
class Subject:
    """What is examined: a result, the case that made it (None when unknown), the benchmark's equity if there is one."""

    result: BacktestResult
    case: Case | None = None
    benchmark: pd.Series | None = None


def write_robustness(subject: Subject, directory: Path, *, budget: float = BUDGET_SECONDS) -> Path:
    """Write `robustness.json` below `directory` and return its path; raises StorageError only."""
    return write_json(Layout(directory).robustness, robustness(subject, budget=budget).to_dict())


def robustness(subject: Subject, *, budget: float = BUDGET_SECONDS) -> Robustness:
    """Return what can be found out about a result; a part that failed is missing, with a note."""
    notes: dict[str, str] = {}
    refusal = _refusal(subject.case, budget)

    def tried(name: str, part: Callable[[Subject], T], *, needs_case: bool = True) -> T | None:
        if needs_case and refusal:
            notes[name] = refusal
            return None
        try:
            return part(subject)
        except Exception as error:  # noqa: BLE001 - a strategy of the user's own may raise anything; the run goes on
            notes[name] = said(error)
            return None

    leakage, intervals = tried("leakage", _leakage), tried("bootstrap", _bootstrap, needs_case=False)
    rows, regimes = tried("sensitivity", _sensitivity) or (), tried("regimes", _regimes) or ()
    return Robustness(True, leakage, intervals, rows, regimes, _base_equal(subject, rows), notes)


def _refusal(case: Case | None, budget: float) -> str:
    """Say why the strategy is not called again; empty text when it is."""
    if case is None:
        return NO_CASE
    from pipeline.backtest.strategies import as_strategy, resolve_params

    started = time.perf_counter()
    try:
        case.signal_fn(case.df.copy(), resolve_params(as_strategy(case.signal_fn), case.params))
    except Exception as error:  # noqa: BLE001 - the user's code
        return f"The strategy raised when it was called again: {said(error)}"
    if (time.perf_counter() - started) * _calls(case) <= budget:
        return ""
    return f"The strategy is too slow to be called again about {_calls(case)} times within {budget:g} s."


def _calls(case: Case) -> int:
    """Return about how often all parts together call the strategy on the whole of the bars."""
    from pipeline.backtest.dependence import MOST_CALLS
    from pipeline.backtest.sensitivity import STEPS

    return 2 + 2 * CUTS + MOST_CALLS + 3 + 2 * len(STEPS) * max(1, len(case.params))


def _leakage(subject: Subject) -> Leakage:
    from pipeline.backtest.leakage import check_leakage

    case = _case(subject)
    verdict = check_leakage(case.signal_fn, case.df, case.params, cuts=CUTS, seed=SEED)
    first = verdict.first
    return Leakage(
        status=verdict.status,
        sentence=verdict.sentence,
        reason=verdict.reason,
        responses=verdict.responses,
        first=None if first is None else Leak(**{**asdict(first), "timestamp": first.timestamp.isoformat()}),
        cuts=len(verdict.cuts),
        seed=SEED,
        calls=verdict.calls,
        differences=len(verdict.differences),
        failures={str(cut): text for cut, text in verdict.failures.items()},
    )


def bootstrap(
    equity: pd.Series,
    initial_cash: float,
    conventions: Conventions,
    benchmark: pd.Series | None,
    options: BootstrapOptions | None = None,
    *,
    source: str = SEALED,
) -> Intervals:
    """Return bootstrap intervals of an equity curve and the difference to a benchmark on the same bars.

    Both sides are resampled together. Raises ValueError when nothing can be annualised or the data are too long.
    """
    from pipeline.backtest.bootstrap import BootstrapOptions, bootstrap_intervals
    from pipeline.backtest.metrics import calendar_years, simple_returns

    chosen = options or BootstrapOptions(repetitions=REPETITIONS, seed=SEED)
    if conventions.periods_per_year is None:
        raise ValueError(NO_BARS_A_YEAR)
    if len(equity) * chosen.repetitions > BOOTSTRAP_CELLS:
        raise ValueError(f"{len(equity):,} bars are too many for {chosen.repetitions:,} resamples.")
    beside = None if benchmark is None else benchmark.reindex(equity.index)
    usable = beside is not None and bool(beside.notna().all()) and bool((beside > 0).all())
    found = bootstrap_intervals(
        simple_returns(equity, initial_cash),
        periods_per_year=conventions.periods_per_year,
        benchmark=simple_returns(beside) if beside is not None and usable else None,
        risk_free_rate=conventions.rate,
        years=calendar_years(equity.index),
        options=chosen,
    )
    ranges = {
        name: Range(each.estimate, each.low, each.high, each.standard_error, each.undefined)
        for name, each in found.intervals.items()
    }
    return Intervals(
        ranges, found.repetitions, found.block_length, found.confidence, found.method, found.seed, found.n, source
    )


def _bootstrap(subject: Subject) -> Intervals:
    result = subject.result
    return bootstrap(result.equity_curve, result.config["initial_cash"], result.conventions, subject.benchmark)


def _sensitivity(subject: Subject) -> tuple[Variation, ...]:
    from pipeline.backtest.sensitivity import sensitivity

    return tuple(filter(None, map(Variation.read, _records(sensitivity(_case(subject))))))


def _regimes(subject: Subject) -> tuple[Regime, ...]:
    from pipeline.backtest.sensitivity import split_by_regime

    close = _case(subject).df["close"].set_axis(subject.result.equity_curve.index)
    return tuple(filter(None, map(Regime.read, _records(split_by_regime(subject.result, close).reset_index()))))


def _base_equal(subject: Subject, rows: Sequence[Variation]) -> bool | None:
    """Say whether the re-run without a change has the total return of the run; None when there is none."""
    base = next((row.stats["total_return"] for row in rows if row.kind == "delay" and row.is_base), None)
    return None if base is None else rounded(base) == rounded(subject.result.stats.get("total_return"))


def _case(subject: Subject) -> Case:
    if subject.case is None:
        raise ValueError(NO_CASE)
    return subject.case


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def said(error: Exception) -> str:
    """Return an error of the user's code as one text that UTF-8 can say."""
    text = f"{type(error).__name__}: {str(error).strip()[:500]}"
    return text.encode("utf-8", "replace").decode()
