"""What an input notebook must be, checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import NotebookError
from pipeline.notebook.template import check_parameters, read_notebook
from tests.notebooks import write_notebook


def test_the_declared_parameters_are_read(tmp_path: Path) -> None:
    """Parameters are the names the tagged cell assigns, annotated or not, over several lines or one."""
    path = write_notebook(
        tmp_path / "n.ipynb", parameters="run_id = None\nx: int = 3\ndata = {\n  'a': 1,\n}\nprint(x)"
    )
    assert read_notebook(path).parameters == ("run_id", "x", "data")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "0 cells tagged `parameters`"),
        ("x = 1", "does not assign `run_id`"),
        ("run_id = (", "not valid Python: line 1"),
    ],
)
def test_a_notebook_without_its_parameters_is_refused(tmp_path: Path, parameters: str | None, message: str) -> None:
    """papermill would only log a warning and run with the values of the author."""
    path = write_notebook(tmp_path / "n.ipynb", "x = 1", parameters=parameters)
    with pytest.raises(NotebookError, match=message):
        read_notebook(path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": 3}', '{"cells": [1]}', "\x00"])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    """Any other file gives a clear error."""
    path = tmp_path / "n.ipynb"
    path.write_text(content)
    with pytest.raises(NotebookError):
        read_notebook(path)


def test_a_missing_notebook_is_named(tmp_path: Path) -> None:
    """The error names the path that was tried."""
    with pytest.raises(NotebookError, match=r"absent\.ipynb"):
        read_notebook(tmp_path / "absent.ipynb")


def test_a_notebook_of_another_language_is_refused(tmp_path: Path) -> None:
    """Only Python notebooks can be given parameters and seeds the way this project does it."""
    with pytest.raises(NotebookError, match="R notebook"):
        read_notebook(write_notebook(tmp_path / "n.ipynb", language="R"))


def test_an_unknown_parameter_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A misspelt parameter never runs with the default instead."""
    notebook = read_notebook(write_notebook(tmp_path / "n.ipynb", parameters="run_id = None\nwindow = 3"))
    check_parameters(notebook, ["window"])
    with pytest.raises(NotebookError, match=r"no parameter 'windw'.*Did you mean 'window'"):
        check_parameters(notebook, ["windw"])
