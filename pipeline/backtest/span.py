"""First and last bar of the data a spec names, read without pandas where that can be done."""

from __future__ import annotations

import csv
import datetime as dt
import re
from pathlib import Path
from zoneinfo import ZoneInfo

from pipeline.backtest.column_names import PRICES, known_as
from pipeline.backtest.data import source_path
from pipeline.errors import EvidenceError
from pipeline.spec_sections import DataSection

END = 1 << 14  # bytes looked at on either end of a file
ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]|$)")
Span = tuple[str | None, str | None]
UNKNOWN: Span = (None, None)
KNOWN = frozenset({"timestamp", *PRICES, "volume"})  # names of columns that leave one line above one row a bar


def data_span(data: DataSection, root: Path) -> Span:
    """Return when the first and the last bar that `data` names begin, as ISO-8601 UTC; None where that is unknown.

    Of a CSV file with ISO times only the two ends are read, and `start` and `end` of the section cut what they say:
    then a bound may be a day without a bar. Other files are loaded. Data that cannot be read have no known span.
    """
    try:
        return _of_ends(data, source_path(data.source, root)) or _loaded(data, root)
    except (EvidenceError, OSError, ValueError, KeyError, ImportError):
        return UNKNOWN


def span_text(stamp: dt.datetime) -> str:
    """Return a time as the ledger has it: `2018-12-31T00:00:00Z`; one without a zone is UTC."""
    aware = stamp.replace(tzinfo=dt.UTC) if stamp.tzinfo is None else stamp.astimezone(dt.UTC)
    return aware.strftime("%Y-%m-%dT%H:%M:%SZ")


def _of_ends(data: DataSection, path: Path) -> Span | None:
    """Return the span as the first and the last line say it; None for a file that has to be loaded."""
    plain = data.date_format is None and not data.skip_rows and KNOWN.issuperset(data.columns)
    if path.suffix.lower() != ".csv" or not plain:
        return None
    with path.open("rb") as file:
        head = file.read(END)
        file.seek(max(0, path.stat().st_size - END))
        tail = file.read()
    lines = [line for line in head.decode("utf-8-sig", errors="replace").splitlines() if line.strip()]
    if len(lines) < 2:
        return None
    rows = list(csv.reader([*lines[:2], tail.decode("utf-8", errors="replace").splitlines()[-1]]))
    names = ["timestamp" if name == data.columns.get("timestamp") else known_as(name) for name in rows[0]]
    places = [place for place, name in enumerate(names) if name == "timestamp"]
    if len(places) != 1 or "ticker" in names or len({len(row) for row in rows}) != 1:
        return None
    stamps = [row[places[0]].strip() for row in rows[1:]]
    if not all(ISO.match(text) for text in stamps):
        return None
    zone = ZoneInfo(data.timezone) if data.timezone and any(len(text) > 10 for text in stamps) else dt.UTC
    parsed = [dt.datetime.fromisoformat(text) for text in stamps]
    if all(stamp.time() == dt.time() for stamp in parsed):  # days, whatever their zone
        parsed = [stamp.replace(tzinfo=None) for stamp in parsed]
        zone = dt.UTC
    known = sorted(_aware(stamp, zone) for stamp in parsed)
    return _cut(known[0], known[-1], data)


def _aware(stamp: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    return stamp.replace(tzinfo=zone) if stamp.tzinfo is None else stamp


def _cut(first: dt.datetime, last: dt.datetime, data: DataSection) -> Span:
    if data.start is not None:
        first = max(first, dt.datetime.combine(data.start, dt.time(), dt.UTC))
    if data.end is not None:
        last = min(last, dt.datetime.combine(data.end, dt.time(23, 59, 59), dt.UTC))
    return (span_text(first), span_text(last)) if first <= last else UNKNOWN


def _loaded(data: DataSection, root: Path) -> Span:
    from pipeline.backtest.from_spec import spec_bars

    index = spec_bars(data, root).frame.index
    return span_text(index[0].to_pydatetime(warn=False)), span_text(index[-1].to_pydatetime(warn=False))
