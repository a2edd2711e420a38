"""Interactive figures of the search: history, importances, slices, Pareto front, equity curves, failures.

Figures are plain dicts in plotly's schema, like those of pipeline/report/figures.py; `role` in a trace's `meta` names
its colour. The best trial is always the role `drawdown`, the warm colour of the palette.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import PERCENT, metric
from pipeline.escape import html_text
from pipeline.report.blocks import Figure
from pipeline.report.figures import layout, line, rounded
from pipeline.sweep.objectives import better
from pipeline.sweep.report.facts import is_number
from pipeline.sweep.report.words import log_ticks, param_text
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

POINTS = 800
CURVE_POINTS = 500
BEST = "drawdown"


def history_figure(trials: Sequence[Trial], name: str) -> Figure:
    """Return the first objective of the completed trials by number, and the best so far as a step line."""
    shown = thinned(trials, POINTS)
    values = [trial.values[0] for trial in shown]
    steps = _records(trials, name)
    last = trials[-1].number
    traces = [
        dots(shown, [t.number for t in shown], values, text="Trials", role="benchmark", name=name),
        {
            "type": "scatter", "mode": "lines", "name": "Best so far",
            "x": [*(t.number for t in steps), last], "y": [rounded(t.values[0]) for t in [*steps, steps[-1]]],
            "line": {"width": 2, "shape": "hv"}, "meta": {"role": "strategy"}, "hoverinfo": "skip",
        },
    ]  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": trial_axis(len(trials)),
        "yaxis": objective_axis(name),
    }
    return {"data": traces, "layout": layout(hovermode="closest", **axes)}


def importance_figure(importances: dict[str, float]) -> Figure:
    """Return the importances as horizontal bars, the largest on top."""
    named = sorted(importances.items(), key=lambda item: (item[1], item[0]))
    trace = {
        "type": "bar", "orientation": "h", "y": [html_text(name) for name, _ in named],
        "x": [rounded(value) for _, value in named], "meta": {"role": "strategy"},
        "hovertemplate": "%{x:.1%}<extra></extra>",
    }  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": {
            "tickformat": ".0%",
            "title": {"text": "Share of the importance"},
            "rangemode": "tozero",
            "showgrid": True,
        },
        "yaxis": {"type": "category", "showgrid": False},
    }
    return {"data": [trace], "layout": layout(bargap=0.4, showlegend=False, **axes)}


def slice_figure(trials: Sequence[Trial], best: Trial, param: str, name: str, *, logarithmic: bool = False) -> Figure:
    """Return the first objective over one param, the best trial marked."""
    shown = [trial for trial in thinned(trials, POINTS) if trial.number != best.number]
    traces = [
        dots(
            few, [_place(t.params.get(param)) for t in few], [t.values[0] for t in few],
            text=text, role=role, name=name, size=size,
        )
        for few, text, role, size in ((shown, "Trials", "strategy", 5), ([best], "Best", BEST, 10))
    ]  # fmt: skip
    across = {"title": {"text": html_text(param)}, "zeroline": False, **_scale(trials, param, logarithmic=logarithmic)}
    return {
        "data": traces,
        "layout": layout(hovermode="closest", showlegend=False, xaxis=across, yaxis=objective_axis(name)),
    }


def pareto_figure(trials: Sequence[Trial], front: Sequence[int], best: int, names: Sequence[str], other: int) -> Figure:
    """Return objective `other` over the first one: all trials, those on the Pareto front, the best."""
    members = [trial for trial in trials if trial.number in set(front)]
    rest = [trial for trial in thinned(trials, POINTS) if trial.number not in set(front)]
    chosen = [trial for trial in trials if trial.number == best]
    members.sort(key=lambda trial: trial.values[0])
    groups = (
        (rest, "Other trials", "benchmark", 5),
        (members, "Pareto front", "strategy", 8),
        (chosen, "Best", BEST, 11),
    )
    traces = [
        dots(
            few, [rounded(t.values[0]) for t in few], [t.values[other] for t in few],
            text=text, role=role, name=names[other], size=size, across=names[0],
        )
        for few, text, role, size in groups
    ]  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": {**objective_axis(names[0]), "showgrid": True},
        "yaxis": objective_axis(names[other]),
    }
    return {"data": traces, "layout": layout(hovermode="closest", **axes)}


def growth_figure(
    curves: pd.DataFrame, best: int, middle: int | None, held: pd.Series | None, benchmark: str = "Buy and hold"
) -> Figure:
    """Return the growth of 1 of the best trials and of the one in the middle (columns), and of the benchmark."""
    traces = []
    if held is not None:
        traces.append(_curve(held, benchmark, "benchmark", 1.2))
    others = [number for number in map(int, curves.columns) if number not in {best, middle}]
    traces += [
        {**_curve(curves[number], f"Trial {number}", "strategy", 1.0), "opacity": 0.45} for number in reversed(others)
    ]
    if middle is not None and middle in curves and middle != best:
        traces.append(
            {
                **_curve(curves[middle], f"Trial {middle}, the median", "text", 1.2),
                "line": {"width": 1.2, "dash": "dot", "simplify": False},
            }
        )
    if best in curves:
        traces.append(_curve(curves[best], f"Trial {best}, the best", BEST, 2.0))
    axes: dict[str, Any] = {
        "xaxis": {"type": "date", "hoverformat": "%d %b %Y"},
        "yaxis": {"tickformat": ".2f", "title": {"text": "Growth of 1"}},
    }
    # Drawn last is on top; named first is the best, and the benchmark last, as in every figure.
    ranked = [trace | {"legendrank": len(traces) - place} for place, trace in enumerate(traces)]
    return {"data": ranked, "layout": layout(hovermode="x unified", **axes)}


def failure_figure(kinds: dict[str, list[int]], trials: int) -> Figure:
    """Return when trials failed: a row of crosses for each kind of error, over the number of the trial."""
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": html_text(kind), "x": numbers[:POINTS],
            "y": [html_text(kind)] * len(numbers[:POINTS]), "marker": {"size": 7, "symbol": "x"},
            "meta": {"role": "loss"}, "hovertemplate": "trial %{x}<extra></extra>",
        }
        for kind, numbers in kinds.items()
    ]  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": {**trial_axis(trials), "range": [-0.5, trials - 0.5]},
        "yaxis": {"type": "category", "autorange": "reversed"},
    }
    return {"data": traces, "layout": layout(hovermode="closest", showlegend=False, **axes)}


def dots(
    trials: Sequence[Trial], x: Sequence[Any], y: Sequence[float], *, text: str, role: str, name: str, size: int = 5,
    across: str | None = None,
) -> Figure:  # fmt: skip
    """Return one marker a trial; hovering says its number and its values."""
    shown = f"{metric(name).label} %{{y:{_format(name)}}}"
    first = f"{metric(across).label} %{{x:{_format(across)}}}, " if across else ""
    return {
        "type": "scatter", "mode": "markers", "name": text, "x": list(x), "y": [rounded(value) for value in y],
        "customdata": [trial.number for trial in trials], "meta": {"role": role},
        "marker": {"size": size, "opacity": 1.0 if size > 5 else 0.6},
        "hovertemplate": f"trial %{{customdata}}: {first}{shown}<extra></extra>",
    }  # fmt: skip


def thinned(trials: Sequence[Trial], most: int) -> list[Trial]:
    """Return up to `most` trials in their order: the two ends of the first objective whole, the rest evenly."""
    if len(trials) <= most:
        return list(trials)
    ordered = sorted(trials, key=lambda trial: (trial.values[0], trial.number))
    ends = most // 8
    inner = ordered[ends:-ends]
    step = len(inner) / (most - 2 * ends)
    kept = [*ordered[:ends], *ordered[-ends:], *(inner[int(i * step)] for i in range(most - 2 * ends))]
    return sorted(kept, key=lambda trial: trial.number)


def objective_axis(name: str) -> dict[str, Any]:
    """Return the options of an axis of an objective."""
    short = ".0%" if metric(name).kind == PERCENT else ",.2~f"
    return {"title": {"text": metric(name).label}, "tickformat": short, "zeroline": False}


def trial_axis(trials: int) -> dict[str, Any]:
    """Return the options of an axis of trial numbers: whole ones."""
    steps = {"dtick": 1} if trials <= 12 else {}
    return {"title": {"text": "Trial"}, "tickformat": ",.0f", "zeroline": False, **steps}


def _records(trials: Sequence[Trial], name: str) -> list[Trial]:
    found = [trials[0]]
    for trial in trials[1:]:
        if better(name, trial.values[0], found[-1].values[0]):
            found.append(trial)
    return found


def _scale(trials: Sequence[Trial], param: str, *, logarithmic: bool) -> dict[str, Any]:
    values = [float(v) for trial in trials if isinstance(v := trial.params.get(param), int | float) and is_number(v)]
    if len(values) < len(trials):
        return {"type": "category"}
    low, high = min(values), max(values)
    if not logarithmic or low <= 0:
        return {}
    ticks = log_ticks(low, high)
    return {"type": "log", "tickvals": ticks, "ticktext": [param_text(tick) for tick in ticks]}


def _curve(series: pd.Series, name: str, role: str, width: float) -> Figure:
    drawn = line(series, html_text(name), role, width=width, points=CURVE_POINTS)
    return {**drawn, "hovertemplate": "%{y:.2f}"}


def _place(value: object) -> Any:
    return rounded(float(value)) if is_number(value) else param_text(value)  # type: ignore[arg-type]


def _format(name: str) -> str:
    return ".1%" if metric(name).kind == PERCENT else ",.3~f"
