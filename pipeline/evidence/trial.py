"""A trial as entries of the ledger tell it: what it searched, over which time, and what came out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pipeline.backtest.conventions import per_period_rate
from pipeline.digest import canonical_json, sha256_bytes
from pipeline.evidence.ledger import Event
from pipeline.spec import RunSpec, without_none

SCOPE = "trial"  # in the details of an entry that counts trials
RESULT = "result"  # in the details of a run's seal
SAME_RETURNS = {  # keys of a spec that change no return: labels, and the conventions of the figures
    "data": {"source", "periods_per_year", "currency"},
    "strategy": {"family"},
    "backtest": {"risk_free_rate"},
}
CODE = ("notebook", "parameters", "seed")
ANYTHING = "*\0"  # stands for every instrument; none is called that
SHORT = 16  # hexadecimal digits of a configuration's digest: enough to tell configurations apart
DIGITS = 12  # to which results are compared: a number that went through a file and back is still the same
PLACES = 10  # to which ratios are: taken to another rate and back, they are still the same


@dataclass(frozen=True)
class Scope:
    """What a trial is a trial of.

    Trials are of one family when `family` and an instrument agree and their times overlap, whatever the strategy's
    function is called and whichever bars the file has. `strategy` and `data_sha256` say which exactly. Unknown is
    None, no instrument an unknown one: it agrees with another unknown one, and an unknown time overlaps every time.
    `first` and `last` are the times of the first and the last bar, ISO-8601 UTC. `code` is the digest of a notebook
    that no strategy is known of: its instruments are known once it has a result, and until then it may have been on
    any of them.
    """

    strategy: str | None
    data_sha256: str | None
    family: str | None = None
    instruments: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None
    code: str | None = None

    @property
    def exact(self) -> tuple[str, str] | None:
        """The strategy's name, or the digest of the code, and that of the data; None when it is not known."""
        if self.code is not None:
            return self.code, self.data_sha256 or ""
        return (self.strategy, self.data_sha256) if self.strategy and self.data_sha256 else None

    @property
    def families(self) -> tuple[tuple[str, str | None], ...]:
        """The family with each instrument; empty for a trial whose entry is older than families."""
        names = self.instruments or (None,)
        anything = () if self.code is None else (ANYTHING,)
        return tuple((self.family, name) for name in (*names, *anything)) if self.family else ()

    @property
    def akin(self) -> tuple[tuple[str, str | None], ...]:
        """The families that the trials of this one's are in: of a notebook those on unknown instruments, too."""
        if self.code is None or not self.family:
            return self.families
        names = (*self.instruments, None) if self.instruments else (None, ANYTHING)
        return tuple((self.family, name) for name in names)

    def completed(self, later: Scope) -> Scope:
        """Return this with what a later entry about the same run knows besides; raises ValueError when they differ."""
        if later.family != self.family or (None not in (self.code, later.code) and later.code != self.code):
            raise ValueError("the family or the code")
        return replace(
            self,
            instruments=self.instruments or later.instruments,
            first=self.first or later.first,
            last=self.last or later.last,
            code=self.code or later.code,
        )

    def overlaps(self, other: Scope) -> bool:
        """Say whether the times of two trials overlap, as far as they are known."""
        return not (_before(self.last, other.first) or _before(other.last, self.first))

    def to_details(self) -> dict[str, Any]:
        """Return what an entry holds beside strategy and data."""
        return {
            "family": self.family,
            "instruments": list(self.instruments),
            "first": self.first,
            "last": self.last,
            **({} if self.code is None else {"code": self.code}),
        }

    @classmethod
    def of_event(cls, event: Event) -> Self:
        """Read the scope of an entry; raises ValueError for details that no version of this program writes."""
        details = event.details.get(SCOPE)
        if details is None:
            return cls(event.strategy, event.data_sha256)
        if not isinstance(details, dict):
            raise ValueError(f"{SCOPE} is no table")  # noqa: TRY004 - a malformed file, not a wrong argument
        family, first, last, code = words = [details.get(name) for name in ("family", "first", "last", "code")]
        instruments = details.get("instruments", [])
        if not all(word is None or isinstance(word, str) for word in words):
            raise ValueError(f"family, first, last and code of {SCOPE} are text")
        if not isinstance(instruments, list) or not all(isinstance(word, str) for word in instruments):
            raise ValueError(f"instruments of {SCOPE} is a list of text")
        return cls(event.strategy, event.data_sha256, family, tuple(instruments), first, last, code)


def scope_of(spec: RunSpec, digests: Mapping[str, str], root: Path, *, notebook: str = "") -> Scope:
    """Return what a run of `spec` is a trial of; `digests` are those of its inputs, `root` is the project.

    A run that names no strategy is a trial of its notebook: of what it is called, and of its very code.
    """
    from pipeline.backtest.span import data_span

    first, last = (None, None) if spec.data is None else data_span(spec.data, root)
    instruments = (spec.data.symbol,) if spec.data is not None and spec.data.symbol else ()
    data = digests.get("data")
    if spec.strategy is None:
        return Scope(notebook, data, notebook, instruments, first, last, code=digests.get("notebook"))
    return Scope(spec.strategy.name, data, spec.strategy.counted_as, instruments, first, last)


def counted_as(notebook: str | None) -> str:
    """Return what counts the trials of a run that names no strategy."""
    return "by hand" if notebook is None else f"notebook:{notebook}"


@dataclass(frozen=True)
class TrialResult:
    """What a later statistic needs of a trial: Sharpe ratio per bar, moments of its returns, and which it was.

    The ratio is without a risk-free rate, whatever the trial's own one is; `deviation` (ddof 1, per bar) takes it to
    the rate of another run. `bars` is the number of bars, of which the first has no return; kurtosis is not in excess.
    None is unknown or undefined. `configuration` is the start of a digest over all that decides the returns.
    """

    sharpe: float
    deviation: float | None = None
    bars: int | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    configuration: str | None = None

    @cached_property
    def key(self) -> tuple[float | None, ...]:
        """What tells results apart: trials with equal keys say nothing new about the spread of trials."""
        return (round(self.sharpe, PLACES), *(_rounded(value) for value in (self.bars, self.skewness, self.kurtosis)))

    @property
    def key_at_any_rate(self) -> tuple[float | None, ...]:
        """What tells results apart that may be taken to any risk-free rate."""
        return (*self.key, _rounded(self.deviation))

    def at_rate(self, rate: float) -> Self | None:
        """Return the result with a risk-free rate per bar taken off the returns; None without a deviation for that."""
        if not rate:
            return self
        return replace(self, sharpe=self.sharpe - rate / self.deviation) if self.deviation else None

    def to_row(self) -> list[Any]:
        """Return the values in their order."""
        return [self.configuration, self.sharpe, self.deviation, self.bars, self.skewness, self.kurtosis]

    @classmethod
    def of_row(cls, row: object) -> Self:
        """Read what to_row wrote; raises ValueError."""
        if not isinstance(row, list) or len(row) != len(cls.__dataclass_fields__):
            raise ValueError("a result is a list of six values")
        configuration, sharpe, *moments = row
        if not _is_number(sharpe) or not all(value is None or _is_number(value) for value in moments):
            raise ValueError("a result holds numbers")
        if configuration is not None and not isinstance(configuration, str):
            raise ValueError("a result's configuration is text")
        deviation, bars, skewness, kurtosis = moments
        return cls(float(sharpe), deviation, bars, skewness, kurtosis, configuration)

    @classmethod
    def of_stats(cls, stats: Mapping[str, Any], rate: float, configuration: str | None = None) -> Self | None:
        """Return the result that metrics tell which were made with `rate`, an annual risk-free rate.

        None when they have no Sharpe ratio, or one with a rate in it and no volatility to take it out by.
        """
        names = ("annual_volatility", "n_bars", "skewness", "kurtosis")
        try:
            volatility, bars, skewness, kurtosis = (_number_or_none(stats.get(name)) for name in names)
            per_year = float(stats["periods_per_year"])
            deviation = volatility / math.sqrt(per_year) if volatility else None
            told = cls(
                float(stats["sharpe"]) / math.sqrt(per_year),
                deviation,
                None if bars is None else int(bars),
                skewness,
                kurtosis,
                configuration,
            )
            found = told.at_rate(-per_period_rate(rate, per_year))
        except (ValueError, KeyError, TypeError, ArithmeticError):  # a hand-made file may hold an endless integer
            return None
        return found if found is not None and math.isfinite(found.sharpe) else None


def configuration(spec: Mapping[str, Any], data_sha256: str | None) -> str:
    """Return the start of a digest over all of a resolved spec that decides the returns of a trial.

    Keys that are None are left out too, so one that a later version adds changes no digest.
    """
    chosen: dict[str, Any] = {
        section: {key: value for key, value in (spec.get(section) or {}).items() if key not in hidden}
        for section, hidden in SAME_RETURNS.items()
    }
    chosen["run"] = {key: spec.get("run", {}).get(key) for key in CODE}
    chosen["data"]["sha256"] = data_sha256
    return sha256_bytes(canonical_json(without_none(chosen)))[:SHORT]


def rate_of(spec: Mapping[str, Any]) -> float:
    """Return the annual risk-free rate of a resolved spec, 0 when it is older than that key; raises ValueError."""
    return float((spec.get("backtest") or {}).get("risk_free_rate") or 0.0)


def _before(left: str | None, right: str | None) -> bool:
    return left is not None and right is not None and left < right


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_or_none(value: Any) -> float | None:
    return float(value) if _is_number(value) and math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
