"""The report in other formats: drawn figures, PDF, notebook; side files beside the page, known to its record."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import report_builder as builder
from bs4 import BeautifulSoup
from report_builder import SPEC, TEMPLATE

from pipeline.digest import sha256_file
from pipeline.errors import RendererNotFoundError, RenderError, UsageError
from pipeline.evidence.recording import record_report
from pipeline.report.chart import draw
from pipeline.report.chart_image import as_image
from pipeline.report.figures import equity_figure
from pipeline.report.formats import render_format
from pipeline.report.job import RenderJob, known_format, why_stale
from pipeline.report.pandoc import PandocRenderer
from pipeline.report.pdf import choose_printer, without_times
from pipeline.report.render import read_record, render_run
from pipeline.report.scales import date_ticks, number_text, number_ticks, seconds_of
from pipeline.report.typst_input import shades, write_typst_input
from pipeline.run import Run
from pipeline.settings import Settings
from tests.browser import CHROMIUM

LINE = {"type": "scatter", "mode": "lines", "x": ["2020-01-01", "2020-01-02", "2020-01-03"], "y": [1.0, None, 3.0]}


def job_for(run: Run, **options: Any) -> RenderJob:
    settings = Settings(run.dir.results.parent, run.dir.results)
    return RenderJob(settings, **{"renderer": "embedded", "template": TEMPLATE, **options})


@pytest.mark.slow
def test_a_static_report_is_small_and_whole(copied: Run, finished: Run, render: Any) -> None:
    """Without plotly.js the page has at most 500 kB, the same figures as drawings with words, the same numbers."""
    record = render(copied, static=True)
    html = copied.dir.report.read_text(encoding="utf-8")
    page = BeautifulSoup(html, "html.parser")
    assert record.size <= 500_000
    assert record.static
    assert "plotly.js" not in html
    drawn = page.select(".plot.drawn svg.chart[aria-label]")
    interactive = BeautifulSoup(finished.dir.report.read_text(encoding="utf-8"), "html.parser")
    assert [svg["aria-label"] for svg in drawn] == [plot["aria-label"] for plot in interactive.select(".plot")]
    assert page.select_one("#metrics").find_next("table").get_text() == (
        interactive.select_one("#metrics").find_next("table").get_text()
    )


@pytest.mark.parametrize(
    ("figure", "drawn"),
    [
        ({"data": [LINE]}, r'class="line strategy" d="M[\d.]+ [\d.]+M[\d.]+ [\d.]+"'),
        (
            {"data": [{"type": "bar", "x": ["a", "b"], "y": [1, -2]}]},
            r'class="fill strategy" d="(M\S+ \S+h\S+V\S+z){2}',
        ),
        (
            {"data": [{"type": "bar", "orientation": "h", "y": ["a &lt;", "b"], "x": [0.2, 0.8]}]},
            r'>a &lt;</text><text .*>b</text><path class="fill strategy" d="(M\S+ \S+H\S+v\S+H\S+z){2}',
        ),
        (
            {
                "data": [{"mode": "markers", "x": [1, 10, 100], "y": [1, 2, 3]}],
                "layout": {"xaxis": {"type": "log", "tickvals": [1, 10], "ticktext": ["one", "ten"]}},
            },
            r">one</text>.*>ten</text>",
        ),
        ({"data": [{"mode": "markers", "x": [1, 2], "y": [3, 4], "meta": {"role": "loss"}}]}, 'class="fill loss"'),
        (
            {
                "data": [{"mode": "markers", "x": [1, 2], "y": ["a &lt;", "b"]}],
                "layout": {"yaxis": {"type": "category"}},
            },
            r'y="(\d+\.\d)" text-anchor="end">a &lt;</text>.*>b</text>',
        ),
        ({"data": []}, "<svg"),
        ({"data": [{"x": [], "y": []}]}, "<svg"),
        ({"data": [{"y": {"dtype": "f8", "bdata": base64.b64encode(np.array([1.0, 2.0])).decode()}}]}, "line strategy"),
        ({"data": [{**LINE, "name": "a &lt;b&gt;"}, {**LINE, "name": "x"}]}, "a &lt;b&gt;<"),
    ],
)
def test_what_is_drawn(figure: dict[str, Any], drawn: str) -> None:
    """Lines break where a value is missing, bars start at 0, typed arrays are read, names are only text."""
    svg = draw(figure, name="x", label="A label")
    assert re.search(drawn, svg)
    assert "nan" not in svg
    assert as_image(svg).startswith('<svg xmlns="http://www.w3.org/2000/svg" width="920"')


def test_an_image_has_the_page_s_own_rules_in_plain_colours() -> None:
    """Names and mixtures of colours are worked out for programs that know neither; rules of other things stay away."""
    style = (
        ".map .best { fill: none; stroke: var(--drawdown); }\n.map rect:hover { stroke: var(--text); }\n"
        ".map .shade4 { fill: color-mix(in srgb, var(--strategy) 50%, var(--background)); }\n.leaders { width: 1px; }\n"
        "@media print { .map { fill: none; } }\n"
    )
    image = as_image('<svg class="chart map" viewBox="0 0 4 4"></svg>', style)
    assert ".map .best { fill: none; stroke: #b3470b; }.map .shade4 { fill: #85afd2; }</style>" in image
    assert "leaders" not in image


@pytest.mark.parametrize(
    "figure",
    [
        {"data": [{"type": "pie"}]},
        {"data": [{"x": ["x"], "y": ["y"]}]},
        {"data": [{"x": [0], "y": [1]}], "layout": {"xaxis": {"type": "log"}}},
    ],
)
def test_what_cannot_be_drawn_is_said(figure: dict[str, Any]) -> None:
    """A figure of another kind is an error that names it, never an empty picture."""
    with pytest.raises(RenderError, match=r"The figure mine cannot be drawn as a static one: .* Leave out --static"):
        draw(figure, name="mine", label="x")


def test_drawings_keep_the_extremes(finished: Run) -> None:
    """The highest and lowest point of the curve lie at the same places as those of all values."""
    equity = finished.equity
    svg = draw(equity_figure(equity), name="x", label="x")
    path = re.search(r'class="line strategy" d="([^"]*)"', svg)
    ys = [float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path[1])]
    assert len(ys) < 1_000
    assert ys.index(min(ys)) / len(ys) == pytest.approx(equity["equity"].argmax() / len(equity), abs=0.02)


def test_ticks() -> None:
    """Ticks are round, inside the range, and say no more than they must."""
    assert number_ticks(-0.2, 0.55, 4) == pytest.approx([-0.2, 0.0, 0.2, 0.4])
    assert number_ticks(5.0, 5.0, 4) == [5.0]
    assert [number_text(v, f) for v, f in ((-0.25, ".0%"), (1234.5, ",.0f"), (-0.0, ".1f"), (1e-5, None))] == [
        "\u221225%", "1,234", "0.0", "1e\u221205",
    ]  # fmt: skip
    for first, last, most, texts in (
        ("1999-01-04", "2018-12-31", 6, ["2000", "2005", "2010", "2015"]),
        ("2020-01-15", "2020-06-20", 6, ["Feb 2020", "Mar 2020", "Apr 2020", "May 2020", "Jun 2020"]),
        ("2020-01-01", "2020-01-04", 4, ["01 Jan", "02 Jan", "03 Jan", "04 Jan"]),
        ("2020-01-01T09:00:00", "2020-01-01T16:00:00", 4, ["01 Jan 09:00", "01 Jan 12:00", "01 Jan 15:00"]),
    ):
        assert [text for _, text in date_ticks(seconds_of(first), seconds_of(last), most)] == texts


@pytest.mark.slow
def test_a_notebook_of_the_report(copied: Run) -> None:
    """It is a valid notebook with the cells of the source, what they show, images instead of scripts, and no path."""
    record = render_format(copied, job_for(copied, format="ipynb"))
    path = copied.dir.report.with_name("report.ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert copied.run_id in code[0].source
    assert code[0].metadata.tags == ["parameters"]
    shown = "".join(output.data["text/html"] for cell in code for output in cell.outputs)
    assert "Probabilistic Sharpe ratio" in shown
    assert "<script" not in shown
    assert shown.count("data:image/svg+xml;base64,") >= 8
    assert record.files["report.ipynb"]["sha256"] == sha256_file(path)
    again = path.read_bytes()
    render_format(Run(copied.dir), job_for(copied, format="ipynb"))
    assert path.read_bytes() == again
    for cell in code[:3]:
        exec(cell.source.replace('run_id = "', f'results = {str(copied.dir.results)!r}; run_id = "').replace(
            "open_page(run_id)", "open_page(run_id, results=results)"), globals())  # fmt: skip


@pytest.mark.slow
def test_side_files_and_the_evidence(copied: Run) -> None:
    """They are covered by the statement about the report; when the content changes, they go with the old page."""
    job = job_for(copied, format="ipynb")
    render_format(copied, job)
    record_report(copied.dir, None)
    assert copied.verify().ok
    assert why_stale(copied, job) is None
    assert why_stale(copied, replace(job, format="pdf")) == "it has no report.pdf"
    side = copied.dir.report.with_name("report.ipynb")
    side.write_text(side.read_text() + " ")
    assert why_stale(copied, job) == "report.ipynb changed"
    assert "report.ipynb" in str(copied.verify().problems)
    render_run(copied, renderer="embedded", template=TEMPLATE, settings=job.settings)
    assert side.is_file()
    mine = job.settings.root / "mine.qmd"
    mine.write_text(TEMPLATE.read_text() + "\nMore.\n")
    shutil.copytree(TEMPLATE.parent.parent / "pipeline" / "report" / "assets", job.settings.root / "assets")
    render_run(copied, renderer="embedded", template=mine, settings=job.settings)
    assert not side.exists()
    assert read_record(copied).files == {}


def test_formats_have_names() -> None:
    """A wrong one is told with the nearest."""
    with pytest.raises(UsageError, match=r"'pfd' is not a format of reports\. Did you mean 'pdf'"):
        known_format("pfd")


def test_without_a_printer_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither Quarto nor a browser: no PDF, but advice."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("QUARTO_PATH", str(tmp_path / "none"))
    with pytest.raises(RendererNotFoundError, match=r"A PDF needs Quarto 1\.6 .* Chromium or Chrome on PATH"):
        choose_printer()


def test_times_leave_a_pdf() -> None:
    """Dates are overwritten in place, so that nothing in the file moves."""
    data = b"<</CreationDate (D:20261121151741+00'00')\n/ModDate (D:20261121151741Z)>>"
    still = without_times(data)
    assert len(still) == len(data)
    assert b"2026" not in still


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_pdf_by_chromium(copied: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Chromium prints the drawn page: A4, several pages, text that can be searched, no path, the same bytes twice."""
    monkeypatch.setenv("QUARTO_PATH", str(tmp_path / "none"))
    record = render_format(copied, job_for(copied, format="pdf"))
    path = copied.dir.report.with_name("report.pdf")
    first = path.read_bytes()
    assert first.startswith(b"%PDF-")
    assert re.search(rb"/MediaBox \[0 0 59[45][.\d]* 84[12][.\d]*\]", first)
    assert str(tmp_path).encode() not in first
    assert b"file:" not in first
    assert b"/Outlines" in first
    assert b"../" not in first
    assert record.files["report.pdf"]["made_by"].startswith("Chromium ")
    assert record.static is False
    path.unlink()
    render_format(Run(copied.dir), job_for(copied, format="pdf"))
    assert path.read_bytes() == first


def numbered(text: str) -> list[tuple[str, str]]:
    """Return the numbers of figures with the first words of their captions, in their order."""
    words = " ".join(text.replace("\\", "").split())
    return [(number, said) for number, said in re.findall(r"Figure[\s~\u00a0](\d+): (\w+ \w+)", words)]


@pytest.mark.slow
def test_figures_have_one_number_everywhere(copied: Run, render: Any, tmp_path: Path) -> None:
    """Page, drawn page (which Chromium prints) and what Typst sets number the same figures alike, all of them."""
    found = []
    for static in (False, True):
        render(copied, static=static)
        page = BeautifulSoup(copied.dir.report.read_text(encoding="utf-8"), "html.parser")
        found.append(numbered(page.main.get_text(" ")))
    source = write_typst_input(copied.dir.report, tmp_path)
    arguments = ["--from", "html", "--to", "typst", "--standalone", *source.options, source.path.name]
    made = subprocess.run([PandocRenderer()._binary(), *arguments], cwd=tmp_path, check=True, capture_output=True)
    typst = made.stdout.decode()
    body = typst.split("$body$")[-1]
    assert [number for number, _ in found[0]] == [str(number + 1) for number in range(len(found[0]))]
    assert found[0][: len(found[1])] == found[1] == numbered(body)
    assert {said for _, said in found[0][len(found[1]) :]} <= {
        "The figure"
    }  # the run's own, too large for a drawn page
    caption = body.index("<fig-sensitivity>")
    between = body[body.rindex("kind: table", 0, caption) : caption]
    assert "caption: [" not in between  # Typst would put it above
    assert re.search(r"Figure.\d+: ", between)
    assert "#set figure(numbering: none)" in typst
    assert "margin: (x: 18mm, top: 18mm, bottom: 20mm)" in typst
    assert "#set document(title: [S&P 500 crossover · backtest report · 00000001])" in typst
    assert typst.count('fill: rgb("#') > 100  # months with a gain or a loss
    assert "Installed packages" not in typst


def test_shades_on_paper_are_those_of_the_page() -> None:
    """Each shade of the monthly table is the style sheet's colour, in the light theme."""
    assert len(shades()) == 10
    assert shades()["gain5"] == "#99bcd9"
    assert shades()["loss1"] == "#faf4f0"


@pytest.mark.slow
def test_pdf_by_typst(copied: Run, stand_in: Path) -> None:
    """What Quarto's pandoc and Typst are given makes a PDF: here by the pandoc of the wheel and Typst's own wheel."""
    record = render_format(copied, job_for(copied, format="pdf", renderer="quarto"))
    data = copied.dir.report.with_name("report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert record.files["report.pdf"]["made_by"] == "Quarto 1.7.0 (Typst)"
    assert [line.split()[0] for line in stand_in.read_text().splitlines() if "--version" not in line] == [
        "render", "pandoc", "typst",
    ]  # fmt: skip


@pytest.mark.slow
def test_many_trades_in_a_static_report(tmp_path: Path, backtest: Any, render: Any) -> None:
    """A static page lists the first and the last trades and links to the rest."""
    result, benchmark = backtest
    many = result.trades.iloc[[0] * 2_000].reset_index(drop=True)
    many["trade_id"] = range(1, 2_001)
    run = builder.build_run(tmp_path / "results", spec=SPEC, result=(replace(result, trades=many), benchmark))
    assert render(run, static=True).size <= 500_000
    text = BeautifulSoup(run.dir.report.read_text(encoding="utf-8"), "html.parser").main.get_text(" ")
    assert "2,000 trades, of which the first 50 and the last 50 are shown" in text
    assert json.loads(run.dir.report.with_name("render.json").read_text())["static"] is True
