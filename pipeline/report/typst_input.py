"""Prepare a finished page for Typst: what pandoc reads of it, drawings as files, and the look of the paper."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from pipeline.report.chart import HALF, as_image
from pipeline.report.notebook import SVG

MAIN = re.compile(r'<main id="content">(?P<body>.*)</main>', re.DOTALL)
TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
CARD = re.compile(r'<div class="card"[^>]*><dt>(?P<name>.*?)</dt><dd>(?P<value>.*?)</dd>(?P<rest>.*?)</div>', re.DOTALL)
CARDS = re.compile(r'<dl class="cards">(.*?)</dl>', re.DOTALL)
BESIDE = re.compile(r'<dd class="beside">(.*?)</dd>', re.DOTALL)
NARROW = f'viewBox="0 0 {HALF} '
CELL = re.compile(r"<(?P<tag>t[dh])\b(?P<attributes>[^>]*)>")
NUMBERED = re.compile(r"(<figcaption>(?:<p>)?)Figure\s+\d+:\s*")
BETWEEN_MARKS = re.compile(r'(</span>)\s+(<span class="mark )')
PANELS = re.compile(r'<div class="panels">(.*?)</div>\s*</div>', re.DOTALL)
PANEL = re.compile(r'<p class="panel-title">(.*?)</p>\s*(<img[^>]*>)', re.DOTALL)
OPTIONS = [
    "papersize=a4",
    "fontsize=9pt",
    "margin-left=18mm",
    "margin-right=18mm",
    "margin-top=18mm",
    "margin-bottom=20mm",
]
DROPPED = re.compile(r"<(script|noscript|button|style)\b.*?</\1>", re.DOTALL)
LOOK = """
#set par(justify: false)
#set table(stroke: none, inset: (x: 4pt, y: 2.6pt))
#set table.hline(stroke: 0.4pt + rgb("#c3cad3"))
#show raw: set text(size: 7pt)
#show table: set text(size: 7.6pt)
#show table: set par(justify: false)
#show table: it => { show raw: set text(size: 6pt); it }
#show heading.where(level: 1): set text(size: 20pt)
#show heading.where(level: 2): set block(above: 1.6em, below: 0.7em)
#show link: set text(fill: rgb("#0b5fa5"))
#show figure.where(kind: table): set block(breakable: true)
#show figure.where(kind: table): set figure.caption(position: top)
#show figure.caption: set align(left)
#show figure.where(kind: table): set figure(numbering: none)
#show figure.where(kind: table): set align(left)
#show figure.caption.where(kind: table): it => it.body
"""


@dataclass(frozen=True)
class TypstInput:
    """A page for pandoc and the options that go with it."""

    path: Path
    options: list[str]


def write_typst_input(page: Path, scratch: Path, style: str = "") -> TypstInput:
    """Write the content of a finished page into `scratch`, drawings as files beside it; for `style` see `as_image`."""
    html = page.read_text(encoding="utf-8")
    found, title = MAIN.search(html), TITLE.search(html)
    body = found["body"] if found else html
    count = 0

    def drawn(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        name = f"drawing-{count}.svg"
        (scratch / name).write_text(as_image(match[0], style), encoding="utf-8")
        return f'<img src="{name}" width="{"75%" if NARROW in match[0] else "100%"}">'

    body = PANELS.sub(_panel_table, CARDS.sub(_card_table, DROPPED.sub("", SVG.sub(drawn, body))))
    body = NUMBERED.sub(r"\1", CELL.sub(_aligned, body))
    body = BETWEEN_MARKS.sub(r"\1 · \2", body).replace('class="mark ', 'class="')
    target, look = scratch / "content.html", scratch / "look.typ"
    target.write_text(f"<!DOCTYPE html><html><body>{body}</body></html>", encoding="utf-8")
    look.write_text(LOOK, encoding="utf-8")
    named = ["--metadata", f"pagetitle={unescape(title[1])}"] if title else []
    variables = [text for option in OPTIONS for text in ("--variable", option)]
    return TypstInput(target, [*named, *variables, "--include-before-body", look.name])


def _card_table(match: re.Match[str]) -> str:
    """Return the headline numbers as a table, which paper has room for."""
    cards = [(card["name"], card["value"], BESIDE.findall(card["rest"])) for card in CARD.finditer(match[1])]
    rows = "".join(
        f"<tr><th>{name}</th><td>{value}</td><td>{'; '.join(beside)}</td></tr>" for name, value, beside in cards
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _panel_table(match: re.Match[str]) -> str:
    """Return small multiples as a table of one row."""
    panels = PANEL.findall(match[1] + "</div>")
    heads = "".join(f"<th>{title}</th>" for title, _ in panels)
    cells = "".join(f"<td>{image}</td>" for _, image in panels)
    return f"<table><thead><tr>{heads}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"


def _aligned(match: re.Match[str]) -> str:
    """Return the start of a table's cell with its alignment where pandoc reads it."""
    classes = re.search(r'class="([^"]*)"', match["attributes"])
    side = "right" if classes and "num" in classes[1].split() else "left"
    return f'<{match["tag"]}{match["attributes"]} style="text-align: {side}">'
