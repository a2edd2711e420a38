"""The conventions of one run: what its annual figures are annualised by, which rate is taken off, what labels its bars.

They are settled once, before the backtest, and every figure of the run uses them; `conventions.json` records them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pipeline.backtest.timestamps import TimeLabels, time_labels
from pipeline.errors import UsageError
from pipeline.files import number

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
DDOF = 1
NAMES = ("periods_per_year", "risk_free_rate", "ddof", "time_labels", "currency")
APART = 0.05  # a given number of bars a year is in doubt when it is further from the inferred one


class Sourced(NamedTuple):
    """The value of a convention, and where it comes from: given, inferred or default."""

    value: float | str
    source: str


@dataclass(frozen=True)
class Conventions:
    """Bars a year, risk-free rate, ddof and labels of the bars of a run, and where each comes from.

    `given_periods` is the number of bars a year that somebody gave, `inferred_periods` the one that the bars tell, of
    the whole file where there is one; the given one counts. `risk_free_rate` is annual, a decimal, and compounds; None
    means that nobody recorded it, and counts as 0; one of 0 is the default unless `rate_given`. `currency` is that of
    prices and account, None when nobody said it. Deviations are taken with `ddof`, always 1. `time_labels` says
    whether a bar names a day or an instant, None when no bars told it.
    """

    risk_free_rate: float | None = 0.0
    given_periods: float | None = None
    inferred_periods: float | None = None
    ddof: int = DDOF
    time_labels: TimeLabels | None = None
    currency: str | None = None
    rate_given: bool = field(default=False, compare=False)

    @property
    def periods_per_year(self) -> float | None:
        """Bars a year; None when they are not known, and nothing can be annualised."""
        return self.inferred_periods if self.given_periods is None else self.given_periods

    @property
    def rate(self) -> float:
        """The annual risk-free rate, 0 when it is not known."""
        return self.risk_free_rate or 0.0

    @property
    def rate_per_period(self) -> float:
        """The risk-free rate of one bar, see `per_period_rate`; 0 when bars a year are not known."""
        return per_period_rate(self.rate, self.periods_per_year) if self.periods_per_year else 0.0

    @property
    def doubt(self) -> str:
        """A sentence when the given number of bars a year is more than 5 % off what the bars tell; else empty."""
        given, told = self.given_periods, self.inferred_periods
        if not given or not told or abs(given / told - 1.0) <= APART:
            return ""
        return (
            f"BARS A YEAR: {given:,.6g} are given, {abs(given / told - 1.0):.0%} {'more' if given > told else 'fewer'} "
            f"than the {told:,.6g} that the bars tell. Annual figures use the given number."
        )

    def of_bars(self, index: pd.DatetimeIndex) -> Conventions:
        """Return these conventions with what labels the bars of `index`.

        Where no number of bars a year was inferred before, they tell it.
        """
        from pipeline.backtest.periods import periods_per_year

        told = self.inferred_periods
        if told is None and len(index) > 1:
            told = periods_per_year(index)
        return replace(self, inferred_periods=told, time_labels=time_labels(index))

    @property
    def known(self) -> dict[str, Sourced]:
        """The conventions that are known, by name, each with where it comes from."""
        rate = self.risk_free_rate
        found = {
            "periods_per_year": (self.periods_per_year, "inferred" if self.given_periods is None else "given"),
            "risk_free_rate": (rate, _given(rate or self.rate_given)),
            "ddof": (self.ddof, "default"),
            "time_labels": (self.time_labels, "inferred"),
            "currency": (self.currency, "given"),
        }
        return {name: Sourced(value, source) for name, (value, source) in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the content of conventions.json; a convention that is not known is null."""
        parts: dict[str, Any] = {name: part._asdict() for name, part in self.known.items()}
        if "periods_per_year" in parts:
            parts["periods_per_year"]["inferred"] = self.inferred_periods
        return {"schema_version": SCHEMA_VERSION, **dict.fromkeys(NAMES), **parts}

    @classmethod
    def from_dict(cls, values: Any) -> Conventions:
        """Read what `to_dict` wrote, now or in a later version; what has another shape is not known."""
        periods, rate, ddof = (_part(values, name) for name in ("periods_per_year", "risk_free_rate", "ddof"))
        labels, currency = (_part(values, name).get("value") for name in ("time_labels", "currency"))
        known = _positive(periods.get("value"))
        return cls(
            risk_free_rate=_number(rate.get("value"), above=-1.0),
            given_periods=known if periods.get("source") == "given" else None,
            inferred_periods=_positive(periods.get("inferred")) if periods.get("source") == "given" else known,
            ddof=DDOF if _number(ddof.get("value")) is None else int(ddof["value"]),
            time_labels=labels if labels in get_args(TimeLabels) else None,
            currency=currency if isinstance(currency, str) and currency else None,
            rate_given=rate.get("source") == "given",
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Conventions:
        """Return what the config of a result says that was not made by this project's engine."""
        rate, periods = config.get("risk_free_rate"), config.get("periods_per_year")
        return cls(risk_free_rate=_number(rate, above=-1.0), given_periods=_positive(periods))


NOTHING_KNOWN = Conventions(risk_free_rate=None)


def per_period_rate(annual: float, periods_per_year: float | None) -> float:
    """Return the rate per period that compounds to `annual` in a year: (1 + annual)^(1 / periods_per_year) - 1.

    Geometric, not annual / periods_per_year: 0.04 over 252 is 0.000155650 a bar, the simple rate 0.000158730. Raises
    UsageError without periods_per_year.
    """
    if annual == 0.0:
        return 0.0
    if periods_per_year is None:
        raise UsageError("An annual risk-free rate needs periods_per_year to become one per period.")
    return math.expm1(math.log1p(annual) / periods_per_year)


def _given(given: object) -> str:
    return "given" if given else "default"


def _part(values: Any, name: str) -> Mapping[str, Any]:
    found = values.get(name) if isinstance(values, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _number(value: Any, *, above: float = -math.inf) -> float | None:
    found = number(value)
    return found if found is not None and found > above else None


def _positive(value: Any) -> float | None:
    return _number(value, above=0.0)
