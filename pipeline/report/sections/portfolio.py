"""What a portfolio held and what each part of it did: weights, exposure, contributions, turnover, correlation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import COUNT, PERCENT, RATIO, metric
from pipeline.report.blocks import Blocks, Cell, Column, Shaded, chart, table, text
from pipeline.report.numbers import DASH, format_number, several

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.facts import Facts
    from pipeline.report.holdings import Holdings

LISTED = 20  # rows of the table of holdings
BARS = 20  # bars of the figure of contributions
CORRELATED = 12
SHADES = (0.2, 0.4, 0.6, 0.8)  # bounds of the shades of a correlation
NO_PRICES = "Contributions, turnover and correlation of the symbols need their prices: `run.save(…, prices=prices)`."
OF_BENCHMARKS = ("total_return", "cagr", "annual_volatility", "sharpe", "max_drawdown")
TURNOVER = "turnover is value traded over the mean equity, a year (bought and sold both count)"


def weights(facts: Facts) -> Blocks:
    """Return the figures of weights and of exposure over time."""
    held = facts.holdings
    if held is None or not held.held.any():
        return ()
    return _weights(held) + _exposure(held)


def holdings(facts: Facts) -> Blocks:
    """Return what was held most, with what each symbol contributed and its turnover."""
    held = facts.holdings
    if held is None or not held.held.any():
        return ()
    return _table(held) + (_contributions(held) if held.contribution is not None else text(NO_PRICES))


def correlation(facts: Facts) -> Blocks:
    """Return the correlation of the returns of the symbols that were held most, as a shaded table."""
    held = facts.holdings
    if held is None or not held.held.any():
        return ()
    chosen = [name for name in held.order if held.weights[name].abs().max() > 0.0][:CORRELATED]
    found = held.correlation(chosen)
    if found is None:
        return ()
    columns = [Column("Symbol"), *(Column(str(name), numeric=True) for name in found.columns)]
    rows: list[list[Cell]] = [[str(name), *map(_shaded, row)] for name, row in found.iterrows()]
    which = f" of the {len(chosen)} symbols that were held most" if len(chosen) < len(held.order) else ""
    caption = f"Correlation of the returns per bar{which}, whole period, held or not"
    return table(caption, columns, rows, name="heat correlation")


def benchmarks(facts: Facts) -> Blocks:
    """Return several benchmarks beside the strategy; empty for fewer than two."""
    found = facts.kept.part("benchmarks")
    if found is None or len(found.columns) < 2 or facts.result is None:
        return ()
    from pipeline.backtest.metrics import compute_stats

    used = facts.conventions
    columns: dict[str, dict[str, float | int | None]] = {"Strategy": facts.stats}
    for name, curve in found.items():
        known = curve.dropna()
        if len(known) > 1 and float(known.iloc[0]) > 0.0:
            path = facts.path_of(known)
            columns[str(name)] = compute_stats(path, periods_per_year=used.periods_per_year, risk_free_rate=used.rate)
    rows: list[list[Cell]] = [
        [metric(name).label, *(format_number(stats.get(name), metric(name).kind) for stats in columns.values())]
        for name in OF_BENCHMARKS
    ]
    heads = [Column("Metric"), *(Column(name, numeric=True) for name in columns)]
    return table("The strategy beside its benchmarks", heads, rows, name="by-side")


def _weights(held: Holdings) -> Blocks:
    from pipeline.report.figures_portfolio import STACK_POINTS, STACKED, weights_figure

    few = len(held.order) <= STACKED + 1
    chosen = held.order if few else held.order[:STACKED]
    shown = held.weights[chosen]
    rest = ""
    if few and len(chosen) > STACKED:
        rest = chosen[-1]
    elif not few:
        rest = f"{len(held.order) - STACKED:,} others, net"
        shown = shown.assign(**{rest: held.net - shown.sum(axis=1)})
    first = " and ".join(
        f"{name} {format_number(float(held.weights[name].mean()), PERCENT)}" for name in held.order[:2]
    )
    caption = "Weights: values of the positions as shares of the equity, on top of each other, short ones below 0."
    caption += "" if few else f" The {STACKED} symbols that were held most, and the net weight of all others."
    if len(shown) > STACK_POINTS:
        caption += f" {STACK_POINTS} of {len(shown):,} labels are drawn, evenly spaced."
    label = f"Stacked areas of the weights of {several(len(held.order), 'symbol')} over time. On average {first}."
    return chart("weights", weights_figure(shown, rest), caption=caption, label=label, height=400)


def _exposure(held: Holdings) -> Blocks:
    from pipeline.report.figures_portfolio import exposure_figure

    several_held = len(held.order) > 1
    gross, net = float(held.gross.mean()), float(held.net.mean())
    caption = (
        "Gross exposure, the sum of the weights without their sign, and net exposure, their sum; the rest is cash."
    )
    label = f"Line chart of exposure over time: on average {format_number(gross, PERCENT)} gross and "
    label += f"{format_number(net, PERCENT)} net."
    if several_held:
        mean = format_number(float(held.effective.mean()), RATIO)
        caption += " Below, the effective number of positions: as many equal ones would be as concentrated, "
        caption += f"{mean} on average of {several(len(held.order), 'symbol')}."
        label += f" Below it the effective number of positions, {mean} on average."
    figure = exposure_figure(held.gross, held.net, held.effective if several_held else None)
    return chart("exposure", figure, caption=caption, label=label, height=400 if several_held else 280)


def _table(held: Holdings) -> Blocks:
    """Return the symbols that were held most, one a row, and the others together in the last."""
    size = held.weights.abs()
    largest = size.max()
    used = [name for name in held.order if largest[name] > 0.0]
    rows = [_holding(held, size, name) for name in used[:LISTED]]
    others = used[LISTED:]
    if others:
        rows.append(_others(held, others))
    columns = [
        Column("Symbol"), Column("Mean weight", numeric=True), Column("Largest", numeric=True), Column("On"),
        Column("Last", numeric=True), Column("Held", numeric=True, title="Share of the labels at which it is held"),
    ]  # fmt: skip
    told = []
    if held.contribution is not None:
        columns.append(Column("Contribution", numeric=True, title="Sum of weight times return to the next label"))
        told.append("contribution is the sum of weights times the returns to the next label, before costs")
    if held.turnover is not None:
        columns.append(Column("Turnover", numeric=True, unit="a year"))
        told.append(TURNOVER)
    never = len(held.order) - len(used)
    count = f" ({never:,} of {len(held.order):,} were never held)" if never else ""
    caption = "; ".join([f"Holdings by their mean weight without sign{count}", *told])
    return table(caption, columns, rows, name="falls")


def _holding(held: Holdings, size: pd.DataFrame, name: str) -> list[Cell]:
    own, when = held.weights[name], held.weights.index[int(size[name].to_numpy().argmax())]
    mean, largest = (format_number(float(value), PERCENT) for value in (own.mean(), own.loc[when]))
    row: list[Cell] = [
        name, mean, largest, f"{when:%Y-%m-%d}",
        format_number(float(own.iloc[-1]), PERCENT), format_number(float((size[name] > 0.0).mean()), PERCENT),
    ]  # fmt: skip
    row += [] if held.contribution is None else [format_number(float(held.contribution[name]), PERCENT)]
    return row + ([] if held.turnover is None else [format_number(float(held.turnover[name]), RATIO)])


def _others(held: Holdings, names: list[str]) -> list[Cell]:
    together = held.weights[names]
    row: list[Cell] = [
        several(len(names), "other"), format_number(float(together.sum(axis=1).mean()), PERCENT), DASH, DASH,
        format_number(float(together.iloc[-1].sum()), PERCENT), DASH,
    ]  # fmt: skip
    row += [] if held.contribution is None else [format_number(float(held.contribution[names].sum()), PERCENT)]
    return row + ([] if held.turnover is None else [format_number(float(held.turnover[names].sum()), RATIO)])


def _contributions(held: Holdings) -> Blocks:
    from pipeline.report.figures_portfolio import contribution_figure

    known = held.contribution.dropna() if held.contribution is not None else None
    if known is None or len(known) < 2:
        return ()
    shown = known.loc[known.abs().sort_values(ascending=False, kind="stable").index[:BARS]]
    best, worst = str(known.idxmax()), str(known.idxmin())
    label = f"Bars of the contributions by symbol. Highest {best} with {format_number(float(known.max()), PERCENT)}, "
    label += f"lowest {worst} with {format_number(float(known.min()), PERCENT)}."
    which = f" of the {len(shown)} symbols with the largest" if len(shown) < len(known) else ""
    caption = f"Contributions{which}, summed over the period before costs; all {format_number(len(known), COUNT)} "
    caption += f"together {format_number(float(known.sum()), PERCENT)}. Sums of returns, not compounded."
    height = 90 + 22 * len(shown)
    return chart("contributions", contribution_figure(shown), caption=caption, label=label, height=height)


def _shaded(value: float) -> Shaded:
    if math.isnan(value):
        return Shaded(DASH, "none")
    tone = "gain" if value > 0.0 else "loss"
    shade = sum(abs(value) >= bound for bound in SHADES) + 1
    return Shaded(format_number(value, RATIO), f"{tone}{shade}")
