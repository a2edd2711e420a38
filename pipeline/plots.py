"""Static figures of the artifacts (matplotlib, without its global state; the bytes depend on the data only)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

EQUITY, BENCHMARK, LOSS, GRID = "#1f5fa8", "#8a8f98", "#b5482f", "#e3e6ea"


def equity_png(equity: pd.Series, benchmark: pd.Series | None = None, *, title: str = "") -> bytes:
    """Return a PNG of the equity curve above its drawdown. `title` is drawn as it is, never as mathematics."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from pipeline.backtest.metrics import drawdown

    with mpl.rc_context(mpl.rcParamsDefault):
        figure = Figure(figsize=(9.6, 5.4), dpi=120, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _equity_axes(upper, equity, benchmark, title)
        _drawdown_axes(lower, drawdown(equity))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _equity_axes(axes: Axes, equity: pd.Series, benchmark: pd.Series | None, title: str) -> None:
    axes.plot(equity.index, equity.to_numpy(), color=EQUITY, linewidth=1.4, label="Strategy")
    if benchmark is not None:
        axes.plot(benchmark.index, benchmark.to_numpy(), color=BENCHMARK, linewidth=1.0, label="Buy and hold")
        axes.legend(frameon=False, loc="upper left")
    axes.set_title(title, loc="left", fontsize=12, parse_math=False)
    axes.set_ylabel("Equity")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _quiet_frame(axes)


def _drawdown_axes(axes: Axes, drawdowns: pd.Series) -> None:
    axes.fill_between(drawdowns.index, drawdowns.to_numpy() * 100, 0, color=LOSS, alpha=0.35, linewidth=0)
    axes.plot(drawdowns.index, drawdowns.to_numpy() * 100, color=LOSS, linewidth=0.8)
    axes.set_ylabel("Drawdown")
    axes.yaxis.set_major_formatter("{x:.0f} %")
    _quiet_frame(axes)


def _quiet_frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
