"""What market data the lake has: `ohlcv/current.json`, replaced in one step.

A series is a symbol at a frequency. Each of its versions is a list of files, a year each, that never change; so what an
earlier run was made from can still be had when bars were corrected since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from pipeline.errors import DataError, LakeError, nearest, shown
from pipeline.files import read_json, write_json
from pipeline.lake.place import Place

FORMAT = 1
NAME = "current.json"


@dataclass(frozen=True)
class Year:
    """The bars of a series in one calendar year (UTC): their file, relative to `ohlcv/`, and how many they are."""

    year: int
    file: str
    rows: int


@dataclass(frozen=True)
class Version:
    """A state of a series: the digest of all its bars, its years, and the files that it was imported from last.

    `sources` are SHA-256 of files by name; `first` and `last` are labels of bars, ISO-8601 UTC.
    """

    bars_sha256: str
    years: tuple[Year, ...]
    first: str
    last: str
    sources: Mapping[str, str] = field(default_factory=dict)
    imported_at: str = ""

    @property
    def rows(self) -> int:
        """How many bars it has."""
        return sum(year.rows for year in self.years)


@dataclass(frozen=True)
class Series:
    """A symbol at a frequency; the last version is the current one."""

    symbol: str
    freq: str
    versions: tuple[Version, ...]

    @property
    def current(self) -> Version:
        """The version that is asked."""
        return self.versions[-1]


@dataclass(frozen=True)
class Market:
    """All series."""

    series: tuple[Series, ...] = ()

    def find(self, symbol: str, freq: str) -> Series | None:
        """Return a series; None where there is none."""
        return next((one for one in self.series if (one.symbol, one.freq) == (symbol, freq)), None)

    def with_series(self, changed: Series) -> Self:
        """Return the market with a series added, or in place of the one it had."""
        others = (one for one in self.series if (one.symbol, one.freq) != (changed.symbol, changed.freq))
        return replace(self, series=tuple(sorted((*others, changed), key=lambda one: (one.symbol, one.freq))))

    def version(self, digest: str) -> tuple[Series, Version]:
        """Return the version with these bars, the first digits of their SHA-256 are enough; raises DataError."""
        every = ((one, version) for one in self.series for version in one.versions)
        found = [(one, version) for one, version in every if version.bars_sha256.startswith(digest)]
        if len({version.bars_sha256 for _, version in found}) != 1:
            raise DataError(f"{shown(digest)} is the digest of {'no' if not found else 'several'} bars in the lake.")
        return found[0]

    def only(self, symbol: str, freq: str | None = None) -> Series:
        """Return the series of a symbol; raises DataError for none, and for several where `freq` does not say which."""
        found = [one for one in self.series if one.symbol == symbol and freq in (None, one.freq)]
        if not found:
            told = nearest(symbol, {one.symbol for one in self.series})
            raise DataError(f"The lake has no bars of {shown(symbol)}{f' at {freq}' if freq else ''}. {told}")
        if len(found) > 1:
            raise DataError(f"The lake has {shown(symbol)} at {', '.join(one.freq for one in found)}: say which.")
        return found[0]


def read_market(place: Place) -> Market:
    """Return what market data there is; raises LakeError for a list that cannot be read."""
    path = place.ohlcv / NAME
    try:
        values = read_json(path)
        if values["format"] != FORMAT:
            raise LakeError(f"{path} is of format {values['format']}, and {FORMAT} is read here.")
        return Market(tuple(_series(one) for one in values["series"]))
    except FileNotFoundError:
        return Market()
    except (OSError, ValueError, KeyError, TypeError):
        raise LakeError(f"{path} cannot be read: import the files again into another lake (EVIDENCE_LAKE).") from None


def write_market(place: Place, market: Market) -> None:
    """Put a list in place of the one before; raises StorageError."""
    write_json(place.ohlcv / NAME, {"format": FORMAT, "series": [asdict(one) for one in market.series]})


def _series(values: Mapping[str, Any]) -> Series:
    versions = tuple(
        Version(**{**version, "years": tuple(Year(**year) for year in version["years"])})
        for version in values["versions"]
    )
    return Series(values["symbol"], values["freq"], versions)
