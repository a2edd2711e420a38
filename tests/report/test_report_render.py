"""Rendering a run: what is in the page, what is left in the run directory, the same bytes every time."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import report_builder as builder
from bs4 import BeautifulSoup
from report_builder import FAILURE, SPEC, TEMPLATE

from pipeline.digest import sha256_file
from pipeline.errors import RendererNotFoundError, RenderError
from pipeline.report.page import build_page
from pipeline.report.render import assets_digest, find_template, read_record, render_run
from pipeline.report.renderers import choose_renderer
from pipeline.report.selfcontained import check_self_contained, finish
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings

MEBIBYTE = 1024 * 1024


def parsed(run: Run) -> BeautifulSoup:
    return BeautifulSoup(run.dir.report.read_text(encoding="utf-8"), "html.parser")


def everything(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_the_page_says_what_the_run_is(finished: Run) -> None:
    """Name, ids, digests, status, metrics, trades, artifacts and the way to verify are all in the page."""
    page = parsed(finished)
    text = page.get_text(" ")
    assert [heading.get_text() for heading in page.find_all("h1")] == ["S&P 500 crossover"]
    assert page.title.get_text() == "S&P 500 crossover · backtest report · 00000001"
    for fact in (finished.run_id, finished.manifest_digest, finished.record.data.sha256, "SEAL MATCHES", "FINISHED"):
        assert fact in text
    assert f"evidence verify {finished.run_id}" in text
    assert "The data ends early." in text
    assert page.find("a", href="http://127.0.0.1:5000/#/experiments/1/runs/0123456789abcdef0123456789abcdef")
    for artifact in finished.artifacts:
        assert page.find("a", href=f"../{artifact.path}")
        assert artifact.sha256 in text
    assert len(page.select(".trades tbody tr")) == len(finished.trades)


def test_headings_tables_and_figures_are_accessible(finished: Run) -> None:
    """One h1, no level skipped; every table has a caption and scoped headers; every figure has words and a number."""
    page = parsed(finished)
    levels = [int(heading.name[1]) for heading in page.find_all(["h1", "h2", "h3", "h4"])]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(table.caption and table.caption.get_text() for table in page.find_all("table"))
    assert all(cell.get("scope") for cell in page.find_all("th"))
    assert all(plot.get("aria-label") for plot in page.select(".plot"))
    captions = [figure.figcaption.get_text().strip().split(":")[0] for figure in page.find_all("figure")]
    assert captions == [f"Figure\u00a0{n}" for n in range(1, len(captions) + 1)]
    assert page.select_one("#fig-static-1 img")["alt"].startswith("Line chart of equity")
    assert all([page.main, page.nav, page.footer])
    assert page.html["lang"] == "en"
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))


def test_the_renderer_is_named(finished: Run, pytestconfig: pytest.Config) -> None:
    """The page says which program and version wrote it, for machines and for people."""
    page, version = parsed(finished), choose_renderer(pytestconfig.getoption("report_renderer")).version()
    assert page.find("meta", attrs={"name": "generator"})["content"] == version
    assert f"Rendered by {version}" in page.footer.get_text()


def test_plotly_is_there_once_and_the_page_is_small(finished: Run, failed: Run) -> None:
    """plotly.js is embedded once, and not at all without a figure; a tracking server's viewer can show the page."""
    text = finished.dir.report.read_text(encoding="utf-8")
    assert text.count("plotly.js (basic - minified)") == 1
    assert finished.dir.report.stat().st_size < 2 * MEBIBYTE
    assert "plotly.js" not in failed.dir.report.read_text(encoding="utf-8")


def test_only_the_report_is_written(copied: Run, render: Any) -> None:
    """Rendering changes nothing sealed: before and after, the run verifies and every other file is the same."""
    run = copied
    before = everything(run.dir.path)
    record = render(run)
    after = everything(run.dir.path)
    assert sorted(set(after) - set(before)) == ["report/index.html", "report/render.json"]
    assert {name: after[name] for name in before} == before
    assert run.verify().ok
    assert record == read_record(run)
    assert record.report_sha256 == sha256_file(run.dir.report)
    assert record.manifest_sha256 == run.manifest_digest
    assert record.template_sha256 == sha256_file(TEMPLATE)


def test_same_run_same_bytes(finished: Run, tmp_path: Path, render: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another directory with the same ledger, another day, another time zone: the same bytes."""
    copy = tmp_path / "elsewhere" / finished.run_id
    shutil.copytree(finished.dir.path, copy, ignore=shutil.ignore_patterns("report"))
    shutil.copy(finished.dir.ledger, copy.parent)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(time, "time", lambda: 4e9)
    monkeypatch.chdir(tmp_path)
    run = Run(RunDir(copy.parent, finished.run_id))
    record = render(run)
    assert run.dir.report.read_bytes() == finished.dir.report.read_bytes()
    assert record == read_record(finished)
    assert str(tmp_path) not in run.dir.report.read_text(encoding="utf-8")


FRESH = """
import sys, time
from pathlib import Path
from pipeline.report.render import render_run
from pipeline.run import Run
from pipeline.rundir import RunDir
time.time = lambda: 4e9
run = Run(RunDir(Path(sys.argv[1]).absolute(), sys.argv[2]))
render_run(run, renderer=sys.argv[3], template=Path(sys.argv[4]), static=sys.argv[5] == "static")
"""


@pytest.mark.slow
@pytest.mark.parametrize("renderer", ["embedded", "quarto"])
@pytest.mark.parametrize("figures", ["static", "interactive"])
def test_same_bytes_from_another_process(
    finished: Run, tmp_path: Path, stand_in: Path, renderer: str, figures: str
) -> None:
    """Other processes, with other hashes, languages, time zones and directories, write the same page and record."""
    made = []
    for number, (zone, language) in enumerate((("Pacific/Auckland", "de_DE.UTF-8"), ("America/New_York", "C"))):
        results = tmp_path / f"copy {number}" / "results"
        shutil.copytree(finished.dir.path, results / finished.run_id, ignore=shutil.ignore_patterns("report"))
        own = {"TZ": zone, "LANG": language, "LC_ALL": language, "PYTHONHASHSEED": str(number + 1)}
        subprocess.run(
            [sys.executable, "-c", FRESH, "results", finished.run_id, renderer, str(TEMPLATE), figures],
            check=True, cwd=results.parent, env={**os.environ, **own, "PYTHONPATH": str(TEMPLATE.parents[1])},
        )  # fmt: skip
        made.append(everything(results / finished.run_id / "report"))
    assert made[0] == made[1]
    assert sorted(made[0]) == ["index.html", "render.json"]


def test_failed_run(failed: Run) -> None:
    """A failed run's page says what failed, where, with the traceback, and what was gathered until then."""
    page = parsed(failed)
    text = page.select_one(".failure").get_text("\n")
    assert "CellFailedError" in text
    assert "5 of the input notebook" in text
    assert "ZeroDivisionError: division by zero" in text
    assert 'File "cell", line 3' in page.select_one(".failure pre").get_text()
    assert "FAILED" in page.select_one(".marks").get_text()
    assert failed.manifest_digest in page.get_text()


def test_a_failed_run_has_no_section_about_nothing(failed: Run) -> None:
    """Failure, what was gathered and provenance are the page; no section says that the run left nothing."""
    page = parsed(failed)
    assert [heading.get_text() for heading in page.find_all("h2")] == [
        "What went wrong", "Provenance", "Configuration", "Environment", "Artifacts",
    ]  # fmt: skip
    assert [link.get_text() for link in page.select("#TOC a")] == [
        heading.get_text() for heading in page.find_all("h2")
    ]
    assert "left no" not in page.get_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "gone", ["stats.json", "equity.csv", "trades.parquet", "config_snapshot.json", "plots/equity_curve.png"]
)
def test_runs_with_gaps_render(copied: Run, render: Any, gone: str) -> None:
    """A run that lacks a file has a report all the same, and the report says that the seal is broken."""
    run = copied
    (run.dir.path / gone).unlink()
    render(run)
    assert "SEAL BROKEN" in parsed(run).get_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stats.json", "equity.csv", "trades.parquet"])
def test_damaged_files_render(copied: Run, render: Any, name: str) -> None:
    """A damaged file is no reason to have no report."""
    run = copied
    (run.dir.path / name).write_bytes(b"not,what\nit,was\n")
    render(run)
    assert "SEAL BROKEN" in parsed(run).get_text()


def test_unsealed_run(tmp_path: Path, render: Any) -> None:
    """A run that was killed has a report that says so and claims no seal."""
    run = builder.build_run(tmp_path / "results", spec=SPEC, seal=False)
    render(run)
    text = parsed(run).get_text()
    assert "NOT SEALED" in text
    assert "SEAL MATCHES" not in text


def test_no_heading_of_a_failed_run_stands_alone(failed: Run) -> None:
    """Below each heading of a run without results is what it left."""
    alone = [
        heading.get_text()
        for heading in parsed(failed).find_all(["h2", "h3"])
        if not "".join(found.get_text() for found in heading.find_next_siblings()).strip()
    ]
    assert alone == []


def test_the_head_says_whether_somebody_signed(finished: Run, tmp_path: Path) -> None:
    """A seal without a signature is called that; what was never sealed is not called unsigned besides."""
    marks = parsed(finished).select_one(".run-head .marks").get_text(" ", strip=True)
    assert "SEAL MATCHES NOT SIGNED" in marks
    assert "SIGNED" not in build_page(builder.build_run(tmp_path / "results", spec=SPEC, seal=False)).header()


def test_a_failed_render_leaves_the_old_report(tmp_path: Path, render: Any) -> None:
    """A report that was there stays until the new one is whole."""
    run = builder.build_run(tmp_path / "results", spec=SPEC, error=FAILURE)
    render(run)
    before = everything(run.dir.path)
    bad = tmp_path / "bad.qmd"
    bad.write_text("```{python}\n#| tags: [parameters]\nrun_id = page = None\n1 / 0\n```\n")
    with pytest.raises(RenderError, match="ZeroDivisionError"):
        render(run, template=bad)
    assert everything(run.dir.path) == before


def test_a_template_of_one_s_own(tmp_path: Path, copied: Run, render: Any) -> None:
    """A custom template uses the parts it wants, its own style and pandoc's numbering of figures."""
    run = copied
    mine = tmp_path / "mine.qmd"
    mine.write_text(
        "---\nformat:\n  html:\n    css: mine.css\n---\n\n"
        "```{python}\n#| tags: [parameters]\nrun_id = page = None\n```\n\n"
        "See @fig-equity.\n\n```{python}\n#| output: asis\nprint(page.equity_figure())\n```\n"
    )
    (tmp_path / "mine.css").write_text("body { color: teal; }")
    render(run, template=mine)
    page = parsed(run)
    assert page.find("a", href="#fig-equity").get_text() == "Figure\u00a01"
    assert "color: teal" in page.get_text() or "color: teal" in str(page.head)


@pytest.mark.parametrize(
    "markup",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        '<img src="local.png">',
        '<img srcset="http://x/a.png 2x">',
        "<style>@import 'https://x/y.css';</style>",
        "<style>@font-face { src: url(https://x/y.woff2) }</style>",
        '<p style="background: url(http://x/y.png)">x</p>',
        '<iframe src="https://x"></iframe>',
        '<svg><image href="http://x/y.png"/></svg>',
        '<object data="x.swf"></object>',
        '<base href="http://x/">',
        '<meta http-equiv="refresh" content="0;url=http://x">',
    ],
)
def test_pages_that_load_something_are_refused(markup: str) -> None:
    """The report opens with no network: any reference that a browser would load is an error."""
    with pytest.raises(RenderError, match="not self-contained"):
        check_self_contained(f"<html><head></head><body>{markup}</body></html>")


def test_links_and_data_are_allowed() -> None:
    """Links may point anywhere; embedded data and text that only looks like a reference are fine."""
    check_self_contained(
        '<a href="https://example.org">x</a><a href="../stats.json">y</a><img src="data:image/png;base64,AA">'
        '<script>var a = "<img src=http://x>";</script><p>@import url(http://x)</p><style>a { fill: url(#g) }</style>'
    )


def test_a_template_that_embeds_a_remote_script_is_refused(tmp_path: Path, failed: Run, render: Any) -> None:
    """What a custom template adds is checked as well."""
    mine = tmp_path / "mine.qmd"
    mine.write_text(
        "```{python}\n#| tags: [parameters]\nrun_id = page = None\n```\n\n"
        "```{=html}\n<iframe srcdoc='<script src=http://127.0.0.1:9/x.js></script>'></iframe>\n```\n"
    )
    before = failed.dir.report.read_bytes()
    with pytest.raises(RenderError, match="not self-contained"):
        render(failed, template=mine)
    assert failed.dir.report.read_bytes() == before


def test_a_page_without_a_head_is_refused() -> None:
    """A template that writes a fragment cannot carry the policy and the scripts."""
    with pytest.raises(RenderError, match="no <head>"):
        finish("<p>x</p>")


def test_choice_of_renderer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Quarto when it is found, else the embedded one; a wrong name and a missing one say what to do."""
    fake = tmp_path / "quarto"
    fake.write_text("#!/bin/sh\necho 1.7.0\n")
    fake.chmod(0o755)
    monkeypatch.setenv("QUARTO_PATH", str(fake))
    assert choose_renderer("auto").name == "quarto"
    assert choose_renderer("auto").version() == "Quarto 1.7.0"
    monkeypatch.setenv("QUARTO_PATH", str(tmp_path / "nowhere"))
    assert choose_renderer("auto").name == "embedded"
    with pytest.raises(RendererNotFoundError, match=r"The renderer 'quarto' is not installed\. Install Quarto"):
        choose_renderer("quarto")
    with pytest.raises(RenderError, match=r"Did you mean 'quarto'"):
        choose_renderer("quatro")
    monkeypatch.setattr("pipeline.report.pandoc._binary", lambda: None)
    with pytest.raises(RendererNotFoundError, match=r"pip install 'evidence-chain\[report\]'"):
        choose_renderer("auto")


def test_quarto_s_warning_of_a_lost_resource_is_an_error(
    tmp_path: Path, failed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quarto exits with 0 when it could not embed something. A stand-in says what Quarto says; the real one is slow."""
    fake = tmp_path / "quarto"
    fake.write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo 1.7.0; exit; fi\n'
        "echo '<html><head></head></html>' > report.html\n"
        "echo '[WARNING] Could not fetch resource https://cdn.example/x.js' >&2\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("QUARTO_PATH", str(fake))
    with pytest.raises(RenderError, match=r"Quarto left something out of the report: .*cdn\.example"):
        render_run(failed, renderer="quarto", template=TEMPLATE)


def test_templates_are_found(tmp_path: Path) -> None:
    """The given one, else the project's, else the one that ships; a missing one is named."""
    settings = Settings(root=tmp_path, results=tmp_path / "results")
    assert find_template(None, settings) == TEMPLATE
    (tmp_path / "reports").mkdir()
    own = tmp_path / "reports" / "backtest_report.qmd"
    own.write_text("x")
    assert find_template(None, settings) == own
    assert find_template(Path("reports/backtest_report.qmd"), settings) == own
    with pytest.raises(RenderError, match=r"nowhere\.qmd does not exist"):
        find_template(Path("nowhere.qmd"), settings)


def test_the_record_is_a_function_of_what_went_in(finished: Run) -> None:
    """The record holds no time and no path."""
    values = json.loads((finished.dir.report.parent / "render.json").read_text())
    assert set(values) == {
        "run_id", "renderer", "version", "template", "template_sha256", "assets_sha256", "manifest_sha256",
        "report", "report_sha256", "size", "note", "sections", "static", "trials", "trials_sha256", "tracked", "files",
    }  # fmt: skip
    assert values["assets_sha256"] == assets_digest()
    assert os.sep not in values["template"]


def test_a_renderer_that_fails_gives_way(tmp_path: Path, failed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `auto` a broken Quarto costs a note, not the report; asked for by name, its failure is the error."""
    fake = tmp_path / "quarto"
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 1.7.0 && exit 0\necho "deno: out of memory" >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("QUARTO_PATH", str(fake))
    record = render_run(failed, renderer="auto", template=TEMPLATE)
    assert record.renderer == "embedded"
    assert record.note is not None
    assert record.note.startswith("quarto failed")
    with pytest.raises(RenderError, match="deno: out of memory"):
        render_run(failed, renderer="quarto", template=TEMPLATE)
