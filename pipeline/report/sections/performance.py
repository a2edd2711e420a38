"""Equity, drawdown and returns by period."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import PERCENT, RATIO
from pipeline.escape import html_text, markdown_text, raw_block
from pipeline.report.figures import equity_figure, figure_block, yearly_figure
from pipeline.report.figures_portfolio import shaded
from pipeline.report.numbers import DASH, format_number
from pipeline.report.sections.folds import tested_windows
from pipeline.report.tables import wrapped

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.facts import Facts

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NO_EQUITY = "\nThis run left no equity curve (`equity.csv`).\n"
# Bounds of the shades of the heat map, as decimals of a month's return.
SHADES = (0.01, 0.025, 0.05, 0.1)
# The viewer of a tracking server hangs on large pages: figures of the run beyond this are left out, with a note. A
# static report has them drawn already.
EMBEDDED_BYTES, STATIC_BYTES = 400_000, 60_000


def equity(facts: Facts) -> str:
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
    return figure_block(
        "equity",
        figure,
        caption=caption,
        label=label,
        height=460,
        tools=("range", "log"),
    )


def yearly(facts: Facts) -> str:
    """Return the interactive figure of returns by calendar year; empty for less than two years."""
    if facts.equity.empty:
        return ""
    from pipeline.backtest.analysis import yearly_returns

    own = yearly_returns(facts.equity["equity"], facts.initial_cash).to_dict()
    if len(own) < 2:
        return ""
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
    return figure_block("yearly", figure, caption=caption, label=label, height=320)


def monthly(facts: Facts) -> str:
    """Return the returns by month as a shaded table, years in rows."""
    if facts.equity.empty:
        return facts.missing(NO_EQUITY)
    from pipeline.backtest.metrics import monthly_returns

    returns = monthly_returns(facts.equity["equity"], facts.initial_cash)
    heads = "".join(f'<th scope="col" class="num">{name}</th>' for name in (*MONTHS, "Total"))
    rows = "\n".join(_year_row(year, row) for year, row in returns.iterrows())
    inner = f'<thead><tr><th scope="col">Year</th>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>'
    caption = "Monthly returns, percent"
    if not facts.daily:
        caption += "; months begin at midnight UTC"
    return raw_block(wrapped(caption, inner, name="heat"))


def static_figures(facts: Facts) -> str:
    """Return the PNG figures of the run as it left them, each with its own caption."""
    if not facts.run.dir.plots.is_dir():
        return ""
    paths = sorted(path for path in facts.run.dir.plots.glob("*.png") if path.is_file() and not path.is_symlink())
    room, shown = STATIC_BYTES if facts.static else EMBEDDED_BYTES, []
    for path in paths:
        room -= path.stat().st_size
        if room >= 0:
            shown.append(path)
    left_out = len(paths) - len(shown)
    if not paths:
        return ""
    many = f"{left_out} {'further ' if shown else ''}figure{'s are' if left_out > 1 else ' is'}"
    note = f"\n{many} too large for this page; they are among the files above.\n" if left_out else ""
    images = "".join(_image(facts, number, path) for number, path in enumerate(shown, start=1))
    return f"\n### Figures of the run {{#figures-of-the-run}}\n{images}{note}"


def _image(facts: Facts, number: int, path: Path) -> str:
    """Return one figure as Markdown: a file beside the document, or embedded where there is no such place."""
    data = path.read_bytes()
    if facts.images is None:
        import base64

        target = "data:image/png;base64," + base64.b64encode(data).decode()
    else:
        facts.images.mkdir(exist_ok=True)
        (facts.images / f"figure-{number}.png").write_bytes(data)
        target = f"{facts.images.name}/figure-{number}.png"
    name = f"plots/{path.name}"
    shown = "Line chart of equity above its drawdown" if path == facts.run.dir.equity_plot else "Figure"
    caption = markdown_text(f"The figure {name}, as the run left it.")
    return f'\n![{caption}]({target}){{#fig-static-{number} .static fig-alt="{shown}, as the run left it"}}\n'


def _year_row(year: Any, row: pd.Series) -> str:
    values = [float(value) for value in row.to_numpy()]
    known = [value for value in values if not math.isnan(value)]
    total = math.prod(1.0 + value for value in known) - 1.0 if known else math.nan
    cells = "".join(_heat_cell(value) for value in values)
    return f'<tr><th scope="row">{html_text(year)}</th>{cells}{_heat_cell(total, shaded=False)}</tr>'


def _heat_cell(value: float, *, shaded: bool = True) -> str:
    if math.isnan(value):
        return f'<td class="num none">{DASH}</td>'
    shade = sum(abs(value) >= bound for bound in SHADES) + 1
    tone = f" {'gain' if value > 0 else 'loss'}{shade}" if value else ""
    kind = f"num{tone}" if shaded else "num year"
    return f'<td class="{kind}">{format_number(value * 100, RATIO)}</td>'
