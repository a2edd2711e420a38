"""What a strategy is measured against: the instrument held, or a series of the user's own, brought to the same bars."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pipeline.backtest.data import SAMPLE_PREFIX, SUFFIXES, read_rows
from pipeline.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

OLDEST_DAYS = 10
TIMESTAMPS = ("timestamp", "date", "datetime", "time")
VALUES = ("close", "adj close", "adjusted close", "value", "price", "equity", "index")


def benchmark_label(source: str | None, label: str | None, symbol: str) -> str:
    """Return what the benchmark is called: the given label, else the name of its file, else buying and holding."""
    if label:
        return label
    if not source:
        return f"buy and hold {symbol}".strip()
    name = PurePath(source.removeprefix(SAMPLE_PREFIX)).name
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)] or source


def load_series(path: Path, *, column: str | None = None) -> pd.Series:
    """Read a series of positive values (prices, or a total-return index) from a CSV or Parquet file.

    The file has a column of timestamps, ISO-8601, and one of values: `column`, else close, value, price, equity or
    index, else the only other one. Returns the values indexed by UTC timestamp. Raises DataError.
    """
    import pandas as pd

    from pipeline.backtest.timestamps import to_utc

    raw, places = read_rows(path)
    raw = raw.set_axis([str(name) for name in raw.columns], axis=1)
    stamp, value = _columns(list(raw.columns), column, path)
    index = to_utc(raw[stamp], places, timezone=None, date_format=None, where=str(path))
    values = pd.to_numeric(raw[value], errors="coerce").astype(float)
    wrong = ~((values > 0.0) & (values < float("inf")))
    if wrong.any():
        first = places[int(wrong.to_numpy().argmax())]
        raise DataError(f"{path}, {first}: {value} is not a positive number. A benchmark needs one in every row.")
    if not (index.is_monotonic_increasing and index.is_unique):
        raise DataError(f"{path}: the timestamps of the benchmark must strictly increase. Sort them, once each.")
    return pd.Series(values.to_numpy(), index=index, name=value)


def benchmark_equity(series: pd.Series, index: pd.DatetimeIndex, initial_cash: float) -> pd.Series:
    """Return the equity of the initial cash held in `series` from the first bar on, without costs.

    A bar takes the last value at or before it, never a later one. Raises DataError when that value is more than
    ten days older than the bar, or when there is none: a flat line would look like a benchmark that stood still.
    """
    import numpy as np
    import pandas as pd

    places = series.index.searchsorted(index, side="right") - 1
    if len(index) and places[0] < 0:
        raise DataError(f"The benchmark begins {series.index[0]:%Y-%m-%d}, after the first bar, {index[0]:%Y-%m-%d}.")
    found = pd.DatetimeIndex(series.index)[places]
    late = np.asarray(index - found > pd.Timedelta(days=OLDEST_DAYS))
    if late.any():
        bar, known = index[late][0], found[late][0]
        raise DataError(
            f"The benchmark has no value in the {OLDEST_DAYS} days up to the bar {bar:%Y-%m-%d}: the last one is of "
            f"{known:%Y-%m-%d}. Give a series that covers the whole period."
        )
    held = series.to_numpy(dtype=float)[places]
    return pd.Series(held / held[0] * initial_cash, index=index, name="benchmark_equity")


def _columns(found: list[str], wanted: str | None, path: Path) -> tuple[str, str]:
    plain = {name.strip().casefold().replace("_", " "): name for name in reversed(found)}
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
