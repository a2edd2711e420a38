"""The data contract of OHLCV bars, written as a pandera schema; a violation names file, rows and rule."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.backtest.column_names import PRICES
from pipeline.backtest.timestamps import utc_labels
from pipeline.errors import DataError, DataWarning

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

SHOWN_ROWS = 3
# How far, relatively, an ordering of prices may be broken: adjusting prices for dividends rounds each on its own.
ROUNDING = 1e-9
TWICE = "each timestamp occurs once"
NEGATIVE = "volume is not negative"
HIGHEST, LOWEST = "high >= max(open, close)", "low <= min(open, close)"


def checked(
    values: pd.DataFrame,
    stamps: pd.DatetimeIndex,
    places: Sequence[str],
    *,
    where: str,
    written: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return `values` as float64 columns on the index `stamps` if they keep the contract.

    What passes a few array comparisons keeps it; pandera says of the rest what is wrong where. `places` names the rows
    for messages, as "line 2"; `written` are the values as the file has them, when they were turned into numbers.
    Raises DataError listing every broken rule with its first rows.
    """
    if len(values) == 0:
        raise DataError(f"{where} has no rows.")
    frame = _numeric(values, stamps)
    bars = frame.set_index("timestamp")
    fine = _plainly_fine(bars) and ("volume" not in bars or _volume_fine(bars["volume"].to_numpy()))
    if not fine and (broken := _violations(frame)):
        raise DataError(_message(frame, values if written is None else written, broken, places, where))
    return bars


def check_frame(df: pd.DataFrame, *, where: str = "the data frame", orderings: bool = True) -> None:
    """Check a frame already in the loaded form (see pipeline.backtest.data); rows are named by number.

    Without a zone the index counts as UTC. Unless `orderings`, a high below the open or close, or a low above them, is
    only a DataWarning with the rows. Raises DataError.
    """
    missing = [name for name in PRICES if name not in df.columns]
    if missing or not isinstance(df.index, pd.DatetimeIndex):
        named = ", ".join(map(str, list(df.columns)[:8]))
        lacking = f"; missing: {', '.join(missing)}; found: {named}" if missing else ""
        raise DataError(
            f"{where} needs the columns {', '.join(PRICES)} and a DatetimeIndex in UTC{lacking}. "
            "pipeline.backtest.load_ohlcv gives such a frame."
        )
    if _plainly_fine(df):
        return
    values = df[[name for name in (*PRICES, "volume") if name in df.columns]]
    if len(values) == 0:
        raise DataError(f"{where} has no rows.")
    frame = _numeric(values, utc_labels(df.index))
    broken = _violations(frame)
    places = [f"row {row}" for row in range(1, len(df) + 1)]
    if not orderings and broken and set(broken) <= {HIGHEST, LOWEST}:
        warnings.warn(_message(frame, values, broken, places, where), DataWarning, stacklevel=3)
    elif broken:
        raise DataError(_message(frame, values, broken, places, where))


def _numeric(values: pd.DataFrame, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the values as float64 beside the column `timestamp`, rows numbered from 0."""
    frame = pd.DataFrame({name: pd.to_numeric(values[name], errors="coerce") for name in values.columns})
    frame = frame.astype("float64").set_axis(pd.RangeIndex(len(frame)), axis=0)
    frame.insert(0, "timestamp", stamps)
    return frame


def ohlcv_schema(*, volume: bool) -> DataFrameSchema:
    """Return the contract as a pandera schema over a frame with `timestamp` as a column."""
    import pandera.pandas as pa

    def price() -> Any:
        return pa.Column(
            "float64", [_number(pa), pa.Check(lambda s: ~(s <= 0), error="prices are above zero")], nullable=True
        )

    columns = {name: price() for name in PRICES}
    if volume:
        at_least_zero = pa.Check(lambda s: ~(s < 0), error=NEGATIVE)
        columns["volume"] = pa.Column("float64", [_number(pa), at_least_zero], nullable=True)
    increasing = pa.Check(lambda s: ~(s.diff() < pd.Timedelta(0)), error="timestamps increase from row to row")
    unique = pa.Check(lambda s: ~s.duplicated(), error=TWICE)
    columns["timestamp"] = pa.Column("datetime64[ns, UTC]", [increasing, unique])
    top, bottom = 1.0 - ROUNDING, 1.0 + ROUNDING
    high = pa.Check(lambda d: ~(d["high"] < d[["open", "close"]].max(axis=1) * top), error=HIGHEST)
    low = pa.Check(lambda d: ~(d["low"] > d[["open", "close"]].min(axis=1) * bottom), error=LOWEST)
    return pa.DataFrameSchema(columns, checks=[high, low], strict=True)


def _number(pa: Any) -> Any:
    return pa.Check(np.isfinite, error="every value is a number (no blank, NaN, infinity or text)", ignore_na=False)


def _violations(frame: pd.DataFrame) -> dict[str, list[int]]:
    """Return rule -> row positions, empty when the contract holds."""
    import pandera.errors

    try:
        ohlcv_schema(volume="volume" in frame.columns).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        grouped = cases.groupby("check", sort=False)["index"]
        return {str(rule): sorted({int(row) for row in rows.dropna()}) for rule, rows in grouped}
    return {}


def _message(
    frame: pd.DataFrame, given: pd.DataFrame, broken: dict[str, list[int]], places: Sequence[str], where: str
) -> str:
    parts = [f"{where} breaks the data contract:"]
    for rule, rows in broken.items():
        shown = "; ".join(_row(frame, given, row, places) for row in rows[:SHOWN_ROWS])
        more = f"; and {len(rows) - SHOWN_ROWS:,} more" if len(rows) > SHOWN_ROWS else ""
        parts.append(
            f"  - rule: {rule}. {len(rows):,} {'row breaks' if len(rows) == 1 else 'rows break'} it: {shown}{more}"
        )
    if (frame["high"] < frame["low"]).mean() > 0.5:
        parts.append("In most rows high is below low: the two columns look swapped.")
    if TWICE in broken:
        parts.append(
            "Keep one row of each timestamp; bars within a day need a time of day, which may be a column of its own "
            "(columns.time)."
        )
    if NEGATIVE in broken:
        parts.append("A volume that is none, as -1, is left out with columns.volume = ''.")
    parts.append("Repair the rows, or say which column is which in data.columns.")
    return "\n".join(parts)


def _row(frame: pd.DataFrame, given: pd.DataFrame, row: int, places: Sequence[str]) -> str:
    stamp = frame["timestamp"].iloc[row].isoformat().replace("+00:00", "Z")
    values = ", ".join(f"{name} {given[name].iloc[row]}" for name in given.columns)
    return f"{places[row]} ({stamp}: {values})"


def _plainly_fine(df: pd.DataFrame) -> bool:
    """Say whether the prices of a frame in the loaded form keep the contract; False may also mean: ask pandera."""
    index = pd.DatetimeIndex(df.index)
    if len(df) == 0 or index.hasnans or any(df[name].dtype != np.float64 for name in PRICES):
        return False
    open_, high, low, close = (df[name].to_numpy() for name in PRICES)
    stamps = index.asi8
    return bool(
        np.isfinite(high).all()
        and (low > 0).all()
        and (high >= np.maximum(open_, close) * (1.0 - ROUNDING)).all()
        and (low <= np.minimum(open_, close) * (1.0 + ROUNDING)).all()
        and (stamps[1:] > stamps[:-1]).all()
    )


def _volume_fine(volume: np.ndarray) -> bool:
    return bool(np.isfinite(volume).all() and (volume >= 0).all())
