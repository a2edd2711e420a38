"""Sections that a project writes itself, in the place of the template's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from report_builder import TEMPLATE

from pipeline.digest import sha256_file
from pipeline.errors import RenderError
from pipeline.report.job import RenderJob, why_stale
from pipeline.report.qmd import read_qmd
from pipeline.report.render import read_record, render_run
from pipeline.report.section_files import find_sections, section_id, with_sections
from pipeline.run import Run
from pipeline.settings import Settings


@pytest.fixture
def mine(copied: Run) -> Settings:
    """Return a project around the copied run, with a folder for sections."""
    settings = Settings(copied.dir.results.parent, copied.dir.results)
    (settings.root / "reports" / "sections").mkdir(parents=True)
    return settings


def write(settings: Settings, name: str, text: str) -> Path:
    path = settings.root / "reports" / "sections" / name
    path.write_text(text, encoding="utf-8")
    return path


def page_of(run: Run, settings: Settings) -> BeautifulSoup:
    render_run(run, renderer="embedded", settings=settings)
    return BeautifulSoup(run.dir.report.read_text(encoding="utf-8"), "html.parser")


def heads(page: BeautifulSoup) -> list[str]:
    return [head.get_text() for head in page.main.find_all("h2")]


def test_ids_are_those_of_pandoc(finished: Run) -> None:
    """The name of a file is the id that the section has in the page."""
    page = BeautifulSoup(finished.dir.report.read_text(encoding="utf-8"), "html.parser")
    lines = [line for part in read_qmd(TEMPLATE).parts if isinstance(part, str) for line in part.split("\n")]
    found = [name for line in lines if (name := section_id(line))]
    shown = [link["href"].removeprefix("#") for link in page.select("nav > details > ul > li > a")]
    assert [name for name in found if name in shown] == shown
    assert set(found) - set(shown) == {"portfolio", "folds", "own"}  # of results of other engines
    assert section_id("## A b, c! {#mine .x}") == "mine"
    assert section_id("### No") is None


def test_a_section_of_the_project(copied: Run, mine: Settings) -> None:
    """A file takes the place of a section's content, with a heading of its heading too; an empty one leaves it out."""
    write(mine, "metrics.qmd", "Only *one* number:\n\n```{python}\n#| output: asis\nprint(len(page.stats))\n```\n")
    write(mine, "trades.md", "## Every trade\n\nAsk us. {{< no shortcode >}}\n")
    write(mine, "environment.md", "\n")
    write(mine, "_draft.md", "not used")
    page = page_of(copied, mine)
    names = heads(page)
    assert "Metrics" in names
    assert "Every trade" in names
    assert {"Trades", "Environment"}.isdisjoint(names)
    text = page.main.get_text(" ")
    assert re.search(rf"Only\s+one\s+number:\s+{len(copied.stats)}\b", text)
    assert "Metrics of the whole period" not in text
    assert "95% bootstrap intervals" in text


def test_the_record_knows_them(copied: Run, mine: Settings) -> None:
    """Their digests are in the record, and a change makes the report stale."""
    job = RenderJob(mine, "embedded")
    path = write(mine, "warnings.md", "None that matter.\n")
    page_of(copied, mine)
    record = read_record(copied)
    assert record is not None
    assert record.sections == {"warnings.md": sha256_file(path)}
    assert why_stale(copied, job) is None
    path.write_text("Some.\n")
    assert why_stale(copied, RenderJob(mine, "embedded")) == "a section of the project changed"


def test_wrong_sections_are_refused(copied: Run, mine: Settings) -> None:
    """A name that is no section, two files for one, and an error in a cell are told with the file's name."""
    path = write(mine, "metric.md", "x")
    with pytest.raises(RenderError, match=r"metric\.md is for no section .* Did you mean 'metrics'"):
        page_of(copied, mine)
    path.unlink()
    write(mine, "metrics.md", "x")
    write(mine, "metrics.qmd", "x")
    with pytest.raises(RenderError, match=r"both metrics\.md and metrics\.qmd"):
        find_sections(mine)
    (mine.root / "reports" / "sections" / "metrics.md").unlink()
    write(mine, "metrics.qmd", "text\n\n```{python}\n1 / 0\n```\n")
    with pytest.raises(RenderError, match=r"sections/metrics\.qmd, line 4 \(cell \d+\): ZeroDivisionError"):
        page_of(copied, mine)


def test_a_custom_template_is_taken_as_it_is(copied: Run, mine: Settings, tmp_path: Path) -> None:
    """The project's sections belong to the standard template."""
    write(mine, "metrics.md", "Mine.")
    other = tmp_path / "other.qmd"
    other.write_text("```{python}\n#| tags: [parameters]\nrun_id = page = None\n```\n\n## Metrics\n\nTheirs.\n")
    render_run(copied, renderer="embedded", template=other, settings=mine)
    assert "Theirs." in copied.dir.report.read_text(encoding="utf-8")


def test_headings_inside_code_are_no_sections(tmp_path: Path, mine: Settings) -> None:
    """What looks like a heading in a fenced block is code."""
    source = tmp_path / "t.qmd"
    source.write_text("## One\n\n```text\n## Two\n```\n\n## Three\n\nend\n")
    path = write(mine, "one.md", "mine")
    parts = with_sections(read_qmd(source), {"one": path}).parts
    assert "## Two" not in "".join(map(str, parts))
    with pytest.raises(RenderError, match="for no section"):
        with_sections(read_qmd(source), {"two": path})


@pytest.mark.slow
def test_marks_survive(copied: Run, mine: Settings, render: Any) -> None:
    """A comment in a cell's output that looks like one of the report's own is not taken for one."""
    write(mine, "warnings.qmd", "```{python}\n#| output: asis\nprint('<!-- evidence:block:0 -->here')\n```\n")
    assert "here" in page_of(copied, mine).main.get_text()
