"""Execute a notebook for a run: papermill's errors, nbclient's and the kernel's become this project's."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CellFailedError, CellTimeoutError, EvidenceError, KernelDiedError, StorageError
from pipeline.notebook.quick_import import import_nbformat
from pipeline.notebook.request import KernelRequest
from pipeline.notebook.template import InputNotebook

if TYPE_CHECKING:
    from pipeline.kernels import KernelSource

ADDED_BY_PAPERMILL = {"injected-parameters", "papermill-error-cell-tag"}


def execute_notebook(
    notebook: InputNotebook,
    output: Path,
    parameters: Mapping[str, Any],
    request: KernelRequest,
    *,
    root: Path,
    kernels: KernelSource | None = None,
) -> str | None:
    """Execute `notebook` with `parameters` and write the executed notebook to `output`, also on failure.

    `kernels` starts the kernel (see `pipeline.notebook.forked`), None is a fresh process. Returns why a fresh kernel
    was used although another was asked for, None when all is as asked. Raises CellFailedError, CellTimeoutError or
    KernelDiedError once `output` holds what was reached.
    """
    import_nbformat()
    import papermill
    from nbclient import exceptions as nbclient_errors
    from papermill.exceptions import PapermillExecutionError

    from pipeline.notebook.kernel import ENGINE

    _quiet()
    output.parent.mkdir(parents=True, exist_ok=True)
    error: EvidenceError | None = None
    notes: list[str] = []
    try:
        papermill.execute_notebook(
            str(notebook.path),
            str(output),
            parameters=dict(parameters),
            engine_name=ENGINE,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            request=request,
            kernels=kernels,
            notes=notes,
        )
    except PapermillExecutionError as failure:
        error = _cell_failed(output, failure)
    except nbclient_errors.CellTimeoutError:
        error = _timed_out(output, request)
    except nbclient_errors.DeadKernelError:
        cell = _running_cell(output)
        error = KernelDiedError(
            f"The kernel died {_in_cell(cell)}. It may have run out of memory or been killed.", cell=cell
        )
    except OSError as failure:
        raise StorageError(f"The executed notebook {output} could not be written: {failure.strerror}.") from failure
    _make_portable(output, notebook.path, root)
    if error is not None:
        raise error
    return notes[0] if notes else None


def _quiet() -> None:
    """Keep papermill's log off the terminal: what matters is checked before and recorded after."""
    logging.getLogger("papermill").setLevel(logging.ERROR)


def _cell_failed(output: Path, failure: Any) -> CellFailedError:
    cell = _input_index(_cells(output), lambda c: any(o.get("output_type") == "error" for o in c.get("outputs", [])))
    message = f"{failure.ename}: {failure.evalue} ({_in_cell(cell)})"
    traceback = _without_colours("\n".join(failure.traceback))
    return CellFailedError(
        message, cell=-1 if cell is None else cell, ename=failure.ename, evalue=failure.evalue, traceback=traceback
    )


def _timed_out(output: Path, request: KernelRequest) -> CellTimeoutError:
    cell = _running_cell(output)
    limits = f"run.cell_timeout = {request.cell_timeout}, run.timeout = {request.timeout}"
    return CellTimeoutError(f"The time limit was reached {_in_cell(cell)} ({limits}).", cell=cell)


def _cells(output: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(output.read_bytes())["cells"]
    return cells


def _running_cell(output: Path) -> int | None:
    """Return the index of the cell that was being executed when the notebook stopped."""
    started = [c for c in _cells(output) if c["metadata"].get("papermill", {}).get("start_time")]
    return _input_index(_cells(output), lambda cell: bool(started) and cell == started[-1])


def _input_index(cells: list[dict[str, Any]], matches: Any) -> int | None:
    """Return the position in the input notebook of the first matching cell: papermill's own cells do not count."""
    own = [cell for cell in cells if not ADDED_BY_PAPERMILL & set(cell["metadata"].get("tags", []))]
    return next((index for index, cell in enumerate(own) if matches(cell)), None)


def _in_cell(cell: int | None) -> str:
    return "before the first cell" if cell is None else f"in cell {cell} of the notebook, counted from 0"


def _without_colours(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def _make_portable(output: Path, source: Path, root: Path) -> None:
    """Take the machine's paths out of the metadata papermill wrote."""
    notebook = json.loads(output.read_bytes())
    record = notebook["metadata"].get("papermill", {})
    record["input_path"] = Path(os.path.relpath(source, root)).as_posix()
    record["output_path"] = output.name
    output.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
