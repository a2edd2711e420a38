"""Prepare a finished page for Typst: what pandoc reads of it, and drawings as files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import unescape
from pathlib import Path

from pipeline.report.chart_image import as_image, in_light
from pipeline.report.notebook import SVG
from pipeline.report.resolve import ASSETS

MAIN = re.compile(r'<main id="content">(?P<body>.*)</main>', re.DOTALL)
TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
CARD = re.compile(r'<div class="card"[^>]*><dt>(?P<name>.*?)</dt><dd>(?P<value>.*?)</dd>(?P<rest>.*?)</div>', re.DOTALL)
CARDS = re.compile(r'<dl class="cards">(.*?)</dl>', re.DOTALL)
BESIDE = re.compile(r'<dd class="beside">(.*?)</dd>', re.DOTALL)
CELL = re.compile(r"<(?P<tag>t[dh])\b(?P<attributes>[^>]*)>")
PAIR = re.compile(r'<div class="pair">\s*((?:<figure\b.*?</figure>\s*)+)</div>', re.DOTALL)
FIGURE = re.compile(r"<figure\b.*?</figure>", re.DOTALL)
SHADE = re.compile(r"^\.heat \.(\w+\d) \{ background: ([^;]*); \}$", re.MULTILINE)
BETWEEN_MARKS = re.compile(r'(</span>)\s+(<span class="mark )')
TEMPLATE = "report.typst"
PANELS = re.compile(r'<div class="panels">(.*?)</div>\s*</div>', re.DOTALL)
PANEL = re.compile(r'<p class="panel-title">(.*?)</p>\s*(<img[^>]*>)', re.DOTALL)
DROPPED = re.compile(r'<(script|noscript|button|style)\b.*?</\1>|<details class="folded">.*?</details>', re.DOTALL)


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
        return f'<img src="{name}" width="100%">'

    body = PANELS.sub(_panel_table, CARDS.sub(_card_table, SVG.sub(drawn, DROPPED.sub("", body))))
    body = CELL.sub(_aligned, PAIR.sub(_pair_table, FIGURE.sub(_captioned_below, body)))
    body = BETWEEN_MARKS.sub(r"\1 · \2", body).replace('class="mark ', 'class="')
    target = scratch / "content.html"
    target.write_text(f"<!DOCTYPE html><html><body>{body}</body></html>", encoding="utf-8")
    named = ["--metadata", f"pagetitle={unescape(title[1])}"] if title else []
    return TypstInput(target, ["--template", str(ASSETS / TEMPLATE), *named])


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


def _captioned_below(match: re.Match[str]) -> str:
    """Return a figure of a table as a box with its caption below: Typst would put that of a table above."""
    if "<table" not in match[0]:
        return match[0]
    box = match[0].replace("<figure", "<div", 1).replace("</figure>", "</div>")
    return box.replace("<figcaption", "<p").replace("</figcaption>", "</p>")


def _pair_table(match: re.Match[str]) -> str:
    """Return figures that stand side by side as a table of two columns; the last of an odd number is alone."""
    figures = FIGURE.findall(match[1])
    pairs = [figures[start : start + 2] for start in range(0, len(figures), 2)]
    rows = "".join("<tr>" + "".join(f"<td>{one}</td>" for one in (*pair, "")[:2]) + "</tr>" for pair in pairs)
    return f"<table><tbody>{rows}</tbody></table>"


def _aligned(match: re.Match[str]) -> str:
    """Return the start of a table's cell with its alignment and its shade where pandoc reads them."""
    classes = re.search(r'class="([^"]*)"', match["attributes"])
    names = classes[1].split() if classes else []
    shade = next((f' typst:fill="rgb(&quot;{shades()[name]}&quot;)"' for name in names if name in shades()), "")
    side = "right" if "num" in names else "left"
    return f'<{match["tag"]}{match["attributes"]} style="text-align: {side}"{shade}>'


@cache
def shades() -> dict[str, str]:
    """Return the colour of each shade of the monthly table by its class, as the style sheet has them in light."""
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    return {name: in_light(colour) for name, colour in SHADE.findall(style)}
