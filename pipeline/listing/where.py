"""Conditions on columns, as `sharpe > 1 and (symbol = EURUSD or tags.desk = fx)`: a small grammar, nothing is executed.

    condition   either, or either joined by `or`
    either      each, or each joined by `and`
    each        `not` each, `(` condition `)`, or COLUMN OPERATOR VALUE
    OPERATOR    =  ==  !=  <  <=  >  >=  ~ (contains)
    VALUE       a number, a word, 'text' or "text", true, false, null (with = and != only)

Unknown is not compared: `sharpe < 1` leaves out a run without a Sharpe ratio, and so does `not sharpe < 1`;
`sharpe = null` asks for it.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.errors import UsageError, shown
from pipeline.listing.columns import Column, Value, columns_named
from pipeline.run_row import RunRow

LONGEST, DEEPEST = 2_000, 30
EXAMPLE = "As in: sharpe > 1 and symbol = SPX"
TOKEN = re.compile(r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<sign>[<>!=]=|[<>=~()])|(?P<word>[^\s()<>=!~'"]+))""")
ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
EQUAL = ("=", "==")
SIGNS = (*EQUAL, "!=", "~", *ORDER)
FLAGS: Mapping[str, bool] = {"true": True, "false": False}
NULL = "null"


class Token(NamedTuple):
    """A part of a condition, its kind (text, sign or word) and where it begins."""

    text: str
    kind: str
    at: int


@dataclass(frozen=True)
class Comparison:
    """COLUMN OPERATOR VALUE; `given` is the value as it was written."""

    column: str
    sign: str
    given: str
    quoted: bool

    def names(self) -> Iterator[str]:
        """Yield the column."""
        yield self.column

    def holds(self, row: RunRow, columns: Mapping[str, Column]) -> bool | None:
        """Say whether a row fulfils it; None when that is unknown."""
        column = columns[self.column]
        found = column.of(row)
        if self.of_null:
            return (found is None) == (self.sign in EQUAL)
        wanted = self._wanted(column)
        if found is None:
            return None
        if self.sign == "~":
            return any(self.given.casefold() in str(one).casefold() for one in _each(found))
        if self.sign in ORDER:
            return self._ordered(found, wanted)
        equal = any(_equal(one, wanted) or one == self.given for one in _each(found))
        return equal if self.sign in EQUAL else not equal

    @property
    def of_null(self) -> bool:
        """Whether the value is `null`."""
        return not self.quoted and self.given.lower() == NULL

    def _ordered(self, found: Value, wanted: Value) -> bool | None:
        numbers = _is_number(found), _is_number(wanted)
        if all(numbers) or (not any(numbers) and isinstance(found, str) and isinstance(wanted, str)):
            return ORDER[self.sign](found, wanted)
        return None

    def _wanted(self, column: Column) -> Value:
        number, flag = (None, None) if self.quoted else (_number(self.given), FLAGS.get(self.given.lower()))
        if column.kind == "number" and number is None:
            raise UsageError(f"{column.name} is a number, and {shown(self.given)} is none.")
        if column.kind == "flag" and flag is None:
            raise UsageError(f"{column.name} is true or false, and {shown(self.given)} is neither.")
        if column.kind == "text":
            return self.given
        return next((value for value in (flag, number) if value is not None), self.given)


@dataclass(frozen=True)
class Joined:
    """Conditions of which all (`and`), any (`or`), or the only one not (`not`) must hold; unknown stays unknown."""

    word: str
    parts: tuple[Condition, ...]

    def names(self) -> Iterator[str]:
        """Yield the columns of all parts."""
        for part in self.parts:
            yield from part.names()

    def holds(self, row: RunRow, columns: Mapping[str, Column]) -> bool | None:
        """Say whether a row fulfils it; None when that is unknown."""
        found = [part.holds(row, columns) for part in self.parts]
        if self.word == "not":
            return None if found[0] is None else not found[0]
        decisive = self.word == "or"
        return decisive if decisive in found else None if None in found else not decisive


Condition = Comparison | Joined


def parse_where(text: str) -> Condition:
    """Parse a condition; raises UsageError that says what was expected where."""
    if len(text) > LONGEST:
        raise UsageError(f"The condition has {len(text):,} characters; {LONGEST:,} are the most.")
    return _Parser(text).whole()


def matching(rows: Sequence[RunRow], condition: Condition, *, known: Sequence[RunRow] = ()) -> list[RunRow]:
    """Return the rows that fulfil a condition; raises UsageError for a column that they, or the known ones, lack."""
    names = dict.fromkeys(condition.names())
    columns = dict(zip(names, columns_named(names, known or rows), strict=True))
    return [row for row in rows if condition.holds(row, columns)]


class _Parser:
    """Reads one condition from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [*_tokens(text)]
        self.at = 0

    def whole(self) -> Condition:
        found = self.either(0)
        if self.at < len(self.tokens):
            raise self.wrong("`and` or `or`")
        return found

    def either(self, depth: int) -> Condition:
        return self.joined("or", self.all_of, depth)

    def all_of(self, depth: int) -> Condition:
        return self.joined("and", self.each, depth)

    def joined(self, word: str, read: Callable[[int], Condition], depth: int) -> Condition:
        parts = [read(depth)]
        while self.word() == word:
            self.at += 1
            parts.append(read(depth))
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def each(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise UsageError(f"The condition is nested more than {DEEPEST} deep.")
        if self.word() == "not":
            self.at += 1
            return Joined("not", (self.each(depth + 1),))
        if self.sign() != "(":
            return self.comparison()
        self.at += 1
        found = self.either(depth + 1)
        if self.sign() != ")":
            raise self.wrong("`)`")
        self.at += 1
        return found

    def comparison(self) -> Comparison:
        column = self.take("word", "a column")
        if self.sign() not in SIGNS:
            raise self.wrong(f"one of {'  '.join(SIGNS)}")
        sign = self.take("sign", "an operator").text
        value = self.take("word", "a value") if self.kind() == "word" else self.take("text", "a value")
        found = Comparison(column.text, sign, value.text, value.kind == "text")
        if found.of_null and sign not in (*EQUAL, "!="):
            raise UsageError(f"Nothing is {sign} null: a condition asks for what is unknown by = null or != null.")
        return found

    def take(self, kind: str, what: str) -> Token:
        if self.kind() != kind:
            raise self.wrong(what)
        self.at += 1
        return self.tokens[self.at - 1]

    def kind(self) -> str:
        return self.tokens[self.at].kind if self.at < len(self.tokens) else ""

    def word(self) -> str:
        return self.tokens[self.at].text.lower() if self.kind() == "word" else ""

    def sign(self) -> str:
        return self.tokens[self.at].text if self.kind() == "sign" else ""

    def wrong(self, wanted: str) -> UsageError:
        rest = self.text[self.tokens[self.at].at :] if self.at < len(self.tokens) else ""
        place = f"before {shown(rest)}" if rest else "at its end"
        return UsageError(
            f"The condition {shown(self.text)} lacks {wanted} {place}. As in: sharpe > 1 and symbol = SPX"
        )


def _tokens(text: str) -> Iterator[Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = TOKEN.match(text, at)
        if found is None:
            raise UsageError(f"The condition {shown(text)} cannot be read from {shown(text[at:].strip())} on.")
        kind = found.lastgroup or ""
        yield Token(found[kind][1:-1] if kind == "text" else found[kind], kind, found.start(kind))
        at = found.end()


def _each(value: Value) -> Sequence[Value]:
    return value if isinstance(value, tuple) else (value,)


def _equal(found: Value, wanted: Value) -> bool:
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
