"""What a strategy is measured against: the instrument held, or a series of the user's own, brought to the same bars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pipeline.backtest.column_names import ALIASES, plain_name
from pipeline.backtest.data import SAMPLE_PREFIX
from pipeline.backtest.files import SUFFIXES, DataFile, Layout, Table
from pipeline.backtest.numerals import as_numbers, is_numeric
from pipeline.backtest.timestamps import is_daily, time_labels
from pipeline.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

OLDEST_DAYS = 10
TIMESTAMPS = ALIASES["timestamp"]
VALUES = (*ALIASES["close"], "value", "equity", "index")


def benchmark_label(source: str | None, label: str | None, symbol: str) -> str:
    """Return what the benchmark is called: the given label, else the name of its file, else buying and holding."""
    if label:
        return label
    if not source:
        return f"buy and hold {symbol}".strip()
    name = PurePath(source.removeprefix(SAMPLE_PREFIX)).name
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)] or source


@dataclass(frozen=True, eq=False)
class Matched:
    """A benchmark on the bars of a run, and what is to be said of how days and times were matched, None when plain."""

    equity: pd.Series
    note: str | None = None


def load_series(
    path: Path, *, column: str | None = None, timezone: str | None = None, date_format: str | None = None
) -> pd.Series:
    """Read a series of positive values (prices, or a total-return index) from a text, Parquet or Feather file.

    The file has a column of timestamps, read as those of bars are, and one of values: `column`, else close, value,
    price, equity or index, else the only other one. Returns the values indexed by UTC labels. Raises DataError.
    """
    import pandas as pd

    from pipeline.backtest.bars import is_newest_first
    from pipeline.backtest.timestamps import to_utc

    table, stamp, value = _table(path, column)
    index = to_utc(table.rows[stamp], table.places, timezone=timezone, date_format=date_format, where=str(path))
    values = as_numbers(table.rows[[value]], None, str(path), "benchmark")[value].astype(float)
    wrong = ~((values > 0.0) & (values < float("inf")))
    if wrong.any():
        first = table.places[int(wrong.to_numpy().argmax())]
        raise DataError(f"{path}, {first}: {value} is not a positive number. A benchmark needs one in every row.")
    if is_newest_first(index):
        index, values = index[::-1], values[::-1]
    if not (index.is_monotonic_increasing and index.is_unique):
        raise DataError(f"{path}: the timestamps of the benchmark must strictly increase. Sort them, once each.")
    return pd.Series(values.to_numpy(), index=index, name=value)


def benchmark_equity(series: pd.Series, index: pd.DatetimeIndex, initial_cash: float) -> pd.Series:
    """Return the equity of the initial cash held in `series`, without costs; see match_benchmark."""
    return match_benchmark(series, index, initial_cash).equity


def match_benchmark(series: pd.Series, index: pd.DatetimeIndex, initial_cash: float) -> Matched:
    """Return the equity of the initial cash held in `series` on the bars `index`, and how they were matched.

    Both are on UTC labels. Days meet days. A bar that is a day takes the last value of that UTC date or before. Where
    bars are instants, a value that is a day counts from the last bar of its UTC date on, and one at an instant from
    then on. Daily bars and daily values that never share an instant meet by UTC date.
    Raises DataError when that value is more than ten days older than the bar, or when there is none: a flat line would
    look like a benchmark that stood still.
    """
    import numpy as np
    import pandas as pd

    stamps = pd.DatetimeIndex(series.index).as_unit("ns")
    until, note = _known_until(index.as_unit("ns"), stamps)
    places = stamps.searchsorted(until, side="right") - 1
    if len(index) and places[0] < 0:
        raise DataError(f"The benchmark begins {stamps[0]:%Y-%m-%d}, after the first bar, {index[0]:%Y-%m-%d}.")
    found = stamps[places]
    late = np.asarray(index - found > pd.Timedelta(days=OLDEST_DAYS))
    if late.any():
        bar, known = index[late][0], found[late][0]
        raise DataError(
            f"The benchmark has no value in the {OLDEST_DAYS} days up to the bar {bar:%Y-%m-%d}: the last one is of "
            f"{known:%Y-%m-%d}. Give a series that covers the whole period."
        )
    held = series.to_numpy(dtype=float)[places]
    return Matched(pd.Series(held / held[0] * initial_cash, index=index, name="benchmark_equity"), note)


def _known_until(bars: pd.DatetimeIndex, stamps: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, str | None]:
    """Return for each bar the latest label a value may have, and a sentence where the two have different labels."""
    import numpy as np
    import pandas as pd

    ours, theirs = time_labels(bars), time_labels(stamps)
    end_of_day = bars.normalize() + pd.Timedelta(days=1) - pd.Timedelta(1, "ns")
    if ours == theirs and (ours == "days" or bool(bars.isin(stamps).any())):
        return bars, None
    if ours == "days":
        return end_of_day, (
            "BENCHMARK: the bars are days, the benchmark's values are at times of day: each day takes the last value "
            f"of its UTC date (first: {stamps[0].isoformat()}). Where these times are midnights of a place, say which "
            "with benchmark.timezone."
        )
    if theirs == "days":
        day = bars.normalize()
        is_last = np.append(np.asarray(day[1:] != day[:-1]), True)
        return day.where(is_last, day - pd.Timedelta(days=1)), (
            "BENCHMARK: the bars are at times of day, the benchmark's values are days: the value of a day counts from "
            "the last bar of its UTC date on, before that the value of the day before."
        )
    if is_daily(bars) and is_daily(stamps):
        return end_of_day, (
            f"BENCHMARK: bars and benchmark never share a time of day ({bars[0]:%H:%M} and {stamps[0]:%H:%M} UTC): "
            "they were matched by UTC date."
        )
    return bars, (
        f"BENCHMARK: bars and benchmark never share an instant (first: {bars[0].isoformat()} and "
        f"{stamps[0].isoformat()}): each bar takes the last value before it."
    )


def _table(path: Path, column: str | None) -> tuple[Table, str, str]:
    """Return the rows of a benchmark's file, and its columns of timestamps and values."""
    file = DataFile(path, Layout(mapped=tuple(filter(None, [column])), section="benchmark"))
    if not file.is_text:
        table = file.read()
        return (table, *_columns([str(name) for name in table.rows.columns], column, path))
    nameless = file.nameless_dates.get("timestamp")
    names = ["date" if name == nameless else name for name in file.names]
    stamp, value = _columns(names, column, path)
    stamp = nameless if nameless and stamp == "date" else stamp
    table = file.read(as_text=[stamp])
    texts = not is_numeric(table.rows[value])
    return (file.read(as_text=[stamp, value]) if texts else table), stamp, value


def _columns(found: list[str], wanted: str | None, path: Path) -> tuple[str, str]:
    plain = {plain_name(name): name for name in reversed(found)}
    stamp = next((plain[name] for name in TIMESTAMPS if name in plain), None)
    if stamp is None:
        raise DataError(f"{path} has no column of timestamps; tried {', '.join(TIMESTAMPS)} among {', '.join(found)}.")
    others = [name for name in found if name != stamp]
    if wanted is not None:
        if wanted not in others:
            raise DataError(f"{path} has no column {wanted!r} for benchmark.column. {nearest(wanted, others)}")
        return stamp, wanted
    value = next((plain[name] for name in VALUES if name in plain), others[0] if len(others) == 1 else None)
    if value is None:
        raise DataError(f"{path} has the columns {', '.join(others)}: say which one with benchmark.column.")
    return stamp, value
