"""The documentation says only what is there: links, commands, options, recipes and generated pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pipeline.cli.app import app
from pipeline.layout import Layout

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")]
    + list((REPOSITORY / "docs").glob("**/*.md"))
)
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    [^\n]*\n)+", re.MULTILINE)
FOLDERS = "config|docs|notebooks|reports|scripts|benchmarks|tests|pipeline"
RUN_FILES = {path.as_posix() for path in (Layout(Path()).trades_summary, Layout(Path()).report_text)}
MADE_BY_USERS = {
    "config/service.toml",
    "config/trusted_keys.toml",
    "notebooks/first.ipynb",
}  # `evidence keys init` and `evidence init` make them
SPAN = re.compile(r"`([^`\n]+)`")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


def code_lines(page: Path) -> list[str]:
    """Return everything a page shows as code: lines of blocks, and spans."""
    text = page.read_text(encoding="utf-8")
    blocks = FENCE.findall(text)
    prose = FENCE.sub("", text)
    blocks += INDENTED.findall(prose)
    return [line.strip() for block in blocks for line in block.splitlines()] + SPAN.findall(prose)


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_relative_links_resolve(page: Path) -> None:
    """Every relative link leads to a file in the repository, every anchor to a heading."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{link} does not exist"
        assert path.is_relative_to(REPOSITORY), f"{link} leads out of the repository"
        assert not anchor or anchor in headings(path), f"{link}: there is no such heading"


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    """Every `evidence …` command in code exists, and so do the options given to it."""
    for line in code_lines(page):
        for command, rest in re.findall(r"(?:^|[/\s])evidence ([a-z][\w-]*)([^|;&#]*)", line):
            assert command in COMMANDS, f"{line!r}: there is no command {command!r}"
            found = COMMANDS[command]
            if hasattr(found, "commands") and rest.split():
                assert rest.split()[0] in found.commands, f"{line!r}: {command} has no command {rest.split()[0]!r}"
                found = found.commands[rest.split()[0]]
            known = {name for item in found.params for name in (*item.opts, *item.secondary_opts)}
            for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", rest):
                assert option in known | {"--help", "-h"}, f"{line!r}: {command} has no option {option}"


@each_page
def test_recipes_exist(page: Path) -> None:
    """Every `make …` in code names a recipe of the Makefile."""
    recipes = set(re.findall(r"^([a-z][\w-]*):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in code_lines(page):
        for recipe in re.findall(r"(?:^|&& )make ([a-z][\w-]*)", line):
            assert recipe in recipes, f"{line!r}: there is no recipe {recipe!r}"


@each_page
def test_files_named_in_code_exist(page: Path) -> None:
    """A path below one of the repository's directories, shown as code, is there (run directories have paths alike)."""
    for line in code_lines(page):
        for path in re.findall(rf"(?<![\w/.])((?:{FOLDERS})/[\w./-]+)(?![\w<*])", line):
            found = path in RUN_FILES | MADE_BY_USERS or (REPOSITORY / path.rstrip("./")).exists()
            assert found, f"{line!r}: {path} does not exist"


def test_every_page_is_listed() -> None:
    """docs/index.md links to every page of the documentation."""
    index = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(LINK.findall(index))


def test_every_environment_variable_is_named() -> None:
    """What the package reads from the environment, or sets for a kernel, stands in docs/cli.md."""
    name = re.compile(r"\"((?:EVIDENCE|FORKED_KERNELS)[A-Z_]*|QUARTO_PATH|MLFLOW_TRACKING_URI)\"")
    read = {
        found for path in (REPOSITORY / "pipeline").rglob("*.py") for found in name.findall(path.read_text("utf-8"))
    }
    page = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert {variable for variable in read if f"`{variable}`" not in page} == set()
    assert "EVIDENCE_TRACKING_TIMEOUT" in read


def test_generated_pages_are_up_to_date() -> None:
    """docs/cli.md and docs/run-spec.md are what scripts/generate_reference.py writes today."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "generate_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_committed_notebooks_hold_no_outputs() -> None:
    """Notebooks in the repository are sources: no outputs, no execution counts."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "check_notebooks.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_notebook_with_outputs_is_named(tmp_path: Path) -> None:
    """The check names the notebook and exits 1 for outputs and for execution counts."""
    notebook = tmp_path / "used.ipynb"
    notebook.write_text('{"cells": [{"cell_type": "code", "outputs": [], "execution_count": 3}], "nbformat": 4}')
    command = [sys.executable, str(REPOSITORY / "scripts" / "check_notebooks.py"), str(notebook)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "used.ipynb" in done.stdout


@pytest.mark.slow
def test_the_config_door_is_evidence_run(tmp_path: Path) -> None:
    """scripts/run_strategy_from_config.py takes the options of `evidence run` and exits with its codes."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "run_strategy_from_config.py")]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0
    assert "evidence run" in shown.stdout
    refused = subprocess.run(
        [*command, "--config", "missing.toml"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "missing.toml" in refused.stderr
