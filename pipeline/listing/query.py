"""Which runs are asked for, and in which order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import UsageError, shown
from pipeline.listing.by_data import by_data
from pipeline.listing.columns import Column, Value, columns_named, separated
from pipeline.listing.where import matching, parse_where
from pipeline.run import Run, all_runs
from pipeline.run_record import UNREADABLE
from pipeline.run_row import RunRow
from pipeline.settings import Settings

STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED", UNREADABLE)


@dataclass(frozen=True)
class Query:
    """Which runs are asked for: all that fulfil every condition given.

    `symbol` is one of the run's, in any case; `strategy` its name or its family. `since` and `until` are UTC days or
    times at which a run started, a day as a whole; `data` is a file or a SHA-256 (pipeline.listing.by_data). `tags`
    have these values. `where` is a condition (pipeline.listing.where); `sort` are columns, `-` before one for the
    largest first. Raises UsageError for what cannot be asked.
    """

    symbol: str | None = None
    since: str | None = None
    until: str | None = None
    data: str | Path | None = None
    strategy: str | None = None
    experiment: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    where: str | None = None
    sort: str | None = None

    def __post_init__(self) -> None:
        if self.status is not None and self.status.upper() not in STATUSES:
            raise UsageError(f"{shown(self.status)} is no status of a run: {', '.join(STATUSES)}.")
        if self.where is not None:
            parse_where(self.where)
        for name, text in (("since", self.since), ("until", self.until)):
            if text is not None:
                _moment(text, name)

    @property
    def empty(self) -> bool:
        """Say whether all runs are asked for, the one started last first."""
        return self == Query()

    def select(self, rows: Sequence[RunRow], results: Path) -> list[RunRow]:
        """Return the rows that are asked for, in order."""
        tests = [*self._tests(results)]
        found = [row for row in rows if all(test(row) for test in tests)]
        if self.where is not None:
            found = matching(found, parse_where(self.where), known=rows)
        return found if self.sort is None else ordered(found, self.sort, known=rows)

    def _tests(self, results: Path) -> Iterator[Callable[[RunRow], bool]]:
        if (symbol := self.symbol) is not None:
            yield lambda row: symbol.casefold() in {one.casefold() for one in row.symbols}
        if (strategy := self.strategy) is not None:
            yield lambda row: strategy in (row.strategy, row.family)
        if (experiment := self.experiment) is not None:
            yield lambda row: row.experiment == experiment
        if (status := self.status) is not None:
            yield lambda row: row.status == status.upper()
        if self.tags:
            yield lambda row: all(row.tags.get(name) == value for name, value in self.tags.items())
        if (since := self.since) is not None:
            first = _moment(since, "since")
            yield lambda row: (started := _started(row)) is not None and started >= first
        if (until := self.until) is not None:
            last = _moment(until, "until", end=True)
            yield lambda row: (started := _started(row)) is not None and started < last
        if self.data is not None:
            given = by_data(self.data, results)
            yield lambda row: given.how(row) is not None


def list_runs(
    *,
    symbol: str | None = None,
    since: dt.date | str | None = None,
    until: dt.date | str | None = None,
    data: str | Path | None = None,
    strategy: str | None = None,
    experiment: str | None = None,
    tags: Mapping[str, str] | None = None,
    status: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    settings: Settings | None = None,
) -> list[Run]:
    """Return the runs that fulfil every condition given, the one started last first, or as `sort` says.

    `symbol` is one of the run's instruments, `strategy` its name or family; `since` and `until` are UTC days or times
    at which it started, inclusive; `data` is a data file, or a SHA-256; `tags` have these values; `where` is a
    condition as `sharpe > 1 and engine ~ vectorbt`; `sort` names columns, as `-sharpe`. Raises UsageError.
    """
    times = [None if moment is None else str(moment) for moment in (since, until)]
    query = Query(symbol, times[0], times[1], data, strategy, experiment, tags or {}, status, where, sort)
    runs = all_runs(settings=settings)
    if query.empty:
        return runs
    known = {run.run_id: run for run in runs}
    rows = query.select([RunRow.of(run) for run in runs], (settings or Settings.load()).results)
    return [known[row.run_id] for row in rows]


def made_from(given: str | Path, *, settings: Settings | None = None) -> list[tuple[RunRow, str]]:
    """Return the runs made from a file or a SHA-256, and which of their inputs it is; UsageError for neither."""
    settings = settings or Settings.load()
    wanted = by_data(given, settings.results)
    rows = [RunRow.of(run) for run in all_runs(settings=settings)]
    return [(row, how) for row in rows if (how := wanted.how(row)) is not None]


def ordered(rows: Sequence[RunRow], sort: str, *, known: Sequence[RunRow] = ()) -> list[RunRow]:
    """Return rows by columns, as `strategy,-sharpe`; what is unknown comes last either way."""
    names = separated(sort)
    columns = columns_named([name.removeprefix("-") for name in names], known or rows)
    found = list(rows)
    for name, column in reversed([*zip(names, columns, strict=True)]):
        found = _by(found, column, largest=name.startswith("-"))
    return found


def _by(rows: Sequence[RunRow], column: Column, *, largest: bool) -> list[RunRow]:
    keys = {row.run_id: column.of(row) for row in rows}
    there = [row for row in rows if keys[row.run_id] is not None]
    there.sort(key=lambda row: _key(keys[row.run_id]), reverse=largest)
    return [*there, *(row for row in rows if keys[row.run_id] is None)]


def _key(value: Value) -> tuple[bool, float, str]:
    if isinstance(value, int | float):
        return (False, value, "")
    return (True, 0.0, ", ".join(value) if isinstance(value, tuple) else str(value))


def _started(row: RunRow) -> dt.datetime | None:
    try:
        return _utc(dt.datetime.fromisoformat(row.record.started_at))
    except (ValueError, OverflowError):
        return None


def _moment(text: str, name: str, *, end: bool = False) -> dt.datetime:
    """Return a UTC time; of a day its beginning, or with `end` that of the next one. Raises UsageError."""
    try:
        found = _utc(dt.datetime.fromisoformat(text))
        is_day = len(text) <= len("2026-01-31")
        return found + dt.timedelta(days=1) if end and is_day else found
    except (ValueError, OverflowError):
        raise UsageError(
            f"{name} {shown(text)} is no day and no time: the form is 2026-01-31, or an ISO time."
        ) from None


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
