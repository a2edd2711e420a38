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

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import read_json, write_json
from pipeline.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.bootstrap import BootstrapOptions
    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.engine import BacktestResult
    from pipeline.backtest.sensitivity import Case

SCHEMA_VERSION = 1
CUTS = 24
SEED = 0
REPETITIONS = 1_000
# The parts that call the strategy are left out when all their calls would take longer than this.
BUDGET_SECONDS = 30.0
# Repetitions times bars of the bootstrap; beyond it, it would take longer than the backtests themselves.
BOOTSTRAP_CELLS = 200_000_000
DIGITS = 10
NO_CASE = "The result was not made by `run.backtest`, so there was nothing to run again."
NO_BARS_A_YEAR = "Fewer than two bars, so nothing can be annualised."
# What a run says about look-ahead, by the status of its check.
LOOK_AHEAD = {
    "clean": "no look-ahead found",
    "leak": "looks ahead",
    "unjudged": "look-ahead cannot be judged",
    "stochastic": "look-ahead unknown",
    "unchecked": "look-ahead not checked",
}


@dataclass(frozen=True, eq=False)
class Subject:
    """What is examined: a result, the case that made it (None when unknown), the benchmark's equity if there is one."""

    result: BacktestResult
    case: Case | None = None
    benchmark: pd.Series | None = None


def write_robustness(subject: Subject, directory: Path, *, budget: float = BUDGET_SECONDS) -> Path:
    """Write `robustness.json` below `directory` and return its path; raises StorageError only."""
    return write_json(Layout(directory).robustness, robustness(subject, budget=budget))


def robustness(subject: Subject, *, budget: float = BUDGET_SECONDS) -> dict[str, Any]:
    """Return the content of robustness.json as strict JSON values; a part that failed is null with a note."""
    found: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    notes: dict[str, str] = {}
    refusal = _refusal(subject.case, budget)
    for name, part, needs_case in _PARTS:
        if needs_case and refusal:
            found[name], notes[name] = None, refusal
            continue
        try:
            found[name] = plain(part(subject))
        except Exception as error:  # noqa: BLE001 - a strategy of the user's own may raise anything; the run goes on
            found[name], notes[name] = None, said(error)
    found["base_equal"] = _base_equal(subject, found["sensitivity"])
    found["notes"] = notes
    return found


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


def _leakage(subject: Subject) -> dict[str, Any]:
    from pipeline.backtest.leakage import check_leakage

    case = _case(subject)
    verdict = check_leakage(case.signal_fn, case.df, case.params, cuts=CUTS, seed=SEED)
    first = None if verdict.first is None else asdict(verdict.first)
    if first is not None:
        first["timestamp"] = first["timestamp"].isoformat()
    return {
        "status": verdict.status,
        "sentence": verdict.sentence,
        "reason": verdict.reason,
        "responses": verdict.responses,
        "first": first,
        "cuts": len(verdict.cuts),
        "seed": SEED,
        "calls": verdict.calls,
        "differences": len(verdict.differences),
        "failures": {str(cut): text for cut, text in verdict.failures.items()},
    }


def look_ahead_status(leakage: Any) -> str:
    """Return the status in the part `leakage` of a robustness.json, whoever wrote it; unchecked when it has none."""
    status = leakage.get("status") if isinstance(leakage, dict) else None
    return status if isinstance(status, str) and status in LOOK_AHEAD else "unchecked"


def look_ahead_of(directory: Layout) -> str:
    """Return the status of a run's look-ahead check; unchecked without a robustness.json that can be read."""
    try:
        examined = read_json(directory.robustness)
    except (OSError, ValueError, RecursionError):
        return "unchecked"
    return look_ahead_status(examined.get("leakage") if isinstance(examined, dict) else None)


def bootstrap_facts(
    equity: pd.Series,
    initial_cash: float,
    conventions: Conventions,
    benchmark: pd.Series | None,
    options: BootstrapOptions | None = None,
) -> dict[str, Any]:
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
    result = bootstrap_intervals(
        simple_returns(equity, initial_cash),
        periods_per_year=conventions.periods_per_year,
        benchmark=simple_returns(beside) if beside is not None and usable else None,
        risk_free_rate=conventions.rate,
        years=calendar_years(equity.index),
        options=chosen,
    )
    facts = asdict(result)
    facts["intervals"] = {name: _without(values, "name") for name, values in facts["intervals"].items()}
    return facts


def _bootstrap(subject: Subject) -> dict[str, Any]:
    result = subject.result
    return bootstrap_facts(result.equity_curve, result.config["initial_cash"], result.conventions, subject.benchmark)


def _sensitivity(subject: Subject) -> list[dict[str, Any]]:
    from pipeline.backtest.sensitivity import sensitivity

    return _records(sensitivity(_case(subject)))


def _regimes(subject: Subject) -> list[dict[str, Any]]:
    from pipeline.backtest.sensitivity import split_by_regime

    close = _case(subject).df["close"].set_axis(subject.result.equity_curve.index)
    return _records(split_by_regime(subject.result, close).reset_index())


def _base_equal(subject: Subject, rows: list[dict[str, Any]] | None) -> bool | None:
    """Say whether the re-run without a change has the total return of the run; None when there is none."""
    base = next((row for row in rows or () if row["kind"] == "delay" and row["is_base"]), None)
    if base is None or base["total_return"] is None:
        return None
    return bool(base["total_return"] == number_of(subject.result.stats.get("total_return")))


_Part = Callable[[Subject], Any]
_PARTS: tuple[tuple[str, _Part, bool], ...] = (
    ("leakage", _leakage, True),
    ("bootstrap", _bootstrap, False),
    ("sensitivity", _sensitivity, True),
    ("regimes", _regimes, True),
)


def _case(subject: Subject) -> Case:
    if subject.case is None:
        raise ValueError(NO_CASE)
    return subject.case


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def plain(value: Any) -> Any:
    """Return JSON values: numbers rounded, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return number_of(value) if isinstance(value, float) else value


def said(error: Exception) -> str:
    """Return an error of the user's code as one text that UTF-8 can say."""
    text = f"{type(error).__name__}: {str(error).strip()[:500]}"
    return text.encode("utf-8", "replace").decode()


def number_of(value: Any) -> float | None:
    """Return a number with ten significant digits; None where it is undefined."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")
