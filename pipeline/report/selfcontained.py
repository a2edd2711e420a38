"""Finish a rendered page: put its scripts in, forbid it to load anything, and check that it needs nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from pipeline.errors import RenderError
from pipeline.report.resolve import ASSETS

MARKER = "<!-- evidence:head -->"
HEAD_END = "</head>"
DEPENDENCIES = "<!-- htmldependencies:E3FAD763 -->\n"  # Quarto's place in the template, of no use to others
PLOTLY = "plotly-basic.min.js"
SCRIPT = "report.js"
TABLES = "tables.js"
LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "iframe": ("src", "srcdoc"),
    "frame": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "base": ("href",),
    "body": ("background",),
}
CSS_LOADS = re.compile(r"@import\s+(?:url\()?\s*['\"]?([^'\")\s;]+)|url\(\s*['\"]?([^'\")\s]+)", re.IGNORECASE)


def finish(html: str) -> str:
    """Put scripts and a content security policy into the head of rendered HTML.

    plotly.js goes in once, and only when there is a figure. The policy lets the browser load nothing and run only the
    scripts of this package; those that a renderer or a template adds are not run.
    """
    names = ([PLOTLY] if 'class="plot-data"' in html else []) + [SCRIPT, TABLES]
    scripts = [(ASSETS / name).read_text(encoding="utf-8") for name in names]
    head = _policy(scripts) + "".join(f"<script>{text}</script>\n" for text in scripts)
    html = html.replace(DEPENDENCIES, "", 1)
    mark = MARKER if MARKER in html else HEAD_END
    before, found, after = html.partition(mark)
    if not found:
        raise RenderError("The rendered page has no <head>. Use a template that writes a whole HTML document.")
    return before + head + (after if mark == MARKER else found + after)


def check_self_contained(html: str) -> None:
    """Raise RenderError when the page would load anything (script, style, font, image, frame); links are free."""
    found = _References()
    found.feed(html)
    found.close()
    if found.references:
        listed = "\n".join(f"  - {reference}" for reference in found.references[:20])
        raise RenderError(f"The report is not self-contained; it would load:\n{listed}\nEmbed these or take them out.")


def _policy(scripts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    rules = (
        "default-src 'none'",
        f"script-src {allowed}",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "font-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">\n'


class _References(HTMLParser):
    """Collects everything a browser would load."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.references: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            if name in LOADED.get(tag, ()) and not _inside(value):
                self.references.append(f"<{tag} {name}={value!r}>")
            elif name == "style":
                self._css(value or "", f"<{tag} style>")
        if tag == "meta" and any(name == "http-equiv" and (value or "").lower() == "refresh" for name, value in attrs):
            self.references.append("<meta http-equiv=refresh>")

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self._css(data, "<style>")

    def _css(self, text: str, where: str) -> None:
        for match in CSS_LOADS.finditer(text):
            target = match[1] or match[2]
            if not _inside(target):
                self.references.append(f"{where}: {target}")


def _inside(target: str | None) -> bool:
    """Say whether a reference stays inside the file: nothing, a fragment, or data."""
    text = (target or "").strip().lower()
    return text == "" or text.startswith(("#", "data:"))
