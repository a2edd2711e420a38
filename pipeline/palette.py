"""Colours, sizes and fonts that every figure of a run shares, static or interactive.

Hues follow the Okabe-Ito set, which stays distinguishable with the common kinds of colour blindness; each is
darkened or lightened until it reads on its own background. `reports` and plots in a notebook both import this
module, so it imports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours of one theme, as #rrggbb; `series1` to `series8` are for parts that lie beside each other."""

    strategy: str
    benchmark: str
    drawdown: str
    gain: str
    loss: str
    text: str
    muted: str
    grid: str
    background: str
    series1: str
    series2: str
    series3: str
    series4: str
    series5: str
    series6: str
    series7: str
    series8: str


LIGHT = Palette(
    strategy="#0b5fa5",
    benchmark="#6b7480",
    drawdown="#b3470b",
    gain="#0b5fa5",
    loss="#b3470b",
    text="#1b2330",
    muted="#56606e",
    grid="#e3e7ec",
    background="#ffffff",
    series1="#0b5fa5",
    series2="#b3470b",
    series3="#1a7f5a",
    series4="#8a4f9e",
    series5="#3b8fc4",
    series6="#9a7400",
    series7="#c2477f",
    series8="#4a6f7c",
)
DARK = Palette(
    strategy="#6db3ee",
    benchmark="#a0a9b5",
    drawdown="#f0935a",
    gain="#6db3ee",
    loss="#f0935a",
    text="#e4e8ee",
    muted="#a7b0bd",
    grid="#2c3541",
    background="#12171e",
    series1="#6db3ee",
    series2="#f0935a",
    series3="#5fc79b",
    series4="#c99ad8",
    series5="#9fd3f5",
    series6="#dcb94a",
    series7="#f296bd",
    series8="#8fb6c2",
)

FONT_FAMILY = ("Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")
FONT_SIZE = 10.0
LINE_WIDTH = 1.6
FIGURE_SIZE = (10.0, 5.6)
DPI = 130


def matplotlib_style() -> dict[str, object]:
    """Return rcParams of the light theme, for `with matplotlib.rc_context(matplotlib_style()):`."""
    return {
        "figure.figsize": FIGURE_SIZE,
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
        "figure.facecolor": LIGHT.background,
        "axes.facecolor": LIGHT.background,
        "axes.edgecolor": LIGHT.grid,
        "axes.labelcolor": LIGHT.muted,
        "axes.titlecolor": LIGHT.text,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlesize": FONT_SIZE + 1,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "grid.color": LIGHT.grid,
        "grid.linewidth": 0.8,
        "xtick.color": LIGHT.muted,
        "ytick.color": LIGHT.muted,
        "ytick.major.size": 0.0,
        "text.color": LIGHT.text,
        "font.size": FONT_SIZE,
        "font.family": "sans-serif",
        "font.sans-serif": [*FONT_FAMILY],
        "legend.frameon": False,
        "lines.linewidth": LINE_WIDTH,
        "svg.hashsalt": "evidence-chain",
    }
