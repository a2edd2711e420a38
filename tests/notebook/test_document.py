"""The shapes a file may have and still be a notebook that can be executed; all others are refused with a sentence."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import NotebookError
from pipeline.notebook.document import MAX_DEPTH
from pipeline.notebook.prepare import prepare_notebook
from pipeline.notebook.template import read_notebook


def plain() -> dict[str, Any]:
    """Return a notebook of two cells, as JupyterLab writes it."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "cells": [
            {
                "cell_type": "code",
                "id": "first",
                "metadata": {"tags": ["parameters"]},
                "source": ["run_id = None\n", "seed = 0"],
                "outputs": [],
                "execution_count": None,
            },
            {"cell_type": "markdown", "id": "second", "metadata": {}, "source": "text"},
        ],
    }


def changed(*path: Any, value: Any) -> dict[str, Any]:
    """Return the plain notebook with one value replaced."""
    notebook = inner = plain()
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return notebook


def written(directory: Path, notebook: Any) -> Path:
    """Write a notebook, or bytes as they are."""
    path = directory / "n.ipynb"
    path.write_bytes(notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode())
    return path


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


REFUSED = [
    ([], "it is a list"),
    (3, "it is a number"),
    ("text", "it is text"),
    (b"", "it is not JSON"),
    (json.dumps(plain()).encode()[:-40], "it is not JSON"),
    (json.dumps(plain()).encode("utf-16"), "is not UTF-8"),
    (b"[" * 3000, "deep"),
    (changed("nbformat", value=3), "its nbformat is 3"),
    (changed("nbformat", value=True), "its nbformat is True"),
    (changed("nbformat_minor", value="5"), "its nbformat_minor is '5'"),
    (changed("metadata", value=None), "its metadata is null"),
    (changed("metadata", "deep", value=nested(MAX_DEPTH)), "deep"),
    (changed("metadata", "kernelspec", value=None), "metadata.kernelspec is null"),
    (changed("metadata", "language_info", value=[]), "metadata.language_info is a list"),
    (changed("metadata", "kernelspec", "language", value="R"), "notebook of the language R"),
    (changed("metadata", value={"language_info": {"name": "julia"}}), "notebook of the language julia"),
    (changed("metadata", value={"kernelspec": {"name": "ir", "display_name": "R"}}), "notebook of the language ir"),
    (
        changed("metadata", value={"kernelspec": {"name": "julia-1.10", "display_name": "x"}}),
        "notebook of the language julia-1.10",
    ),
    (changed("cells", value=None), "its cells are null"),
    (changed("cells", value={}), "its cells are an object"),
    (changed("cells", 1, value=None), "cell 1, counted from 0, is null"),
    (changed("cells", 1, "source", value=None), "cell 1, counted from 0, has the source null"),
    (changed("cells", 1, "source", value=[1]), "cell 1, counted from 0, has the source a list"),
    (changed("cells", 1, "metadata", value=None), "has the metadata null"),
    (changed("cells", 0, "metadata", "tags", value=None), "has the tags null"),
    (changed("cells", 0, "metadata", "tags", value="parameters"), "has the tags text"),
    (changed("cells", 1, "cell_type", value="heading"), "has the cell_type 'heading'"),
    (changed("cells", 1, "id", value=7), "has the id 7"),
    (changed("cells", 1, "source", value="x = '\ud800'"), r"it holds \\ud800, half of a surrogate pair"),
]


@pytest.mark.parametrize(("notebook", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_shape_that_cannot_be_executed_is_refused(tmp_path: Path, notebook: Any, said: str) -> None:
    """The sentence names the file and what is wrong in it; cells are counted from 0."""
    with pytest.raises(NotebookError, match=said):
        read_notebook(written(tmp_path, notebook))


@pytest.mark.parametrize(
    "notebook",
    [
        b"\xef\xbb\xbf" + json.dumps(plain()).encode(),
        changed("nbformat_minor", value=0),
        changed("metadata", value={}),
        changed("metadata", value={"kernelspec": {"name": "iron", "display_name": "my environment"}}),
        changed("metadata", "kernelspec", "language", value=None),
        changed("cells", 0, "outputs", value=[{"output_type": "stream", "name": "stdout", "text": "\ud800"}]),
        changed("cells", 1, "source", value=["a\n", "b"]),
        changed("cells", 1, value={"cell_type": "raw", "metadata": {}, "source": "no id"}),
        {key: value for key, value in plain().items() if key not in ("nbformat_minor", "metadata")},
    ],
    ids=["byte order mark", "4.0", "no metadata", "own kernel", "no language", "old output", "lines", "no id", "bare"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # nbformat, of the cell without an id
def test_a_shape_that_can_be_executed_is_taken(tmp_path: Path, notebook: Any) -> None:
    """Editors leave things out, and put a byte order mark before the rest: such a notebook runs."""
    taken = read_notebook(written(tmp_path, notebook))
    assert taken.parameters == ("run_id", "seed")
    prepared = prepare_notebook(taken, {"run_id": "x"}, output=tmp_path / "out.ipynb", root=tmp_path)
    assert prepared.places == (0, None, 1)
    assert prepared.nb.cells[1].source.endswith('run_id = "x"\n')


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*[Ii]d.*:UserWarning")
def test_what_is_taken_can_be_prepared(tmp_path: Path) -> None:
    """Whatever a notebook's values are replaced with, it is refused with a sentence or it is executed."""
    values = [None, True, 0, -1, 1.5, "", "x", [], {}, [None], {"a": None}, ["x"], 10**30, "parameters", [[]]]
    chance, taken = random.Random(0), 0
    for _ in range(200):
        notebook = plain()
        for _ in range(chance.choice((1, 1, 2))):
            inner: Any = notebook
            while True:
                step = chance.choice([*range(len(inner))] if isinstance(inner, list) else [*inner])
                if isinstance(inner[step], dict | list) and inner[step] and chance.random() < 0.7:
                    inner = inner[step]
                    continue
                inner[step] = chance.choice(values)
                break
        path = written(tmp_path, notebook)
        try:
            given = read_notebook(path)
        except NotebookError:
            continue
        prepare_notebook(given, {"run_id": "x"}, output=tmp_path / "out.ipynb", root=tmp_path)
        taken += 1
    assert taken > 20


def test_a_parameters_cell_that_python_cannot_parse_is_refused(tmp_path: Path) -> None:
    """Also where the parser raises something else than SyntaxError."""
    for source in ("run_id = '\x00'", "run_id = " + "(" * 5000, "run_id = " + "-" * 100_000 + "1"):
        with pytest.raises(NotebookError, match="parameters cell"):
            read_notebook(written(tmp_path, changed("cells", 0, "source", value=source)))


def test_what_an_earlier_execution_added_is_left_out(tmp_path: Path) -> None:
    """An executed notebook is a notebook: the old parameters would come before the author's, or shift the cells."""
    notebook = plain()
    injected = {**notebook["cells"][0], "id": "old", "source": "run_id = 'old'"}
    notebook["cells"].insert(0, {**injected, "metadata": {"tags": ["injected-parameters"]}})
    notebook["cells"].insert(0, {**notebook["cells"][2], "id": "m", "metadata": {"tags": ["papermill-error-cell-tag"]}})
    given = read_notebook(written(tmp_path, notebook))
    prepared = prepare_notebook(given, {"run_id": "new"}, output=tmp_path / "out.ipynb", root=tmp_path)
    assert prepared.places == (2, None, 3)
    assert "old" not in "".join(cell.source for cell in prepared.nb.cells)
