"""Draw a figure of the report as SVG: for pages without scripts, for paper, for notebooks.

Drawn is what the report's own figures use of plotly's schema: lines (filled, stepped), markers and bars on one
horizontal axis of numbers (linear or logarithmic), dates or categories, and one or more vertical axes above each other;
and a list of names with a lying bar each. Colours are classes
of the style sheet, so the same drawing is right in light, in dark and on paper.
"""

from __future__ import annotations

import base64
import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.errors import RenderError
from pipeline.escape import html_text
from pipeline.objects import as_object
from pipeline.report.downsample import keep
from pipeline.report.scales import Scale, date_ticks, number_text, number_ticks, seconds_of

WIDE, HALF = 920, 448
RIGHT, TOP, BOTTOM = 12, 28, 40
ROLES = ("strategy", "benchmark", "drawdown", "gain", "loss")
COLOURED = (*ROLES, *(f"series{number}" for number in range(1, 9)))
KINDS = {"date", "category", "linear", "log"}


@dataclass(frozen=True)
class Curve:
    """One trace with its values as numbers; None where there is no point."""

    spec: dict[str, Any]
    role: str
    x: list[float]
    y: list[float | None]

    @property
    def axis(self) -> str:
        """The name of its vertical axis in the layout."""
        return "yaxis" + str(self.spec.get("yaxis", "y")).removeprefix("y")

    @property
    def kind(self) -> str:
        """bar, markers or lines."""
        if self.spec.get("type") == "bar":
            return "bar"
        return "markers" if self.spec.get("mode") == "markers" else "lines"

    @property
    def from_zero(self) -> bool:
        """Say whether what is drawn reaches down or up to 0."""
        return self.kind == "bar" or self.spec.get("fill") == "tozeroy"


@dataclass(frozen=True)
class Chart:
    """A figure ready to be drawn: its curves, its layout, its size, the kind of its horizontal axis.

    `rows` are the names on a vertical axis of categories, the first on top; they lie at 0, -1, -2 and so on.
    """

    curves: list[Curve]
    layout: dict[str, Any]
    width: int
    height: int
    kind: str
    categories: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    @cached_property
    def left(self) -> float:
        """Room for the longest tick of the vertical axes and their titles."""
        texts = (text for name in self.axes for _, text in self.ticks(name, self.vertical(name)))
        return 34 + 6.7 * max((len(text) for text in texts), default=4)

    @property
    def axes(self) -> list[str]:
        """The names of the vertical axes that have curves."""
        return list(dict.fromkeys(curve.axis for curve in self.curves)) or ["yaxis"]

    def ticks(self, name: str, down: Scale) -> list[tuple[float, str]]:
        """Return the ticks of a vertical axis with their texts."""
        if self.rows:
            return [(-float(place), html.unescape(name)) for place, name in enumerate(self.rows)]
        options = self.axis(name)
        most = int(options.get("nticks") or max(3, abs(down.end - down.start) // 48))
        found = number_ticks(down.low, down.high, most)
        if options.get("dtick") == 1:
            found = [tick for tick in found if tick == round(tick)]
        return [(tick, number_text(tick, options.get("tickformat"))) for tick in found]

    def axis(self, name: str) -> dict[str, Any]:
        """Return the options of an axis."""
        return as_object(self.layout.get(name))

    def horizontal(self) -> Scale:
        """Return the shared horizontal axis."""
        values = [x for curve in self.curves for x in curve.x]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        bars = [curve for curve in self.curves if curve.kind == "bar"]
        pad = max((_slot(curve.x) for curve in bars), default=0.0) / 2
        if any(curve.kind == "markers" for curve in self.curves):
            pad = max(pad, (high - low) * 0.03)
        if not bars and high == low:
            pad = 0.5
        return Scale(low - pad, high + pad, self.left, self.width - RIGHT)

    def vertical(self, name: str) -> Scale:
        """Return one vertical axis in its band."""
        if self.rows:
            return Scale(0.5 - len(self.rows), 0.5, self.height - BOTTOM, TOP)
        curves = [curve for curve in self.curves if curve.axis == name]
        values = [y for curve in curves for y in curve.y if y is not None]
        values += [0.0] if any(curve.from_zero for curve in curves) or not values else []
        low, high = min(values), max(values)
        pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        at_zero = any(curve.from_zero for curve in curves)
        low, high = (low if at_zero and low == 0.0 else low - pad), (high if at_zero and high == 0.0 else high + pad)
        bottom, top = self.axis(name).get("domain", (0.0, 1.0))
        room = self.height - TOP - BOTTOM
        return Scale(low, high, TOP + room * (1 - bottom), TOP + room * (1 - top))


def draw(figure: dict[str, Any], *, name: str, label: str, width: int = WIDE, height: int = 440) -> str:
    """Return a figure in plotly's schema as an SVG element; raises RenderError for what cannot be drawn."""
    try:
        if any(trace.get("orientation") == "h" for trace in figure.get("data", [])):
            return _svg(_lying_bars(figure, width, height), label, width, height)
        chart = _chart(figure, width, height)
    except (ValueError, TypeError, KeyError) as error:
        raise RenderError(f"The figure {name} cannot be drawn as a static one: {error}. Leave out --static.") from None
    across = chart.horizontal()
    bands = {name: chart.vertical(name) for name in chart.axes}
    parts = [_windows(chart, across), *(_frame(chart, axis, scale) for axis, scale in bands.items())]
    parts.append(_bottom(chart, across))
    bars = [curve for curve in chart.curves if curve.kind == "bar"]
    for curve in chart.curves:
        down = bands[curve.axis]
        parts.append(_bars(chart, curve, bars, across, down) if curve.kind == "bar" else _points(curve, across, down))
    parts.append(_legend(chart))
    return _svg(parts, label, width, height)


def _svg(parts: Sequence[str], label: str, width: int, height: int) -> str:
    frame = f'viewBox="0 0 {width} {height}" role="img" aria-label="{html_text(label)}"'
    return f'<svg class="chart" {frame}>{"".join(parts)}</svg>'


def _lying_bars(figure: dict[str, Any], width: int, height: int) -> list[str]:
    """Return the parts of a list of names, the first at the foot, each with a bar from 0."""
    layout, (trace,) = figure.get("layout", {}), figure["data"]
    names = [html.unescape(str(name)) for name in _values(trace["y"])]
    values = [float(value) for value in _values(trace["x"])]
    chart = Chart([], layout, width, height, "linear")
    left = 20 + 6.7 * max(map(len, names))
    low, high = min(0.0, *values), max(0.0, *values)
    across = Scale(low * 1.05, high * 1.05 or 1.0, left, width - RIGHT)
    row = (height - TOP - BOTTOM) / len(names)
    thick, zero, path = row * (1.0 - float(layout.get("bargap", 0.2))), across.place(0.0), []
    parts = [_bottom(chart, across)]
    for place, (name, value) in enumerate(zip(names, values, strict=True), start=1):
        middle = height - BOTTOM - row * (place - 0.5)
        path.append(f"M{zero:.1f} {middle - thick / 2:.1f}H{across.place(value):.1f}v{thick:.1f}H{zero:.1f}z")
        parts.append(f'<text x="{left - 8:.1f}" y="{middle + 4:.1f}" text-anchor="end">{html_text(name)}</text>')
    role = (trace.get("meta") or {}).get("role")
    return [*parts, f'<path class="fill {role if role in ROLES else ROLES[0]}" d="{"".join(path)}"/>']


def _chart(figure: dict[str, Any], width: int, height: int) -> Chart:
    layout, traces = figure.get("layout", {}), figure.get("data", [])
    places = [_values(trace["x"]) if "x" in trace else [*range(len(_values(trace.get("y", []))))] for trace in traces]
    kind = str((layout.get("xaxis") or {}).get("type") or _kind_of(places))
    if kind not in KINDS:
        raise ValueError(f"its horizontal axis is of the type {kind!r}")
    named = (str(x) for xs in places for x in xs) if kind == "category" else ()
    categories = list(dict.fromkeys(named))
    numbers = {name: float(i) for i, name in enumerate(categories)}
    curves, rows = [], _rows(layout, traces)
    for i, (trace, xs) in enumerate(zip(traces, places, strict=True)):
        if trace.get("type", "scatter") not in {"scatter", "bar"}:
            raise ValueError(f"it has a trace of the type {trace['type']!r}; lines, markers and bars are drawn")
        role = (trace.get("meta") or {}).get("role")
        x = [_placed(v, kind, numbers) for v in xs]
        if len(xs) != len(_values(trace.get("y", []))):
            raise ValueError("it has a trace with more values on one axis than on the other")
        heights = [-float(rows.index(str(v))) if rows else v for v in _values(trace.get("y", []))]
        y = [None if v is None or not math.isfinite(v) else float(v) for v in heights]
        curves.append(Curve(trace, role if role in COLOURED else ROLES[i % len(ROLES)], x, y))
    return Chart(curves, layout, width, height, kind, categories, rows)


def _rows(layout: dict[str, Any], traces: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names on a vertical axis of categories, in their order; none of an axis of numbers."""
    if (layout.get("yaxis") or {}).get("type") != "category":
        return []
    return list(dict.fromkeys(str(value) for trace in traces for value in _values(trace.get("y", []))))


def _placed(value: Any, kind: str, categories: dict[str, float]) -> float:
    """Return where a value lies on a horizontal axis of this kind."""
    if kind == "category":
        return categories[str(value)]
    if kind == "date":
        return seconds_of(value)
    return math.log10(value) if kind == "log" else float(value)


def _values(given: Any) -> list[Any]:
    """Return the values of a list or of a typed array as plotly writes it."""
    if isinstance(given, dict):
        import numpy as np

        return list(np.frombuffer(base64.b64decode(given["bdata"]), dtype=np.dtype(given["dtype"])).tolist())
    return list(given)


def _kind_of(places: Sequence[Sequence[Any]]) -> str:
    texts = [x for xs in places for x in xs if isinstance(x, str)]
    if not texts:
        return "linear"
    try:
        seconds_of(texts[0])
    except ValueError:
        return "category"
    return "date"


def _slot(x: Sequence[float]) -> float:
    """Return the room of one bar: the smallest distance between two."""
    ordered = sorted(set(x))
    return min((b - a for a, b in itertools.pairwise(ordered)), default=1.0)


def _frame(chart: Chart, name: str, down: Scale) -> str:
    """Return the rules, ticks and title of one vertical axis."""
    parts = []
    for tick, text in chart.ticks(name, down):
        y, kind = down.place(tick), "zero" if tick == 0.0 else "rule"
        parts.append(
            f'<line class="{kind}" x1="{chart.left:.1f}" x2="{chart.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{chart.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{html_text(text)}</text>')
    title = _title(chart.axis(name))
    if title:
        middle = (down.start + down.end) / 2
        parts.append(f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">{title}</text>')
    return "".join(parts)


def _windows(chart: Chart, across: Scale) -> str:
    """Return the shaded stretches of time behind the curves."""
    parts = []
    for shape in chart.layout.get("shapes", ()) if chart.kind == "date" else ():
        ends = sorted(across.place(seconds_of(shape[name])) for name in ("x0", "x1"))
        low, high = (min(max(end, across.start), across.end) for end in ends)
        parts.append(
            f'<rect class="window" x="{low:.1f}" y="{TOP}" width="{high - low:.1f}" '
            f'height="{chart.height - TOP - BOTTOM}"/>'
        )
    return "".join(parts)


def _bottom(chart: Chart, across: Scale) -> str:
    """Return the ticks and the title of the horizontal axis."""
    options = chart.axis("xaxis")
    floor = chart.height - BOTTOM
    most = max(3, int(across.end - across.start) // 90)
    if chart.kind == "date":
        ticks = date_ticks(across.low, across.high, most)
    elif chart.kind == "category":
        every = max(1, -(-len(chart.categories) // max(1, int(across.end - across.start) // 40)))
        ticks = [(float(i), text) for i, text in enumerate(chart.categories) if i % every == 0]
    elif chart.kind == "log":
        named = zip(options.get("tickvals", ()), options.get("ticktext", ()), strict=True)
        ticks = [(math.log10(value), html.unescape(str(text))) for value, text in named]
    else:
        found = number_ticks(across.low, across.high, most)
        ticks = [(tick, number_text(tick, options.get("tickformat"))) for tick in found]
    parts = [f'<line class="axis" x1="{across.start:.1f}" x2="{across.end:.0f}" y1="{floor}" y2="{floor}"/>']
    for value, text in ticks:
        x = across.place(value)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{html_text(text)}</text>')
    title = _title(options)
    if title:
        middle = (across.start + across.end) / 2
        parts.append(f'<text x="{middle:.1f}" y="{chart.height - 6}" text-anchor="middle">{title}</text>')
    return "".join(parts)


def _bars(chart: Chart, curve: Curve, bars: list[Curve], across: Scale, down: Scale) -> str:
    grouped = [bar for bar in bars if bar.axis == curve.axis] if chart.layout.get("barmode") == "group" else [curve]
    slot = abs(across.place(_slot(curve.x)) - across.place(0.0)) * (1.0 - float(chart.layout.get("bargap", 0.2)))
    width = slot / len(grouped)
    shift = -slot / 2 + width * grouped.index(curve)
    zero, path = down.place(0.0), []
    for x, y in zip(curve.x, curve.y, strict=True):
        if y is not None:
            path.append(f"M{across.place(x) + shift:.1f} {zero:.1f}h{width:.1f}V{down.place(y):.1f}h{-width:.1f}z")
    return f'<path class="fill {curve.role}" d="{"".join(path)}"/>'


def _points(curve: Curve, across: Scale, down: Scale) -> str:
    if curve.kind == "markers":
        return _markers(curve, across, down)
    chosen = _thinned(curve, int(across.end - across.start))
    stepped = (curve.spec.get("line") or {}).get("shape") == "hv"
    path, pen = [], False
    for i in chosen:
        y = curve.y[i]
        if y is None:
            pen = False
            continue
        px, py = f"{across.place(curve.x[i]):.1f}", f"{down.place(y):.1f}"
        path.append(f"H{px}V{py}" if pen and stepped else f"{'L' if pen else 'M'}{px} {py}")
        pen = True
    line = f'<path class="line {curve.role}" d="{"".join(path)}"/>'
    if curve.spec.get("fill") != "tozeroy" or not path or any(curve.y[i] is None for i in chosen):
        return line
    zero = f"{down.place(0.0):.1f}"
    ends = f"L{across.place(curve.x[chosen[-1]]):.1f} {zero}L{across.place(curve.x[chosen[0]]):.1f} {zero}z"
    if (curve.spec.get("meta") or {}).get("solid"):
        return f'<path class="area solid {curve.role}" d="{"".join(path)}{ends}"/>'
    return f'<path class="area {curve.role}" d="{"".join(path)}{ends}"/>{line}'


def _thinned(curve: Curve, points: int) -> list[int]:
    import numpy as np

    values = np.array([math.nan if y is None else y for y in curve.y], dtype=float)
    return [int(i) for i in keep(values, points)]


def _markers(curve: Curve, across: Scale, down: Scale) -> str:
    marker = curve.spec.get("marker") or {}
    r, cross = float(marker.get("size", 6)) / 2, marker.get("symbol") == "x"
    path = []
    for x, y in zip(curve.x, curve.y, strict=True):
        if y is None:
            continue
        px, py = across.place(x), down.place(y)
        if cross:
            path.append(f"M{px - r:.1f} {py - r:.1f}l{2 * r:g} {2 * r:g}m0 {-2 * r:g}l{-2 * r:g} {2 * r:g}")
        else:
            path.append(f"M{px - r:.1f} {py:.1f}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0")
    return f'<path class="{"line" if cross else "fill"} {curve.role}" d="{"".join(path)}"/>'


def _legend(chart: Chart) -> str:
    named = [c for c in chart.curves if c.spec.get("showlegend", True) and c.spec.get("name")]
    shown = sorted(named, key=lambda curve: int(curve.spec.get("legendrank", 1000)))
    if len(shown) < 2 or chart.layout.get("showlegend") is False:
        return ""
    parts, x = [], chart.left
    for curve in shown:
        text = html.unescape(str(curve.spec["name"]))
        solid = bool((curve.spec.get("meta") or {}).get("solid"))
        kind = "fill" if curve.kind == "bar" or solid else "line"
        parts.append(f'<path class="{kind} {curve.role} key" d="M{x:.0f} 12h16v{4 if kind == "fill" else 0}h-16z"/>')
        parts.append(f'<text x="{x + 22:.0f}" y="18">{html_text(text)}</text>')
        x += 44 + 6.4 * len(text)
    return "".join(parts)


def _title(options: dict[str, Any]) -> str:
    title = options.get("title")
    text = title.get("text") if isinstance(title, dict) else title
    return html_text(html.unescape(str(text))) if text else ""
