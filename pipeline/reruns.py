"""`robustness.json` of a result that a function of the notebook's can make again: look-ahead, costs, delays, params."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.engines.answers import Rerun
from pipeline.engines.objects import labels_of
from pipeline.robustness import BUDGET_SECONDS, CUTS, SEED, bootstrap, said
from pipeline.robustness_record import RERUN, Intervals, Leak, Leakage, Robustness, Variation, rounded

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.results.contract import Result

T = TypeVar("T")
FEWER_CUTS = 8
COSTS, DELAY = "cost_factor", "delay"  # keywords of the function, where it has them
NO_REGIMES = "Regimes are those of one instrument's bars in a result of `run.backtest`."
NO_KEYWORDS = (
    f"The function given as rerun has no keyword with a number as its default, `{COSTS}` and `{DELAY}` included, so "
    "nothing could be changed."
)


def examine(rerun: Rerun, result: Result, *, budget: float = BUDGET_SECONDS) -> Robustness:
    """Return what can be found out about a result; a part that failed is missing, with a note.

    Keywords of the function, where it has them: `cost_factor` multiplies its costs, `delay` makes what it decides
    count so many bars later; others with a number as default are params. Weights at prices need none for costs and
    delays: the portfolio is computed here.
    """
    notes = {"regimes": NO_REGIMES}
    cuts, slow = _affordable(rerun, budget)

    def tried(name: str, part: Callable[[], T], refusal: str = "") -> T | None:
        try:
            if not refusal:
                return part()
            notes[name] = refusal
        except Exception as error:  # noqa: BLE001 - a function of the user's own may raise anything; the run goes on
            notes[name] = said(error)
        return None

    intervals = tried("bootstrap", lambda: _bootstrap(result))
    leakage = tried("leakage", lambda: _leakage(rerun, cuts), slow)
    rows = tried("sensitivity", lambda: _sensitivity(rerun), slow)
    if rows == ():
        notes["sensitivity"] = NO_KEYWORDS
    equal = None if leakage is None else leakage.status != "stochastic" and leakage.reason != "other"
    return Robustness(True, leakage, intervals, rows or (), (), equal, notes)


def _affordable(rerun: Rerun, budget: float) -> tuple[int, str]:
    """Return how many cuts the time allows, and why none where it does not; the function is called once."""
    started = time.perf_counter()
    try:
        rerun.function(rerun.bars.copy())
    except Exception as error:  # noqa: BLE001 - the user's code
        return 0, f"The function given as rerun raised on the bars of the run: {said(error)}"
    seconds = time.perf_counter() - started
    for cuts in (CUTS, FEWER_CUTS):
        if seconds * 4 * cuts <= budget:
            return cuts, ""
    return 0, f"The function given as rerun is too slow to be called about {4 * FEWER_CUTS} times within {budget:g} s."


def _leakage(rerun: Rerun, cuts: int) -> Leakage:
    from pipeline.engines.look_ahead import check_look_ahead

    verdict = check_look_ahead(rerun, cuts=cuts, seed=SEED)
    return Leakage(
        status=verdict.status,
        sentence=verdict.sentence,
        reason=verdict.reason,
        first=None if verdict.first is None else Leak(verdict.first.isoformat()),
        cuts=len(verdict.cuts),
        seed=SEED,
        calls=verdict.calls,
        differences=verdict.differences,
        failures={str(cut): text for cut, text in verdict.failures},
        subject=RERUN,
        own_bars=verdict.own_bars,
        positions=verdict.positions,
    )


def _bootstrap(result: Result) -> Intervals:
    from pipeline.results.recompute import path_of, settled, with_capital

    benchmark = next(iter(result.benchmarks.values()), None)
    if benchmark is not None and result.first_counts:
        benchmark = with_capital(benchmark, result.capital)
    return bootstrap(path_of(result), result.capital, settled(result), benchmark)


def _sensitivity(rerun: Rerun) -> tuple[Variation, ...]:
    from pipeline.backtest.sensitivity import COST_FACTORS, DELAYS

    base, takes = _stats(rerun, rerun.value, {}), _keywords(rerun.function)
    costs = COST_FACTORS if rerun.weighs or COSTS in takes else ()
    delays = DELAYS if rerun.weighs or DELAY in takes else ()
    charged = float(rerun.given.get("costs_bps") or 0.0) if rerun.weighs else None
    changes = [("cost", "costs_bps", factor, None if charged is None else charged * factor) for factor in costs]
    changes += [("delay", DELAY, float(bars), float(bars)) for bars in delays]
    rows = []
    for kind, name, change, value in changes:
        is_base = change == (1.0 if kind == "cost" else 0.0)
        tried = ("ok", base) if is_base else _tried(rerun, kind, change)
        rows.append(_row((kind, name, change, value), tried, is_base=is_base))
    for name, default in takes.items():
        if name not in (COSTS, DELAY):
            rows += _param_rows(rerun, name, default, base)
    return tuple(rows)


def _param_rows(rerun: Rerun, name: str, default: float, base: Mapping[str, Any]) -> list[Variation]:
    """Return the rows of one keyword: itself, and moved up and down; equal values once."""
    from pipeline.backtest.sensitivity import STEPS

    rows, done = [_row(("param", name, 0.0, default), ("ok", base), is_base=True)], {default}
    for change in sorted([-step for step in STEPS] + list(STEPS)):
        if (moved := _moved(default, change)) not in done:
            done.add(moved)
            rows.append(_row(("param", name, change, moved), _tried(rerun, name, moved), is_base=False))
    return rows


def _keywords(function: Any) -> dict[str, float]:
    """Return the keywords of a function that have a number as default, after its first argument."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return {}
    return {
        each.name: each.default
        for each in parameters
        if isinstance(each.default, int | float) and not isinstance(each.default, bool)
    }


def _moved(value: float, change: float) -> float:
    moved = value * (1.0 + change)
    if not isinstance(value, int):
        return moved
    whole = round(moved)
    return whole if whole != value else value + (1 if change > 0.0 else -1)


def _tried(rerun: Rerun, what: str, value: float) -> tuple[str, Mapping[str, Any]]:
    """Return "ok" and the metrics with costs, the delay or one keyword changed, or what was raised and none."""
    try:
        if rerun.weighs and what == "cost":
            return "ok", _stats(rerun, rerun.value, {"costs_bps": float(rerun.given.get("costs_bps") or 0.0) * value})
        if rerun.weighs and what == "delay":
            return "ok", _stats(rerun, _later(rerun, int(value)), {})
        keyword = {"cost": COSTS, "delay": DELAY}.get(what, what)
        whole = int(value) if what == "delay" else value
        return "ok", _stats(rerun, rerun.function(rerun.bars.copy(), **{keyword: whole}), {})
    except Exception as error:  # noqa: BLE001 - the user's code, for values that it was not made for
        return said(error)[:200], {}


def _later(rerun: Rerun, bars: int) -> pd.DataFrame:
    """Return the weights traded so many labels of the prices later."""
    weights, labels = rerun.value, labels_of(rerun.given["prices"].index, "the prices")
    places = labels.searchsorted(labels_of(weights.index, "the weights")) + bars
    inside = places < len(labels)
    late: pd.DataFrame = weights[inside].set_axis(labels[places[inside]], axis=0)
    return late


def _stats(rerun: Rerun, value: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
    from dataclasses import replace

    from pipeline.results.recompute import recompute

    return recompute(replace(rerun, given={**rerun.given, **given}).result(value))


def _row(
    named: tuple[str, str, float, float | None], tried: tuple[str, Mapping[str, Any]], *, is_base: bool
) -> Variation:
    from pipeline.backtest.sensitivity import METRICS

    status, stats = tried
    return Variation(*named, is_base, status, {metric: rounded(stats.get(metric)) for metric in METRICS})
