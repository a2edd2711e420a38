"""Static figures of the artifacts (matplotlib, without its global state; the bytes depend on the data only)."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from pipeline.palette import FONT_SIZE, LIGHT, matplotlib_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def equity_png(
    equity: pd.Series,
    benchmark: pd.Series | None = None,
    *,
    initial: float | None = None,
    title: str = "",
    label: str = "Buy and hold",
) -> bytes:
    """Return a PNG of the equity curve above its drawdown; `initial` (default: the first value) is a peak, too.

    The font is the one that ships with matplotlib, so that the bytes are the same on every machine.
    `title` and the benchmark's `label` are drawn as they are, never as mathematics.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from pipeline.backtest.metrics import drawdown

    style: Any = {**mpl.rcParamsDefault, **matplotlib_style(), "font.sans-serif": ["DejaVu Sans"]}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure()
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _equity_axes(upper, equity, benchmark, " ".join(title.split()), " ".join(label.split()))
        _drawdown_axes(lower, drawdown(equity, initial))
        _set_margins(figure, upper, lower)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _set_margins(figure: Figure, upper: Axes, lower: Axes) -> None:
    """Leave room for the longest number of the vertical axes: measuring all texts takes as long as drawing."""
    width, height = figure.get_size_inches()
    digits = max(len(f"{limit:,.0f}") for limit in upper.get_ylim())
    digits = max(digits, *(len(f"{limit:.0f} %") for limit in lower.get_ylim()))
    left = (FONT_SIZE * 0.6 * digits + 20) / 72  # a digit's width, the axis label and its distance, in inches
    figure.subplots_adjust(left / width, 0.35 / height, 1 - 0.06 / width, 1 - 0.27 / height, hspace=0.06)
    figure.align_ylabels()


def _times(index: Any) -> Any:
    """Return UTC times without their zone, which matplotlib converts at once; those with a zone one by one."""
    return index.tz_localize(None).to_numpy() if str(getattr(index, "tz", None)) == "UTC" else index


def _equity_axes(axes: Axes, equity: pd.Series, benchmark: pd.Series | None, title: str, label: str) -> None:
    axes.plot(_times(equity.index), equity.to_numpy(), color=LIGHT.strategy, linewidth=1.4, label="Strategy")
    if benchmark is not None:
        axes.plot(
            _times(benchmark.index), benchmark.to_numpy(), color=LIGHT.benchmark, linewidth=1.0, label="Benchmark"
        )
        legend = axes.legend(["Strategy", label], loc="upper left")
        for text in legend.get_texts():
            text.set_parse_math(False)
    axes.set_title(title, parse_math=False)
    axes.set_ylabel("Equity")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.01)


def _drawdown_axes(axes: Axes, drawdowns: pd.Series) -> None:
    axes.fill_between(
        _times(drawdowns.index), drawdowns.to_numpy() * 100, 0, color=LIGHT.drawdown, alpha=0.35, linewidth=0
    )
    axes.plot(_times(drawdowns.index), drawdowns.to_numpy() * 100, color=LIGHT.drawdown, linewidth=0.8)
    axes.set_ylabel("Drawdown")
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.margins(x=0.01)
