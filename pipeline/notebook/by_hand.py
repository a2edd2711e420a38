"""The code of a run by hand: the cells that an IPython session executed, or the script that runs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.layout import CELLS_BY_HAND, SCRIPT_BY_HAND
from pipeline.notebook.script import SCRIPT

NOTEBOOK = ".ipynb"
TYPED = "The code of this run is not kept: it was typed into an interpreter that keeps no history."
OTHER_FILE = "The cells that ran are not those that {} holds now: what is kept are the cells that ran, in their order."


@dataclass(frozen=True)
class Session:
    """Where a run by hand takes place, as it was when the run began.

    `file` is the notebook or the script, None when nobody tells it; `script` its bytes; `executed` how many cells the
    session had executed before.
    """

    file: Path | None
    script: bytes | None = None
    executed: int = 0


@dataclass(frozen=True)
class Code:
    """The code that ran: the name of the file that keeps it, its bytes, and what a reader must know of it."""

    name: str
    content: bytes
    notes: tuple[str, ...] = ()


def this_session() -> Session:
    """Look where this process executes its code from."""
    shell = _shell()
    if shell is not None:
        return Session(_notebook_file(shell), executed=len(shell.history_manager.input_hist_raw) - 1)
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    path = Path(file).absolute() if isinstance(file, str) and file.endswith(SCRIPT) else None
    try:
        return Session(path, None if path is None else path.read_bytes())
    except OSError:
        return Session(None)


def executed_code(session: Session) -> Code | None:
    """Return the code that ran until now; None when nothing keeps it.

    Of an IPython session these are all cells of this session, in the order of their execution, the running one last:
    what a cell from before the run left behind is part of what ran.
    """
    if session.script is not None:
        return Code(SCRIPT_BY_HAND, session.script)
    shell = _shell()
    if shell is None:
        return None
    sources = [text for text in shell.history_manager.input_hist_raw[1:] if text.strip()]
    if not sources:
        return None
    notes = []
    if session.executed > 1:
        notes.append(f"{session.executed - 1} cells of this session ran before the run began; they are kept with it.")
    if session.file is not None and not _same(session.file, sources):
        notes.append(OTHER_FILE.format(session.file.name))
    return Code(CELLS_BY_HAND, _as_notebook(sources), tuple(notes))


def _shell() -> Any:
    """Return IPython's shell when this process runs in one, without importing it."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _notebook_file(shell: Any) -> Path | None:
    """Return the notebook that is open, as Jupyter Server or VS Code tell it; None where the file is not there."""
    told = shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    path = Path(str(told))
    return path.absolute() if path.suffix == NOTEBOOK and path.is_file() else None


def _same(file: Path, sources: list[str]) -> bool:
    """Say whether the code cells of a notebook are the executed ones, in order."""
    from pipeline.errors import NotebookError
    from pipeline.notebook.document import cell_source, parse_notebook

    try:
        cells = parse_notebook(file, file.read_bytes())["cells"]
    except (OSError, NotebookError):
        return False
    held = [cell_source(cell).strip() for cell in cells if cell["cell_type"] == "code" and cell_source(cell).strip()]
    return held == [source.strip() for source in sources]


def _as_notebook(sources: list[str]) -> bytes:
    from pipeline.notebook.quick_import import import_nbformat

    import_nbformat()
    from nbformat import v4, writes

    cells = [v4.new_code_cell(source, id=f"cell-{place}") for place, source in enumerate(sources)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    text: str = writes(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}))
    return text.encode()
