"""Equity, drawdown and returns by period."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import PERCENT, RATIO
from pipeline.report.blocks import Blocks, Cell, Column, Image, Shaded, chart, heading, table, text
from pipeline.report.figures import equity_figure, yearly_figure
from pipeline.report.figures_portfolio import shaded
from pipeline.report.numbers import DASH, format_number
from pipeline.report.sections.folds import tested_windows

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.facts import Facts

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NO_EQUITY = "This run left no equity curve (`equity.csv`)."
# Bounds of the shades of the heat map, as decimals of a month's return.
SHADES = (0.01, 0.025, 0.05, 0.1)
# The viewer of a tracking server hangs on large pages: figures of the run beyond this are left out, with a note. A
# static report has them drawn already.
EMBEDDED_BYTES, STATIC_BYTES = 400_000, 60_000


def equity(facts: Facts) -> Blocks:
    """Return the interactive figure of equity above drawdown."""
    if facts.equity.empty:
        return facts.missing(NO_EQUITY)
    last = format_number(facts.stats.get("total_return"), PERCENT)
    worst = format_number(facts.stats.get("max_drawdown"), PERCENT)
    beside = f" and of {facts.benchmark_name}" if facts.benchmark else ""
    caption = f"Equity of the strategy{beside}, above the strategy's drawdown."
    label = f"Line chart of equity over time above its drawdown. Total return {last}, maximum drawdown {worst}."
    figure = equity_figure(facts.equity, facts.benchmark_heading, facts.unit)
    windows = tested_windows(facts)
    if windows:
        figure["layout"]["shapes"] = shaded(windows)
        every = "test windows" if len(windows) == len(facts.kept.folds) else "every second test window"
        caption += f" Shaded: {every} of the folds."
    return chart(
        "equity",
        figure,
        caption=caption,
        label=label,
        height=460,
        tools=("range", "log"),
    )


def yearly(facts: Facts) -> Blocks:
    """Return the interactive figure of returns by calendar year; empty for less than two years."""
    if facts.equity.empty:
        return ()
    from pipeline.backtest.analysis import yearly_returns

    own = yearly_returns(facts.equity["equity"], facts.initial_cash).to_dict()
    if len(own) < 2:
        return ()
    curve = facts.equity.get("benchmark_equity")
    known = curve.dropna() if curve is not None else facts.equity["equity"].iloc[:0]
    start = facts.initial_cash if facts.first_counts else None
    other = yearly_returns(known, start).to_dict() if len(known) else {}
    beside = [other.get(year, math.nan) for year in own] if other else None
    figure = yearly_figure([str(year) for year in own], list(own.values()), beside, facts.benchmark_heading)
    best, worst = max(own, key=lambda y: own[y]), min(own, key=lambda y: own[y])
    label = (
        f"Bar chart of returns by calendar year. Best year {best} with {format_number(own[best], PERCENT)}, "
        f"worst year {worst} with {format_number(own[worst], PERCENT)}."
    )
    caption = "Return of each calendar year. The first and the last year (in the table: month) may be partial."
    return chart("yearly", figure, caption=caption, label=label, height=320)


def monthly(facts: Facts) -> Blocks:
    """Return the returns by month as a shaded table, years in rows."""
    if facts.equity.empty:
        return facts.missing(NO_EQUITY)
    from pipeline.backtest.metrics import monthly_returns

    returns = monthly_returns(facts.equity["equity"], facts.initial_cash)
    columns = [Column("Year"), *(Column(name, numeric=True) for name in (*MONTHS, "Total"))]
    rows = [_year_row(year, row) for year, row in returns.iterrows()]
    caption = "Monthly returns, percent"
    if not facts.daily:
        caption += "; months begin at midnight UTC"
    return table(caption, columns, rows, name="heat")


def static_figures(facts: Facts) -> Blocks:
    """Return the PNG figures of the run as it left them, each with its own caption."""
    if not facts.run.dir.plots.is_dir():
        return ()
    paths = sorted(path for path in facts.run.dir.plots.glob("*.png") if path.is_file() and not path.is_symlink())
    room, shown = STATIC_BYTES if facts.static else EMBEDDED_BYTES, []
    for path in paths:
        room -= path.stat().st_size
        if room >= 0:
            shown.append(path)
    left_out = len(paths) - len(shown)
    if not paths:
        return ()
    many = f"{left_out} {'further ' if shown else ''}figure{'s are' if left_out > 1 else ' is'}"
    note = text(f"{many} too large for this page; they are among the files above.") if left_out else ()
    images = tuple(_image(facts, number, path) for number, path in enumerate(shown, start=1))
    return heading(3, "Figures of the run", "figures-of-the-run") + images + note


def _image(facts: Facts, number: int, path: Path) -> Image:
    name = f"plots/{path.name}"
    shown = "Line chart of equity above its drawdown" if path == facts.run.dir.equity_plot else "Figure"
    return Image(number, path, f"The figure {name}, as the run left it.", f"{shown}, as the run left it")


def _year_row(year: Any, row: pd.Series) -> list[Cell]:
    values = [float(value) for value in row.to_numpy()]
    known = [value for value in values if not math.isnan(value)]
    total = math.prod(1.0 + value for value in known) - 1.0 if known else math.nan
    return [str(year), *map(_month, values), Shaded(_percent(total), "none" if math.isnan(total) else "year")]


def _month(value: float) -> Shaded:
    if math.isnan(value):
        return Shaded(DASH, "none")
    shade = sum(abs(value) >= bound for bound in SHADES) + 1
    return Shaded(_percent(value), f"{'gain' if value > 0 else 'loss'}{shade}" if value else "")


def _percent(value: float) -> str:
    return format_number(value * 100, RATIO)
