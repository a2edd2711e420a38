"""How the params and objectives of a sweep are written on its page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipeline.backtest.catalogue import DIRECTIONS, NUMBER, PERCENT, RATIO, metric
from pipeline.report.blocks import Column
from pipeline.report.numbers import DASH, MINUS, format_number


def param_text(value: object) -> str:
    """Return the value of a param: numbers with up to four significant digits, the rest as it is written in TOML."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return (
            str(value) if isinstance(value, int) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
        ).replace("-", MINUS)
    return str(value)


def params_text(params: Mapping[str, object]) -> str:
    """Return params on one line: `fast = 20, slow = 100`."""
    return ", ".join(f"{name} = {param_text(value)}" for name, value in params.items())


def objective_text(name: str, value: float | None) -> str:
    """Return the value of an objective in its own kind."""
    return format_number(value, metric(name).kind)


def objective_column(name: str) -> Column:
    """Return the column of an objective, which says which way is better."""
    way = "larger is better" if DIRECTIONS.get(name) == "maximize" else "smaller is better"
    return Column(metric(name).label, numeric=True, title=f"Objective; {way}")


def tick_text(name: str, value: float) -> str:
    """Return the value of an objective on an axis: three significant digits at most."""
    if metric(name).kind == PERCENT:
        return param_text(float(f"{value * 100:.3g}")) + "%"
    return param_text(float(f"{value:.3g}"))


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten inside a range of positive numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = (float(f"{factor}e{power}") for power in powers for factor in (1, 2, 5))
    return [tick for tick in found if low <= tick <= high]


def ratio(value: float | None) -> str:
    """Return a Sharpe ratio."""
    return format_number(value, RATIO)


def number(value: float | None) -> str:
    """Return a number with four significant digits."""
    return format_number(value, NUMBER)


def effective_text(trials: float | None) -> str:
    """Return an effective number of trials: one decimal, none from 100 on."""
    return DASH if trials is None else f"{trials:,.1f}" if trials < 100 else f"{trials:,.0f}"


def label(name: str) -> str:
    """Return the label of a metric inside a sentence: `Sharpe ratio`, `maximum drawdown`."""
    return metric(name).inside


def joined(items: Sequence[str]) -> str:
    """Return items as a list in a sentence: `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def shortened(text: str, most: int = 24) -> str:
    """Return a text with its middle left out when it is long."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[1 - most // 2 :]}"
