"""Blocks of a report, and the Markdown that is written of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from pipeline.errors import RenderError
from pipeline.report.blocks import Chart, Column, Image, Shaded, chart, definitions, folded, side_by_side, table, text
from pipeline.report.markup import Html, html, mark, together
from pipeline.report.page import Page
from pipeline.report.resolve import resolve
from pipeline.report.writer import Figures, Writer
from pipeline.run import Run

LINE = {"data": [{"type": "scatter", "mode": "lines", "x": [1, 2], "y": [1.0, 3.0], "meta": {"role": "strategy"}}]}
SOLID = {"data": [{"type": "mesh3d", "x": [1]}]}
HOSTILE = "<script>alert('`{}`')</script>"


def test_a_template_escapes_what_it_is_filled_with() -> None:
    """Text stays text in content and in attributes, markup stays markup; braces in a value are no fields."""
    filled = html('<p title="{said}">{said} {bold}</p>', said=HOSTILE, bold=html("<b>{x}</b>", x="{said}"))
    found = BeautifulSoup(filled.text, "html.parser").p
    assert found is not None
    assert (found["title"], found.get_text(), len(found.find_all(True))) == (HOSTILE, f"{HOSTILE} {{said}}", 1)
    assert mark("failed", "<b>", "a & b").text == '<span class="mark mark-failed" title="a &amp; b">&lt;b&gt;</span>'
    assert together([Html("<br>"), "<br>", 3], "|").text == "<br>|&lt;br&gt;|3"


def test_a_figure_is_written_as_data_as_a_drawing_or_as_both() -> None:
    """Data for scripts says that it needs them, a drawing needs none, and both have the drawing in the data's place."""
    made = chart("a", LINE, caption="C", label="L")
    data, both, drawn = (Writer(kind).write(made) for kind in (Figures.DATA, Figures.BOTH, Figures.DRAWN))
    assert ["<noscript>" in each for each in (data, both, drawn)] == [True, False, False]
    assert ["<svg" in each for each in (data, both, drawn)] == [False, True, True]
    assert ["application/json" in each for each in (data, both, drawn)] == [True, True, False]


def test_a_figure_that_cannot_be_drawn_is_refused_only_where_it_must_be() -> None:
    """A page with scripts shows it by these; a static one says which figure it is."""
    made = chart("solid", SOLID, caption="C", label="L")
    assert "<noscript>" in Writer(Figures.BOTH).write(made)
    with pytest.raises(RenderError, match="solid"):
        Writer(Figures.DRAWN).write(made)


def test_figures_side_by_side_are_drawn_narrow() -> None:
    """Each takes half of the page's width; nothing beside nothing is nothing."""
    made = chart("a", LINE, caption="C", label="L")
    alone, paired = (Writer(Figures.DRAWN).write(each) for each in (made, side_by_side(made, (), made)))
    widths = [
        [svg["viewbox"] for svg in BeautifulSoup(each, "html.parser").find_all("svg")] for each in (alone, paired)
    ]
    assert len(widths[1]) == 2
    assert widths[0][0] not in widths[1]
    assert side_by_side((), ()) == ()


def test_tables_say_which_cells_are_numbers_and_headers() -> None:
    """A compact table says the same in fewer bytes, a folded one how many rows it hides."""
    columns = [Column("N", numeric=True, unit="%"), Column("Name"), Column("Value", numeric=True)]
    rows = [["1", "<a>", Shaded("2", "gain1")]]
    plain, compact = (Writer().write(table("T", columns, rows, compact=each)) for each in (False, True))
    cells = [BeautifulSoup(each, "html.parser").find_all(["th", "td"])[3:] for each in (plain, compact)]
    assert [cell.get_text() for cell in cells[0]] == [cell.get_text() for cell in cells[1]] == ["1", "<a>", "2"]
    assert [cell.name for cell in cells[0]] == ["th", "td", "td"]
    assert [cell.get("class") for cell in cells[0]] == [["num"], None, ["num", "gain1"]]
    assert len(compact) < len(plain)
    hidden = folded("All of them", definitions("All of them", [("a", "1"), ("b", "2")]))
    assert "<summary>All of them (2)</summary>" in Writer().write(hidden)
    with pytest.raises(ValueError, match="zip"):
        Writer().write(table("T", columns, [["1"]]))


def test_an_image_is_a_file_beside_the_page_or_part_of_it(tmp_path: Path) -> None:
    """Where there is a directory for images it is copied there, else it is in its own address."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    block = (Image(3, tmp_path / "a.png", "C", "alt"),)
    assert "](images/figure-3.png)" in Writer(images=tmp_path / "images").write(block)
    assert (tmp_path / "images" / "figure-3.png").read_bytes() == b"\x89PNG"
    assert "](data:image/png;base64,iVBORw==)" in Writer().write(block)


@pytest.mark.parametrize("kind", list(Figures))
def test_a_figure_of_ones_own_is_printed_as_those_of_the_page(tmp_path: Path, kind: Figures) -> None:
    """What `figure_block` returns in a cell is as the report wants its figures: data, drawing, or both."""
    template = tmp_path / "own.qmd"
    template.write_text(
        "---\ntitle: T\n---\n\n```{python}\n#| output: asis\nfrom pipeline.report.figures import figure_block\n"
        f"print(figure_block('own', {LINE!r}, caption='C', label='L'))\n```\n"
    )
    made = resolve(template, tmp_path, parameters={}, title="T", figures=kind).read_text(encoding="utf-8")
    assert Writer(kind).write(chart("own", LINE, caption="C", label="L")) in made


def test_a_part_of_a_page_is_blocks_until_it_is_written(finished: Run) -> None:
    """What a section returns is data: the equity figure is a chart whose curve can be looked at."""
    page = Page(finished)
    (found,) = vars(Page)["equity_figure"].blocks(page)
    assert isinstance(found, Chart)
    assert next(trace["name"] for trace in found.figure["data"]) == "Strategy"
    assert page.equity_figure() == Writer().write((found,))
    assert Writer().write(text("")) == ""
