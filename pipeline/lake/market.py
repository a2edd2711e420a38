"""Market data into the lake: files of bars, checked by the data contract, merged into what is there of their series.

ohlcv/symbol=<symbol>/year=<year>/<freq>-<digest>.parquet   the bars of a year; never changed
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pipeline.backtest.bars import Reading, read_bars
from pipeline.backtest.bars_digest import data_digest
from pipeline.backtest.data import source_path
from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import DataError, StorageError, UsageError, shown
from pipeline.files import write_atomic
from pipeline.lake.market_index import Market, Series, Version, Year, read_market, write_market
from pipeline.lake.place import Place
from pipeline.lake.schema import OHLCV, arrow_schema
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

FREQ = re.compile(r"([1-9][0-9]{0,3})(s|m|h|d|w|mo)")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
PRICES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Imported:
    """What an import did to a series: bars that are new, that were corrected, that were there; its digest now."""

    symbol: str
    freq: str
    added: int
    corrected: int
    unchanged: int
    rows: int
    first: str
    last: str
    bars_sha256: str
    notes: tuple[str, ...] = ()


def import_bars(
    settings: Settings, files: Sequence[str | Path], symbol: str, freq: str, reading: Reading | None = None
) -> Imported:
    """Merge files of bars into the series of a symbol at a frequency, a later file over an earlier one.

    A bar that differs from the one that is there takes its place, in a new version. What is there already changes
    nothing. Raises DataError for bars that break the data contract, or that are not `freq` apart; UsageError.
    """

    step = _seconds(freq)
    if not symbol.strip() or len(symbol) > 100:
        raise UsageError(f"{shown(symbol)} is no symbol: 1 to 100 characters are needed.")
    found: list[pd.DataFrame] = []
    sources: dict[str, str] = {}
    notes: list[str] = []
    for file in files:
        path = source_path(str(file), settings.root)
        bars = read_bars(path, _reading(reading, symbol))
        _check_step(bars.frame, step, freq, path)
        found.append(bars.frame)
        notes += bars.notes
        sources[path.name] = sha256_file(path)
    place = Place.of(settings)
    with place.writing():
        market = read_market(place)
        series = market.find(symbol, freq)
        before = None if series is None else series_frame(place, series.current)
        after = _merged([*([] if before is None else [before]), *found])
        added, corrected = _difference(before, after)
        if added or corrected or series is None:
            series = _stored(place, market, series or Series(symbol, freq, ()), after, sources)
    now = series.current
    given = len(_merged(found))
    return Imported(
        symbol, freq, added, corrected, given - added - corrected, now.rows, now.first, now.last, now.bars_sha256,
        tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def series_frame(place: Place, version: Version) -> pd.DataFrame:
    """Return the bars of a version in the loaded form (see pipeline.backtest.data); raises StorageError."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.concat_tables(pq.read_table(place.ohlcv / year.file, partitioning=None) for year in version.years)
    except (OSError, ValueError) as error:
        raise StorageError(f"Bars of the lake cannot be read: {error}") from None
    frame: pd.DataFrame = table.select(["timestamp", *PRICES]).to_pandas()
    stamps = pd.DatetimeIndex(frame.pop("timestamp")).tz_localize("UTC").as_unit("ns").rename("timestamp")
    frame = frame.set_index(stamps)
    return frame.drop(columns="volume") if frame["volume"].isna().all() else frame


def served(settings: Settings, digest: str) -> pd.DataFrame:
    """Return the bars with a digest, of whichever version; its first digits are enough. Raises DataError."""
    place = Place.of(settings)
    return series_frame(place, read_market(place).version(digest.lower())[1])


def _reading(reading: Reading | None, symbol: str) -> Reading:
    from dataclasses import replace

    return replace(reading or Reading(), symbol=symbol)


def _seconds(freq: str) -> int | None:
    """Return how long a bar is; None for months, which differ. Raises UsageError."""
    found = FREQ.fullmatch(freq)
    if found is None:
        raise UsageError(f"{shown(freq)} is no frequency: a number and s, m, h, d, w or mo, as 1d, 15m or 1h.")
    return None if found[2] == "mo" else int(found[1]) * SECONDS[found[2]]


def _check_step(frame: pd.DataFrame, step: int | None, freq: str, path: Path) -> None:
    """Raise DataError for bars that are nearer to each other than `freq`, or mostly at another distance."""
    if step is None or len(frame) < 2:
        return
    gaps = frame.index.to_series().diff().dropna().dt.total_seconds()
    nearest, usual = float(gaps.min()), float(gaps.mode().iloc[0])
    if nearest < step or usual != step:
        raise DataError(
            f"{path}: the bars are mostly {usual:g} s apart, at least {nearest:g} s, and {freq} is {step:,} s. "
            "Give the frequency that they have with --freq."
        )


def _merged(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return bars in the order of time; of those with one label the last ones."""
    import pandas as pd

    if len({"volume" in frame.columns for frame in frames}) > 1:
        raise DataError(
            "Some of these bars have a volume and some have none; a series has either. Import files that have it, or "
            "another symbol."
        )
    whole = pd.concat(frames)
    return whole[~whole.index.duplicated(keep="last")].sort_index()


def _difference(before: pd.DataFrame | None, after: pd.DataFrame) -> tuple[int, int]:
    """Return how many bars are new, and how many are others than before."""
    if before is None:
        return len(after), 0
    columns = [name for name in PRICES if name in after.columns]
    known, same = after.loc[before.index, columns], before.reindex(columns=columns)
    differs = ~((known == same) | (known.isna() & same.isna())).all(axis=1)
    return len(after) - len(before), int(differs.sum())


def _stored(place: Place, market: Market, series: Series, frame: pd.DataFrame, sources: dict[str, str]) -> Series:
    """Write a version of a series, of its years those that are new, and make it the current one."""
    version = Version(
        data_digest(frame),
        tuple(_years(place, series, frame)),
        frame.index[0].isoformat(),
        frame.index[-1].isoformat(),
        sources,
        dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
    changed = Series(series.symbol, series.freq, (*series.versions, version))
    write_market(place, market.with_series(changed))
    return changed


def _years(place: Place, series: Series, frame: pd.DataFrame) -> Iterator[Year]:
    import pandas as pd

    for year, bars in frame.groupby(pd.DatetimeIndex(frame.index).year):
        data = _parquet(series, bars)
        folder = f"symbol={quote(series.symbol, safe='')}/year={year}"
        file = f"{folder}/{series.freq}-{sha256_bytes(data)[:16]}.parquet"
        if not (place.ohlcv / file).is_file():
            write_atomic(place.ohlcv / file, data)
        yield Year(int(str(year)), file, len(bars))


def _parquet(series: Series, bars: pd.DataFrame) -> bytes:
    """Return bars as Parquet; the same bars are the same bytes."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    stamps = pd.DatetimeIndex(bars.index).tz_localize(None)
    none = pa.nulls(len(bars), pa.float64())
    columns = {name: bars[name].to_numpy() if name in bars.columns else none for name in PRICES}
    names = {"symbol": pa.repeat(series.symbol, len(bars)), "freq": pa.repeat(series.freq, len(bars))}
    table = pa.table({**names, "timestamp": pa.array(stamps), **columns}).cast(arrow_schema(OHLCV))
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", use_dictionary=["symbol", "freq"])
    return out.getvalue()
