"""What only a real Quarto shows: plain `quarto render`, many runs in one project, Typst.

The contract of renderers is in test_report_renderers.py; `pytest tests/report --report-renderer quarto` has Quarto
make the reports that the other tests look at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from conftest import Render
from report_builder import FAILURE, SPEC, TEMPLATE, build_run

from pipeline.report.bulk import render_many
from pipeline.report.formats import render_format
from pipeline.report.job import RenderJob
from pipeline.report.quarto import find_quarto
from pipeline.report.selfcontained import check_self_contained
from pipeline.run import Run
from pipeline.settings import Settings

pytestmark = [
    pytest.mark.quarto,
    pytest.mark.skipif(find_quarto() is None, reason="no Quarto on this machine"),
]
REPOSITORY = TEMPLATE.parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a committed copy of what Quarto reads of this repository."""
    root = tmp_path / "checkout"
    for name in ("reports", "pipeline/report/assets", "pipeline/site/assets"):
        shutil.copytree(REPOSITORY / name, root / name)
    for name in ("_quarto.yml", ".gitignore"):
        shutil.copyfile(REPOSITORY / name, root / name)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "x")
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def quarto_render(root: Path, run: Run, *arguments: str) -> None:
    """Start plain Quarto, as somebody would who knows nothing else."""
    own = {
        "EVIDENCE_RESULTS": str(run.dir.results),
        "QUARTO_PYTHON": sys.executable,
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [str(find_quarto()), "render", *arguments]
    done = subprocess.run(command, cwd=root, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def words(page: Path) -> list[str]:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").main.get_text(" ").split()


def test_plain_quarto_makes_the_report_of_a_run(copied: Run, checkout: Path, render: Render) -> None:
    """`quarto render reports/backtest_report.qmd -P run_id:…` gives the same words; the checkout stays clean."""
    before = sorted(path for path in copied.dir.path.rglob("*"))
    quarto_render(checkout, copied, "reports/backtest_report.qmd", "-P", f"run_id:{copied.run_id}")
    page = checkout / "_quarto" / "reports" / "backtest_report.html"
    check_self_contained(page.read_text(encoding="utf-8"))
    assert git(checkout, "status", "--porcelain") == ""
    assert sorted(path for path in copied.dir.path.rglob("*")) == before
    render(copied)
    assert words(page) == words(copied.dir.report)


def test_plain_quarto_makes_the_project(copied: Run, checkout: Path) -> None:
    """`quarto render` makes the prose pages of the website and the report of the last run, and nothing else."""
    shutil.copytree(copied.dir.results, checkout / "results")
    quarto_render(checkout, copied)
    made = sorted(path.relative_to(checkout / "_quarto").as_posix() for path in checkout.glob("_quarto/**/*.html"))
    assert made == ["reports/backtest_report.html", "reports/site/about.html", "reports/site/reading.html"]
    assert copied.run_id in " ".join(words(checkout / "_quarto" / made[0]))
    assert git(checkout, "status", "--porcelain") == ""


def test_many_runs_in_one_project(tmp_path: Path, backtest: Any) -> None:
    """Each page has its own run and the bytes it has alone; one start made them all."""
    job = RenderJob(Settings(tmp_path, tmp_path / "results"), "quarto", TEMPLATE)
    runs = [build_run(job.settings.results, spec=SPEC, result=backtest, number=n) for n in (1, 2)]
    runs.append(build_run(job.settings.results, spec=SPEC, error=FAILURE, number=3))
    done = list(render_many(runs, job))
    assert [item.error for item in done] == [None] * 3
    together = [run.dir.report.read_bytes() for run in runs]
    for run, page in zip(runs, together, strict=True):
        assert [other.run_id for other in runs if other.run_id.encode() in page] == [run.run_id]
        list(render_many([run], job))
        assert run.dir.report.read_bytes() == page


def test_typst_makes_a_pdf(copied: Run) -> None:
    """The pandoc and the Typst inside Quarto make a PDF that names both."""
    job = RenderJob(Settings(copied.dir.results.parent, copied.dir.results), "quarto", TEMPLATE)
    record = render_format(copied, replace(job, format="pdf"))
    assert copied.dir.report.with_name("report.pdf").read_bytes().startswith(b"%PDF-")
    assert record.files["report.pdf"]["made_by"] == f"{record.version} (Typst)"
