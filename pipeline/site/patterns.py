"""What a public page leaves out of any text, as patterns: addresses, paths, hosts, users, mail, settings of a shell.

They find too much rather than too little: a word too many that is left out costs a reader nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.errors import RenderError, UsageError

SECONDS = 2.0  # that one pattern of the user's own may take for one text
_END = r"[^\s\"'<>:;,()]"
_PART = r"[^\s\"'<>:;,()/]+"
_WORDS = rf"{_PART}(?: {_PART})*/"  # a directory, with blanks in its name or not
_LAST = rf"{_END}*(?:(?: {_PART}){{1,4}}\.\w{{1,8}}\b)?"  # a file; one with blanks in its name has a suffix
_HEX = r"[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*"
_GENERAL = (
    r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>)\]}]*",  # scheme://…
    r"\bjdbc:[^\s\"'<>)\]}]+",
    r"\b[a-z][a-z0-9+.-]+:/[^\s\"'<>)\]}]+",  # mlflow-artifacts:/…, dbfs:/…
    r"[\w.+-]+@[A-Za-z][\w.-]*:[^\s\"'<>]+",  # git@host:path
    r"[\w.+-]+@[A-Za-z][\w-]*(?:\.[\w-]+)*",  # mail, and user@host
    # C:\… and \\share\…
    r"(?<!\w)(?:[A-Za-z]:[\\/]|\\\\)[^\s\"'<>:;,()]+(?:(?: [^\s\"'<>:;,()\\/]+)+\\[^\s\"'<>:;,()]*)*",
    r"\b[A-Z][A-Z0-9-]{1,14}\\[\w.-]+",  # DOMAIN\user
    r"(?:\$\{?[A-Za-z_]\w*\}?|%[A-Za-z_]\w*%)[\\/][^\s\"'<>:;,()]*",  # $HOME/…, %APPDATA%\…
    rf"(?<![\w./])~[\w.-]*/(?:{_WORDS})*{_LAST}",  # ~/…, ~user/…
    rf"(?<![\w./])(?:/home|/Users|/root)(?:/(?:{_WORDS})*{_LAST})",
    rf"(?<![\w.:/<\\])/(?:{_WORDS})+{_LAST}",
    rf"(?<![\w./])(?:\.\./)+{_END}*",
    r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\w.])",  # IPv4
    r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])",  # IPv6, whole
    rf"(?<![\w:])(?:{_HEX}::(?:{_HEX})?|::{_HEX})(?:%\w+)?(?![\w:])",  # and shortened
    r"(?<![\w.-])(?:localhost|[A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*)+):\d{2,5}\b",  # a.host:port
    r"(?<![\w.-])[A-Za-z][\w-]*:(?!(?:19|20)\d\d\b)\d{4,5}\b",  # host:port, not a year
    r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*\s?=\s?[^\s\"'<>]+",  # NAME_OF_A_VARIABLE=value
    r"(?i:\b[\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|credential)s?\b[\"']?\s?[=:]\s?[\"']?[^\s\"'<>]+)",
)
GENERAL = re.compile("|".join(_GENERAL))


def whole_words(words: Iterable[str]) -> list[re.Pattern[str]]:
    """Return a pattern that finds any of the words, whole and in any case; none for no words."""
    parts = [rf"(?<!\w){re.escape(word)}(?!\w)" for word in words]
    return [re.compile("|".join(parts), re.IGNORECASE)] if parts else []


def own_patterns(patterns: Iterable[str]) -> list[Any]:
    """Compile a project's patterns, each for itself, with an engine that can be stopped; raises UsageError."""
    given = list(patterns)
    if not given:
        return []
    try:
        import regex
    except ImportError:
        raise UsageError(
            "[public] patterns need the package regex, which can stop an endless search: "
            "`pip install 'evidence-chain[report]'`."
        ) from None
    found = []
    for pattern in given:
        try:
            found.append(regex.compile(pattern))
        except regex.error as error:
            raise UsageError(f"[public] patterns: {pattern!r} is no regular expression: {error}.") from None
    return found


def spans(text: str, patterns: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Yield where in `text` the patterns match, in the order of the text, what overlaps as one.

    Raises RenderError when a pattern of the project's own takes too long.
    """
    found = sorted(place for pattern in patterns for place in _places(text, pattern) if place[0] < place[1])
    start, end = -1, -1
    for left, right in found:
        if left > end:
            if end > start:
                yield start, end
            start = left
        end = max(end, right)
    if end > start:
        yield start, end


def _places(text: str, pattern: Any) -> Iterator[tuple[int, int]]:
    limited = {} if isinstance(pattern, re.Pattern) else {"timeout": SECONDS}
    try:
        for match in pattern.finditer(text, **limited):
            yield match.span()
    except TimeoutError:
        raise RenderError(
            f"The pattern {pattern.pattern!r} of [public] in config/site.toml searches a text for more than "
            f"{SECONDS:g} s. Write it without a repetition inside of a repetition, as 'a+' for '(a+)+'."
        ) from None
