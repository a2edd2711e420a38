"""Read an input notebook and check the parameters it is to be given, before anything starts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from pipeline.digest import sha256_bytes
from pipeline.errors import NotebookError, nearest
from pipeline.notebook.document import cell_source, parse_notebook

PARAMETERS_TAG = "parameters"
RUN_ID = "run_id"


@dataclass(frozen=True)
class InputNotebook:
    """An input notebook, or a script: its path, its bytes and their digest, and the parameters it can be given.

    `parameters` are the names that its cell tagged `parameters` assigns; without such a cell, those that any of its
    code cells assigns by itself. `defaults` are the values they have there, as far as they are literals, `cells` the
    places of the cells. The bytes are what is executed, sealed and kept: the file is not read again.
    """

    path: Path
    content: bytes
    sha256: str
    parameters: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    cells: Mapping[str, int] = field(default_factory=dict)
    tagged: bool = True

    def takes_request(self, section: str) -> bool:
        """Say whether a section of the run spec is one of its tagged parameters: it asks this package's engine then."""
        return self.tagged and section in self.parameters and isinstance(self.defaults.get(section, {}), dict)

    def cell_of(self, names: Iterable[str]) -> int | None:
        """Return the place of the cell that assigns `names`, None for no names; raises NotebookError for several."""
        places = {name: self.cells[name] for name in names}
        if len({*places.values()}) > 1:
            listed = ", ".join(f"{name} in cell {place}" for name, place in places.items())
            raise NotebookError(
                f"{self.path} assigns its parameters in several cells ({listed}). Put them into one cell, tagged "
                "`parameters`."
            )
        return next(iter(places.values()), None)


def read_notebook(path: Path) -> InputNotebook:
    """Read and check an input notebook; raises NotebookError.

    It must be a Python notebook of format 4, or a script, with at most one cell tagged `parameters`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotebookError(f"The notebook {path} cannot be read: {error.strerror}.") from None
    cells = parse_notebook(path, data)["cells"]
    tagged = [place for place, cell in enumerate(cells) if PARAMETERS_TAG in cell["metadata"].get("tags", [])]
    if len(tagged) > 1:
        raise NotebookError(
            f"{path} has {len(tagged)} cells tagged `parameters`; at most one can be. "
            "In JupyterLab: Property Inspector, Cell Tags."
        )
    if tagged:
        declared = _declared(path, cell_source(cells[tagged[0]]))
        places = dict.fromkeys(declared, tagged[0])
    else:
        declared, places = _assigned(cells)
    defaults = {name: found for name, value in declared.items() if (found := _literal(value)) is not None}
    return InputNotebook(path, data, sha256_bytes(data), tuple(declared), defaults, places, tagged=bool(tagged))


def check_parameters(notebook: InputNotebook, wanted: Mapping[str, Any] | Iterable[str]) -> None:
    """Raise NotebookError when the notebook does not declare one of the parameters it is to be given."""
    names = list(wanted)
    for name in names:
        if name not in notebook.parameters:
            where = "`parameters` cell" if notebook.tagged else "cells, assigned on a line of its own,"
            raise NotebookError(
                f"{notebook.path} has no parameter {name!r} in its {where} that could be given another value. "
                f"{nearest(name, notebook.parameters)}"
            )
    if not notebook.tagged:
        notebook.cell_of(names)


def _assigned(cells: list[dict[str, Any]]) -> tuple[dict[str, ast.expr | None], dict[str, int]]:
    """Return what the first cell that assigns a name gives it, and where that is, for cells without a tagged one.

    Names that the same cell uses are left out: another value, set after the cell, would come too late.
    """
    values: dict[str, ast.expr | None] = {}
    places: dict[str, int] = {}
    for place, cell in enumerate(cells):
        try:
            body = ast.parse(cell_source(cell)).body if cell["cell_type"] == "code" else []
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # magics among others
            continue
        used = {node.id for item in body for node in ast.walk(item) if _reads(node)}
        for name, value in _assignments(body).items():
            if name not in used and name not in places:
                values[name], places[name] = value, place
    return values, places


def _reads(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


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
    return _assignments(body)


def _assignments(body: list[ast.stmt]) -> dict[str, ast.expr | None]:
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
