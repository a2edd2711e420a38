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


def test_parameters_that_are_no_python_are_refused(tmp_path: Path) -> None:
    """What the cell declares cannot be told."""
    with pytest.raises(NotebookError, match="not valid Python: line 1"):
        read_notebook(write_notebook(tmp_path / "n.ipynb", "x = 1", parameters="run_id = ("))


def test_a_notebook_without_a_tagged_cell_takes_what_its_cells_assign(tmp_path: Path) -> None:
    """A name that is used in the cell that assigns it cannot be given: the other value would come too late."""
    later = "window = 5\ndeep: int = 4"
    cells = ("%matplotlib inline", "fast, slow = 1, 2\nwindow = 20", "limit = 3\nprint(limit)", later)
    notebook = read_notebook(write_notebook(tmp_path / "n.ipynb", *cells, parameters=None))
    assert (notebook.tagged, notebook.parameters) == (False, ("window", "deep"))
    assert notebook.defaults == {"window": 20, "deep": 4}
    check_parameters(notebook, ["window"])
    assert notebook.cell_of(["window"]) == 1
    with pytest.raises(NotebookError, match=r"has no parameter 'limit' in its cells, assigned on a line of its own"):
        check_parameters(notebook, ["limit"])
    with pytest.raises(NotebookError, match=r"in several cells \(window in cell 1, deep in cell 3\)"):
        check_parameters(notebook, ["window", "deep"])


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
    with pytest.raises(NotebookError, match="notebook of the language R"):
        read_notebook(write_notebook(tmp_path / "n.ipynb", language="R"))


def test_an_unknown_parameter_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A misspelt parameter never runs with the default instead."""
    notebook = read_notebook(write_notebook(tmp_path / "n.ipynb", parameters="run_id = None\nwindow = 3"))
    check_parameters(notebook, ["window"])
    with pytest.raises(NotebookError, match=r"no parameter 'windw'.*Did you mean 'window'"):
        check_parameters(notebook, ["windw"])
