"""The JSON of an input notebook: parsed from its bytes, in the shape that its execution depends on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import NotebookError
from pipeline.notebook.script import SCRIPT, from_script

CELL_TYPES = ("code", "markdown", "raw")
MAX_DEPTH = 100  # of nested lists and objects; libraries that copy and write a notebook call themselves for each level
OTHER_KERNELS = re.compile(r"ir|julia-.*")  # R and Julia by the names of their kernels, when nothing else says so


def parse_notebook(path: Path, data: bytes) -> dict[str, Any]:
    """Return the notebook in `data` as plain JSON values, without its outputs; raises NotebookError.

    It must be UTF-8 (a byte order mark is passed over) and a Python notebook of format 4, or a Python script, whose
    cells are those that jupytext finds in it.
    """
    notebook = from_script(path, data) if path.suffix.lower() == SCRIPT else _json(path, data)
    problem = next(_problems(notebook), None)
    if problem:
        raise _not(path, problem)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    if _deeper_than(MAX_DEPTH, notebook):
        raise _not(path, f"it nests lists and objects more than {MAX_DEPTH} deep")
    _check_text(path, notebook)
    _check_language(path, notebook["metadata"])
    return {"nbformat_minor": 0, **notebook}


def cell_source(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _json(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _not(path, f"byte {error.start} of it is not UTF-8") from None
    except RecursionError:
        raise _not(path, "it nests lists and objects too deep") from None
    except ValueError as error:
        raise _not(path, f"it is not JSON ({error})") from None


def _deeper_than(limit: int, value: Any) -> bool:
    level = [value]
    for _ in range(limit):
        level = [item for outer in level for item in _items(outer) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _items(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _problems(notebook: Any) -> Iterator[str]:
    """Yield what is wrong with the shape of a notebook."""
    if not isinstance(notebook, dict):
        yield f"it is {_kind(notebook)}, not an object"
        return
    version, minor = notebook.get("nbformat"), notebook.get("nbformat_minor", 0)
    if type(version) is not int or version != 4:
        yield f"its nbformat is {version!r}. JupyterLab writes format 4 when it saves an older notebook"
    if not isinstance(minor, int):
        yield f"its nbformat_minor is {minor!r}, not a whole number"
    metadata, cells = notebook.setdefault("metadata", {}), notebook.get("cells")
    if not isinstance(metadata, dict):
        yield f"its metadata is {_kind(metadata)}, not an object"
    if not isinstance(cells, list):
        yield f"its cells are {_kind(cells)}, not a list"
        return
    for number, cell in enumerate(cells):
        yield from (f"cell {number}, counted from 0, {problem}" for problem in _cell_problems(cell))


def _cell_problems(cell: Any) -> Iterator[str]:
    """Yield what is wrong with the shape of a cell."""
    if not isinstance(cell, dict):
        yield f"is {_kind(cell)}, not an object"
        return
    if cell.get("cell_type") not in CELL_TYPES:
        yield f"has the cell_type {cell.get('cell_type')!r}; {', '.join(CELL_TYPES)} are known"
    source = cell.get("source")
    if not isinstance(source, str) and not _are_texts(source):
        yield f"has the source {_kind(source)}; text or a list of lines is needed"
    metadata = cell.get("metadata")
    if not isinstance(metadata, dict):
        yield f"has the metadata {_kind(metadata)}; an object is needed"
    elif not _are_texts(metadata.get("tags", [])):
        yield f"has the tags {_kind(metadata['tags'])}; a list of texts is needed"
    if not isinstance(cell.get("id", ""), str):
        yield f"has the id {cell['id']!r}; text is needed"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _check_text(path: Path, notebook: dict[str, Any]) -> None:
    """Refuse half of a surrogate pair, which JSON can write as an escape and no file can hold as text."""
    try:
        json.dumps(notebook, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise _not(path, f"it holds \\u{code:04x}, half of a surrogate pair, which is not a character") from None


def _check_language(path: Path, metadata: dict[str, Any]) -> None:
    for name in ("kernelspec", "language_info"):
        if not isinstance(metadata.get(name, {}), dict):
            raise _not(path, f"its metadata.{name} is {_kind(metadata[name])}, not an object")
    language = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name")
    kernel = metadata.get("kernelspec", {}).get("name")
    if not language and OTHER_KERNELS.fullmatch(str(kernel)):
        language = kernel
    if language and str(language).lower() not in ("python", "python3", "ipython", "ipython3"):
        raise NotebookError(f"{path} is a notebook of the language {language}; only those of Python are executed.")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _not(path: Path, reason: str) -> NotebookError:
    return NotebookError(f"{path} is not a Jupyter notebook of format 4: {reason}.")
