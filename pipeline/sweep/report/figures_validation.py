"""Interactive figures of the validation: CSCV, walk-forward and the paths of cross-validation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.blocks import Figure
from pipeline.report.figures import bars, layout, line, rounded
from pipeline.sweep.report.figures import BEST, CURVE_POINTS

if TYPE_CHECKING:
    import pandas as pd

MOST_BARS = 40
BINS = 30


def logits_figure(logits: Sequence[float]) -> Figure:
    """Return the histogram of the logits, those that count as overfitted apart by colour."""
    counts, edges = _histogram(logits)
    middles = [rounded((a + b) / 2) for a, b in itertools.pairwise(edges)]
    pairs = [(x, count) for x, count in zip(middles, counts, strict=True) if x is not None]
    groups = (
        ("Out of sample at or below the median", BEST, [pair for pair in pairs if pair[0] < 0]),
        ("Above the median", "strategy", [pair for pair in pairs if pair[0] >= 0]),
    )
    traces = [
        bars([x for x, _ in group], [count for _, count in group], name, role, hover="%{y:.1%}<extra></extra>")
        for name, role, group in groups
    ]
    axes: dict[str, Any] = {
        "xaxis": {"title": {"text": "Logit of the rank out of sample"}, "zeroline": True},
        "yaxis": {"title": {"text": "Share of the splits"}, "tickformat": ".0%"},
    }
    return {"data": traces, "layout": layout(bargap=0.05, barmode="overlay", **axes)}


def decay_figure(inside: Sequence[float], outside: Sequence[float], slope: float | None, intercept: float) -> Figure:
    """Return the winner's ratio out of sample over the one in sample, a dot a split, with the regression line."""
    shown = _evenly(list(zip(inside, outside, strict=True)), 600)
    traces: list[Figure] = [
        {
            "type": "scatter", "mode": "markers", "name": "Splits", "x": [rounded(x) for x, _ in shown],
            "y": [rounded(y) for _, y in shown], "marker": {"size": 4, "opacity": 0.5}, "meta": {"role": "strategy"},
            "hovertemplate": "in sample %{x:.2f}, out of sample %{y:.2f}<extra></extra>",
        }
    ]  # fmt: skip
    ends = [min(inside), max(inside)]
    if slope is not None:
        traces.append(_straight("Regression", ends, [intercept + slope * x for x in ends], BEST, 2.0))
    traces.append(_straight("No decay", ends, ends, "benchmark", 1.2))
    axes: dict[str, Any] = {
        "xaxis": {"title": {"text": "Sharpe ratio in sample"}, "tickformat": ".2~f", "zeroline": False},
        "yaxis": {"title": {"text": "Sharpe ratio out of sample"}, "tickformat": ".2~f"},
    }
    return {"data": traces, "layout": layout(hovermode="closest", **axes)}


def forward_figure(stitched: pd.Series, hindsight: pd.Series | None, best: int | None) -> Figure:
    """Return the growth of 1 over the joined test windows, beside the best trial of the whole period."""
    traces = [_grown(stitched, "Chosen by the past alone", "strategy", 2.0)]
    if hindsight is not None:
        traces.append(_grown(hindsight, f"Trial {best}, chosen with hindsight", BEST, 1.2))
    axes: dict[str, Any] = {
        "xaxis": {"type": "date", "hoverformat": "%d %b %Y"},
        "yaxis": {"tickformat": ".2f", "title": {"text": "Growth of 1"}},
    }
    return {"data": traces, "layout": layout(hovermode="x unified", **axes)}


def paths_figure(paths: Sequence[float]) -> Figure:
    """Return the ratios of the paths: one bar each in their order of size, or a histogram when there are many."""
    if len(paths) <= MOST_BARS:
        values = sorted(paths)
        trace = bars(list(range(1, len(values) + 1)), values, "Paths", "strategy", hover="%{y:.2f}<extra></extra>")
        across: dict[str, Any] = {"title": {"text": "Path, by its ratio"}, "type": "category"}
        down: dict[str, Any] = {"title": {"text": "Sharpe ratio"}, "tickformat": ".2~f"}
    else:
        counts, edges = _histogram(paths)
        middles = [rounded((a + b) / 2) for a, b in itertools.pairwise(edges)]
        trace = bars(middles, counts, "Paths", "strategy", hover="%{y:.1%}<extra></extra>")
        across = {"title": {"text": "Sharpe ratio"}, "tickformat": ".2~f"}
        down = {"title": {"text": "Share of the paths"}, "tickformat": ".0%"}
    return {"data": [trace], "layout": layout(bargap=0.2, showlegend=False, xaxis=across, yaxis=down)}


def _histogram(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return shares and edges of bins; 0 is always an edge, so that no bin is on both sides of it."""
    import numpy as np

    given = np.asarray(values, dtype=float)
    low, high = min(float(given.min()), 0.0), max(float(given.max()), 0.0)
    width = (high - low) / BINS or 1.0
    first, last = int(np.floor(low / width)), int(np.ceil(high / width))
    edges = [place * width for place in range(first, max(last, first + 1) + 1)]
    # Bins hold their right edge: a logit of 0 is at the median, which counts as overfitted.
    counts, _ = np.histogram(-given, bins=[-edge for edge in reversed(edges)])
    return [float(count) / len(given) for count in reversed(counts)], edges


def _straight(name: str, x: Sequence[float], y: Sequence[float], role: str, width: float) -> Figure:
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": [rounded(v) for v in x], "y": [rounded(v) for v in y],
        "line": {"width": width, **({"dash": "dot"} if role == "benchmark" else {})}, "meta": {"role": role},
        "hoverinfo": "skip",
    }  # fmt: skip


def _grown(series: pd.Series, name: str, role: str, width: float) -> Figure:
    return {**line(series, name, role, width=width, points=CURVE_POINTS), "hovertemplate": "%{y:.2f}"}


def _evenly(items: list[Any], most: int) -> list[Any]:
    step = max(1.0, len(items) / most)
    return [items[int(i * step)] for i in range(min(len(items), most))]
