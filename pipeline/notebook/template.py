"""Read an input notebook and check the parameters it is to be given, before anything starts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.errors import NotebookError, nearest
from pipeline.notebook.document import cell_source, parse_notebook

PARAMETERS_TAG = "parameters"
RUN_ID = "run_id"


@dataclass(frozen=True)
class InputNotebook:
    """An input notebook: its path, its bytes and their digest, the names its `parameters` cell declares.

    `defaults` are the values that this cell gives them, as far as it says them literally. The bytes are what is
    executed, sealed and kept: the file is not read again.
    """

    path: Path
    content: bytes
    sha256: str
    parameters: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)


def read_notebook(path: Path) -> InputNotebook:
    """Read and check an input notebook; raises NotebookError.

    It must be a Python notebook of format 4 with exactly one cell tagged `parameters` that assigns `run_id`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotebookError(f"The notebook {path} cannot be read: {error.strerror}.") from None
    notebook = parse_notebook(path, data)
    declared = _declared(path, _parameters_source(path, notebook["cells"]))
    if RUN_ID not in declared:
        raise NotebookError(f"The parameters cell of {path} does not assign `run_id`. Add the line `run_id = None`.")
    defaults = {name: found for name, value in declared.items() if (found := _literal(value)) is not None}
    return InputNotebook(path, data, sha256_bytes(data), tuple(declared), defaults)


def check_parameters(notebook: InputNotebook, wanted: Mapping[str, Any] | Iterable[str]) -> None:
    """Raise NotebookError when the notebook does not declare one of the parameters it is to be given."""
    for name in wanted:
        if name not in notebook.parameters:
            raise NotebookError(
                f"{notebook.path} has no parameter {name!r} in its `parameters` cell. "
                f"{nearest(name, notebook.parameters)}"
            )


def _parameters_source(path: Path, cells: list[dict[str, Any]]) -> str:
    tagged = [cell for cell in cells if PARAMETERS_TAG in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise NotebookError(
            f"{path} has {len(tagged)} cells tagged `parameters`; exactly one is needed. "
            "In JupyterLab: Property Inspector, Cell Tags."
        )
    return cell_source(tagged[0])


def _declared(path: Path, source: str) -> dict[str, ast.expr | None]:
    """Return the names that a cell assigns, with the expression of the last assignment."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise NotebookError(
            f"The parameters cell of {path} is not valid Python: line {error.lineno}: {error.msg}."
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotebookError(f"The parameters cell of {path} is not valid Python: {error}.") from None
    declared: dict[str, ast.expr | None] = {}
    for statement in body:
        if isinstance(statement, ast.Assign):
            declared |= {item.id: statement.value for item in statement.targets if isinstance(item, ast.Name)}
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            declared[statement.target.id] = statement.value
    return declared


def _literal(value: ast.expr | None) -> Any:
    """Return what an expression says literally; None when it computes something."""
    try:
        return None if value is None else ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
