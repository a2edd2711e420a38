"""How else the metrics of a curve are computed: the conventions of other engines, to find the one a number is in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pipeline.backtest.conventions import Conventions, per_period_rate
from pipeline.backtest.timestamps import is_daily
from pipeline.results.aligned import Aligned
from pipeline.results.contract import Result

PERIODS = (252.0, 365.0, 365.25, 360.0, 260.0, 250.0, 52.0, 12.0)
RATES = (0.0, 0.01)
DAYS_A_YEAR = (365.0, 365.25, 252.0, 360.0)
ONE_MORE = "one more return, of zero, at the start"
COMPOUNDED_VOLATILITY = "the deviation of a year of compounded returns"
_DAY = 86_400.0

Words = tuple[str, ...]
Candidate = tuple[Words, float]


@dataclass(frozen=True, eq=False)
class Curve:
    """A way to see a result: what is done differently in words, the values from the start on, and what labels them."""

    words: Words
    values: np.ndarray
    index: pd.DatetimeIndex

    @cached_property
    def returns(self) -> np.ndarray:
        """Simple returns of the values; empty where something is not above zero."""
        if len(self.values) < 2 or bool((self.values[:-1] <= 0.0).any()):
            return np.zeros(0)
        moves: np.ndarray = self.values[1:] / self.values[:-1] - 1.0
        return moves

    @cached_property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @cached_property
    def deviations(self) -> tuple[tuple[int, float], ...]:
        """The standard deviation of the returns with ddof 1 and 0, where there are enough of them."""
        return tuple((ddof, float(np.std(self.returns, ddof=ddof))) for ddof in (1, 0) if len(self.returns) > ddof)

    @cached_property
    def geometric(self) -> float:
        """The growth of all of it."""
        return float(self.values[-1] / self.values[0])


def curves(result: Result, path: pd.Series) -> tuple[Curve, ...]:
    """Return the curves that engines measure: `path` is ours, from the capital on."""
    index, values = pd.DatetimeIndex(path.index), path.to_numpy(dtype=float).copy()
    values[0] = result.capital
    twice = pd.DatetimeIndex(index.insert(0, index[0]))
    found = [Curve((), values, index), Curve((ONE_MORE,), np.append(values[0], values), twice)]
    if len(values) > 2:
        found.append(Curve(("the first return left out",), values[1:], index[1:]))
        found.append(Curve(("the last return left out",), values[:-1], index[:-1]))
    rules = [("days", "D")] if not is_daily(index) else []
    calendar = index.tz_convert(None) if index.tz is not None else index
    for name, rule in (*rules, ("weeks", "W"), ("months", "M"), ("years", "Y")):
        periods = calendar.to_period(rule)
        ends = np.flatnonzero(np.append(periods[1:] != periods[:-1], True))
        if 1 < len(ends) < len(values):
            whole = np.append(0, ends)
            found.append(Curve((f"returns of {name}",), values[whole], index[whole]))
            found.append(Curve((f"returns of {name} from the second on",), values[ends], index[ends]))
    return tuple(found)


def candidates(metric: str, result: Result, path: pd.Series, used: Conventions) -> Iterator[Candidate]:
    """Yield what a metric is in other conventions, with the words that tell how they differ from ours."""
    makers = {
        "total_return": _growths,
        "cagr": _annual_returns,
        "annual_volatility": _volatilities,
        "sharpe": _sharpes,
        "sortino": _sortinos,
        "max_drawdown": _drawdowns,
        "calmar": _calmars,
        "skewness": _skews,
        "kurtosis": _kurtoses,
    }
    maker = makers.get(metric)
    for curve in curves(result, path) if maker else ():
        if maker is not None and len(curve.returns):
            for words, value in maker(curve, used):
                yield (*curve.words, *words), value
    yield from _of_trades(metric, result)
    if metric == "exposure":
        yield from _exposures(result)
    if metric in {"sharpe", "sortino", "max_drawdown"}:
        yield from _of_profits(metric, result)


def _growths(curve: Curve, _: Conventions) -> Iterator[Candidate]:
    yield (), curve.geometric - 1.0
    yield ("returns added up, not compounded",), float(curve.returns.sum())
    if curve.geometric > 0.0:
        yield ("log returns",), math.log(curve.geometric)


def _periods(used: Conventions) -> Iterator[tuple[Words, float]]:
    """Yield numbers of periods a year, ours first without words."""
    ours = used.periods_per_year
    if ours is not None:
        yield (), ours
    for each in PERIODS:
        if each != ours:
            yield (f"{each:g} periods a year" + (f", not {ours:g}" if ours else ""),), each
    yield ("not annualised",), 1.0


def _annual_returns(curve: Curve, used: Conventions) -> Iterator[Candidate]:
    """Yield growth a year: by days, by periods, and of the mean."""
    seconds = float((curve.index[-1] - curve.index[0]).total_seconds())
    count, growth = len(curve.returns), curve.geometric
    for days in DAYS_A_YEAR:
        year: Words = () if days == 365.25 else (f"a year of {days:g} calendar days, not 365.25",)
        if seconds > 0.0:
            yield year, _power(growth, days * _DAY / seconds)
        yield (*year, "both ends counted as days"), _power(growth, days * _DAY / (seconds + _DAY))
    for words, periods in _periods(used):
        yield ("by the number of periods, not by the calendar", *words), _power(growth, periods / count)
        more = ("by the number of periods, not by the calendar", "counting one more period")
        yield (*more, *words), _power(growth, periods / (count + 1))
        yield ("mean return times periods a year", *words), curve.mean * periods


def _volatilities(curve: Curve, used: Conventions) -> Iterator[Candidate]:
    for words, periods in _periods(used):
        for ddof, deviation in curve.deviations:
            yield (*words, *_of_ddof(ddof)), deviation * math.sqrt(periods)
            for over, mean in _geometric_means(curve):
                yield (*words, *_of_ddof(ddof), *over, COMPOUNDED_VOLATILITY), _compounded(deviation, mean, periods)


def _compounded(deviation: float, mean: float, periods: float) -> float:
    """Return the deviation of a product of independent returns."""
    square = (1.0 + mean) ** 2
    spread = (deviation**2 + square) ** periods - square**periods
    return math.sqrt(spread) if spread > 0.0 else math.nan


def _sharpes(curve: Curve, used: Conventions) -> Iterator[Candidate]:
    """Yield mean over deviation in every usual way."""
    for words, periods in _periods(used):
        root = math.sqrt(periods)
        for ddof, deviation in curve.deviations:
            for rate_words, rate, per_period in _rates(used, periods):
                known = (*words, *_of_ddof(ddof), *rate_words)
                yield known, _over((curve.mean - per_period) * root, deviation)
                for how, annual in _annual_means(curve, periods):
                    yield (*known, *how), _over(annual - rate, deviation * root)
                for over, mean in _geometric_means(curve):
                    value = _over(_power(1.0 + mean, periods) - rate, _compounded(deviation, mean, periods))
                    yield (*known, "a geometric mean", *over, COMPOUNDED_VOLATILITY), value


def _sortinos(curve: Curve, used: Conventions) -> Iterator[Candidate]:
    """Yield mean over downside deviation in every usual way."""
    downsides: dict[float, list[Candidate]] = {}
    for words, periods in _periods(used):
        for rate_words, rate, per_period in _rates(used, periods):
            if per_period not in downsides:
                downsides[per_period] = list(_downsides(curve.returns - per_period))
            means: list[Candidate] = [((), (curve.mean - per_period) * periods)]
            means += [(how, annual - rate) for how, annual in _annual_means(curve, periods)]
            for below, deviation in downsides[per_period]:
                for how, annual in means:
                    yield (*words, *rate_words, *how, *below), _over(annual, deviation * math.sqrt(periods))


def _downsides(excess: np.ndarray) -> Iterator[Candidate]:
    lost = np.minimum(excess, 0.0)
    losing, n = excess[excess < 0.0], len(excess)
    yield (), math.sqrt(float(np.mean(lost**2)))
    if n > 1:
        yield ("downside with ddof 1",), math.sqrt(float((lost**2).sum() / (n - 1)))
        yield ("the deviation of losses, gains as zero",), float(np.std(lost, ddof=1))
        yield ("the deviation of losses, gains as zero", "ddof 0"), float(np.std(lost))
        below = np.minimum(excess - excess.mean(), 0.0)
        yield ("downside below the mean", "ddof 1"), math.sqrt(float((below**2).sum() / (n - 1)))
        yield ("downside below the mean",), math.sqrt(float(np.mean(below**2)))
    if len(losing) > 1:
        yield ("the deviation of the losing periods alone",), float(np.std(losing, ddof=1))
        yield ("the deviation of the losing periods alone", "ddof 0"), float(np.std(losing))


def _geometric_means(curve: Curve) -> Iterator[Candidate]:
    count = len(curve.returns)
    yield (), _power(curve.geometric, 1.0 / count)
    yield ("counting one more period",), _power(curve.geometric, 1.0 / (count + 1))


def _annual_means(curve: Curve, periods: float) -> Iterator[Candidate]:
    """Yield what a mean return is in a year, compounded."""
    for words, mean in _geometric_means(curve):
        yield ("a geometric mean", *words), _power(1.0 + mean, periods)
    yield ("the mean compounded to a year",), _power(1.0 + curve.mean, periods)
    seconds = float((curve.index[-1] - curve.index[0]).total_seconds())
    if seconds > 0.0:
        yield ("the CAGR for a mean",), _power(curve.geometric, 365.25 * _DAY / seconds)


def _rates(used: Conventions, periods: float) -> Iterator[tuple[Words, float, float]]:
    """Yield risk-free rates: words, of a year, of a period."""
    ours = used.rate
    yield (), ours, per_period_rate(ours, periods)
    if ours:
        yield ("the risk-free rate divided by the periods, not compounded",), ours, ours / periods
    for rate in RATES:
        if rate != ours:
            words = f"a risk-free rate of {rate:.0%}" if rate else "no risk-free rate"
            yield (words,), rate, per_period_rate(rate, periods)
            if rate:
                yield (f"{words} divided by the periods",), rate, rate / periods


def _drawdowns(curve: Curve, _: Conventions) -> Iterator[Candidate]:
    values = curve.values
    yield (), float((values / np.maximum.accumulate(values) - 1.0).min())
    later = values[1:]
    yield ("the starting capital is no peak",), float((later / np.maximum.accumulate(later) - 1.0).min())
    added = np.append(0.0, np.cumsum(curve.returns))
    yield ("returns added up, not compounded",), float((added - np.maximum.accumulate(added)).min())
    part = added[1:] - np.maximum.accumulate(added[1:])
    yield ("returns added up, not compounded", "the starting capital is no peak"), float(part.min())
    grown = 1.0 + added
    yield ("returns added up, as a share of the peak",), float((grown / np.maximum.accumulate(grown) - 1.0).min())


def _calmars(curve: Curve, used: Conventions) -> Iterator[Candidate]:
    depths = list(_drawdowns(curve, used))
    for words, growth in _annual_returns(curve, used):
        for more, depth in depths:
            yield (*words, *more), _over(growth, abs(depth))


def _skews(curve: Curve, _: Conventions) -> Iterator[Candidate]:
    n, plain = len(curve.returns), _moment(curve.returns, 3)
    yield (), plain
    if n > 2:
        yield ("corrected for bias",), plain * math.sqrt(n * (n - 1)) / (n - 2)


def _kurtoses(curve: Curve, _: Conventions) -> Iterator[Candidate]:
    n, plain = len(curve.returns), _moment(curve.returns, 4)
    yield (), plain
    yield ("in excess of 3",), plain - 3.0
    if n > 3:
        fair = ((n + 1) * (plain - 3.0) + 6.0) * (n - 1) / ((n - 2) * (n - 3))
        yield ("in excess of 3", "corrected for bias"), fair
        yield ("corrected for bias",), fair + 3.0


def _exposures(result: Result) -> Iterator[Candidate]:
    """Yield the share of labels at which a trade is open, with that of its exit."""
    trades, n = Aligned(result).trades, len(result.equity)
    if trades is None:
        return
    opened = np.cumsum(np.bincount(trades.enters, minlength=n + 2)[:n])
    shut = np.cumsum(np.bincount(trades.exits + 1, minlength=n + 2)[:n])
    yield ("the label of an exit counts",), float((opened > shut).mean())


def _of_profits(metric: str, result: Result) -> Iterator[Candidate]:
    """Yield metrics of the closed trades' profits in their order, as shares of the capital, instead of the equity's."""
    trades = result.trades
    if trades is None or len(trades) < 2:
        return
    in_order = trades.sort_values("exit_time", kind="stable")["net_pnl"].to_numpy(dtype=float, na_value=np.nan)
    gains = in_order / result.capital
    balance = np.append(1.0, 1.0 + np.cumsum(gains))
    days = int((result.equity.index[-1] - result.equity.index[0]).days)
    if metric == "max_drawdown":
        yield (
            ("of the balance that closed trades leave",),
            float((balance / np.maximum.accumulate(balance) - 1.0).min()),
        )
        return
    lost = gains[gains < 0.0]
    risk = gains if metric == "sharpe" else lost
    for span, periods in ((days + more, periods) for more in (0, 1, -1) for periods in (365.0, 252.0)):
        if span > 0 and len(risk) > 1:
            words = ("of the trades' profits a day over their deviation, ddof 0", f"{periods:g} days a year")
            yield words, _over(float(gains.sum()) / span * math.sqrt(periods), float(np.std(risk)))


def _of_trades(metric: str, result: Result) -> Iterator[Candidate]:
    """Yield metrics of trades: with open ones, before fees, of returns instead of money."""
    trades = result.trades
    if trades is None or not len(trades):
        return
    columns = ("net_pnl", "quantity", "entry_price", "exit_price")
    pnl, quantity, entry, exit_ = (trades[name].to_numpy(dtype=float, na_value=np.nan) for name in columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        net = pnl / (np.abs(quantity) * entry)
        gross = np.where(trades["side"] == "short", -1.0, 1.0) * (exit_ / entry - 1.0)
    is_open = trades["is_open"].to_numpy(dtype=bool) if "is_open" in trades else np.zeros(len(trades), dtype=bool)
    for words, chosen in (((), ~is_open), (("open trades count as trades",), np.ones(len(trades), dtype=bool))):
        if chosen.any():
            for more, value in _of_some_trades(metric, pnl[chosen], net[chosen], gross[chosen]):
                yield (*words, *more), value


def _of_some_trades(metric: str, pnl: np.ndarray, net: np.ndarray, gross: np.ndarray) -> Iterator[Candidate]:
    if metric == "total_trades":
        yield (), float(len(pnl))
    elif metric == "win_rate":
        yield (), float((pnl > 0.0).mean())
        yield ("no loss counts as a win",), float((pnl >= 0.0).mean())
    elif metric == "profit_factor":
        for words, gains in (((), pnl), (("of returns, not of money",), net), (("of returns before fees",), gross)):
            yield words, _over(float(gains[gains > 0.0].sum()), float(-gains[gains < 0.0].sum()))
    elif metric in {"best_trade", "worst_trade", "avg_trade"}:
        for words, gains in (((), net), (("before fees",), gross)):
            value = {"best_trade": gains.max(), "worst_trade": gains.min(), "avg_trade": gains.mean()}[metric]
            yield words, float(value)
            if metric == "avg_trade" and bool((gains > -1.0).all()):
                yield (*words, "a geometric mean"), float(np.expm1(np.log1p(gains).mean()))


def _moment(returns: np.ndarray, power: int) -> float:
    deviation = float(np.std(returns))
    return float(np.mean((returns - returns.mean()) ** power)) / deviation**power if deviation > 0.0 else math.nan


def _of_ddof(ddof: int) -> Words:
    return () if ddof else ("ddof 0",)


def _power(growth: float, exponent: float) -> float:
    """Return growth to an exponent, less one; NaN where that is no number."""
    try:
        return float(growth**exponent) - 1.0 if growth >= 0.0 else math.nan
    except OverflowError:
        return math.nan


def _over(value: float, by: float) -> float:
    return value / by if by > 0.0 else math.nan
