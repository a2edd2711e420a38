"""Look at a notebook before it is executed: whether anything in it can save a result."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

from pipeline.notebook.document import cell_source, parse_notebook

NOT_PYTHON = {"bash", "sh", "script", "writefile", "html", "javascript", "js", "latex", "markdown", "svg", "perl"}
SAVERS = {"save", "write_backtest_artifacts", "write_result"}
OPAQUE = {"getattr", "exec", "eval", "compile", "__import__", "import_module"}
WRITTEN = ("stats.json", "save(")  # in a text: a notebook may write the files itself, or hand code to a magic


def saves_nothing(path: Path, content: bytes, root: Path) -> bool:
    """Say whether plainly no cell saves a result; False also where that cannot be told by looking.

    It cannot be told of a cell that is no Python, of code that is made at run time or of modules below `root`.
    """
    cells = parse_notebook(path, content)["cells"]
    return all(_plainly_not(cell_source(cell), root) for cell in cells if cell["cell_type"] == "code")


def _plainly_not(source: str, root: Path) -> bool:
    first = source.lstrip().split("\n", 1)[0]
    if first.startswith("%%") and first[2:].split(" ")[0] in NOT_PYTHON:
        return True
    tree = _parsed(source)
    return tree is not None and not any(_may_save(node, root) for node in ast.walk(tree))


def _parsed(source: str) -> ast.Module | None:
    """Return a cell's code with its magics as the calls they are; None for what is no Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code: str = TransformerManager().transform_cell(source)
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _may_save(node: ast.AST, root: Path) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in SAVERS
    if isinstance(node, ast.Name):
        return node.id in SAVERS | OPAQUE
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return any(text in node.value for text in WRITTEN)
    if isinstance(node, ast.Call):
        return _runs_another(node)
    names = _imported(node)
    return any(name in SAVERS or (root / f"{name}.py").is_file() or (root / name).is_dir() for name in names)


def _runs_another(call: ast.Call) -> bool:
    """Say whether a call is the magic %run, %load or %pylab's kin: code from elsewhere."""
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in ("run_line_magic", "run_cell_magic"):
        return False
    name: Any = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
    return name in ("run", "load", "macro", "rerun", "recall")


def _imported(node: ast.AST) -> list[str]:
    """Return the first words of what is imported, and the names that are taken out of modules."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "").partition(".")[0], *(alias.name for alias in node.names)]
    return []
