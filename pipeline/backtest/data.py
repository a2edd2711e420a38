"""Market data: find a source, read it, bring it to one form, check it against the data contract.

One form: a DataFrame indexed by `timestamp` (DatetimeIndex, UTC, nanoseconds) with float64 columns open, high,
low, close and, when the source has it, volume. See docs/data.md.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

PRICES = ("open", "high", "low", "close")
SAMPLE_PREFIX = "sample:"
SUFFIXES = (".csv", ".csv.gz", ".parquet")
NUMBERED = re.compile(r"\.\d+$")  # how pandas tells columns of one name apart

_SAMPLES = Path(__file__).parent / "samples"
_ALIASES = {
    "timestamp": ("timestamp", "date", "datetime", "time", "date time", "open time"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "last", "adj close", "adjusted close"),
    "volume": ("volume", "vol", "v"),
}
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
        raise DataError(f"The data file {path} cannot be read: give one that ends with {', '.join(SUFFIXES)}.")
    return path


def load_ohlcv(
    source: str | Path,
    *,
    start: dt.date | str | None = None,
    end: dt.date | str | None = None,
    columns: Mapping[str, str] | None = None,
    timezone: str | None = None,
    date_format: str | None = None,
) -> pd.DataFrame:
    """Read OHLCV bars from `sample:NAME`, a CSV (also .csv.gz) or a Parquet file, checked by the data contract.

    `start` and `end` are inclusive; an `end` given as a date includes that whole UTC day. `columns` maps our
    names to the file's (`{"open": "o"}`); without it names are matched by the usual aliases, whatever their case.
    `timezone` is the zone of timestamps that carry none; dates without a time of day are taken as midnight UTC.
    `date_format` is a strptime format, or one of s, ms, us, ns for a Unix epoch.

    Returns a frame in the form described at the top of this module; it never has NaN. Raises DataError, naming
    file, rows and rule.
    """
    from pipeline.backtest.contract import checked
    from pipeline.backtest.timestamps import to_utc

    path = source_path(str(source))
    raw, places = read_rows(path)
    raw = raw.set_axis([str(name) for name in raw.columns], axis=1)
    chosen = _match_columns(list(raw.columns), columns or {}, path)
    stamps = to_utc(raw[chosen.pop("timestamp")], places, timezone=timezone, date_format=date_format, where=str(path))
    df = checked(raw[list(chosen.values())].set_axis(list(chosen), axis=1), stamps, places, where=str(path))
    return _between(df, start, end, str(path))


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

    index = pd.DatetimeIndex(df.index)
    digest = hashlib.sha256(f"ohlcv/1 {len(df)}\n".encode())
    stamps = index.as_unit("ns").asi8  # of an index with a zone these are UTC
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


def read_rows(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the file as it is; returns the rows and the place of each, "line 2" (CSV) or "row 1" (Parquet)."""
    import pandas as pd

    try:
        if path.name.lower().endswith(".parquet"):
            raw = _index_as_columns(pd.read_parquet(path))
            return raw, [f"row {row}" for row in range(1, len(raw) + 1)]
        raw = pd.read_csv(
            path, skip_blank_lines=False, skipinitialspace=True, encoding="utf-8-sig", low_memory=False, **_exactly()
        )
    except (ValueError, OSError, ArithmeticError) as error:  # ValueError: pandas' and pyarrow's parsing errors
        hint = " Save it as UTF-8." if isinstance(error, UnicodeDecodeError) else ""
        said = str(error).strip().rstrip(".") or type(error).__name__
        raise DataError(f"The data file {path} cannot be read: {said}.{hint}") from None
    if any(NUMBERED.search(str(name)) for name in raw.columns):
        _check_names_differ(path)
    if not isinstance(raw.index, pd.RangeIndex):
        raise DataError(
            f"The data file {path} has more values in a row than names in its header. A decimal comma, a comma at the "
            "end of a line, or a first column without a name does that."
        )
    raw.index = pd.RangeIndex(2, len(raw) + 2)
    raw = raw.dropna(how="all")
    return raw.reset_index(drop=True), [f"line {line}" for line in raw.index.tolist()]


def _exactly() -> dict[str, Any]:
    """Return what makes pandas read every number as it is written; before 3.1 it is off by one bit now and then."""
    import pandas as pd

    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {} if version >= (3, 1) else {"float_precision": "round_trip"}


def _index_as_columns(raw: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a Parquet file with its index as columns; one without a name is taken for timestamps.

    What is a column already counts there, and an index of numbers beside a column of timestamps numbers the rows.
    """
    import pandas as pd

    if isinstance(raw.index, pd.RangeIndex):
        return raw
    if raw.index.names == [None]:
        stamped = any(_plain_name(str(name)) in _ALIASES["timestamp"] for name in raw.columns)
        if stamped and pd.api.types.is_numeric_dtype(raw.index.dtype):
            return raw.reset_index(drop=True)
        raw.index.name = "timestamp"
    known = [place for place, name in enumerate(raw.index.names) if name in raw.columns]
    if len(known) == raw.index.nlevels:
        return raw.reset_index(drop=True)
    return raw.reset_index(level=known, drop=True).reset_index() if known else raw.reset_index()


def _check_names_differ(path: Path) -> None:
    """Raise DataError when two columns of a CSV have one name; pandas would number them."""
    import pandas as pd

    head = pd.read_csv(path, nrows=1, header=None, dtype=str, skipinitialspace=True, encoding="utf-8-sig")
    names = [str(name) for name in head.iloc[0].dropna()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"The data file {path} has two columns named {twice[0]!r}. Give each a name of its own.")


def _match_columns(found: list[str], mapping: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return our name -> the file's name; volume may be absent."""
    problems = [
        f"{name!r} is not one of our columns. {nearest(name, _ALIASES)}" for name in mapping if name not in _ALIASES
    ]
    plain: dict[str, list[str]] = {}
    for name in found:
        plain.setdefault(_plain_name(name), []).append(name)
    chosen: dict[str, str] = {}
    for name, aliases in _ALIASES.items():
        if name in mapping:
            if mapping[name] in found:
                chosen[name] = mapping[name]
            else:
                problems.append(
                    f"{name} is mapped to {mapping[name]!r}, which is not in the file. {nearest(mapping[name], found)}"
                )
        elif hit := next((plain[alias] for alias in aliases if alias in plain), None):
            chosen[name] = hit[0]
            if len(hit) > 1:
                problems.append(f"{' and '.join(map(repr, hit))} could both be {name}.")
        elif name != "volume":
            problems.append(f"no column for {name}; tried {', '.join(aliases)} in any case.")
    if problems:
        listed = "\n".join(f"  - {line}" for line in problems)
        if len(found) == 1 and (other := next((sign for sign in ";\t|" if sign in found[0]), None)):
            raise DataError(f"The data file {path} has one column, {found[0]!r}. Separate by commas, not by {other!r}.")
        raise DataError(
            f"The data file {path} has columns {', '.join(found)}:\n{listed}\n"
            "Name them in data.columns, as open = 'Open'."
        )
    return chosen


def _plain_name(name: str) -> str:
    """Return a column's name as it is compared: in any case, with blanks for underscores."""
    return name.strip().casefold().replace("_", " ")


def _between(df: pd.DataFrame, start: Any, end: Any, where: str) -> pd.DataFrame:
    """Keep the bars from `start` to `end`; an empty result is an error."""
    first, last = _instant(start, where), _instant(end, where, whole_day=True)
    cut = df.loc[slice(first, last)] if first is not None or last is not None else df
    if cut.empty:
        raise DataError(
            f"{where} has no bars from {start or 'the beginning'} to {end or 'the end'}: "
            f"it holds {len(df):,} bars from {df.index[0].isoformat()} to {df.index[-1].isoformat()}."
        )
    return cut


def _instant(value: Any, where: str, *, whole_day: bool = False) -> Any:
    """Return `value` as a UTC instant; a plain date at the end of a range means the end of that day."""
    import pandas as pd

    if value is None:
        return None
    only_date = not isinstance(value, dt.datetime) and (isinstance(value, dt.date) or len(str(value)) == 10)
    try:
        instant = pd.Timestamp(value)
    except ValueError as error:
        raise DataError(f"{value!r} is not a date to cut {where} at: {error}. Write it as 2015-01-31.") from None
    instant = instant.tz_localize("UTC") if instant.tz is None else instant.tz_convert("UTC")
    return instant + pd.Timedelta(days=1) - pd.Timedelta(1, "ns") if only_date and whole_day else instant
