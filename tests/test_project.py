"""`evidence init`: a project of one's own in an empty directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.notebook.document import parse_notebook
from pipeline.project import FIRST, init_project
from pipeline.request import read_request
from pipeline.run import Run
from pipeline.runner import run_backtest
from pipeline.settings import Settings, find_root
from tests.cli.test_every_command import call


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """What is there stays byte for byte, and is named; what is missing is written, and marks the project's root."""
    (tmp_path / ".gitignore").write_text("mine\n")
    written = init_project(tmp_path)
    assert [name for name, new in written.items() if not new] == [".gitignore"]
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    assert find_root(tmp_path / "notebooks") == tmp_path
    assert set(init_project(tmp_path).values()) == {False}
    parse_notebook(tmp_path / FIRST, (tmp_path / FIRST).read_bytes())
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        init_project(tmp_path / "file")


def test_the_command_says_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists the files and the next command."""
    code, text = call(capsys, ["init", str(tmp_path / "new")])
    assert code == 0
    assert f"evidence run {FIRST}" in text
    code, text = call(capsys, ["init", str(tmp_path / "new"), "--json"])
    assert json.loads(text)[0] == {"file": "_quarto.yml", "written": False}


@pytest.mark.slow
def test_its_first_notebook_is_run_as_it_is(tmp_path: Path) -> None:
    """Sealed, verified, and about what it says it is about."""
    init_project(tmp_path)
    settings = Settings(tmp_path, tmp_path / "results")
    asked = read_request(None, tmp_path / FIRST, ["window=100"], {"tracking.mode": "off"}, settings)
    outcome = run_backtest(asked.spec, settings=settings, overrides=asked.overrides)
    assert outcome.error is None, outcome.error
    run = Run(outcome.run.dir)
    assert run.verify().ok
    what = run.what
    assert (what.strategy, what.symbols, what.params) == ("price above its average", ("SPX",), {"window": 100})
