"""Market data: find a source, read it, bring it to one form, check it against the data contract.

One form: a DataFrame indexed by `timestamp` (DatetimeIndex, UTC, nanoseconds) with float64 columns open, high,
low, close and, when the source has it, volume. See docs/data.md.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backtest.column_names import PRICES
from pipeline.backtest.files import READABLE, SUFFIXES
from pipeline.errors import DataError, DataWarning, nearest

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_PREFIX = "sample:"

_SAMPLES = Path(__file__).parent / "samples"
_DAY_NS = 86_400_000_000_000
_A_YEAR = (52, 26, 12, 6, 4, 3, 2, 1)  # weekly, every two weeks, monthly, … yearly


def sample_names() -> tuple[str, ...]:
    """Return the names of the bundled samples, usable as `sample:NAME`."""
    return tuple(sorted(path.stem for path in _SAMPLES.glob("*.csv")))


def source_path(source: str, root: str | Path = ".") -> Path:
    """Return the file behind `sample:NAME` or behind a path relative to `root`. Does not read it.

    Raises DataError when there is no such sample or file, or when its suffix is not one that can be read.
    """
    source = str(source)
    if source.startswith(SAMPLE_PREFIX):
        name = source.removeprefix(SAMPLE_PREFIX)
        if name not in sample_names():
            raise DataError(f"There is no bundled sample {name!r}. {nearest(name, sample_names())}")
        return _SAMPLES / f"{name}.csv"
    path = (Path(root) / source).resolve()
    if not path.is_file():
        kind = "is a directory" if path.is_dir() else "does not exist"
        raise DataError(f"The data file {path} {kind}. {_file_hint(source, path)}")
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"The data file {path} cannot be read: give one that ends with {READABLE}.")
    return path


def load_ohlcv(
    source: str | Path,
    *,
    start: dt.date | str | None = None,
    end: dt.date | str | None = None,
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    date_format: str | None = None,
    decimal: str | None = None,
    skip_rows: int = 0,
    symbol: str | None = None,
) -> pd.DataFrame:
    """Read OHLCV bars from `sample:NAME`, a text file (CSV) or a Parquet or Feather file, checked by the data contract.

    `start` and `end` are inclusive; an `end` given as a date includes that whole UTC day. `columns` maps our
    names to the file's (`{"open": "o"}`); without it names are matched by the usual aliases, whatever their case.
    `timezone` is the zone of timestamps that carry none; timestamps that all begin a day are days, as midnight UTC.
    `date_format` is a strptime format, one of s, ms, us, ns for a Unix epoch, or excel for day numbers. `decimal` is
    the decimal sign, found out where it can be; `skip_rows` lines stand above the header; of several instruments
    `symbol` is read.

    Returns a frame in the form described at the top of this module; it never has NaN. How a file was read that is not
    plain is told as DataWarning. Raises DataError, naming file, rows and rule.
    """
    from pipeline.backtest.bars import Reading, read_bars

    reading = Reading(dict(columns or {}), timezone, date_format, decimal, skip_rows, symbol)
    bars = read_bars(source_path(str(source)), reading, start=start, end=end)
    for note in bars.notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return bars.frame


def periods_per_year(index: pd.DatetimeIndex) -> float:
    """Infer how many bars a year holds from their spacing.

    Daily bars: 365 when both weekend days trade, else 252; bars of some days: that over their distance, in days or
    in working days. From 5 days on: the nearest of 52, 26, 12, 6, 4, 3, 2 and 1 a year when within a tenth, else as
    many as fit into 365.25 days. Intraday bars: 365 full days when both weekend days trade, else the median number of
    bars per UTC date times 252. Raises DataError for fewer than two bars.
    """
    import numpy as np

    if len(index) < 2:
        raise DataError("The number of bars in a year needs at least 2 bars to be inferred; give periods_per_year.")
    stamps = index.as_unit("ns")
    days = float(np.median(np.diff(stamps.asi8))) / _DAY_NS
    if days >= 5.0:
        fit = 365.25 / days
        nearest_named = min(_A_YEAR, key=lambda number: abs(fit / number - 1.0))
        return float(nearest_named) if abs(fit / nearest_named - 1.0) <= 0.1 else fit
    weekday = stamps.day_of_week
    weekend = min(float((weekday == 5).mean()), float((weekday == 6).mean())) >= 0.05
    if weekend:
        return 365.0 if 20 / 24 < days < 1.25 else 365.0 / days
    dates, per_date = np.unique(stamps.asi8 // _DAY_NS, return_counts=True)
    if days <= 20 / 24:
        return float(np.median(per_date)) * 252.0
    working = np.busday_count(dates[:-1].astype("datetime64[D]"), dates[1:].astype("datetime64[D]"))
    return 252.0 / max(1.0, float(np.median(working)))


def data_digest(df: pd.DataFrame) -> str:
    """Return the SHA-256 of the bars themselves, whatever file, library version or column order they came from.

    Hashed: each name among timestamp, open, high, low, close, volume that is present, the number of rows, then
    the values as little-endian int64 nanoseconds since 1970 UTC (timestamp) or float64 (the rest).
    """
    import numpy as np
    import pandas as pd

    from pipeline.backtest.timestamps import utc_labels

    digest = hashlib.sha256(f"ohlcv/1 {len(df)}\n".encode())
    stamps = utc_labels(pd.DatetimeIndex(df.index)).asi8
    digest.update(b"timestamp\n" + stamps.astype("<i8").tobytes())
    for name in (*PRICES, "volume"):
        if name in df.columns:
            values = np.asarray(df[name], dtype="<f8") + 0.0  # -0.0 becomes 0.0
            digest.update(name.encode() + b"\n" + values.tobytes())
    return digest.hexdigest()


def _file_hint(source: str, path: Path) -> str:
    if source in sample_names():
        return f"Did you mean the bundled sample {SAMPLE_PREFIX}{source}?"
    folder = path.parent
    names = [item.name for item in folder.iterdir() if item.name.endswith(SUFFIXES)] if folder.is_dir() else []
    return nearest(path.name, names) if names else f"Give an existing file, or {SAMPLE_PREFIX}NAME."
