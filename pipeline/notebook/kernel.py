"""The papermill engine of this project: one private kernel per notebook, with the caller's own Python.

The kernel is a fresh process over IPC, or one forked by a fork server (`pipeline.kernels`); both execute the same.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.engines import Engine

from pipeline.errors import RunFailedError
from pipeline.kernels import ForkServerError, KernelSource
from pipeline.kernels.engine import DIED_EARLY, ForkedNotebookClient
from pipeline.kernels.saving import SparingNotebookClient
from pipeline.notebook.execution import CellError, Execution
from pipeline.notebook.hiding import hiding_text
from pipeline.notebook.inside import MODULES_FILE
from pipeline.notebook.request import DEFAULTS, KernelRequest
from pipeline.telemetry import waiting_begins

BEFORE = '__import__("pipeline.notebook.inside", fromlist=["prepare"]).prepare()'
AFTER = '__import__("pipeline.notebook.inside", fromlist=["record"]).record({!r})'
TRANSPORT = "EVIDENCE_KERNEL_TRANSPORT"
ZERO = ("", "0", "None", "False")  # what sys.exit is given when all is well
MAX_IPC_PATH = 90  # a Unix socket path holds about 107 bytes; the kernel adds "-<port>"


class PrivateKernelManager(AsyncKernelManager):
    """Starts `ipykernel` with this very interpreter, whatever kernelspecs are installed."""

    idle = False  # nothing runs that the end of the kernel would have to interrupt

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return a kernelspec that exists only in memory."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, language="python", display_name="Python 3 (evidence)")

    async def _async_interrupt_kernel(self) -> None:
        """Interrupt a cell that runs; an idle kernel would log that it was interrupted, or not, as the moment has it.

        Jupyter interrupts every kernel before it asks it to end.
        """
        if not self.idle:
            await super()._async_interrupt_kernel()


class PreparedClient(SparingNotebookClient):
    """Runs the preamble, the cells, and the record of what was imported; writes down how the notebook ended."""

    execution: Execution
    modules_file: str  # as given: a notebook may change its environment
    _reply: dict[str, Any]

    def papermill_execute_cells(self) -> None:
        """Execute all cells, the kernel's own preparation before, its record after, also when a cell failed."""
        self.on_cell_executed = self._replied
        try:
            self._ask(BEFORE, "be prepared")
            waiting_begins()
            for index, cell in enumerate(self.nb.cells):
                with self.execution.cell(index) if cell.cell_type == "code" else nullcontext() as noted:
                    self._execute(index, cell)
                    if noted is not None and self.execution.error is not None:
                        noted.error = self.execution.error.short
                if self.execution.error is not None or self.execution.left_at is not None:
                    break
            record = AFTER.format(self.modules_file)
            if self.execution.error is None:
                self._ask(record, "record which modules it imported")
            else:
                self._reply_to(record)
        except DeadKernelError:
            self.execution.kernel_exit = self._exit_code()
            raise
        self.km.idle = True

    def _ask(self, code: str, what: str) -> None:
        """Have the kernel execute code of ours; raises RunFailedError when it cannot."""
        content = self._reply_to(code)
        if content["status"] == "error":
            hint = hiding_text(Path(self.resources["metadata"]["path"]))
            raise RunFailedError(f"The kernel could not {what}: {content['ename']}: {content['evalue']}.{hint}")

    def _reply_to(self, code: str) -> dict[str, Any]:
        reply = self.wait_for_reply(self.kc.execute(code, silent=True, store_history=False))
        content: dict[str, Any] = reply["content"]
        return content

    def _execute(self, index: int, cell: Any) -> None:
        """Execute a cell, as papermill does; an error that nbclient does not allow here, and an exit, are noted."""
        self._reply = {}
        try:
            self.nb_man.cell_start(cell, index)
            self.execute_cell(cell, index)
            if any(item.get("source") == "ask_exit" for item in self._reply.get("payload") or []):
                self.execution.left_at, self.execution.left_by = index, "exit()"
        except CellExecutionError as error:
            self.nb_man.cell_exception(cell, cell_index=index, exception=error)
            if error.ename == "SystemExit" and error.evalue in ZERO:
                self.execution.left_at, self.execution.left_by = index, "sys.exit()"
            else:
                self.execution.error = CellError(index, error.ename, error.evalue, self._traceback(cell))
        finally:
            self.nb_man.cell_complete(cell, cell_index=index)

    def _replied(self, *, execute_reply: dict[str, Any], **_: Any) -> None:
        self._reply = execute_reply["content"]

    def _traceback(self, cell: Any) -> str:
        """Return the traceback of the kernel's reply, else what it printed: of magics and groups it replies none."""
        printed = [item.text for item in cell.outputs if item.output_type == "stream" and item.name == "stderr"]
        return "\n".join(self._reply.get("traceback") or printed)

    def _exit_code(self) -> int | None:
        """Return how the kernel's process ended, None when that is not known."""
        process = getattr(self.km.provisioner, "process", None)
        return None if process is None else process.poll()


class PrivateClient(PreparedClient):
    """Executes in a fresh kernel of its own."""

    directory: Path

    def create_kernel_manager(self) -> PrivateKernelManager:
        """Return a manager whose connection lies in the private directory; the client shuts its kernel down."""
        manager = PrivateKernelManager(connection_file=str(self.directory / "kernel.json"))
        if _by_ipc():
            manager.transport = "ipc"
            manager.ip = str(self.directory / "kernel")
        self.km = manager
        return manager


class ForkedClient(PreparedClient, ForkedNotebookClient):
    """Executes in a kernel of a fork server."""

    def _exit_code(self) -> int | None:
        return self.km.process.poll() if self.km.process is not None else self.km.exit_code


class EvidenceEngine(Engine):
    """Papermill engine that takes a KernelRequest, and where to get the kernel from (None: a fresh one)."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        _kernel_name: str,
        *,
        request: KernelRequest,
        kernels: KernelSource | None,
        execution: Execution,
        **_: Any,
    ) -> None:
        """Execute the notebook that papermill prepared; nbclient's errors pass through.

        A fork server that refuses or is gone, or whose kernel dies before the first cell, is noted, and a fresh kernel
        is used.
        """
        with _private_directory() as directory, request.log.open("ab") as log:
            options = {
                "resources": {"metadata": {"path": str(request.cwd)}},
                "timeout_func": _limits(request),
                "startup_timeout": 120,
            }
            environment = {**DEFAULTS, **request.environment, "IPYTHONDIR": str(directory / "ipython")}
            if kernels is not None:
                forked = ForkedClient(nb_man, **options)
                forked.source, forked.memory = kernels, request.memory
                forked.execution, forked.modules_file = execution, request.environment[MODULES_FILE]
                try:
                    forked.execute(env=environment, stdout=log, stderr=log)
                except (ForkServerError, DeadKernelError) as reason:
                    if any(cell.metadata.papermill.start_time for cell in nb_man.nb.cells):
                        raise
                    why = DIED_EARLY if isinstance(reason, DeadKernelError) else reason
                    execution.notes.append(f"A fresh kernel was used, not a forked one. {why}")
                else:
                    return
            private = PrivateClient(nb_man, **options)
            private.directory = directory
            private.execution, private.modules_file = execution, request.environment[MODULES_FILE]
            private.execute(env=environment, stdout=log, stderr=log)


def _by_ipc() -> bool:
    """Say whether a fresh kernel is talked to through Unix sockets: where there are any, unless TCP is asked for."""
    return sys.platform != "win32" and os.environ.get(TRANSPORT) != "tcp"


def _limits(request: KernelRequest) -> Any:
    """Return nbclient's `timeout_func`: what a cell may take, never more than is left for the notebook."""
    deadline = None if request.timeout is None else time.monotonic() + request.timeout

    def seconds(_: Any) -> float | None:
        left = None if deadline is None else max(0.01, deadline - time.monotonic())
        limits = [limit for limit in (request.cell_timeout, left) if limit is not None]
        return min(limits) if limits else None

    return seconds


@contextmanager
def _private_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="evidence-"))
    if len(str(directory)) > MAX_IPC_PATH and _by_ipc():
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix="evidence-", dir="/tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
