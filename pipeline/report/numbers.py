"""Numbers for people: one precision a kind, a real minus sign, a dash for what is undefined."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline.backtest.catalogue import (
    COUNT,
    FLAG,
    HEADLINE,
    IN_PLACE,
    METRICS,
    MONEY,
    NUMBER,
    OF_TRADES,
    OPTIONAL,
    PERCENT,
    POINTS,
    PRICE,
    RATIO,
    metric,
)
from pipeline.files import number

if TYPE_CHECKING:
    from pipeline.backtest.conventions import Conventions

DASH = "–"
MINUS = "\u2212"

# An amount below this is what is left of rounding, a price below it is none.
NO_AMOUNT, NO_PRICE = 5e-9, 1e-15


def format_number(value: object, kind: str = NUMBER) -> str:
    """Return `value` as text; None, NaN, infinities and what is not a number become a dash.

    Kinds: percent (given as a decimal: 0.1234 is `12.34%`), points (the difference of two percentages: 0.1234 is
    `12.34 pp`), ratio (two decimals), money and price (two decimals, more where the value is small), count (no
    decimals), flag (0 is `no`), number (four significant digits).
    """
    found = number(value)
    if found is None:
        return DASH
    text = _FORMATS.get(kind, _significant)(found)
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
