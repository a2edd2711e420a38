"""The prose pages, and the commands around the site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.errors import RenderError, UsageError
from pipeline.settings import Settings
from pipeline.site.build import build_site
from pipeline.site.prose import read_prose
from tests.site.conftest import REPOSITORY, new_project
from tests.site.site_runs import make_runs, varied


def written(settings: Settings, name: str, text: str) -> None:
    """Put a prose page into a project."""
    folder = settings.root / "reports" / "site"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.qmd").write_text(text, encoding="utf-8")


def test_a_project_without_prose_has_the_shipped_pages(tmp_path: Path) -> None:
    """The pages of the package are there, in the frame and in the navigation of every page."""
    settings = new_project(tmp_path / "project")
    build_site(settings, tmp_path / "_site")
    about = (tmp_path / "_site" / "about.html").read_text(encoding="utf-8")
    assert "sha256sum --check" in about
    assert '<a href="about.html" aria-current="page">About the evidence</a>' in about
    assert '<a href="about.html">About the evidence</a>' in (tmp_path / "_site" / "index.html").read_text()


def test_a_project_has_pages_of_its_own(tmp_path: Path) -> None:
    """Own pages replace the shipped ones, follow their source, and go with it."""
    settings, site = new_project(tmp_path / "project"), tmp_path / "_site"
    written(settings, "team", "---\ntitle: The <team>\n---\n\n# Us\n\nWe *trade*.\n")
    build_site(settings, site)
    page = (site / "team.html").read_text(encoding="utf-8")
    assert "<p>We <em>trade</em>.</p>" in page
    assert "The &lt;team&gt;</a>" in page
    assert not (site / "about.html").exists()
    written(settings, "team", "---\ntitle: Team\n---\n\nWe rest.\n")
    written(settings, "more", "---\ntitle: More\n---\n\nText.\n")
    build_site(settings, site)
    assert "<p>We rest.</p>" in (site / "team.html").read_text(encoding="utf-8")
    (settings.root / "reports" / "site" / "more.qmd").unlink()
    build_site(settings, site)
    assert not (site / "more.html").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("---\ntitle: X\n---\n\n```{python}\n1\n```\n", "has code cells"), ("# No front matter\n", "has no title")],
)
def test_prose_that_cannot_be_a_page_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Code cells and a missing title are errors that name the file, before anything is written."""
    settings = new_project(tmp_path / "project")
    written(settings, "x", text)
    with pytest.raises(RenderError, match=rf"x\.qmd {message}"):
        build_site(settings, tmp_path / "_site")
    assert not (tmp_path / "_site").exists()


def test_plain_quarto_builds_the_same_sources_elsewhere() -> None:
    """`_quarto.yml` renders the prose, scans neither runs nor the site, has no sidebar, and writes beside the site."""
    project = yaml.safe_load((REPOSITORY / "_quarto.yml").read_text(encoding="utf-8"))["project"]
    assert "reports/site/*.qmd" in project["render"]
    assert {"!results/", "!_site/", "!.venv/"} <= set(project["render"])
    assert project["output-dir"] not in {"_site", "results", "."}
    for page in read_prose(Settings(REPOSITORY, REPOSITORY / "results")):
        text = (REPOSITORY / "reports" / "site" / f"{page.name}.qmd").read_text(encoding="utf-8")
        options = yaml.safe_load(text.split("---\n")[1])["format"]["html"]
        for key in ("template", "css"):
            assert (REPOSITORY / "reports" / "site" / options[key]).is_file()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a project of three runs that the command line finds."""
    settings = new_project(tmp_path / "project")
    make_runs(settings.results, [varied(number, bars=10) for number in range(3)])
    monkeypatch.setenv("EVIDENCE_ROOT", str(settings.root))
    monkeypatch.delenv("EVIDENCE_RESULTS", raising=False)
    return settings


@pytest.mark.slow
def test_build_and_publish_by_command(shell: Settings) -> None:
    """`evidence site build` and `publish` work in the project's directory and say what they did."""
    run = CliRunner().invoke(app, ["site", "build", "--json", "--jobs", "1"])
    assert run.exit_code == 0, run.output
    facts = json.loads(run.stdout)
    assert (facts["runs"], facts["built"]) == (3, 3)
    again = CliRunner().invoke(app, ["site", "build", "--jobs", "1"])
    assert "3 runs; 0 made, 0 files written, 0 removed" in again.stdout
    published = CliRunner().invoke(app, ["site", "publish", "--directory", "www", "--json"])
    assert json.loads(published.stdout)["changed"] is True
    assert (shell.root / "www" / "index.html").is_file()


def test_publish_needs_one_target(shell: Settings) -> None:
    """Neither and both targets are refused as wrong usage."""
    for given in ([], ["--directory", "a", "--branch", "b"]):
        done = CliRunner().invoke(app, ["site", "publish", *given])
        assert isinstance(done.exception, UsageError)


def test_serving_needs_a_site(shell: Settings) -> None:
    """Without a site the error says which command makes one."""
    done = CliRunner().invoke(app, ["site", "serve"])
    assert isinstance(done.exception, UsageError)
    assert "evidence site build" in str(done.exception)
