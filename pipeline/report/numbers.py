"""Numbers for people: one precision a kind, a real minus sign, a dash for what is undefined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.backtest.conventions import Conventions

DASH = "–"
MINUS = "\u2212"

PERCENT, RATIO, MONEY, COUNT, FLAG, NUMBER = "percent", "ratio", "money", "count", "flag", "number"
PRICE, POINTS = "price", "points"
# An amount below this is what is left of rounding, a price below it is none.
NO_AMOUNT, NO_PRICE = 5e-9, 1e-15


def format_number(value: object, kind: str = NUMBER) -> str:
    """Return `value` as text; None, NaN, infinities and what is not a number become a dash.

    Kinds: percent (given as a decimal: 0.1234 is `12.34%`), points (the difference of two percentages: 0.1234 is
    `12.34 pp`), ratio (two decimals), money and price (two decimals, more where the value is small), count (no
    decimals), flag (0 is `no`), number (four significant digits).
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    text = _FORMATS.get(kind, _significant)(float(value))
    bare = text.strip("-0.,% p")
    return text.removeprefix("-") if not bare else text.replace("-", MINUS, 1)


def format_bytes(size: int) -> str:
    """Return a size with a binary unit: `512 B`, `1.4 KiB`, `2.0 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def format_seconds(seconds: float) -> str:
    """Return a duration: `0.42 s`, `12.3 s`, `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def several(count: float, noun: str) -> str:
    """Return a count with its noun: `1 trial`, `1,200 trials`."""
    shown = f"{count:,}" if isinstance(count, int) else f"{count:,.6g}"
    return f"{shown} {noun}{'' if count == 1 else 's'}"


def money_decimals(value: float) -> int:
    """Return the decimals of an amount: two, or as many as two digits of an amount below 0.1 need."""
    size = abs(value)
    return 2 if size >= 0.1 or size < NO_AMOUNT else 1 - math.floor(math.log10(size))


def price_decimals(value: float) -> int:
    """Return the decimals of a price: two, or as many as five digits of a price below 100 need."""
    size = abs(value)
    return 2 if size >= 100.0 or size < NO_PRICE else 4 - math.floor(math.log10(size))


def _significant(value: float) -> str:
    if value == 0 or 1e-4 <= abs(value) < 1e15:
        decimals = 0 if value == 0 or value == int(value) else max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}"
    return f"{value:.3e}"


_FORMATS: dict[str, Callable[[float], str]] = {
    PERCENT: lambda value: f"{value * 100:,.2f}%",
    POINTS: lambda value: f"{value * 100:,.2f} pp",
    RATIO: lambda value: f"{value:,.2f}",
    MONEY: lambda value: f"{value:,.{money_decimals(value)}f}",
    PRICE: lambda value: f"{value:,.{price_decimals(value)}f}",
    COUNT: lambda value: f"{value:,.0f}",
    FLAG: lambda value: "yes" if value else "no",
}


@dataclass(frozen=True)
class Metric:
    """How one entry of stats.json is shown: its label, its kind, and the convention behind the number."""

    label: str
    kind: str
    meaning: str


METRICS = {
    "total_return": Metric("Total return", PERCENT, "Final equity over initial cash, minus 1, after all costs."),
    "cagr": Metric("CAGR", PERCENT, "Compound annual growth by calendar time; a year is 365.25 days."),
    "annual_volatility": Metric(
        "Annual volatility",
        PERCENT,
        "Standard deviation of simple returns (ddof 1), times the square root of bars a year.",
    ),
    "sharpe": Metric(
        "Sharpe ratio",
        RATIO,
        "Mean over standard deviation (ddof 1) of returns in excess of the risk-free rate, annualised.",
    ),
    "sortino": Metric(
        "Sortino ratio", RATIO, "Mean excess return over downside deviation across all bars, annualised."
    ),
    "calmar": Metric("Calmar ratio", RATIO, "CAGR over the absolute maximum drawdown."),
    "max_drawdown": Metric("Maximum drawdown", PERCENT, "Deepest fall below the highest equity so far."),
    "time_in_drawdown": Metric("Time in drawdown", PERCENT, "Share of bars below the highest equity so far."),
    "skewness": Metric("Skewness", RATIO, "Third standardised population moment of returns per bar."),
    "kurtosis": Metric("Kurtosis", RATIO, "Fourth standardised population moment; a normal distribution has 3."),
    "final_equity": Metric("Final equity", MONEY, "Cash plus positions at the last close."),
    "total_trades": Metric("Closed trades", COUNT, "Trades with an exit; an open one is not counted."),
    "open_trades": Metric("Open trades", COUNT, "Positions still held at the last bar, marked to market."),
    "win_rate": Metric("Win rate", PERCENT, "Share of closed trades with a net profit."),
    "profit_factor": Metric("Profit factor", RATIO, "Sum of net profits over sum of net losses of closed trades."),
    "avg_trade": Metric("Average trade", PERCENT, "Mean net return of closed trades on their entry value."),
    "best_trade": Metric("Best trade", PERCENT, "Highest net return of a closed trade on its entry value."),
    "worst_trade": Metric("Worst trade", PERCENT, "Lowest net return of a closed trade on its entry value."),
    "avg_bars_held": Metric("Average holding time", NUMBER, "Mean number of bars a closed trade was held."),
    "exposure": Metric("Exposure", PERCENT, "Share of bars with a position at the close."),
    "turnover": Metric("Turnover a year", RATIO, "Value traded over mean equity, by year."),
    "avg_gross_exposure": Metric("Average gross exposure", PERCENT, "Mean sum of absolute weights, over all bars."),
    "avg_net_exposure": Metric(
        "Average net exposure", PERCENT, "Mean sum of weights, short ones negative, over all bars."
    ),
    "avg_concentration": Metric(
        "Average concentration",
        RATIO,
        "Sum of squared weights over the squared gross exposure, mean of the bars with holdings.",
    ),
    "avg_effective_positions": Metric(
        "Average effective positions", RATIO, "One over the concentration of a bar, mean of the bars with holdings."
    ),
    "fees_paid": Metric("Fees paid", MONEY, "Sum of the fees of all fills."),
    "slippage_paid": Metric("Slippage paid", MONEY, "Sum of what slippage cost on all fills."),
    "bankrupt": Metric("Account ruined", FLAG, "Whether equity fell to zero or below; trading stops there."),
    "n_bars": Metric("Bars", COUNT, "Number of bars in the equity curve."),
    "periods_per_year": Metric("Bars a year", NUMBER, "Annualises volatility and ratios."),
}
HEADLINE = ("total_return", "cagr", "sharpe", "max_drawdown", "annual_volatility", "total_trades")
# What takes the place of a headline that is not known; and what is not shown where it is not known, as there is nothing
# of its kind: no trades, no weights, no fills.
IN_PLACE = "calmar"
OPTIONAL = frozenset(
    {
        "total_trades", "open_trades", "exposure", "turnover", "fees_paid", "slippage_paid", "avg_gross_exposure",
        "avg_net_exposure", "avg_concentration", "avg_effective_positions",
    }
)  # fmt: skip
OF_TRADES = frozenset({"win_rate", "profit_factor", "avg_trade", "best_trade", "worst_trade", "avg_bars_held"})
WITH_BENCHMARK = frozenset(
    {
        "total_return", "cagr", "annual_volatility", "sharpe", "sortino", "calmar", "max_drawdown",
        "time_in_drawdown", "skewness", "kurtosis", "final_equity",
    }
)  # fmt: skip


def metric(name: str) -> Metric:
    """Return how the metric `name` is shown; one this module does not know keeps its own name."""
    return METRICS.get(name, Metric(name, NUMBER, ""))


def difference_kind(kind: str) -> str:
    """Return the kind of the difference of two numbers of a kind: that of percentages is in percentage points."""
    return POINTS if kind == PERCENT else kind


def money_unit(used: Conventions) -> str:
    """Return what amounts of a run are in: its currency, else `units of the prices`."""
    return used.currency or "units of the prices"


def risk_free(used: Conventions) -> str:
    """Return which risk-free rate a run used: `risk-free rate 4.00% a year`."""
    if used.risk_free_rate is None:
        return "risk-free rate 0, assumed as the run recorded none"
    return f"risk-free rate {format_number(used.rate, PERCENT)} a year" if used.rate else "risk-free rate 0"


def bars_a_year(used: Conventions) -> str:
    """Return what a run was annualised by: `252 bars a year`; empty when that is not known."""
    return "" if used.periods_per_year is None else f"{several(used.periods_per_year, 'bar')} a year"


def meaning_here(name: str, used: Conventions, *, meaning: str = "", unit: str = "") -> str:
    """Return the convention behind a metric, with what this run used where runs differ in it.

    `meaning` and `unit` of amounts are given where they are others than usual.
    """
    meaning, bars = meaning or metric(name).meaning, bars_a_year(used)
    if metric(name).kind == MONEY:
        return f"{meaning} In {unit or money_unit(used)}."
    here = {
        "annual_volatility": bars,
        "sharpe": f"{bars}, {risk_free(used)}",
        "sortino": f"{bars}, {risk_free(used)}",
        "periods_per_year": _origin(used),
    }
    return f"{meaning} This run: {here[name]}." if bars and name in here else meaning


def _origin(used: Conventions) -> str:
    if used.risk_free_rate is None:
        return "it did not record where the number comes from"
    if used.given_periods is None:
        return "inferred from the bars"
    known = used.inferred_periods
    return "given" if known is None else f"given; the bars themselves tell {known:,.6g}"


def shown_names(stats: Mapping[str, object]) -> list[str]:
    """Return the names of the metrics to show, in order: without those of trades, weights, fills that are not there."""
    known = [name for name in stats if not (name in OPTIONAL and stats[name] is None)]
    no_trades = stats.get("total_trades") is None
    return ordered([name for name in known if not (no_trades and name in OF_TRADES and stats[name] is None)])


def headlines(stats: Mapping[str, object]) -> list[str]:
    """Return the names of the headline numbers there are; in the place of one that is not known stands another."""
    shown = [IN_PLACE if name in OPTIONAL and stats.get(name) is None else name for name in HEADLINE]
    return [name for name in shown if name in stats]


def ordered(names: list[str]) -> list[str]:
    """Return metric names in the order of `METRICS`, unknown ones last, by name."""
    known = [name for name in METRICS if name in names]
    return known + sorted(name for name in names if name not in METRICS)
