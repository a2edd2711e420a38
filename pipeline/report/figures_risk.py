"""Interactive figures of risk over time and of the distribution of returns; see pipeline/report/figures.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.escape import plot_text
from pipeline.report.blocks import Figure
from pipeline.report.figures import NUMBERS, SHARES, bars, date_axis, layout, line, rounded

if TYPE_CHECKING:
    import pandas as pd

# Points kept of each rolling curve: it is smooth, and there are several.
ROLLING_POINTS = 500


def rolling_figure(own: pd.DataFrame, other: pd.DataFrame | None, benchmark: str = "Benchmark") -> Figure:
    """Return rolling Sharpe ratio, volatility and, with a benchmark, beta, stacked on one time axis.

    `own` has the columns sharpe, volatility and perhaps beta, `other` those of the benchmark, which is
    called `benchmark`; rows of NaN are left out.
    """
    names = [name for name in ("sharpe", "volatility", "beta") if name in own and own[name].notna().any()]
    shapes = {
        "sharpe": ("Sharpe a year", NUMBERS, ".2f"),
        "volatility": ("Volatility a year", SHARES, ".2%"),
        "beta": ("Beta", NUMBERS, ".2f"),
    }
    traces, axes = [], {}
    height = 1.0 / max(len(names), 1)
    for i, name in enumerate(names):
        title, ticks, hover = shapes[name]
        suffix = str(i + 1) if i else ""
        top = 1.0 - i * height
        axes[f"yaxis{suffix}"] = {
            "domain": [round(top - height * 0.82, 4), round(top, 4)], "title": {"text": title}, "tickformat": ticks,
            "nticks": 5, "zeroline": name == "sharpe",
        }  # fmt: skip
        curves = [(own, "Strategy", "strategy", 1.6)]
        if other is not None and name in other:
            curves.append((other, plot_text(benchmark), "benchmark", 1.1))
        for table, label, role, width in curves:
            trace = line(
                table[name].loc[table[name].first_valid_index() :], label, role, width=width, points=ROLLING_POINTS
            )
            trace |= {
                "yaxis": f"y{suffix}",
                "showlegend": i == 0,
                "legendgroup": role,
                "hovertemplate": f"{title} %{{y:{hover}}}",
            }
            traces.append(trace)
    last = str(len(names)) if len(names) > 1 else ""
    shared = {"anchor": f"y{last}", **date_axis(own.index)}
    return {"data": traces, "layout": layout(hovermode="x unified", hoversubplots="axis", xaxis=shared, **axes)}


def histogram_figure(table: pd.DataFrame) -> Figure:
    """Return the counts of returns as bars and what a normal distribution expects as a line."""
    middle = [rounded(value) for value in (table["left"] + table["right"]) / 2]
    counts = bars(middle, list(table["count"].astype(float)), "Returns", "strategy", hover="%{y:,.0f} bars")
    expected = {
        "type": "scatter", "mode": "lines", "name": "Normal", "x": middle,
        "y": [rounded(value) for value in table["normal"]], "line": {"width": 1.4},
        "meta": {"role": "drawdown"}, "hovertemplate": "%{y:,.1f} expected",
    }  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": {"tickformat": SHARES, "title": {"text": "Return per bar"}, "hoverformat": ".3~%"},
        "yaxis": {"tickformat": ",.0f", "title": {"text": "Bars"}},
    }
    return {"data": [counts, expected], "layout": layout(hovermode="x unified", bargap=0.05, **axes)}


def qq_figure(points: pd.DataFrame) -> Figure:
    """Return sample quantiles over normal ones, with the line on which a normal distribution would lie."""
    theoretical = [rounded(value) for value in points["theoretical"]]
    ends = [theoretical[0], theoretical[-1]]
    reference = {
        "type": "scatter", "mode": "lines", "name": "Normal", "x": ends, "y": ends, "line": {"width": 1.2},
        "meta": {"role": "benchmark"}, "hoverinfo": "skip",
    }  # fmt: skip
    sample = {
        "type": "scatter", "mode": "markers", "name": "Returns", "x": theoretical,
        "y": [rounded(value) for value in points["sample"]], "marker": {"size": 5}, "meta": {"role": "strategy"},
        "hovertemplate": "normal %{x:.2f}, returns %{y:.2f}<extra></extra>",
    }  # fmt: skip
    axes: dict[str, Any] = {
        "xaxis": {"title": {"text": "Normal quantile (deviations)"}, "tickformat": NUMBERS, "zeroline": False},
        "yaxis": {"title": {"text": "Quantile of returns (deviations)"}, "tickformat": NUMBERS, "zeroline": False},
    }
    return {"data": [sample, reference], "layout": layout(hovermode="closest", **axes)}


def activity_figure(table: pd.DataFrame) -> Figure:
    """Return the share of bars long and short by month (short below zero) above the turnover of the month.

    A share is a step from the beginning of its month to that of the next, the last month's as well.
    """
    import pandas as pd

    months = [f"{stamp:%Y-%m-%d}" for stamp in table.index]
    after = f"{table.index[-1] + pd.offsets.MonthBegin():%Y-%m-%d}"
    shares = [(table["long"], "Long", "gain")]
    if bool((table["short"] > 0).any()):
        shares.append((-table["short"], "Short", "loss"))
    traces = [
        {
            "type": "scatter", "mode": "lines", "name": name, "x": [*months, after],
            "y": [rounded(value) for value in [*share, share.iloc[-1]]],
            "line": {"width": 1, "shape": "hv"}, "fill": "tozeroy", "meta": {"role": role}, "hovertemplate": "%{y:.1%}",
        }
        for share, name, role in shares
    ]  # fmt: skip
    turnover = bars(months, list(table["turnover"]), "Turnover", "benchmark", hover="%{y:.2f}")
    traces.append(turnover | {"yaxis": "y2"})
    axes: dict[str, Any] = {
        "xaxis": {"type": "date", "anchor": "y2", "hoverformat": "%b %Y"},
        "yaxis": {"domain": [0.42, 1.0], "tickformat": SHARES, "title": {"text": "Share of bars"}, "nticks": 5},
        "yaxis2": {"domain": [0.0, 0.3], "tickformat": NUMBERS, "title": {"text": "Of mean equity"}, "nticks": 4},
    }
    return {
        "data": traces,
        "layout": layout(hovermode="x unified", hoversubplots="axis", bargap=0, **axes),
    }
