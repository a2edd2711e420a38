"""Market data: find a source, read it, bring it to one form, check it against the data contract.

One form: a DataFrame indexed by `timestamp` (DatetimeIndex, UTC, nanoseconds) with float64 columns open, high,
low, close and, when the source has it, volume. See docs/data.md.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backtest.files import READABLE, SUFFIXES
from pipeline.errors import DataError, DataWarning, nearest, shortened

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_PREFIX = "sample:"
READABLE_FROM = f"Give an existing file, or {SAMPLE_PREFIX}NAME."

_SAMPLES = Path(__file__).parent / "samples"


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
    try:
        path = (Path(root) / source).resolve()
        there = path.is_file()
    except (OSError, ValueError) as error:  # a name too long for the system, a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"There can be no data file {shortened(repr(source), 200)}: {reason}. {READABLE_FROM}"
        ) from None
    if not there:
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


def _file_hint(source: str, path: Path) -> str:
    if source in sample_names():
        return f"Did you mean the bundled sample {SAMPLE_PREFIX}{source}?"
    folder = path.parent
    names = [item.name for item in folder.iterdir() if item.name.endswith(SUFFIXES)] if folder.is_dir() else []
    return nearest(path.name, names) if names else READABLE_FROM
