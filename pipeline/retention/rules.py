"""Which runs may go: rules that are given with a command, else those of the project's `config/settings.toml`.

[retention]
keep_last = 200                    # the runs started last
max_age = "30d"                    # younger ones stay: s, m, h, d, w
keep_tags = ["client", "desk=alpha"]
keep_best = 20                     # of all runs, by a metric
by = "sharpe"
level = "artifacts"                # artifacts, archive or delete
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pipeline.backtest.catalogue import METRICS
from pipeline.errors import UsageError, nearest, shown
from pipeline.evidence.tombstone import ARTIFACTS, LEVELS
from pipeline.listing.where import matching, parse_where
from pipeline.run_row import RunRow
from pipeline.settings import SETTINGS_FILE, Settings

TABLE = "retention"
AGE = re.compile(r"([0-9]{1,6})\s*([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
KEYS = ("keep_last", "max_age", "keep_tags", "keep_best", "by", "level")


@dataclass(frozen=True)
class Rules:
    """What lets a run go: it is not one of the `keep_last` started last, older than `max_age`, has none of `keep_tags`
    (NAME or NAME=VALUE), is none of the `keep_best` by the metric `by`, and fulfils `where`.

    `unsealed` lets go what was never sealed, and nothing else. Raises UsageError for what says nothing.
    """

    keep_last: int | None = None
    max_age: str | None = None
    keep_tags: tuple[str, ...] = ()
    keep_best: int | None = None
    by: str = "sharpe"
    where: str | None = None
    unsealed: bool = False

    def __post_init__(self) -> None:
        for name, number in (("keep_last", self.keep_last), ("keep_best", self.keep_best)):
            if number is not None and (type(number) is not int or number < 0):
                raise UsageError(f"{name} = {number!r}: it is a number of runs, 0 or more.")
        if not all(isinstance(text, str) and text for text in (*self.keep_tags, self.by)):
            raise UsageError("keep_tags and by are texts: names of tags, or NAME=VALUE, and the name of a metric.")
        if self.max_age is not None:
            read_age(self.max_age)
        if self.where is not None:
            parse_where(self.where)

    @property
    def empty(self) -> bool:
        """Say whether nothing says which runs may go: what keeps runs does not."""
        return self.keep_last is None and self.max_age is None and self.where is None and not self.unsealed

    def __str__(self) -> str:
        told = [("keep-last", self.keep_last), ("max-age", self.max_age), ("where", self.where)]
        told += [("keep-tag", tag) for tag in self.keep_tags]
        told += [] if self.keep_best is None else [("keep-best", f"{self.keep_best} by {self.by}")]
        return ", ".join(
            [*["unsealed"] * self.unsealed, *(f"{name} {value}" for name, value in told if value is not None)]
        )

    def select(self, rows: Sequence[RunRow], now: dt.datetime) -> list[RunRow]:
        """Return the rows that may go; `rows` are all runs, the one started last first."""
        best = self._best(rows)
        spared = {row.run_id for row in rows[: self.keep_last or 0]}
        found = [
            row for row in rows
            if self.unsealed == (row.manifest_sha256 is None and row.status in {"KILLED", "RUNNING"})
            and row.run_id not in spared | best and self._is_old(row, now) and not self._is_tagged(row)
        ]  # fmt: skip
        return found if self.where is None else matching(found, parse_where(self.where), known=rows)

    def _best(self, rows: Sequence[RunRow]) -> set[str]:
        if not self.keep_best:
            return set()
        known = {*METRICS, *(name for row in rows for name in row.stats)}
        if self.by not in known:
            raise UsageError(f"{shown(self.by)} is no metric of any run. {nearest(self.by, sorted(known))}")
        least = self.by in METRICS and METRICS[self.by].direction == "minimize"
        values = ((row.stats.get(self.by), row.run_id) for row in rows)
        ranked = sorted(((value, run_id) for value, run_id in values if value is not None), reverse=not least)
        return {run_id for _, run_id in ranked[: self.keep_best]}

    def _is_old(self, row: RunRow, now: dt.datetime) -> bool:
        """Say whether a run is older than the age given; one that does not say when it began is."""
        if self.max_age is None:
            return True
        try:
            started = dt.datetime.fromisoformat(row.record.started_at)
        except ValueError:
            return True
        return now - (started if started.tzinfo else started.replace(tzinfo=dt.UTC)) > read_age(self.max_age)

    def _is_tagged(self, row: RunRow) -> bool:
        pairs = (tag.partition("=") for tag in self.keep_tags)
        return any(name in row.tags and (not equals or row.tags[name] == value) for name, equals, value in pairs)


@dataclass(frozen=True)
class Policy:
    """The project's rules, and the level at which they remove."""

    rules: Rules
    level: str = ARTIFACTS


def read_age(text: object) -> dt.timedelta:
    """Read an age, as `30d` or `12h`; raises UsageError."""
    found = AGE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise UsageError(f"{shown(str(text))} is no age: a number and one of s, m, h, d, w, as 30d.")
    return dt.timedelta(**{UNITS[found[2]]: int(found[1])})


def checked_level(level: object) -> str:
    """Return a level that is one; raises UsageError."""
    if level not in LEVELS:
        raise UsageError(
            f"{shown(str(level))} is no level. {nearest(str(level), LEVELS)} There are {', '.join(LEVELS)}."
        )
    return str(level)


def read_policy(settings: Settings) -> Policy:
    """Return what the project's settings say of retention, nothing without a file; raises UsageError naming the key."""
    table = settings.table(TABLE)
    where = f"{settings.root / SETTINGS_FILE}, [{TABLE}]"
    for name in table:
        if name not in KEYS:
            raise UsageError(f"{where}: unknown key {name!r}. {nearest(name, KEYS)}")
    try:
        given = {name: value for name, value in table.items() if name != "level"}
        tags = given.get("keep_tags", [])
        rules = Rules(**{**given, "keep_tags": tuple(tags) if isinstance(tags, list) else (tags,)})
        return Policy(rules, checked_level(table.get("level", ARTIFACTS)))
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def combined(policy: Policy, given: Mapping[str, Any]) -> Rules:
    """Return the rules given (None: not given), the policy's for the others; of unsealed runs no policy speaks."""
    own = Rules() if given.get("unsealed") else policy.rules
    known = {item.name for item in fields(Rules)}
    return replace(own, **{name: value for name, value in given.items() if value is not None and name in known})
