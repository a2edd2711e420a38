"""Turn text from anywhere into text that is only text: in HTML, in Markdown, in a script element, in a link.

The result of each function has no meaning to any reader on its way: not to the resolver of cells, not to Quarto's
shortcodes and fences, not to pandoc's Markdown, not to the browser.
"""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

MARKUP = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
    "`": "&#96;",
    "{": "&#123;",
    "}": "&#125;",
}
PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
BLANK_LINE = re.compile(r"\n(?=[ \t]*\n)")


def clean(text: object) -> str:
    """Return `text` without control characters and lone surrogates; each becomes a visible U+FFFD.

    Line ends become `\\n`. Characters that change the direction of text are made visible as well, since one of
    them can make a line of a report read as something else. Right-to-left letters stay.
    """
    plain = str(text).replace("\r\n", "\n").replace("\r", "\n")
    plain = BIDI.sub("\ufffd", plain)
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"} else "\ufffd" for c in plain)


def one_line(text: object) -> str:
    """Return `text` cleaned, with every run of white space as one space."""
    return " ".join(clean(text).split())


def html_text(text: object) -> str:
    """Escape `text` for HTML element content and quoted attributes, on one line."""
    return "".join(MARKUP.get(c, c) for c in one_line(text))


def html_lines(text: object) -> str:
    """Escape `text` for a `<pre>` element: line ends stay, no blank line is left that could end a raw block."""
    escaped = "".join(MARKUP.get(c, c) for c in clean(text))
    return BLANK_LINE.sub("\n&#8203;", escaped)


def markdown_text(text: object) -> str:
    """Escape `text` for running Markdown text on one line: every ASCII punctuation mark is made literal."""
    return PUNCTUATION.sub(r"\\\1", one_line(text))


def code_span(text: object) -> str:
    """Return `text` on one line as a code span of Markdown, in which nothing has a meaning to any of its readers."""
    return f"`{one_line(text).replace('`', chr(39)) or ' '}`"


def plot_text(text: object) -> str:
    """Return `text` on one line for a figure of plotly, which reads a few tags of HTML in names and titles."""
    return "".join(MARKUP[c] if c in "&<>" else c for c in one_line(text))


def script_json(value: Any) -> str:
    """Serialise `value` as JSON that can stand in a `<script type="application/json">` element.

    NaN and infinities raise ValueError. The text is ASCII, so it survives any reader.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)
    for mark in "<>&`":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.replace("{{", "{\\u007b")


def relative_url(path: str) -> str:
    """Return a link to a file below the run directory, from the report inside it."""
    return "../" + quote(PurePosixPath(clean(path)).as_posix().lstrip("/"), safe="/-._~")


def web_url(url: str | None) -> str | None:
    """Return `url` when it is a plain http or https address, else None: no `javascript:`, no `data:`."""
    if not url or any(c.isspace() or unicodedata.category(c) == "Cc" for c in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return None
    return STRAY_PERCENT.sub("%25", quote(url, safe=":/?#[]@!$&()*+,;=%-._~"))


def raw_block(html: str) -> str:
    """Wrap HTML as a raw block of Markdown; its fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", html)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n{fence}{{=html}}\n{html.strip()}\n{fence}\n"
