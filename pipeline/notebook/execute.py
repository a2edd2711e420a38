"""Execute a notebook for a run: nbclient's errors and the kernel's become this project's."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import (
    LONGEST_EVALUE,
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    CellFailedError,
    CellTimeoutError,
    EvidenceError,
    KernelDiedError,
    StorageError,
    shortened,
)
from pipeline.notebook.execution import CellError, Execution, how_it_ended, in_cell, listed_cells
from pipeline.notebook.prepare import KERNEL, PreparedNotebook, mark_error, prepare_notebook
from pipeline.notebook.request import KernelRequest
from pipeline.notebook.template import InputNotebook

if TYPE_CHECKING:
    from pipeline.kernels import KernelSource

COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Executed:
    """How a notebook ended that did not fail: sentences for the record, and one when it ended before its last cell."""

    notes: tuple[str, ...]
    left_early: str | None


def execute_notebook(
    notebook: InputNotebook,
    output: Path,
    parameters: Mapping[str, Any],
    request: KernelRequest,
    *,
    root: Path,
    kernels: KernelSource | None = None,
) -> Executed:
    """Execute `notebook` with `parameters` and write the executed notebook to `output`, also on failure.

    What is executed are the bytes that were read and digested, not the file. `kernels` starts the kernel (see
    `pipeline.notebook.forked`), None is a fresh process; when a fresh one had to be used instead, a note says why. A
    cell tagged `raises-exception` may raise, and the notebook goes on. Raises CellFailedError, CellTimeoutError or
    KernelDiedError once `output` holds what was reached.
    """
    prepared = prepare_notebook(notebook, parameters, output=output, root=root)
    from nbclient import exceptions as nbclient_errors
    from papermill.iorw import write_ipynb

    from pipeline.notebook.kernel import EvidenceEngine

    logging.getLogger("papermill").setLevel(logging.ERROR)  # what matters is checked before and recorded after
    output = output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    execution, error = Execution(places=prepared.places), None
    options = {"request": request, "kernels": kernels, "execution": execution}
    try:
        EvidenceEngine.execute_notebook(prepared.nb, KERNEL, output_path=str(output), progress_bar=False, **options)
        if execution.error is not None:
            error = _cell_failed(prepared, execution.error, _module_beside(execution.error, notebook.path, root))
            mark_error(prepared.nb, execution.error.index)
            write_ipynb(prepared.nb, str(output))
    except nbclient_errors.CellTimeoutError:
        error = _timed_out(prepared, request)
    except nbclient_errors.DeadKernelError:
        error = _died(prepared, execution)
    except OSError as failure:
        if failure.errno not in DISK_FULL and failure.filename != str(output):
            raise
        raise StorageError(f"The executed notebook {output} could not be written: {failure.strerror}.") from failure
    except KeyboardInterrupt:
        # The cell that was interrupted fails in a task that nobody waits for any more, and asyncio logs its traceback.
        logging.getLogger("asyncio").addFilter(_of_a_task_that_is_waited_for)
        raise
    if error is not None:
        raise error
    return Executed(tuple(execution.notes), _left_early(prepared, execution))


def _of_a_task_that_is_waited_for(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Task exception was never retrieved")


def _cell_failed(prepared: PreparedNotebook, error: CellError, hint: str) -> EvidenceError:
    place = prepared.places[error.index]
    what = f"{error.ename}: {error.evalue}" if error.evalue else error.ename
    message = f"{shortened(what, LONGEST_MESSAGE)} ({in_cell(place)})"
    if error.ename == "SystemExit":
        message = f"{message}: the notebook ended itself with sys.exit. {_not_run(prepared, error.index)}".rstrip()
    return CellFailedError(
        f"{message}{hint}",
        cell=-1 if place is None else place,
        ename=shortened(error.ename, LONGEST_MESSAGE),
        evalue=shortened(error.evalue, LONGEST_EVALUE),
        traceback=shortened(COLOURS.sub("", error.traceback), LONGEST_TRACEBACK),
    )


def _module_beside(error: CellError, notebook: Path, root: Path) -> str:
    """Say where modules are imported from, when the one that was not found lies beside the notebook."""
    folder = notebook.parent
    name = error.evalue.removeprefix("No module named ").strip("'").partition(".")[0]
    if error.ename != "ModuleNotFoundError" or not name.isidentifier() or not folder.is_relative_to(root):
        return ""
    found = next((place for place in (f"{name}.py", f"{name}/__init__.py") if (folder / place).is_file()), None)
    if found is None:
        return ""
    return (
        f". {found} lies beside the notebook, and modules are imported from the project's directory: move it there, or "
        f"have the notebook call sys.path.append({folder.relative_to(root).as_posix()!r}) first."
    )


def _timed_out(prepared: PreparedNotebook, request: KernelRequest) -> CellTimeoutError:
    cell = _running_cell(prepared)
    limits = f"run.cell_timeout = {request.cell_timeout}, run.timeout = {request.timeout}"
    return CellTimeoutError(f"The time limit was reached {in_cell(cell)} ({limits}).", cell=cell)


def _died(prepared: PreparedNotebook, execution: Execution) -> KernelDiedError:
    cell = _running_cell(prepared)
    return KernelDiedError(f"The kernel died {in_cell(cell)}. {how_it_ended(execution.kernel_exit)}", cell=cell)


def _running_cell(prepared: PreparedNotebook) -> int | None:
    """Return the place of the cell that was being executed when the notebook stopped."""
    started = [
        place
        for cell, place in zip(prepared.nb.cells, prepared.places, strict=True)
        if cell.metadata.get("papermill", {}).get("start_time")
    ]
    return started[-1] if started else None


def _left_early(prepared: PreparedNotebook, execution: Execution) -> str | None:
    """Say which call ended the notebook before its last cell; None when all cells ran."""
    if execution.left_at is None or not prepared.skipped_after(execution.left_at):
        return None
    where = in_cell(prepared.places[execution.left_at])
    return f"The notebook called {execution.left_by} {where}. {_not_run(prepared, execution.left_at)}"


def _not_run(prepared: PreparedNotebook, index: int) -> str:
    skipped = prepared.skipped_after(index)
    return f"Not run: {listed_cells(skipped)}." if skipped else ""
