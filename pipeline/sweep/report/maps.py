"""Maps of pairs of params, drawn as SVG: the median of the objective in each cell, with contour lines.

A cell without a trial stays empty: nothing is made up between trials. Colours are classes of the style sheet, one hue
from faint to strong, so the map reads in light, in dark, on paper and with any kind of colour blindness.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.backtest.catalogue import DIRECTIONS, metric
from pipeline.escape import html_text
from pipeline.report.blocks import Blocks, drawing
from pipeline.report.markup import Html
from pipeline.report.numbers import several
from pipeline.report.scales import number_ticks
from pipeline.sweep.report.words import log_ticks, objective_text, param_text, shortened
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 448, 372
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 34, 44
MOST_VALUES, MOST_BINS, LEAST, SHADES, LINES = 26, 14, 6, 8, 4
FILLED = 0.7  # share of the cells that must have trials for contour lines to say anything


@dataclass(frozen=True)
class Side:
    """One side of a map: the param, the edges of its cells (on the scale that is drawn), what each cell is called."""

    param: str
    edges: NDArray[np.floating[Any]]
    names: list[str]
    exact: bool
    logarithmic: bool

    def cell(self, value: Any) -> int:
        """Return the cell a value lies in."""
        if self.exact:
            return self.names.index(param_text(value))
        place = math.log(value) if self.logarithmic else value
        return int(np.clip(np.searchsorted(self.edges, place, side="right") - 1, 0, len(self.names) - 1))


Place = tuple[int, int]


@dataclass(frozen=True)
class Map:
    """The values of the objective by cell; `worse` and `better` are the bounds of the cells' medians."""

    across: Side
    down: Side
    objective: str
    cells: dict[Place, list[float]]
    worse: float
    better: float

    @property
    def medians(self) -> dict[Place, float]:
        """The median of each cell that has trials, in the order of the cells."""
        return {place: float(np.median(values)) for place, values in sorted(self.cells.items())}

    def x(self, cell: float) -> float:
        """Return the pixel of a place counted in cells from the left."""
        return LEFT + (WIDTH - LEFT - RIGHT) * cell / len(self.across.names)

    def y(self, cell: float) -> float:
        """Return the pixel of a place counted in cells from the foot."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * cell / len(self.down.names)

    def shade(self, value: float) -> int:
        """Return the shade of a value: 1 at the worse bound, the strongest at the better one."""
        if self.worse == self.better:
            return SHADES
        return 1 + min(SHADES - 1, int((value - self.worse) / (self.better - self.worse) * SHADES))

    def box(self, place: Place) -> str:
        """Return the attributes of a cell's rectangle."""
        x, y = self.x(place[0]), self.y(place[1] + 1)
        return f'x="{x:.1f}" y="{y:.1f}" width="{self.x(place[0] + 1) - x:.1f}" height="{self.y(place[1]) - y:.1f}"'

    def text(self, value: float) -> str:
        """Return a value of the objective."""
        return objective_text(self.objective, value)


def make_side(param: str, values: Sequence[float], *, logarithmic: bool = False) -> Side:
    """Return the cells of a param: one a value when there are few, else bins of equal width."""
    logarithmic = logarithmic and min(values) > 0
    given: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    names = [param_text(value) for value in sorted(set(values))]
    if len(names) <= MOST_VALUES and len(set(names)) == len(names):
        return Side(param, np.arange(len(names) + 1) - 0.5, names, True, False)
    places = np.log(given) if logarithmic else given
    bins = min(MOST_BINS, max(5, round(math.sqrt(len(values) / 2))))
    edges = np.linspace(float(places.min()), float(places.max()), bins + 1)
    shown = np.exp(edges) if logarithmic else edges
    names = [f"{param_text(float(a))} to {param_text(float(b))}" for a, b in itertools.pairwise(shown)]
    return Side(param, edges, names, False, logarithmic)


def make_map(trials: Sequence[Trial], across: Side, down: Side, objective: str) -> Map:
    """Return the values of the trials, sorted into cells."""
    cells: dict[Place, list[float]] = {}
    for trial in trials:
        cells.setdefault(_place(trial, across, down), []).append(trial.values[0])
    medians = [float(np.median(values)) for values in cells.values()]
    bounds = min(medians), max(medians)
    worse, better = bounds if DIRECTIONS.get(objective) != "minimize" else reversed(bounds)
    return Map(across, down, objective, cells, worse, better)


def pair_map(
    trials: Sequence[Trial], best: Trial, pair: tuple[str, str], objective: str, *, logarithmic: tuple[bool, bool]
) -> Blocks:
    """Return the map of two params as one numbered figure."""
    across, down = (
        make_side(name, [trial.params[name] for trial in trials], logarithmic=log)
        for name, log in zip(pair, logarithmic, strict=True)
    )
    made = make_map(trials, across, down, objective)
    body = [_cell(made, place, median) for place, median in made.medians.items()]
    outline = f'<rect class="best" {made.box(_place(best, across, down))}/>'
    inside = "".join([*body, _contours(made), outline, _labels(made), _key(made)])
    label = html_text(
        f"Map of the {metric(objective).label} over {pair[0]} and {pair[1]}: medians from {made.text(made.worse)} to "
        f"{made.text(made.better)}, {len(made.cells)} of {len(across.names) * len(down.names)} cells have trials."
    )
    svg = f'<svg class="chart map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{inside}</svg>'
    name = "-".join("".join(c for c in part if c.isalnum()) for part in pair)
    return drawing(f"map-{name}", "map", Html(svg), f"{metric(objective).label} over {pair[0]} and {pair[1]}.")


def _place(trial: Trial, across: Side, down: Side) -> Place:
    return across.cell(trial.params[across.param]), down.cell(trial.params[down.param])


def _cell(made: Map, place: Place, median: float) -> str:
    said = ", ".join(f"{side.param} {side.names[i]}" for side, i in zip((made.across, made.down), place, strict=True))
    text = html_text(f"{said}: {made.text(median)} ({several(len(made.cells[place]), 'trial')})")
    return f'<rect class="shade{made.shade(median)}" {made.box(place)}><title>{text}</title></rect>'


def _contours(made: Map) -> str:
    """Return contour lines through the middles of the cells; empty when too few cells have trials."""
    from contourpy import contour_generator

    rows, columns = len(made.down.names), len(made.across.names)
    if min(rows, columns) < LEAST or made.worse == made.better or len(made.cells) < FILLED * rows * columns:
        return ""
    grid = np.full((rows, columns), np.nan)
    for (across, down), value in made.medians.items():
        grid[down, across] = value
    hidden = np.ma.MaskedArray(grid, mask=np.isnan(grid))
    lines = contour_generator(x=np.arange(columns) + 0.5, y=np.arange(rows) + 0.5, z=hidden)
    levels = np.linspace(made.worse, made.better, LINES + 2)[1:-1]
    curves = (np.asarray(points) for level in levels for points in lines.lines(float(level)))
    paths = ["M" + "L".join(f"{made.x(x):.1f} {made.y(y):.1f}" for x, y in points) for points in curves]
    return f'<path class="contour" d="{"".join(paths)}"/>' if paths else ""


def _labels(made: Map) -> str:
    across, down = (html_text(shortened(side.param)) for side in (made.across, made.down))
    middle, half = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    foot = HEIGHT - BOTTOM + 17
    parts = [
        *(_text(made.x(cell), foot, "middle", text) for text, cell in _ticks(made.across, 7)),
        *(_text(LEFT - 8, made.y(cell) + 4, "end", text) for text, cell in _ticks(made.down, 10)),
        f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{across}</text>',
        f'<text transform="translate(14 {half:.0f}) rotate(-90)" text-anchor="middle">{down}</text>',
    ]
    return "".join(parts)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html_text(text)}</text>'


def _ticks(side: Side, most: int) -> list[tuple[str, float]]:
    """Return labels with their places, counted in cells: middles for single values, edges for bins."""
    if side.exact:
        every = -(-len(side.names) // most)
        return [(name, i + 0.5) for i, name in enumerate(side.names) if i % every == 0]
    low, high, cells = float(side.edges[0]), float(side.edges[-1]), len(side.names)
    if side.logarithmic:
        ticks = [(tick, math.log(tick)) for tick in log_ticks(math.exp(low), math.exp(high))]
        return [(param_text(tick), (place - low) / (high - low) * cells) for tick, place in ticks]
    return [
        (param_text(float(f"{v:.6g}")), (v - low) / (high - low) * cells) for v in number_ticks(low, high, most - 2)
    ]


def _key(made: Map) -> str:
    """Return the key of the shades above the map."""
    start, width = LEFT + 58, 18
    end = start + width * SHADES
    shades = (
        f'<rect class="shade{shade}" x="{start + width * (shade - 1)}" y="9" width="{width}" height="12"/>'
        for shade in range(1, SHADES + 1)
    )
    parts = [
        _text(start - 8, 19, "end", made.text(made.worse)),
        *shades,
        _text(end + 8, 19, "start", made.text(made.better)),
        f'<rect class="best" x="{end + 74}" y="9" width="12" height="12"/>',
        _text(end + 92, 19, "start", "best trial"),
    ]
    return "".join(parts)
