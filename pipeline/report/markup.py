"""Markup that is already escaped, and templates whose values are escaped as they are filled in.

What is put into a template by `html` is escaped unless it is `Html`, so that text from anywhere stays text by
construction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.escape import html_text


@dataclass(frozen=True)
class Html:
    """Markup that is already escaped."""

    text: str

    def __str__(self) -> str:
        """Return the markup."""
        return self.text


NOTHING = Html("")


def html(template: str, /, **values: object) -> Html:
    """Return `template` with its fields (`{name}`) filled in: `Html` as it is, anything else as escaped text."""
    return Html(template.format_map({name: escaped(value) for name, value in values.items()}))


def together(parts: Iterable[object], between: str = "") -> Html:
    """Return parts one after the other, with markup `between` them: `Html` as it is, anything else as escaped text."""
    return Html(between.join(escaped(part) for part in parts))


def escaped(value: object) -> str:
    """Return `Html` as its text, anything else escaped."""
    return value.text if isinstance(value, Html) else html_text(value)


def code(text: str) -> Html:
    """Return text in a fixed-width font."""
    return html("<code>{text}</code>", text=text)


def link(text: str, url: str | None) -> Html:
    """Return a link, or only its text when there is no safe address."""
    return html('<a href="{url}">{text}</a>', url=url, text=text) if url else html("{text}", text=text)


def mark(kind: str, words: str, title: str = "") -> Html:
    """Return a mark: words in a coloured box. Kinds: `finished` (good), `failed` (bad), `killed` (neither), `running`.

    `title` is what the pointer shows.
    """
    shown = html(' title="{title}"', title=title) if title else NOTHING
    return html('<span class="mark mark-{kind}"{shown}>{words}</span>', kind=kind, shown=shown, words=words)


def meaning(text: str) -> Html:
    """Return text that explains, in the small print of a table."""
    return html('<span class="meaning">{text}</span>', text=text)
