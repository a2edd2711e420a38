"""Read a data file as it is, text or Parquet or Feather: its columns by name, and the place of each row."""

from __future__ import annotations

import contextlib
import csv
import io
import lzma
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.column_names import PRICES, known_as
from pipeline.backtest.places import Places
from pipeline.backtest.text_layout import BLANKS, TextLayout, find_layout, text_bytes
from pipeline.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TEXT = (".csv", ".txt", ".tsv")
PACKED = ("", ".gz", ".zip", ".bz2", ".xz")
COLUMNAR = (".parquet", ".feather")
UNREADABLE = (
    ValueError, OSError, ArithmeticError, EOFError, ImportError, RuntimeError, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile, csv.Error,
)  # fmt: skip
READABLE = ".csv, .txt or .tsv (also packed: .gz, .zip, .bz2, .xz), .parquet or .feather"
SUFFIXES = (*(f"{name}{packed}" for name in TEXT for packed in PACKED), *COLUMNAR)
UNNAMED = "Unnamed: {}"  # how pandas calls a column without a name


@dataclass(frozen=True)
class Layout:
    """What the user says of a file: names that its header holds, how many lines stand above it, which instrument.

    `section` is the section of the spec that names the file.
    """

    mapped: tuple[str, ...] = ()
    skip_rows: int = 0
    symbol: str | None = None
    section: str = "data"


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a file, their places ("line 2" or "row 1"), and sentences on how it was read."""

    rows: pd.DataFrame
    places: Places
    notes: tuple[str, ...] = ()

    def where(self, kept: np.ndarray, *notes: str) -> Table:
        """Return the table of the rows that a mask keeps, with further notes."""
        rows = self.rows[kept].reset_index(drop=True)
        return Table(rows, self.places.where(kept), (*self.notes, *notes))


class DataFile:
    """One data file, opened once: its bytes are unpacked and its layout found at the first reading."""

    def __init__(self, path: Path, layout: Layout | None = None) -> None:
        self.path = path
        self.layout = layout or Layout()
        self.is_text = not path.name.lower().endswith(COLUMNAR)

    def read(self, *, as_text: Collection[str] = ()) -> Table:
        """Return the file's table; of a text file the columns in `as_text` keep their values as they are written.

        Raises DataError: what is wrong with the file, and what to write in the spec.
        """
        with self._explained():
            return self._read_text(as_text) if self.is_text else self._read_columnar()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a library raises over the bytes of a file into a DataError that names the file."""
        try:
            yield
        except UNREADABLE as error:
            raise DataError(f"The data file {self.path} cannot be read: {_said(error)}") from None

    @cached_property
    def _bytes(self) -> bytes:
        with self._explained():
            return text_bytes(self.path)

    @cached_property
    def text_layout(self) -> TextLayout:
        """Where the table of a text file is."""
        data, known = self._bytes, self.layout
        with self._explained():
            return find_layout(data, self.path, mapped=known.mapped, skip_rows=known.skip_rows, section=known.section)

    @property
    def names(self) -> list[str]:
        """The names of a text file's columns, of the instrument that is read."""
        return [self._cells[at] or "" for at in self._columns[0]]

    @property
    def nameless_dates(self) -> dict[str, str]:
        """The first column of a text file as our timestamp: it has no name and holds dates, and no other is one."""
        first = UNNAMED.format(0)
        dated = any(known_as(name) == "timestamp" for name in self.names)
        nameless = first in self.names and self.text_layout.first_cell_is_date and not dated
        return {"timestamp": first} if nameless else {}

    def _read_text(self, as_text: Collection[str]) -> Table:
        import numpy as np
        import pandas as pd

        layout, cells = self.text_layout, self._cells
        raw = pd.read_csv(
            io.BytesIO(self._bytes), sep=layout.separator, header=None, names=list(range(len(cells))),
            skiprows=layout.first - 1, skip_blank_lines=False, skipinitialspace=layout.separator != BLANKS,
            encoding=layout.encoding, low_memory=False,
            dtype={at: str for at, name in enumerate(cells) if name in as_text}, **_exactly(),
        )  # fmt: skip
        beyond = [at for at, name in enumerate(cells) if name is None]
        if not isinstance(raw.index, pd.RangeIndex) or (beyond and raw[beyond].notna().any(axis=None)):
            raise DataError(
                f"The data file {self.path} has more values in a row than names in its header. Decimal commas between "
                "commas do that, or a column without a name: write semicolons between the values, or name every column."
            )
        kept, notes = self._columns
        lines = np.arange(layout.first, layout.first + len(raw))
        table = Table(raw[kept].set_axis(self.names, axis=1), Places("line", lines), notes)
        filled = raw.notna().any(axis=1).to_numpy()
        return table if filled.all() else table.where(filled)

    @cached_property
    def _cells(self) -> list[str | None]:
        """A name for each cell of the widest row, None for cells after the header's last."""
        names = [name or UNNAMED.format(at) for at, name in enumerate(self.text_layout.names)]
        extra = self.text_layout.width - len(names)
        dated = any(known_as(name) == "timestamp" for name in names)
        if extra == 1 and not dated and self.text_layout.first_cell_is_date:
            return [UNNAMED.format(0), *names]  # as R writes the names of rows
        return [*names, *([None] * extra)]

    @cached_property
    def _columns(self) -> tuple[list[int], tuple[str, ...]]:
        """Which cells are columns, those of one ticker, and a note on that."""
        tickers = self.text_layout.tickers
        named = [at for at, name in enumerate(self._cells) if name is not None]
        if not any(tickers):
            return named, ()
        chosen, note = one_ticker(tickers, self.layout.symbol, str(self.path), self.layout.section)
        return [at for at in named if at >= len(tickers) or tickers[at] in {"", chosen}], note

    def _read_columnar(self) -> Table:
        import numpy as np
        import pandas as pd

        parquet = self.path.name.lower().endswith(".parquet")
        raw = pd.read_parquet(self.path) if parquet else pd.read_feather(self.path)
        notes: tuple[str, ...] = ()
        if raw.columns.nlevels == 2:
            raw, notes = self._of_levels(raw)
        raw = _index_as_columns(raw)
        raw = raw.set_axis([str(name) for name in raw.columns], axis=1)
        return Table(raw, Places("row", np.arange(1, len(raw) + 1)), notes)

    def _of_levels(self, raw: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """Return the columns of one ticker, of a frame with fields and tickers as yfinance makes it."""
        levels = [[str(name) for name in raw.columns.get_level_values(level)] for level in (0, 1)]
        known = [sum(known_as(name) in PRICES for name in level) for level in levels]
        fields, tickers = levels if known[0] >= known[1] else levels[::-1]
        chosen, note = one_ticker(tickers, self.layout.symbol, str(self.path), self.layout.section)
        kept = [at for at, ticker in enumerate(tickers) if ticker in {"", chosen}]
        return raw.iloc[:, kept].set_axis([fields[at] for at in kept], axis=1), note


def one_ticker(
    tickers: Collection[str], symbol: str | None, where: str, section: str = "data"
) -> tuple[str, tuple[str, ...]]:
    """Return which of several instruments is meant, and a note that says so; raises DataError when that is open."""
    found = list(dict.fromkeys(ticker for ticker in tickers if ticker))
    if len(found) == 1:
        return found[0], ()
    if symbol in found:
        return str(symbol), (f"Of the {len(found):,} instruments in the file, {symbol} was read.",)
    shown = ", ".join(found[:8]) + (f" and {len(found) - 8:,} more" if len(found) > 8 else "")
    advice = f"Say which one with data.symbol, as symbol = {found[0]!r}."
    raise DataError(
        f"The data file {where} holds {len(found):,} instruments: {shown}. "
        f"{advice if section == 'data' else 'Give a file of one.'}"
    )


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
        stamped = any(known_as(str(name)) == "timestamp" for name in raw.columns)
        if stamped and pd.api.types.is_numeric_dtype(raw.index.dtype):
            return raw.reset_index(drop=True)
        raw.index.name = "timestamp"
    known = [place for place, name in enumerate(raw.index.names) if name in raw.columns]
    if len(known) == raw.index.nlevels:
        return raw.reset_index(drop=True)
    return raw.reset_index(level=known, drop=True).reset_index() if known else raw.reset_index()


def _said(error: Exception) -> str:
    said = str(error).strip().rstrip(".") or type(error).__name__
    return f"{said}.{' Save it as UTF-8.' if isinstance(error, UnicodeDecodeError) else ''}"
