"""Runs on the lake's market data: `data.source = "lake"` becomes a file of the very bars, named by their digest.

ohlcv/served/<symbol>-<freq>-<digest>.parquet   all bars of a version of a series, in one file; never changed
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline.digest import sha256_bytes
from pipeline.errors import DataError
from pipeline.files import write_atomic
from pipeline.lake.market import series_frame
from pipeline.lake.market_index import Series, read_market
from pipeline.lake.place import Place
from pipeline.settings import Settings
from pipeline.spec import RunSpec

SOURCE = "lake"
SHORT = 16  # hexadecimal digits of a digest in the name of a file


@dataclass(frozen=True)
class Wanted:
    """What a source asks for: a frequency, None where the symbol has but one."""

    freq: str | None = None

    @classmethod
    def of(cls, source: str) -> Wanted | None:
        """Read `lake` or `lake:1h`; None for any other source."""
        word, colon, freq = source.partition(":")
        return cls(freq or None) if word == SOURCE and (freq or not colon) else None


def with_lake_data(spec: RunSpec, settings: Settings) -> RunSpec:
    """Return a spec whose data, where they are the lake's, are a file of the bars as they are now.

    So the run records, keeps and replays them as it does any file. Raises DataError for a symbol that the lake does
    not have, and for one of several frequencies; StorageError.
    """
    wanted = None if spec.data is None else Wanted.of(spec.data.source)
    if spec.data is None or wanted is None:
        return spec
    market = read_market(Place.of(settings))
    if spec.data.symbol is None:
        raise DataError(f"data.source = {spec.data.source!r} needs data.symbol: which bars of the lake are meant?")
    try:
        series = market.only(spec.data.symbol, wanted.freq)
    except DataError as error:
        raise DataError(f"{error} A frequency is given as data.source = 'lake:1d'.") from None
    file = served_file(settings, series)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"source": settings.name_of(file)})})


def served_file(settings: Settings, series: Series) -> Path:
    """Return the file of the current bars of a series, which is made when it is not there; raises StorageError."""
    place, version = Place.of(settings), series.current
    symbol = quote(series.symbol, safe="")
    if len(symbol) > 100:
        symbol = sha256_bytes(series.symbol.encode())[:SHORT]
    path = place.ohlcv / "served" / f"{symbol}-{series.freq}-{version.bars_sha256[:SHORT]}.parquet"
    if not path.is_file():
        out = io.BytesIO()
        series_frame(place, version).to_parquet(out, engine="pyarrow", compression="zstd")
        write_atomic(path, out.getvalue())
    return path
