"""How a text file of bars is laid out: encoding, separator, lines above the header, and the header, if any."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.backtest.column_names import PRICES, known_as, plain_name
from pipeline.errors import DataError

HEAD_LINES = 60
SMALL, MOST_PACKED = 2**26, 200  # bytes that any archive may unpack to; how many times its size a large one may
SEPARATORS = (",", ";", "\t", "|")
BLANKS = r"\s+"  # the separator of files that have columns of text width
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_DATE = re.compile(r"\d{4}[-./]\d\d|\d{1,2}[-./]\d{1,2}[-./]|\d{8,}")
_VALUE = re.compile(r"[-+$€£¥]?[\d][\d.,:'/\s%TZ+-]*[KMBkmb%]?|-|\d{1,2}[ -][A-Za-z]{3}[ -]\d{2,4}|nan|NaN|null")


@dataclass(frozen=True)
class TextLayout:
    """Where the table of a text file is.

    `names` are the header's cells, of a file without one "1", "2", …; `first` is the line (from 1) of the first row;
    `width` is the number of cells of the widest of the first rows, `first_cell_is_date` says what the rows begin with;
    `tickers` are the cells of yfinance's second header line, one a column.
    """

    encoding: str
    separator: str
    names: tuple[str, ...]
    first: int
    width: int
    first_cell_is_date: bool = False
    tickers: tuple[str, ...] = ()


def text_bytes(path: Path) -> bytes:
    """Return the bytes of a text file, unpacked.

    Raises DataError for an archive that does not hold one file, and for one that unpacks to more than tables do.
    """
    name = path.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if not item.is_dir() and "__MACOSX" not in item.filename]
            if len(members) != 1:
                raise DataError(f"{path} holds {len(members)} files. Give an archive of one, or unpack it.")
            with archive.open(members[0]) as file:
                return _unpacked(file, path)
    openers: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    opener = next((opener for ending, opener in openers.items() if name.endswith(ending)), None)
    if opener is None:
        return path.read_bytes()
    with opener(path) as file:
        return _unpacked(file, path)


def _unpacked(file: IO[bytes], path: Path) -> bytes:
    most = max(SMALL, path.stat().st_size * MOST_PACKED)
    pieces, size = [], 0
    while piece := file.read(1 << 20):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise DataError(
                f"{path} unpacks to more than {MOST_PACKED} times its size, as no table does. Unpack it to use it."
            )
    return b"".join(pieces)


def find_layout(data: bytes, path: Path, *, mapped: Collection[str], skip_rows: int, section: str) -> TextLayout:
    """Return where the table is. `mapped` are names that the user expects in the header.

    Raises DataError, saying what to write in the spec, for lines above the header and for a file without one whose
    columns are not named by number.
    """
    encoding = _encoding(data, path)
    head = _head(data, encoding, skip_rows + HEAD_LINES)
    numbered = [(number, line) for number, line in enumerate(head, start=1) if line.strip() and number > skip_rows]
    if not numbered:
        raise DataError(f"The data file {path} cannot be read: it is empty{' below skip_rows' if skip_rows else ''}.")
    separator = _separator([line for _, line in numbered])
    rows = [(number, _cells(line, separator)) for number, line in numbered]
    if (found := _yfinance(rows, encoding, separator)) is not None:
        return found
    names = [name for name in mapped if not name.isdigit()]  # numbers name the columns of a file without a header
    at = _header_at(rows, names)
    number, cells = rows[at]
    if _is_values(cells) and not _known(cells, names):
        if section != "data":
            raise DataError(
                f"The data file {path} has no header: line {number} is a row of values, {_short(', '.join(cells))}. "
                "Write one above it, as date,value."
            )
        above = number - skip_rows - 1
        return _without_header(rows[at:], encoding, separator, path, mapped=mapped, above=above)
    if at > 0:
        advice = f"Give data.skip_rows = {number - 1} in the spec."
        raise DataError(
            f"The data file {path} does not begin with its header: line {rows[0][0]} is {_short(numbered[0][1])!r}, "
            f"the header is line {number}. {advice if section == 'data' else 'Take out the lines above it.'}"
        )
    return _below_header(rows[at:], encoding, separator, path)


def _encoding(data: bytes, path: Path) -> str:
    named = next((name for mark, name in _BOMS.items() if data.startswith(mark)), None)
    if named is None and b"\0" in data[:200]:
        raise DataError(f"The data file {path} cannot be read: it is not UTF-8 text. Save it as UTF-8.")
    return named or "utf-8"


def _head(data: bytes, encoding: str, lines: int) -> list[str]:
    """Return the first lines of a file; a quoted line break counts as one."""
    size = 1 << 15
    while True:
        part = data[:size]
        text = codecs.getincrementaldecoder(encoding)().decode(part, final=size >= len(data))
        found = re.split(r"\r\n|\r|\n", text)
        if len(found) > lines or size >= len(data):
            return found[:lines]
        size *= 8


def _separator(lines: list[str]) -> str:
    """Return the separator by which most lines have the same number of cells, more than one."""

    def score(separator: str) -> tuple[int, int]:
        counts = Counter(len(_cells(line, separator)) for line in lines)
        cells, lines_with = max(counts.items(), key=lambda item: (item[0] > 1, item[1], item[0]))
        return (lines_with, cells) if cells > 1 else (0, 1)

    best = max(SEPARATORS, key=score)
    if score(best)[1] > 1:
        return best
    return BLANKS if max(len(line.split()) for line in lines) >= 2 else ","


def _cells(line: str, separator: str) -> list[str]:
    if separator == BLANKS:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def _header_at(rows: list[tuple[int, list[str]]], mapped: Collection[str]) -> int:
    """Return which of the lines is the header, or the first row of a file without one."""
    known = [_known(cells, mapped) for _, cells in rows]
    if max(known) >= min(3, len(rows[-1][1])):
        return known.index(max(known))
    usual = Counter(len(cells) for _, cells in rows).most_common(1)[0][0]
    return next(at for at, (_, cells) in enumerate(rows) if len(cells) == usual)


def _known(cells: list[str], mapped: Collection[str]) -> int:
    """Return how many different columns that we know the cells name."""
    return len({known_as(cell) or cell for cell in cells if known_as(cell) or cell in mapped})


def _is_values(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and sum(bool(_VALUE.fullmatch(cell)) for cell in filled) * 2 >= len(filled)


def _without_header(
    rows: list[tuple[int, list[str]]],
    encoding: str,
    separator: str,
    path: Path,
    *,
    mapped: Collection[str],
    above: int,
) -> TextLayout:
    number, cells = rows[0]
    width = _width(rows)
    names = tuple(str(at) for at in range(1, width + 1))
    if any(name in names for name in mapped):
        if above:
            raise DataError(
                f"The data file {path} has {above} lines above its first row. Give data.skip_rows = {number - 1} in "
                "the spec."
            )
        return TextLayout(encoding, separator, names, number, width)
    skip = f" and data.skip_rows = {number - 1}" if above else ""
    raise DataError(
        f"The data file {path} has no header: line {number} is a row of values, {_short(', '.join(cells))}. Say which "
        f"column is which by its number{', as' if len(cells) > 4 else ''} {_numbered(cells)}{skip} in the spec."
    )


def _numbered(cells: list[str]) -> str:
    """Return data.columns for a file without a header, in the usual order from the first date on."""
    dates = [at for at, cell in enumerate(cells) if _DATE.match(cell)]
    at = dates[0] if dates else 0
    ours = {"timestamp": at + 1}
    following = cells[at + 1] if at + 1 < len(cells) else ""
    if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", following) or (re.fullmatch(r"\d{6}", following) and len(cells) > 6):
        ours["time"] = at + 2
    begin = max(ours.values()) + 1
    if len(cells) == 2:
        return f"data.columns = {{ timestamp = '{ours['timestamp']}', close = '2' }}"
    ours |= {name: begin + step for step, name in enumerate((*PRICES, "volume")) if begin + step <= len(cells)}
    return "data.columns = { " + ", ".join(f"{name} = '{number}'" for name, number in ours.items()) + " }"


def _yfinance(rows: list[tuple[int, list[str]]], encoding: str, separator: str) -> TextLayout | None:
    """Return the layout of the three header lines that yfinance's frames have as CSV: fields, tickers, `Date`."""
    if len(rows) < 4 or plain_name(rows[2][1][0]) not in {"date", "datetime"} or any(rows[2][1][1:]):
        return None
    first, second = rows[0][1], rows[1][1]
    fields, tickers = (first, second) if _known(first[1:], ()) >= _known(second[1:], ()) else (second, first)
    names = (rows[2][1][0], *fields[1:])
    return TextLayout(encoding, separator, names, rows[2][0] + 1, _width(rows), tickers=("", *tickers[1:]))


def _below_header(rows: list[tuple[int, list[str]]], encoding: str, separator: str, path: Path) -> TextLayout:
    number, names = rows[0]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"The data file {path} has two columns named {twice[0]!r}. Give each a name of its own.")
    dated = len(rows) > 1 and bool(_DATE.match(rows[1][1][0]))
    return TextLayout(encoding, separator, tuple(names), number + 1, _width(rows), first_cell_is_date=dated)


def _width(rows: list[tuple[int, list[str]]]) -> int:
    return max(len(cells) for _, cells in rows)


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
