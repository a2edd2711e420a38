"""What a public page leaves out of any text, as patterns: addresses, paths, hosts, users, mail, settings of a shell.

They find too much rather than too little: a word too many that is left out costs a reader nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.errors import RenderError, UsageError, shortened
from pipeline.masking import SECRET_WORDS

CALLS = re.compile(r"\(\?(?:R|\d+|&\w+|P>\w+)\)")
SECONDS = 2.0  # that one pattern of the user's own may take for one text
_END = r"[^\s\"'<>:;,()]"
_PART = r"[^\s\"'<>:;,()/]+"
_WORDS = rf"{_PART}(?: {_PART})*/"  # a directory, with blanks in its name or not
_LAST = rf"{_END}*(?:(?: {_PART}){{1,4}}\.\w{{1,8}}\b)?"  # a file; one with blanks in its name has a suffix
_SECRETS = "|".join([*SECRET_WORDS, r"api[_-]key"])
_HEX = r"[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4})*"
# What a text must hold for a pattern to be looked for at all, and the pattern: most texts are columns of numbers.
_GENERAL: tuple[tuple[tuple[str, ...], str], ...] = (
    (("://",), r"\b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"'<>)\]}]*"),
    (("jdbc:",), r"\bjdbc:[^\s\"'<>)\]}]+"),
    ((":/",), r"\b[a-z][a-z0-9+.-]{1,30}:/[^\s\"'<>)\]}]+"),  # mlflow-artifacts:/…, dbfs:/…
    (("@",), r"[\w.+-]{1,99}@[A-Za-z][\w.-]*:[^\s\"'<>]+"),  # git@host:path
    (("@",), r"[\w.+-]{1,99}@[A-Za-z][\w-]*(?:\.[\w-]+)*"),  # mail, and user@host
    # C:\… and \\share\…
    (
        (":\\", ":/", "\\\\"),
        r"(?<!\w)(?:[A-Za-z]:[\\/]|\\\\)[^\s\"'<>:;,()]+(?:(?: [^\s\"'<>:;,()\\/]+)+\\[^\s\"'<>:;,()]*)*",
    ),
    (("\\",), r"\b[A-Z][A-Z0-9-]{1,14}\\[\w.-]+"),  # DOMAIN\user
    (("$", "%"), r"(?:\$\{?[A-Za-z_]\w*\}?|%[A-Za-z_]\w*%)[\\/][^\s\"'<>:;,()]*"),  # $HOME/…, %APPDATA%\…
    (("~",), rf"(?<![\w./])~[\w.-]*/(?:{_WORDS})*{_LAST}"),  # ~/…, ~user/…
    (("/",), rf"(?<![\w./])(?:/home|/Users|/root)(?:/(?:{_WORDS})*{_LAST})"),
    (("/",), rf"(?<![\w.:/<\\])/(?:{_WORDS})+{_LAST}"),
    (("../",), rf"(?<![\w./])(?:\.\./)+{_END}*"),
    ((".",), r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\w.])"),  # IPv4
    ((":",), r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])"),  # IPv6, whole
    (("::",), rf"(?<![\w:])(?:{_HEX}::(?:{_HEX})?|::{_HEX})(?:%\w+)?(?![\w:])"),  # and shortened
    ((":",), r"(?<![\w.-])(?:localhost|[A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*)+):\d{2,5}\b"),  # a.host:port
    ((":",), r"(?<![\w.-])[A-Za-z][\w-]*:(?!(?:19|20)\d\d\b)\d{4,5}\b"),  # host:port, not a year
    (("=",), r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]*\s?=\s?[^\s\"'<>]+"),  # NAME_OF_A_VARIABLE=value
    (
        ("=", ":"),
        rf"(?i:\b\w*(?:{_SECRETS})s?\b[\"']?\s?[=:]\s?[\"']?[^\s\"'<>]+)",
    ),
)


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern, of `re` or of `regex`; it is not looked for in a text that has none of `needs`."""

    compiled: Any
    needs: tuple[str, ...] = ()

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where it matches; raises RenderError when one of the project's own takes too long."""
        if self.needs and not any(part in text for part in self.needs):
            return
        limited = {} if isinstance(self.compiled, re.Pattern) else {"timeout": SECONDS}
        try:
            for match in self.compiled.finditer(text, **limited):
                yield match.span()
        except (TimeoutError, MemoryError):
            raise RenderError(
                f"The pattern {self.compiled.pattern!r} of [public] in config/site.toml searches a text for more than "
                f"{SECONDS:g} s, or needs more memory than there is. Write it without a repetition inside of a "
                "repetition, as 'a+' for '(a+)+'."
            ) from None


GENERAL = tuple(Pattern(re.compile(pattern), needs) for needs, pattern in _GENERAL)


def whole_words(words: Iterable[str]) -> list[Pattern]:
    """Return a pattern that finds any of the words, whole (`_` ends one) and in any case; none for no words."""
    parts = [rf"(?<![^\W_]){re.escape(word)}(?![^\W_])" for word in words]
    return [Pattern(re.compile("|".join(parts), re.IGNORECASE))] if parts else []


def own_patterns(patterns: Iterable[str]) -> list[Pattern]:
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
        shown = shortened(repr(pattern), 200)
        if CALLS.search(pattern):
            raise UsageError(f"[public] patterns: {shown} calls itself or a group of its own, which may never end.")
        try:
            found.append(Pattern(regex.compile(pattern)))
        except (regex.error, RecursionError, MemoryError, OverflowError, ValueError) as error:
            raise UsageError(f"[public] patterns: {shown} is no regular expression: {error}.") from None
    return found


def spans(text: str, patterns: Iterable[Pattern]) -> Iterator[tuple[int, int]]:
    """Yield where in `text` the patterns match, in the order of the text, what overlaps as one; raises RenderError."""
    found = sorted(place for pattern in patterns for place in pattern.places(text) if place[0] < place[1])
    start, end = -1, -1
    for left, right in found:
        if left > end:
            if end > start:
                yield start, end
            start = left
        end = max(end, right)
    if end > start:
        yield start, end
