"""Read an input notebook and check the parameters it is to be given, before anything starts."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.errors import NotebookError, nearest

PARAMETERS_TAG = "parameters"
RUN_ID = "run_id"


@dataclass(frozen=True)
class InputNotebook:
    """An input notebook: its path, the digest of its bytes, the names its `parameters` cell declares."""

    path: Path
    sha256: str
    parameters: tuple[str, ...]


def read_notebook(path: Path) -> InputNotebook:
    """Read and check an input notebook; raises NotebookError.

    It must be a Python notebook of format 4 with exactly one cell tagged `parameters` that assigns `run_id`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotebookError(f"The notebook {path} cannot be read: {error.strerror}.") from None
    notebook = _parsed(path, data)
    cells = notebook["cells"]
    language = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
    if language != "python":
        raise NotebookError(f"{path} is a {language} notebook; only Python notebooks are executed.")
    names = _declared(path, _parameters_source(path, cells))
    if RUN_ID not in names:
        raise NotebookError(f"The parameters cell of {path} does not assign `run_id`. Add the line `run_id = None`.")
    return InputNotebook(path, sha256_bytes(data), names)


def check_parameters(notebook: InputNotebook, wanted: Mapping[str, Any] | Iterable[str]) -> None:
    """Raise NotebookError when the notebook does not declare one of the parameters it is to be given."""
    for name in wanted:
        if name not in notebook.parameters:
            raise NotebookError(
                f"{notebook.path} has no parameter {name!r} in its `parameters` cell. "
                f"{nearest(name, notebook.parameters)}"
            )


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        notebook: dict[str, Any] = json.loads(data)
        if notebook["nbformat"] == 4 and all(
            "source" in cell and cell["metadata"] is not None for cell in notebook["cells"]
        ):
            return notebook
    except (ValueError, KeyError, TypeError):
        pass
    raise NotebookError(f"{path} is not a Jupyter notebook of format 4.")


def _parameters_source(path: Path, cells: list[dict[str, Any]]) -> str:
    tagged = [cell for cell in cells if PARAMETERS_TAG in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise NotebookError(
            f"{path} has {len(tagged)} cells tagged `parameters`; exactly one is needed. "
            "In JupyterLab: Property Inspector, Cell Tags."
        )
    source = tagged[0]["source"]
    return source if isinstance(source, str) else "".join(source)


def _declared(path: Path, source: str) -> tuple[str, ...]:
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise NotebookError(
            f"The parameters cell of {path} is not valid Python: line {error.lineno}: {error.msg}."
        ) from None
    targets: list[ast.expr] = []
    for statement in body:
        if isinstance(statement, ast.Assign):
            targets += statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
    return tuple(target.id for target in targets if isinstance(target, ast.Name))
