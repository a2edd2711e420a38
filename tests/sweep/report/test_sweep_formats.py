"""The report of a sweep with drawn figures, as PDF and as notebook."""

from __future__ import annotations

import json

import nbformat
import pytest
from bs4 import BeautifulSoup

from pipeline.report.job import RenderJob
from pipeline.report.pdf import find_browser
from pipeline.report.quarto import find_quarto
from pipeline.report.record import RenderRecord
from pipeline.report.selfcontained import check_self_contained
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.sweep.report.bulk import render_all, why_any_stale
from tests.sweep.report.made import REPOSITORY, html_of, page_of, render


def job_for(run: Run, **options: object) -> RenderJob:
    return RenderJob(Settings(REPOSITORY, run.dir.results), **{"renderer": "embedded", **options})  # type: ignore[arg-type]


def made(run: Run, job: RenderJob) -> RenderRecord:
    """Render as `evidence render` does."""
    (done,) = render_all([Run(RunDir(run.dir.results, run.run_id))], job)
    assert done.error is None
    assert done.record is not None
    return done.record


def stale(run: Run, job: RenderJob) -> str | None:
    return why_any_stale(Run(RunDir(run.dir.results, run.run_id)), job)


@pytest.mark.slow
def test_drawn_figures(copied: Run) -> None:
    """The page with drawn figures is small, has every figure, and stays of its kind until told otherwise."""
    render(copied)
    plots = {plot["id"] for plot in page_of(copied).select(".plot")}
    assert stale(copied, job_for(copied)) is None
    assert stale(copied, job_for(copied, static=True)) == "the kind of figures changed"
    record = made(copied, job_for(copied, static=True))
    assert record.static
    assert record.size <= 500_000
    check_self_contained(html_of(copied))
    assert "plotly.js" not in html_of(copied)
    page = page_of(copied)
    assert {plot["id"] for plot in page.select(".plot.drawn")} == plots
    assert all(plot.svg for plot in page.select(".plot"))
    assert made(copied, job_for(copied)).static
    assert stale(copied, job_for(copied)) is None


@pytest.mark.slow
def test_a_notebook_beside_the_page(copied: Run) -> None:
    """The notebook shows what the page shows, drawings as images, and is made again when the page is."""
    record = made(copied, job_for(copied, format="ipynb"))
    path = copied.dir.report.with_name("report.ipynb")
    nbformat.validate(nbformat.read(path, as_version=4))
    cells = json.loads(path.read_text())["cells"]
    assert f'run_id = "{copied.run_id}"' in cells[0]["source"] + cells[1]["source"]
    shown = BeautifulSoup(
        "".join(out["data"]["text/html"] for cell in cells for out in cell.get("outputs", [])), "html.parser"
    )
    assert not shown.select("svg")
    assert len(shown.select('img[src^="data:image/svg+xml"]')) == len(
        page_of(copied).select(".plot, .map svg, .parallel svg")
    )
    assert sorted(record.files) == ["report.ipynb"]
    assert stale(copied, job_for(copied, format="ipynb")) is None
    path.write_text("{}")
    assert stale(copied, job_for(copied, format="ipynb")) == "report.ipynb changed"


def pdf(run: Run, renderer: str) -> tuple[bytes, str]:
    record = made(run, job_for(run, format="pdf", renderer=renderer))
    return run.dir.report.with_name("report.pdf").read_bytes(), record.files["report.pdf"]["made_by"]


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")
def test_a_pdf_by_chromium(copied: Run) -> None:
    """A browser prints the page with drawn figures, the same bytes every time."""
    data, maker = pdf(copied, "embedded")
    assert data.startswith(b"%PDF-")
    assert maker.startswith("Chromium ")
    copied.dir.report.with_name("report.pdf").unlink()
    assert pdf(copied, "embedded")[0] == data


@pytest.mark.quarto
@pytest.mark.skipif(find_quarto() is None, reason="no Quarto on this machine")
def test_a_pdf_by_typst(copied: Run) -> None:
    """Quarto's Typst sets the page, maps and parallel coordinates included."""
    data, maker = pdf(copied, "quarto")
    assert data.startswith(b"%PDF-")
    assert maker.endswith("(Typst)")
