"""Bars out of a data file: which of its columns they are, when they were, and what is to be told of the reading."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.column_names import PRICES, known_as, match_columns
from pipeline.backtest.files import DataFile, Layout, Table, one_ticker
from pipeline.backtest.places import rows_of
from pipeline.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Day = dt.date | str | None


@dataclass(frozen=True)
class Reading:
    """How a file of bars is to be read; see load_ohlcv."""

    columns: Mapping[str, str] = field(default_factory=dict)
    timezone: str | None = None
    date_format: str | None = None
    decimal: str | None = None
    skip_rows: int = 0
    symbol: str | None = None


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars in the loaded form, sentences on how their file was read, and what the whole of it tells.

    `periods_per_year` is inferred from all bars of the file, before a range was cut; None when it has only one.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    periods_per_year: float | None = None

    def hold(self, index: pd.Index) -> bool:
        """Say whether `index` is that of these bars, or of some that follow each other among them."""
        known = self.frame.index
        if not len(index) or index[0] not in known:
            return False
        first = int(known.get_indexer(index[:1])[0])
        return bool(known[first : first + len(index)].equals(index))


def read_bars(path: Path, reading: Reading, *, start: Day = None, end: Day = None) -> Bars:
    """Read bars as load_ohlcv does, with what is to be told of the reading; raises DataError."""
    import pandas as pd

    from pipeline.backtest.contract import checked
    from pipeline.backtest.numerals import as_numbers, doubtful_volume
    from pipeline.backtest.periods import periods_per_year
    from pipeline.backtest.spacing import check_span

    where = str(path)
    table, chosen = _table_of_bars(path, reading)
    stamps = stamps_of(table, chosen, reading, where)
    written, notes = _prices(table, chosen, reading, where)
    places: Sequence[str] = table.places
    if is_newest_first(stamps):
        stamps, written, places = stamps[::-1], written[::-1], table.places[::-1]
        notes = (*notes, NEWEST_FIRST)
    numbers = as_numbers(written, reading.decimal, where)
    notes = (*notes, *doubtful_volume(numbers, reading.decimal))
    bars = checked(numbers, stamps, places, where=where, written=written)
    df = _between(bars, start, end, where)
    check_span(pd.DatetimeIndex(df.index), where)
    told = periods_per_year(pd.DatetimeIndex(bars.index)) if len(bars) > 1 else None
    return Bars(df, (*table.notes, *notes), told)


COUNTED = "1677-09-22", "2262-04-10"  # the first and the last whole day that nanoseconds count
NEWEST_FIRST = "The file has its newest row first; the bars were put into the order of time."


def is_newest_first(stamps: pd.DatetimeIndex) -> bool:
    """Say whether every row is older than the one before."""
    return len(stamps) > 1 and bool((stamps[1:] < stamps[:-1]).all())


def stamps_of(table: Table, chosen: Mapping[str, str], reading: Reading, where: str) -> pd.DatetimeIndex:
    """Return the labels of a table's rows, date and time of day joined when they are apart; raises DataError."""
    from pipeline.backtest.timestamps import to_utc

    written = table.rows[chosen["timestamp"]]
    if "time" in chosen:
        written = _joined(written, table.rows[chosen["time"]])
    return to_utc(written, table.places, timezone=reading.timezone, date_format=reading.date_format, where=where)


def _table_of_bars(path: Path, reading: Reading) -> tuple[Table, dict[str, str]]:
    """Return the rows of a file, and which of its columns is which of ours."""
    said = f"The data file {path}"
    file = DataFile(path, Layout(tuple(reading.columns.values()), reading.skip_rows, reading.symbol))
    if not file.is_text:
        table = file.read()
        found = [str(name) for name in table.rows.columns]
        chosen = match_columns(found, {**_only_dates(table.rows), **reading.columns}, said)
        return _of_one_instrument(table, chosen, reading.symbol, str(path)), chosen
    chosen = match_columns(file.names, {**file.nameless_dates, **reading.columns}, said)
    prices = [chosen[name] for name in (*PRICES, "volume") if name in chosen]
    dates = [chosen[name] for name in ("timestamp", "time") if name in chosen]
    table = file.read(as_text=[*dates, *(prices if reading.decimal else ())])
    if not reading.decimal and _has_separators(table.rows[list(dict.fromkeys(prices))]):
        table = file.read(as_text=[*dates, *prices])
    return _of_one_instrument(table, chosen, reading.symbol, str(path)), chosen


def _only_dates(rows: pd.DataFrame) -> dict[str, str]:
    """Return the one column of date-times where no name says which column the timestamps are."""
    import pandas as pd

    if any(known_as(str(name)) == "timestamp" for name in rows.columns):
        return {}
    dated = [str(name) for name in rows.columns if pd.api.types.is_datetime64_any_dtype(rows[name].dtype)]
    return {"timestamp": dated[0]} if len(dated) == 1 else {}


def _has_separators(columns: pd.DataFrame) -> bool:
    from pipeline.backtest.numerals import has_separators, is_numeric

    return any(has_separators(column.astype(str)) for _, column in columns.items() if not is_numeric(column))


def _of_one_instrument(table: Table, chosen: Mapping[str, str], symbol: str | None, where: str) -> Table:
    """Return the rows of one instrument, of a file that holds several below each other."""
    names = [name for name in table.rows.columns if known_as(str(name)) == "ticker" and name not in chosen.values()]
    if len(names) != 1:
        return table
    tickers = table.rows[names[0]].astype(str)
    found = tickers.unique().tolist()
    stamps = table.rows[list(dict.fromkeys(chosen[name] for name in ("timestamp", "time") if name in chosen))]
    if len(found) < 2 or (symbol not in found and not stamps.duplicated().any()):
        return table
    ticker, notes = one_ticker(found, symbol, where)
    return table.where((tickers == ticker).to_numpy(), *notes)


def _joined(date: pd.Series, time: pd.Series) -> pd.Series:
    """Return date and time of day as one text, missing where either is."""
    import pandas as pd

    dated = date.dt.strftime("%Y-%m-%d") if pd.api.types.is_datetime64_any_dtype(date.dtype) else date.astype(str)
    day = dated.str.strip().str.replace(r"[ T]00:00(:00(\.0+)?)?$", "", regex=True)
    clock = time.astype(str).str.strip().str.replace(r"^(\d+)\.0$", r"\1", regex=True)
    if clock.str.fullmatch(r"\d{1,6}").all():  # HHMM or HHMMSS, perhaps without zeros before it
        clock = clock.str.zfill(4 if clock.str.len().max() <= 4 else 6)
    return (day + " " + clock).where(date.notna() & time.notna())


def _prices(
    table: Table, chosen: Mapping[str, str], reading: Reading, where: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return prices and volume as they are written; a volume with blanks is left out, unless the user named it."""
    from pipeline.backtest.numerals import blank

    names = {name: chosen[name] for name in (*PRICES, "volume") if name in chosen}
    other = None if "volume" in reading.columns else _volume_beside_zeros(table, names.get("volume"))
    notes: tuple[str, ...] = ()
    if other is not None:
        notes = (f"The column {names['volume']!r} is 0 in every row, so the volume is that of {other!r}.",)
        names["volume"] = other
    values = table.rows[list(names.values())].set_axis(list(names), axis=1)
    if "volume" not in names or not (blanks := blank(values["volume"])).any():
        return values, notes
    missing = f"volume is blank in {rows_of(blanks, table.places)}"
    if "volume" in reading.columns:
        raise DataError(f"{where}: {missing}. Fill it, or leave it out with columns.volume = '' in the spec.")
    return values.drop(columns="volume"), (*notes, f"The column {missing}, so it was left out.")


def _volume_beside_zeros(table: Table, volume: str | None) -> str | None:
    """Return the other column of volumes where the first holds but zeros: MetaTrader's <TICKVOL> beside <VOL>."""
    if volume is None or _some_volume(table.rows[volume]):
        return None
    others = [str(name) for name in table.rows.columns if known_as(str(name)) == "volume" and str(name) != volume]
    return next((name for name in others if _some_volume(table.rows[name])), None)


def _some_volume(column: pd.Series) -> bool:
    import pandas as pd

    return not pd.to_numeric(column, errors="coerce").eq(0).all()


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
    """Return `value` as a UTC instant; a plain date at the end of a range means the end of that day.

    Instants before and after all that nanoseconds can count are the first and the last day of these.
    """
    import pandas as pd

    if value is None:
        return None
    only_date = not isinstance(value, dt.datetime) and (isinstance(value, dt.date) or len(str(value)) == 10)
    try:
        instant = pd.Timestamp(value or "nothing")
        instant = instant.tz_localize("UTC") if instant.tz is None else instant.tz_convert("UTC")
        first, last = (pd.Timestamp(day, tz="UTC") for day in COUNTED)
        instant = min(max(instant, first), last).as_unit("ns")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{value!r} is not a date to cut {where} at: {error}. Write it as 2015-01-31.") from None
    return instant + pd.Timedelta(days=1) - pd.Timedelta(1, "ns") if only_date and whole_day else instant
