"""The notebook as a kernel executes it: the very bytes that were digested, and a cell that sets the parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.notebook.document import parse_notebook
from pipeline.notebook.quick_import import import_nbformat
from pipeline.notebook.template import PARAMETERS_TAG, InputNotebook

if TYPE_CHECKING:
    from nbformat import NotebookNode

INJECTED_TAG = "injected-parameters"
LANGUAGE = "python"
KERNEL = "python3"


@dataclass(frozen=True)
class PreparedNotebook:
    """The notebook as it is executed, and for each of its cells the place in the input notebook (None: added here)."""

    nb: NotebookNode
    places: tuple[int | None, ...]

    def skipped_after(self, index: int) -> list[int]:
        """Return the places in the input notebook of the code cells after this one."""
        later = zip(self.nb.cells[index + 1 :], self.places[index + 1 :], strict=True)
        return [
            place for cell, place in later if place is not None and cell.cell_type == "code" and cell.source.strip()
        ]


def prepare_notebook(
    notebook: InputNotebook, parameters: Mapping[str, Any], *, output: Path, root: Path
) -> PreparedNotebook:
    """Return `notebook` with a cell that sets `parameters`, after the cell that declares them; without any, no cell.

    What an earlier execution added to the notebook (parameters, marks of an error) is left out. Paths in its metadata
    are relative to `root`.
    """
    import_nbformat()
    from nbformat import from_dict
    from papermill.execute import prepare_notebook_metadata, remove_error_markers
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    nb = load_notebook_node(from_dict(parse_notebook(notebook.path, notebook.content)))
    given = list(nb.cells)
    nb.cells = [cell for cell in remove_error_markers(nb).cells if INJECTED_TAG not in cell.metadata.tags]
    if parameters:
        if not notebook.tagged and (place := notebook.cell_of(parameters)) is not None:
            given[place].metadata.tags = [*given[place].metadata.get("tags", []), PARAMETERS_TAG]
        nb = parameterize_notebook(nb, dict(parameters), kernel_name=KERNEL, language=LANGUAGE)
    relative = Path(os.path.relpath(notebook.path, root)).as_posix()
    nb = prepare_notebook_metadata(nb, relative, output.name)
    places = {id(cell): place for place, cell in enumerate(given)}
    return PreparedNotebook(nb, tuple(places.get(id(cell)) for cell in nb.cells))


def mark_error(nb: NotebookNode, index: int) -> None:
    """Put papermill's marks into the notebook: one at its top, one before the cell that failed."""
    from nbformat.v4 import new_markdown_cell
    from papermill.execute import ERROR_ANCHOR_MSG, ERROR_MARKER_TAG, ERROR_MESSAGE_TEMPLATE

    tags = {"tags": [ERROR_MARKER_TAG]}
    top = new_markdown_cell(ERROR_MESSAGE_TEMPLATE % nb.cells[index].execution_count, metadata=dict(tags))
    nb.cells.insert(index, new_markdown_cell(ERROR_ANCHOR_MSG, metadata=dict(tags)))
    nb.cells.insert(0, top)
