"""Parallel coordinates, drawn as SVG: one line a trial through its params and objectives, the best ones darkest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.backtest.catalogue import metric
from pipeline.escape import html_text
from pipeline.report.blocks import Blocks, drawing
from pipeline.report.markup import Html
from pipeline.report.scales import number_ticks
from pipeline.sweep.report.facts import is_number
from pipeline.sweep.report.figures import thinned
from pipeline.sweep.report.words import log_ticks, param_text, shortened, tick_text
from pipeline.sweep.trial import Trial

WIDTH, HEIGHT, TOP, BOTTOM, SIDE = 920, 400, 40, 20, 70
LINES, SHADES, MOST_AXES = 300, 5, 9


@dataclass(frozen=True)
class Rail:
    """One axis: its title, the value of a trial on it, the place of a value (0 at the foot, 1 at the top), ticks."""

    title: str
    value: Callable[[Trial], Any]
    place: Callable[[Any], float]
    ticks: Sequence[tuple[str, float]]


def parallel_figure(
    ranked: Sequence[Trial], params: Sequence[str], objectives: Sequence[str], logarithmic: Callable[[str], bool]
) -> Blocks:
    """Return the figure. `ranked` are the completed trials, the best first; `params` the axes wanted."""
    chosen = list(params)[: MOST_AXES - len(objectives)]
    rails = [_param_rail(name, ranked, logarithmic=logarithmic(name)) for name in chosen]
    rails += [_objective_rail(i, name, ranked) for i, name in enumerate(objectives)]
    if len(rails) < 2:
        return ()
    rank = {trial.number: place for place, trial in enumerate(ranked)}
    shown = sorted(thinned(ranked, LINES), key=lambda trial: -rank[trial.number])
    lines = "".join(_line(rails, trial, rank[trial.number], len(ranked)) for trial in shown)
    axes = "".join(_axis(rail, i, len(rails)) for i, rail in enumerate(rails))
    titles = [rail.title for rail in rails]
    label = html_text(f"Parallel coordinates of {len(shown)} trials over {', '.join(titles)}.")
    frame = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"'
    svg = f'<svg class="chart parallel" {frame}>{lines}{axes}</svg>'
    caption = (
        "One line a trial through its params and objectives: the stronger its colour, the better its rank; the best "
        "one is orange."
    )
    if len(shown) < len(ranked):
        caption += (
            f" {len(shown):,} of {len(ranked):,} completed trials, the ends of the ranking whole, the rest evenly."
        )
    if len(chosen) < len(params):
        caption += f" The {len(chosen)} most important params."
    box = f'<div class="drawing" tabindex="0" role="region" aria-label="Parallel coordinates">{svg}</div>'
    return drawing("parallel", "parallel", Html(box), caption)


def _param_rail(name: str, trials: Sequence[Trial], *, logarithmic: bool) -> Rail:
    values = [trial.params.get(name) for trial in trials]

    def value(trial: Trial) -> Any:
        return trial.params.get(name)

    if not all(is_number(item) for item in values):
        return _named(name, values, value)
    numbers = [float(item) for item in values]  # type: ignore[arg-type]
    return _numeric(name, value, numbers, param_text, logarithmic=logarithmic and min(numbers) > 0)


def _objective_rail(i: int, name: str, trials: Sequence[Trial]) -> Rail:
    numbers = [trial.values[i] for trial in trials]
    return _numeric(metric(name).label, lambda trial: trial.values[i], numbers, lambda v: tick_text(name, v))


def _named(title: str, values: Sequence[Any], value: Callable[[Trial], Any]) -> Rail:
    names = sorted({param_text(item) for item in values})
    places = {name: 0.5 if len(names) == 1 else i / (len(names) - 1) for i, name in enumerate(names)}
    return Rail(title, value, lambda item: places[param_text(item)], list(places.items()))


def _numeric(
    title: str,
    value: Callable[[Trial], Any],
    numbers: Sequence[float],
    text: Callable[[float], str],
    *,
    logarithmic: bool = False,
) -> Rail:
    low, high = min(numbers), max(numbers)

    def place(item: float) -> float:
        if high == low:
            return 0.5
        if logarithmic:
            return math.log(item / low) / math.log(high / low)
        return (item - low) / (high - low)

    every = (log_ticks(low, high) if logarithmic else number_ticks(low, high, 5)) if high > low else []
    inner = [tick for tick in every if 0.06 < place(tick) < 0.94]
    whole = all(number == int(number) for number in numbers)
    ticks = [
        (text(int(tick) if whole and tick == int(tick) else tick), place(tick))
        for tick in dict.fromkeys([low, *inner, high])
    ]
    return Rail(title, value, place, ticks)


def _x(i: int, count: int) -> float:
    return SIDE + (WIDTH - 2 * SIDE) * i / (count - 1)


def _y(place: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * place


def _line(rails: Sequence[Rail], trial: Trial, rank: int, count: int) -> str:
    points = (f"{_x(i, len(rails)):.0f} {_y(rail.place(rail.value(trial))):.1f}" for i, rail in enumerate(rails))
    kind = "best" if rank == 0 else f"rank{min(SHADES, 1 + rank * SHADES // count)}"
    return f'<path class="{kind}" d="M{"L".join(points)}"><title>trial {trial.number}</title></path>'


def _axis(rail: Rail, i: int, count: int) -> str:
    x = _x(i, count)
    last = i == count - 1
    parts = [f'<line class="rail" x1="{x:.0f}" x2="{x:.0f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>']
    parts.append(
        f'<text class="title" x="{x:.0f}" y="18" text-anchor="middle">{html_text(shortened(rail.title))}</text>'
    )
    for text, place in rail.ticks:
        y, shift, anchor = _y(place), 6 if last else -6, "start" if last else "end"
        parts.append(f'<text x="{x + shift:.0f}" y="{y + 4:.1f}" text-anchor="{anchor}">{html_text(text)}</text>')
    return "".join(parts)
