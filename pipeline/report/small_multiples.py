"""Small line charts side by side on one scale, drawn as SVG: no script, the page's own colours, sharp on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.backtest.catalogue import RATIO
from pipeline.escape import html_text
from pipeline.report.blocks import Blocks, drawing
from pipeline.report.markup import Html
from pipeline.report.numbers import format_number

WIDTH, HEIGHT = 240, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 10, 26


@dataclass(frozen=True)
class Panel:
    """One chart: its title, labels along the x axis, a value each (None: no point), and which one is the run itself."""

    title: str
    labels: Sequence[str]
    values: Sequence[float | None]
    base: int | None = None


def small_multiples(name: str, panels: Sequence[Panel], *, caption: str, what: str) -> Blocks:
    """Return the panels as one numbered figure; `what` is the quantity on all y axes. Empty for none."""
    known = [value for panel in panels for value in panel.values if value is not None]
    if not known:
        return ()
    low, high = min(0.0, *known), max(0.0, *known)
    step = _step(high - low or 1.0)
    bounds = step * (low // step), step * -(-high // step)
    charts = "\n".join(_chart(panel, bounds, step, what) for panel in panels)
    return drawing(name, "multiples", Html(f'<div class="panels">\n{charts}\n</div>'), caption)


def _chart(panel: Panel, bounds: tuple[float, float], step: float, what: str) -> str:
    low, high = bounds
    places = [_x(i, len(panel.labels)) for i in range(len(panel.labels))]
    numbered = enumerate(zip(places, panel.values, strict=True))
    points = [(x, _y(value, low, high), i) for i, (x, value) in numbered if value is not None]
    marks = "".join(_dot(x, y, panel, i) for x, y, i in points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    labels = "".join(
        f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{html_text(label)}</text>'
        for x, label in zip(places, panel.labels, strict=True)
    )
    said = ", ".join(f"{panel.labels[i]}: {format_number(panel.values[i], RATIO)}" for _, _, i in points)
    label = html_text(f"{what} by {panel.title}. {said}")
    return (
        f'<div class="panel"><p class="panel-title">{html_text(panel.title)}</p>'
        f'<svg class="small" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{_grid(low, high, step)}{labels}"
        f'<polyline class="trace" points="{line}"/>{marks}</svg></div>'
    )


def _grid(low: float, high: float, step: float) -> str:
    ticks = [low + step * i for i in range(round((high - low) / step) + 1)]
    return "".join(_rule(tick, _y(tick, low, high), step) for tick in ticks)


def _rule(tick: float, y: float, step: float) -> str:
    kind = "zero" if abs(tick) < step / 2 else "rule"
    line = f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{_tick(tick, step)}</text>'


def _dot(x: float, y: float, panel: Panel, i: int) -> str:
    kind, size = ("base", 4.5) if i == panel.base else ("dot", 3.0)
    said = html_text(f"{panel.labels[i]}: {format_number(panel.values[i], RATIO)}")
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"><title>{said}</title></circle>'


def _x(i: int, count: int) -> float:
    inside = WIDTH - LEFT - RIGHT - 24
    return LEFT + 12 + (inside / 2 if count == 1 else inside * i / (count - 1))


def _y(value: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)


def _step(span: float) -> float:
    """Return a round distance between ticks that gives three to five of them."""
    from math import floor, log10

    raw = span / 4
    scale = 10.0 ** floor(log10(raw))
    return next(scale * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if scale * factor >= raw * 0.999)


def _tick(value: float, step: float) -> str:
    decimals = 0 if step >= 1 else 1 if round(step * 10, 6) == round(step * 10) else 2
    return format_number(0.0, RATIO)[:1] if abs(value) < step / 2 else f"{value:.{decimals}f}".replace("-", "\u2212")
