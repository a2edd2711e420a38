"""Risk over time: rolling statistics, distribution of returns, worst drawdowns, exposure, crises."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import COUNT, PERCENT
from pipeline.report.blocks import Blocks, Cell, Column, chart, side_by_side, table, text
from pipeline.report.figures_risk import activity_figure, histogram_figure, qq_figure, rolling_figure
from pipeline.report.numbers import DASH, bars_a_year, format_number, risk_free

if TYPE_CHECKING:
    from pipeline.report.facts import Facts

SHORTEST_WINDOW = 20
FEW_RETURNS = 30
NOT_HELD = ", mostly bars without a position"


def rolling(facts: Facts) -> Blocks:
    """Return rolling Sharpe ratio, volatility and beta over a year of bars, or a quarter of a shorter record."""
    result, used = facts.result, facts.conventions
    if result is None:
        return facts.missing("This run left no equity curve to look at over time.")
    if used.periods_per_year is None:
        return ()
    from pipeline.backtest.analysis import rolling_stats

    per_year = used.periods_per_year
    window = min(max(round(per_year), 2), len(result.equity_curve) // 4)
    if window < SHORTEST_WINDOW:
        return ()
    curve = facts.path_of(result.equity_curve)
    other = None if facts.benchmark_equity is None else facts.path_of(facts.benchmark_equity)
    rolled = functools.partial(rolling_stats, window=window, periods_per_year=per_year, risk_free_rate=used.rate)
    own = rolled(curve, benchmark=other, initial=result.config["initial_cash"])
    beside = None if other is None else rolled(other)
    beta = f" and beta to {facts.benchmark_name}" if other is not None else ""
    caption = (
        f"Sharpe ratio, volatility{beta} over the last {window:,} bars, annualised by {bars_a_year(used)}; "
        f"ddof 1, {risk_free(used)}. There is no ratio while the account did not move."
    )
    label = f"Line charts over time of the rolling Sharpe ratio, volatility{beta} over {window:,} bars."
    return chart(
        "rolling", rolling_figure(own, beside, facts.benchmark_heading), caption=caption, label=label, height=520
    )


def distribution(facts: Facts) -> Blocks:
    """Return the histogram and the QQ view of the returns per bar, side by side."""
    if facts.result is None:
        return ()
    from pipeline.backtest.analysis import qq_points, return_histogram

    returns = facts.returns.to_numpy()
    points = qq_points(returns)
    if len(returns) < FEW_RETURNS or points.empty:
        return ()
    idle = float((returns == 0.0).mean())
    left_out = (
        f" {format_number(idle, PERCENT)} of the returns are 0{NOT_HELD if facts.held is not None else ''}."
        if idle
        else ""
    )
    worst, best = format_number(float(returns.min()), PERCENT), format_number(float(returns.max()), PERCENT)
    counts = chart(
        "distribution",
        histogram_figure(return_histogram(returns)),
        caption=f"Returns per bar, and a normal distribution of the same mean and deviation.{left_out}",
        label=f"Histogram of {len(returns):,} returns per bar, from {worst} to {best}, with a normal curve.",
        height=320,
    )
    quantiles = chart(
        "qq",
        qq_figure(points),
        caption="Quantiles of the returns against those of a normal distribution, in standard deviations. "
        "Dots below the line on the left and above it on the right are fat tails.",
        label="QQ plot of the returns per bar against a normal distribution.",
        height=320,
    )
    return side_by_side(counts, quantiles)


def drawdowns(facts: Facts) -> Blocks:
    """Return the worst drawdowns as a table."""
    if facts.result is None:
        return ()
    from pipeline.backtest.analysis import worst_drawdowns

    found = worst_drawdowns(facts.result.equity_curve, initial=facts.result.config["initial_cash"])
    if found.empty:
        return text("The equity never fell below its highest value so far.")
    rows: list[list[Cell]] = [
        [
            str(place), _day(row["start"]), _day(row["trough"]), _day(row["recovery"]),
            format_number(row["depth"], PERCENT), format_number(round(row["length_days"]), COUNT),
            format_number(row["length_bars"], COUNT),
        ]
        for place, row in enumerate(found.to_dict("records"), start=1)
    ]  # fmt: skip
    columns = [
        Column("Rank"), Column("Start"), Column("Trough"), Column("Recovery"),
        Column("Depth", numeric=True), Column("Length", numeric=True, unit="days"),
        Column("Length", numeric=True, unit="bars"),
    ]  # fmt: skip
    caption = "Worst drawdowns: from the day of the peak to the first close back at it; a dash means not yet"
    return table(caption, columns, rows, name="falls")


def activity(facts: Facts) -> Blocks:
    """Return exposure and turnover by month."""
    several = facts.foreign and "symbol" in facts.trades and facts.trades["symbol"].nunique() > 1
    if facts.result is None or facts.trades.empty or facts.holdings is not None or several:
        return ()
    from pipeline.backtest.analysis import monthly_activity

    found = monthly_activity(facts.result)
    mean = format_number(float(facts.result.positions.ne(0.0).mean()), PERCENT)
    return chart(
        "activity",
        activity_figure(found),
        caption="Share of bars with a position at the close, by month, and value traded over the mean equity of the "
        "month (not annualised).",
        label=f"Bar charts by month of exposure and turnover. A position was held on {mean} of all bars.",
        height=360,
    )


def crises(facts: Facts) -> Blocks:
    """Return how the strategy went through well-known falls of the US market inside its period."""
    if facts.result is None:
        return ()
    from pipeline.backtest.analysis import crisis_windows

    found = crisis_windows(facts.result.equity_curve, benchmark=facts.benchmark_equity)
    if found.empty:
        return text("None of the known falls of the US stock market lies in this period.")
    beside = "benchmark_return" in found.columns
    rows: list[list[Cell]] = []
    for row in found.to_dict("records"):
        name = row["name"] if row["is_whole"] else f"{row['name']} (in part)"
        cells: list[Cell] = [name, _day(row["start"]), _day(row["end"]), format_number(row["total_return"], PERCENT)]
        cells += [format_number(row["benchmark_return"], PERCENT)] if beside else []
        rows.append([*cells, format_number(row["max_drawdown"], PERCENT)])
    columns = [Column("Crisis"), Column("From"), Column("To"), Column("Strategy", numeric=True)]
    columns += [Column(facts.benchmark_heading, numeric=True)] if beside else []
    caption = "Returns from the high to the low of known falls of the US stock market; drawdown inside the window"
    return table(caption, [*columns, Column("Max drawdown", numeric=True)], rows, name="falls")


def _day(value: Any) -> str:
    import pandas as pd

    return DASH if pd.isna(value) else f"{value:%Y-%m-%d}"
