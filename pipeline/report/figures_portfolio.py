"""Interactive figures of a portfolio: weights stacked over time, exposure, contributions, out-of-sample equity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.escape import html_text, plot_text
from pipeline.report.blocks import Figure
from pipeline.report.figures import AMOUNTS, NUMBERS, SHARES, date_axis, layout, line, money_hover, timestamps

if TYPE_CHECKING:
    import pandas as pd

STACKED = 8  # symbols with a colour of their own; the others are one area
STACK_POINTS = 300
CURVE_POINTS = 600


def weights_figure(weights: pd.DataFrame, rest: str) -> Figure:
    """Return weights as areas on top of each other, long ones above 0 and short ones below; `rest` is a column, too.

    Each curve is the sum up to its symbol, drawn solid from the outermost inwards, so that only its own share shows;
    the label that the pointer shows is the symbol's own weight.
    """
    import numpy as np

    places = np.unique(np.linspace(0, len(weights) - 1, min(STACK_POINTS, len(weights))).round().astype(int))
    shown = weights.iloc[places]
    stamps, values = timestamps(shown.index), shown.to_numpy(dtype=float)
    roles = ["benchmark" if name == rest else f"series{place + 1}" for place, name in enumerate(weights.columns)]
    traces: list[Figure] = []
    for long in (True, False):
        part = np.maximum(values, 0.0) if long else np.minimum(values, 0.0)
        total = part.cumsum(axis=1)
        for place in reversed(range(len(roles))):
            if np.abs(part[:, place]).max() < 1e-9:
                continue
            name = plot_text(weights.columns[place])
            traces.append({
                "type": "scatter", "mode": "lines", "name": name, "x": stamps, "y": _short(total[:, place]),
                "customdata": _short(values[:, place]), "line": {"width": 0.5}, "fill": "tozeroy",
                "meta": {"role": roles[place], "solid": True}, "legendgroup": name, "legendrank": place + 1,
                "showlegend": long or not np.maximum(values[:, place], 0.0).max() >= 1e-9,
                "hovertemplate": "%{customdata:.1%}",
            })  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": date_axis(weights.index),
        "yaxis": {"tickformat": SHARES, "title": {"text": "Share of the equity"}},
    }
    return {"data": traces, "layout": layout(hovermode="x unified", **axes)}


def exposure_figure(gross: pd.Series, net: pd.Series, effective: pd.Series | None) -> Figure:
    """Return gross and net exposure, above the effective number of positions where that is given."""
    same = bool(((gross - net).abs() < 1e-9).all())
    curves = (
        [(gross, "Gross and net", "strategy")] if same else [(gross, "Gross", "strategy"), (net, "Net", "benchmark")]
    )
    traces = [line(curve, name, role, hover="%{y:.1%}", points=CURVE_POINTS) for curve, name, role in curves]
    axes: dict[str, Any] = {
        "xaxis": date_axis(gross.index),
        "yaxis": {"tickformat": SHARES, "title": {"text": "Of the equity"}, "rangemode": "tozero"},
    }
    if effective is not None:
        trace = line(effective, "Effective positions", "drawdown", hover="%{y:.2f}", points=CURVE_POINTS)
        traces.append(trace | {"yaxis": "y2", "showlegend": same is False})
        axes["xaxis"] |= {"anchor": "y2"}
        axes["yaxis"] |= {"domain": [0.46, 1.0]}
        axes["yaxis2"] = {
            "domain": [0.0, 0.36], "tickformat": NUMBERS, "title": {"text": "Effective positions"}, "nticks": 4,
            "rangemode": "tozero",
        }  # fmt: skip
    return {"data": traces, "layout": layout(hovermode="x unified", hoversubplots="axis", **axes)}


def contribution_figure(found: pd.Series) -> Figure:
    """Return contributions as lying bars, the largest on top."""
    ordered = found.sort_values(kind="stable")
    trace = {
        "type": "bar", "orientation": "h", "y": [html_text(name) for name in ordered.index], "x": _short(ordered),
        "meta": {"role": "strategy"}, "hovertemplate": "%{x:.2%}<extra></extra>",
    }  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": {"tickformat": SHARES, "title": {"text": "Contribution, summed"}, "showgrid": True},
        "yaxis": {"type": "category", "showgrid": False},
    }
    return {
        "data": [trace],
        "layout": layout(bargap=0.3, hovermode="closest", margin={"l": 64, "r": 12, "t": 36, "b": 36}, **axes),
    }


def stitched_figure(curve: pd.Series, unit: str) -> Figure:
    """Return the equity of the test windows alone, one after the other."""
    trace = line(curve, "Out of sample", "strategy", hover=money_hover(curve))
    title = f"Equity ({plot_text(unit)})"
    axes: dict[str, Any] = {
        "xaxis": date_axis(curve.index),
        "yaxis": {"tickformat": AMOUNTS, "title": {"text": title}},
    }
    return {"data": [trace], "layout": layout(hovermode="x unified", **axes)}


def shaded(windows: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the shapes that shade stretches of time behind a figure."""
    return [
        {
            "type": "rect", "xref": "x", "yref": "paper", "x0": begin, "x1": end, "y0": 0, "y1": 1, "layer": "below",
            "line": {"width": 0}, "name": "window",
        }
        for begin, end in windows
    ]  # fmt: skip


def _short(values: Any) -> list[float]:
    """Return shares with as many digits as a figure can show."""
    return [round(float(value), 4) for value in values]
