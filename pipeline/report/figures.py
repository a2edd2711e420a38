"""Interactive figures as data: plotly's JSON, without a colour (the page sets those, light or dark) and without ids.

A figure is a plain dict in the schema of plotly.js, so nothing has to be installed to make one, and the same run
gives the same bytes. The tests validate every figure with plotly's own Python classes. `role` in a trace's `meta`
names the colour of the palette it takes; see `assets/report.js`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.escape import plot_text
from pipeline.report.blocks import Figure, chart
from pipeline.report.downsample import POINTS, keep

if TYPE_CHECKING:
    import pandas as pd

# Ticks in d3's notation with as many decimals as tell them apart and no more: amounts, numbers, percentages.
AMOUNTS, NUMBERS, SHARES = ",.8~f", ".4~f", ".4~%"


def equity_figure(equity: pd.DataFrame, name: str = "Benchmark", unit: str = "") -> Figure:
    """Return equity in `unit`, and the benchmark called `name`, above drawdown on one time axis, curves thinned out."""
    hover = money_hover(equity["equity"])
    traces = [line(equity["equity"], "Strategy", "strategy", hover=hover)]
    benchmark = equity.get("benchmark_equity")
    if benchmark is not None and benchmark.notna().any():
        traces.append(line(benchmark, plot_text(name), "benchmark", hover=hover, width=1.2))
    if "drawdown" in equity and equity["drawdown"].notna().any():
        below = line(equity["drawdown"], "Drawdown", "drawdown", width=1.0, hover="%{y:.2%}")
        below |= {"yaxis": "y2", "fill": "tozeroy", "showlegend": False}
        traces.append(below)
    axes: dict[str, Any] = {
        "xaxis": {"anchor": "y2", **date_axis(equity.index)},
        "yaxis": {"domain": [0.34, 1.0], "tickformat": AMOUNTS, "title": {"text": titled("Equity", unit)}},
        "yaxis2": {"domain": [0.0, 0.26], "tickformat": SHARES, "title": {"text": "Drawdown"}, "nticks": 4},
    }
    return {"data": traces, "layout": layout(hovermode="x unified", hoversubplots="axis", **axes)}


def yearly_figure(
    years: list[str], strategy: list[float], benchmark: list[float] | None, name: str = "Benchmark"
) -> Figure:
    """Return the return of each calendar year as bars, beside the benchmark called `name` where there is one."""
    traces = [bars(years, strategy, "Strategy", "strategy")]
    if benchmark is not None:
        traces.append(bars(years, benchmark, plot_text(name), "benchmark"))
    axes: dict[str, Any] = {
        "xaxis": {"type": "category", "title": {"text": "Calendar year"}},
        "yaxis": {"tickformat": SHARES, "title": {"text": "Return"}},
    }
    return {"data": traces, "layout": layout(barmode="group", bargap=0.3, hovermode="x unified", **axes)}


def figure_block(
    name: str, figure: Any, *, caption: str, label: str, height: int = 440, tools: tuple[str, ...] = ()
) -> str:
    """Return a numbered figure as Markdown, for a cell of a report to print.

    `figure` is a dict in plotly's schema or a plotly Figure; `label` says in words what it shows, for those who
    do not see it. `tools` are the controls above it: `range` and `log`. Numbers must be finite or None.
    """
    import sys

    from pipeline.report.writer import Figures, Writer

    figures = getattr(sys.stdout, "figures", Figures.DATA)  # what the cells of a report print to says it
    return Writer(figures).write(chart(name, figure, caption=caption, label=label, height=height, tools=tools))


def layout(**options: Any) -> Figure:
    """Return the layout all figures share: margins and a legend above, with `options` added."""
    return {
        "margin": {"l": 64, "r": 12, "t": 8, "b": 36},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"},
        **options,
    }


def line(
    series: pd.Series, name: str, role: str, *, hover: str = "%{y}", width: float = 1.6, points: int = POINTS
) -> Figure:
    """Return a curve over time, thinned out to about `points`."""
    chosen = keep(series.to_numpy(dtype=float), points)
    thinned = series.iloc[chosen]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": timestamps(thinned.index),
        "y": [rounded(value) for value in thinned.to_numpy(dtype=float)],
        "line": {"width": width, "simplify": False},
        "meta": {"role": role},
        "hovertemplate": hover,
    }


def money_hover(values: pd.Series) -> str:
    """Return how an amount of a curve reads: whole from a thousand on, else with five digits of the largest."""
    largest = float(values.abs().max())
    decimals = 0 if not 0.0 < largest < 1_000.0 else min(4 - math.floor(math.log10(largest)), 12)
    return f"%{{y:,.{decimals}f}}"


def date_axis(index: pd.Index) -> dict[str, Any]:
    """Return the options of a time axis: a point reads as its day; times of day, which are UTC, with their time."""
    if _daily(_utc(index)):
        return {"type": "date", "hoverformat": "%d %b %Y"}
    return {"type": "date", "hoverformat": "%d %b %Y %H:%M UTC", "title": {"text": "Time (UTC)"}}


def titled(name: str, unit: str) -> str:
    """Return the title of an axis with its unit."""
    return f"{name} ({plot_text(unit)})" if unit else name


def bars(labels: Sequence[Any], values: Sequence[float], name: str, role: str, *, hover: str = "%{y:.2%}") -> Figure:
    """Return bars at the labels or places given."""
    return {
        "type": "bar",
        "name": name,
        "x": list(labels),
        "y": [rounded(value) for value in values],
        "meta": {"role": role},
        "hovertemplate": hover,
    }


def timestamps(index: Any) -> list[str]:
    """Return labels as text: days, or times of day in UTC."""
    stamps = _utc(index)
    return [str(text) for text in stamps.strftime("%Y-%m-%d" if _daily(stamps) else "%Y-%m-%dT%H:%M:%S")]


def _utc(index: Any) -> Any:
    return index.tz_convert("UTC").tz_localize(None) if index.tz is not None else index


def _daily(stamps: Any) -> bool:
    return bool((stamps == stamps.normalize()).all())


def rounded(value: float) -> float | None:
    """Return a number with six significant digits, None when it is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
