"""What a query found, as a text table, Markdown, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pipeline.errors import QueryError, UsageError, nearest

FORMATS = ("table", "csv", "json", "parquet", "markdown")


def known_format(name: str) -> str:
    """Return the name of a format; raises UsageError for what is none."""
    if name not in FORMATS:
        raise UsageError(f"There is no format {name!r}. {nearest(name, FORMATS)}")
    return name


def rendered(relation: Any, file_format: str) -> bytes:
    """Return all rows of a relation in a format."""
    if file_format == "parquet":
        return _parquet(relation)
    names = [str(name) for name in relation.columns]
    return WRITERS[file_format](names, relation.fetchall()).encode()


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    shown = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *shown, strict=True)]
    right = [all(isinstance(row[at], int | float | Decimal | None) for row in rows) for at in range(len(names))]
    signs = [f"{'>' if numbers else '<'}{width}" for numbers, width in zip(right, widths, strict=True)]
    lines = [names, ["-" * width for width in widths], *shown]
    padded = ([format(cell, sign) for cell, sign in zip(line, signs, strict=True)] for line in lines)
    text = "".join(f"{'  '.join(line).rstrip()}\n" for line in padded)
    return f"{text}({len(rows):,} {'row' if len(rows) == 1 else 'rows'})\n"


def _markdown(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    shown = [[_marked(_cell(value)) for value in row] for row in rows]
    lines = [[*map(_marked, names)], ["---"] * len(names), *shown]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _marked(text: str) -> str:
    """Return text that ends no cell of a table and begins no HTML."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _csv(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_exact(value) for value in row] for row in rows)
    return out.getvalue()


def _json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise QueryError(f"Two columns are called {twice!r}, which JSON cannot hold: name one of them with AS.")
    found = [dict(zip(names, map(_value, row), strict=True)) for row in rows]
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _parquet(relation: Any) -> bytes:
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(relation.to_arrow_table(), out, compression="zstd")
    return out.getvalue()


def _cell(value: Any) -> str:
    """Return a value for people: six significant digits, a dash for null, a day alone where it is midnight."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return _exact(value).replace("\n", " ")


def _exact(value: Any) -> str:
    """Return a value as text that says all of it; nothing for null."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(_value(value), ensure_ascii=False)
    found = _value(value)
    if isinstance(value, float):
        return repr(value)
    return "" if found is None else str(found).lower() if isinstance(found, bool) else str(found)


def _value(value: Any) -> Any:
    """Return a value as JSON has it: null for NaN and infinity, ISO-8601 for times, text for what it does not know."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return value.hex() if isinstance(value, bytes) else str(value)


WRITERS: Mapping[str, Callable[[Sequence[str], Sequence[Sequence[Any]]], str]] = {
    "table": _table,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
}
