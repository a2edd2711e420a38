"""Interactive figures of trades; see pipeline/report/figures.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.report.blocks import Figure
from pipeline.report.figures import AMOUNTS, SHARES, bars, date_axis, layout, line, money_hover, rounded, titled
from pipeline.report.numbers import MINUS, several

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST_POINTS = 2_000
BINS = 30


def returns_figure(returns: np.ndarray) -> Figure:
    """Return how many trades had which net return (decimals), gains and losses in their colours; 0 is a bound."""
    import numpy as np

    width = _width(float(returns.max() - returns.min()))
    first, last = np.floor(returns.min() / width), np.floor(returns.max() / width)
    places = np.arange(first, last + 1)
    counts = np.array([(np.floor(returns / width) == place).sum() for place in places])
    middle = (places + 0.5) * width
    bounds = [f"{_bound(place * width)} to {_bound((place + 1) * width)}" for place in places]
    traces = [
        _counted([rounded(x) for x in middle[side]], counts[side], np.array(bounds)[side], name, role)
        for side, name, role in ((middle > 0, "Gains", "gain"), (middle < 0, "Losses", "loss"))
        if side.any()
    ]
    axes = {
        "xaxis": {"tickformat": SHARES, "title": {"text": "Net return of a trade"}},
        "yaxis": _counts(float(counts.max())),
    }
    return {"data": traces, "layout": layout(hovermode="closest", bargap=0.05, barmode="overlay", **axes)}


def cumulative_figure(pnl: pd.Series, unit: str = "") -> Figure:
    """Return the running sum of net P&L, in `unit`, by time of exit."""
    summed = pnl.cumsum()
    trace = line(summed, "Cumulative P&L", "strategy", hover=money_hover(summed))
    trace["line"] |= {"shape": "hv"}
    axes: dict[str, Any] = {
        "xaxis": date_axis(pnl.index),
        "yaxis": {"tickformat": AMOUNTS, "title": {"text": titled("Net P&L", unit)}},
    }
    return {"data": [trace], "layout": layout(hovermode="x unified", showlegend=False, **axes)}


def excursion_figure(trades: pd.DataFrame) -> Figure:
    """Return best against worst excursion of each trade, winners and losers in their colours."""
    shown = trades.iloc[:: -(-len(trades) // MOST_POINTS)]
    won = shown["net_pnl"].to_numpy(dtype=float) > 0
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": name, "meta": {"role": role},
            "x": [rounded(value) for value in shown["mae"].to_numpy(dtype=float)[side]],
            "y": [rounded(value) for value in shown["mfe"].to_numpy(dtype=float)[side]],
            "text": [str(value) for value in shown["trade_id"].to_numpy()[side]],
            "marker": {"size": 7, "symbol": symbol},
            "hovertemplate": "trade %{text}: worst %{x:.2%}, best %{y:.2%}<extra></extra>",
        }
        for side, name, role, symbol in ((won, "Winners", "gain", "circle"), (~won, "Losers", "loss", "x"))
        if side.any()
    ]  # fmt: skip
    axes = {
        "xaxis": {"tickformat": SHARES, "title": {"text": "Worst excursion (MAE)"}, "nticks": 6},
        "yaxis": {"tickformat": SHARES, "title": {"text": "Best excursion (MFE)"}, "nticks": 6},
    }
    return {"data": traces, "layout": layout(hovermode="closest", **axes)}


def duration_figure(held: np.ndarray) -> Figure:
    """Return how many trades were held for how many bars; each column stands over the whole numbers it counts."""
    import numpy as np

    width = max(1, int(np.ceil(_width(float(held.max() - held.min())))))
    places = np.floor(held / width).astype(int)
    counts = np.bincount(places)[places.min() :]
    lowest = [int(place) * width for place in range(places.min(), places.max() + 1)]
    bounds = [f"{low:,} to {low + width - 1:,} bars" if width > 1 else several(low, "bar") for low in lowest]
    trace = _counted([low + (width - 1) / 2 for low in lowest], counts, bounds, "Trades", "strategy")
    axes: dict[str, Any] = {
        "xaxis": {"title": {"text": "Bars held"}, "tickformat": AMOUNTS},
        "yaxis": _counts(float(counts.max())),
    }
    return {"data": [trace], "layout": layout(hovermode="closest", bargap=0.05, showlegend=False, **axes)}


def _counted(middle: Sequence[Any], counts: Iterable[float], bounds: Iterable[str], name: str, role: str) -> Figure:
    """Return columns that say between which bounds they count."""
    trace = bars(
        middle, [float(count) for count in counts], name, role, hover="%{hovertext}: %{y:,.0f} trades<extra></extra>"
    )
    return trace | {"hovertext": [str(text) for text in bounds]}


def _bound(value: float) -> str:
    """Return a bound of a bin as a percentage with the decimals it has."""
    text = f"{value * 100:.4f}".rstrip("0").rstrip(".")
    return ("0" if text == "-0" else text.replace("-", MINUS)) + "%"


def _counts(most: float) -> dict[str, Any]:
    """Return an axis of whole numbers."""
    axis: dict[str, Any] = {"title": {"text": "Trades"}, "tickformat": ",.0f"}
    return axis | ({"dtick": 1} if most < 8 else {})


def _width(span: float) -> float:
    """Return a round width of bins that cuts `span` into at most about 30."""
    import math

    if not span > 0.0:
        return 0.01
    raw = span / BINS
    scale = 10.0 ** math.floor(math.log10(raw))
    return next(scale * factor for factor in (1.0, 2.0, 5.0, 10.0) if scale * factor >= raw)
