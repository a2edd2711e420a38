"""Static figures of the artifacts (matplotlib, without its global state; the bytes depend on the data only)."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from pipeline.palette import LIGHT, matplotlib_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def equity_png(equity: pd.Series, benchmark: pd.Series | None = None, *, title: str = "") -> bytes:
    """Return a PNG of the equity curve above its drawdown.

    The font is the one that ships with matplotlib, so that the bytes are the same on every machine.
    `title` is drawn as it is, never as mathematics.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from pipeline.backtest.metrics import drawdown

    style: Any = {**mpl.rcParamsDefault, **matplotlib_style(), "font.sans-serif": ["DejaVu Sans"]}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _equity_axes(upper, equity, benchmark, " ".join(title.split()))
        _drawdown_axes(lower, drawdown(equity))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _equity_axes(axes: Axes, equity: pd.Series, benchmark: pd.Series | None, title: str) -> None:
    axes.plot(equity.index, equity.to_numpy(), color=LIGHT.strategy, linewidth=1.4, label="Strategy")
    if benchmark is not None:
        axes.plot(benchmark.index, benchmark.to_numpy(), color=LIGHT.benchmark, linewidth=1.0, label="Buy and hold")
        axes.legend(loc="upper left")
    axes.set_title(title, parse_math=False)
    axes.set_ylabel("Equity")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.01)


def _drawdown_axes(axes: Axes, drawdowns: pd.Series) -> None:
    axes.fill_between(drawdowns.index, drawdowns.to_numpy() * 100, 0, color=LIGHT.drawdown, alpha=0.35, linewidth=0)
    axes.plot(drawdowns.index, drawdowns.to_numpy() * 100, color=LIGHT.drawdown, linewidth=0.8)
    axes.set_ylabel("Drawdown")
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.margins(x=0.01)
