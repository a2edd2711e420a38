"""A Python script as a notebook: its cells as jupytext finds them, `# %%` or paragraphs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from pipeline.errors import NotebookError

SCRIPT = ".py"


def from_script(path: Path, data: bytes) -> dict[str, Any]:
    """Return the script in `data` as a notebook of format 4; the same bytes give the same notebook.

    A script without `# %%` marks becomes one cell a paragraph, as jupytext's light format has it. Raises NotebookError
    for a file that is not Python in UTF-8.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotebookError(f"{path} is not a Python script: byte {error.start} of it is not UTF-8.") from None
    _check_syntax(path, text)
    import jupytext
    from nbformat import writes

    notebook = jupytext.reads(text, fmt={"extension": SCRIPT, "comment_magics": False})  # a comment stays a comment
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"  # jupytext's are random
    found: dict[str, Any] = json.loads(writes(notebook))
    found["metadata"].pop("jupytext", None)
    return found


def _check_syntax(path: Path, text: str) -> None:
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise NotebookError(f"{path} is not a Python script: line {error.lineno}: {error.msg}.") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotebookError(f"{path} is not a Python script: {error}.") from None
