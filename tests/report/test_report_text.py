"""Escaping and numbers: text from anywhere stays text, numbers read the same everywhere."""

from __future__ import annotations

import html
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backtest.catalogue import COUNT, FLAG, MONEY, NUMBER, PERCENT, RATIO
from pipeline.escape import (
    clean,
    html_lines,
    html_text,
    markdown_text,
    one_line,
    raw_block,
    relative_url,
    script_json,
    web_url,
)
from pipeline.report.downsample import keep
from pipeline.report.numbers import format_bytes, format_number

NASTY = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            ["<script>", "</script>", "```", "{=html}", "{{< include x >}}", ":::", "\n\n", "---\n", '"', "'", "&", "`",
             "$x$", "[a](b)", "![](x)", "<!--", "]]>", "\\", "|", "\u202e", "\x00", "é", "שלום", "#", "@fig-x",
             "*", "_"]
        )
    ).map("".join),
)  # fmt: skip


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: str) -> _Reader:
    reader = _Reader()
    reader.feed(markup)
    reader.close()
    return reader


@given(NASTY)
def test_html_text_is_only_text_as_content_and_as_attribute(text: str) -> None:
    """Escaped text adds no element and no attribute, and reads back as the cleaned line."""
    reader = read(f'<p title="{html_text(text)}">{html_text(text)}</p>')
    assert reader.tags == ["p"]
    assert [name for name, _ in reader.attributes] == ["title"]
    assert reader.text == reader.attributes[0][1] == one_line(text)


@given(NASTY)
def test_escaped_html_has_no_meaning_to_markdown(text: str) -> None:
    """No fence, shortcode, div or blank line survives in text that goes into a raw block."""
    for escaped in (html_text(text), html_lines(text)):
        assert not set("`<>{}") & set(escaped)
        assert "\n\n" not in escaped


@given(NASTY)
def test_lines_keep_their_number(text: str) -> None:
    """A traceback keeps its lines."""
    shown = html.unescape(html_lines(text)).replace("\u200b", "")
    assert shown.count("\n") == clean(text).count("\n")


@given(st.lists(NASTY, min_size=1, max_size=3))
def test_markdown_text_is_only_text_to_pandoc_s_rules(parts: list[str]) -> None:
    """Every ASCII punctuation mark is preceded by a backslash, and there is one line."""
    text = markdown_text("".join(parts))
    assert "\n" not in text
    bare = text.replace("\\\\", "").replace("\\", "\x00")
    marks = "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"
    assert all(bare[i - 1] == "\x00" for i, c in enumerate(bare) if c in marks)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.integers(-(2**53), 2**53) | NASTY, lambda inner: st.lists(inner) | st.dictionaries(NASTY, inner)
    )
)
def test_script_json_cannot_leave_its_element(value: object) -> None:
    """JSON in a script element reads back equal and has no mark that HTML, Markdown or Quarto could see."""
    text = script_json(value)
    assert json.loads(text) == json.loads(json.dumps(value))
    assert not set("<>&`\n") & set(text)
    assert "{{" not in text
    assert text.isascii()


def test_script_json_refuses_nan() -> None:
    """NaN is not JSON: the browser would refuse the whole figure."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json([math.nan])


@given(st.text("`a\n"))
def test_fence_is_longer_than_any_inside(text: str) -> None:
    """A raw block cannot be closed by its content."""
    block = raw_block("x" + text).strip("\n").split("\n")
    fence = block[-1]
    assert block[0] == fence + "{=html}"
    assert all(fence not in line for line in block[1:-1])


def test_direction_marks_become_visible() -> None:
    """A character that turns text around cannot make a line read as something else."""
    assert clean("a\u202eb\x07") == "a\ufffdb\ufffd"
    assert clean("שלום 🙂") == "שלום 🙂"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "http://", "//x", "ht tp://x", "http://[", None, ""]
)
def test_only_web_addresses_become_links(url: str | None) -> None:
    """A link of the report can only be http or https."""
    assert web_url(url) is None


def test_links_are_quoted() -> None:
    """An address or a file name cannot end its attribute or climb by accident."""
    assert web_url('https://host/a"b') == "https://host/a%22b"
    assert web_url("https://host/a%20b/100%") == "https://host/a%20b/100%25"
    assert relative_url("plots/a b#c?.png") == "../plots/a%20b%23c%3F.png"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.123456, PERCENT, "12.35%"),
        (-0.5678, PERCENT, "−56.78%"),
        (-0.0000001, PERCENT, "0.00%"),
        (1234.5, MONEY, "1,234.50"),
        (-3, COUNT, "−3"),
        (0.2568, RATIO, "0.26"),
        (102.71875, NUMBER, "102.7"),
        (5031, NUMBER, "5,031"),
        (0.00001234, NUMBER, "1.234e−05"),
        (1, FLAG, "yes"),
        (None, PERCENT, "–"),
        (math.nan, RATIO, "–"),
        (math.inf, RATIO, "–"),
        ("7", NUMBER, "–"),
        (True, NUMBER, "–"),
    ],
)
def test_numbers(value: object, kind: str, text: str) -> None:
    """One precision a kind, a real minus sign, no negative zero, a dash for what is undefined."""
    assert format_number(value, kind) == text


def test_sizes() -> None:
    """Sizes carry binary units."""
    assert [format_bytes(n) for n in (0, 1023, 1536, 5 * 1024**2)] == ["0 B", "1023 B", "1.5 KiB", "5.0 MiB"]


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=400), st.integers(10, 60))
def test_thinning_keeps_the_ends_and_the_extremes(values: list[float], points: int) -> None:
    """A thinned curve is small, ordered, starts and ends where the full one does, and keeps its high and its low."""
    array = np.array(values)
    kept = keep(array, points)
    assert len(kept) <= max(points, len(values) if len(values) <= points else points)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert (np.diff(kept) > 0).all()
    if not np.isnan(array).all():
        assert np.nanmax(array[kept]) == np.nanmax(array)
        assert np.nanmin(array[kept]) == np.nanmin(array)
