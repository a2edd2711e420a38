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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from papermill.engines import Engine, papermill_engines

from pipeline.kernels import ForkServerError, KernelSource
from pipeline.kernels.engine import ForkedNotebookClient
from pipeline.kernels.saving import SparingNotebookClient
from pipeline.notebook.request import DEFAULTS, KernelRequest

ENGINE = "evidence"
BEFORE = '__import__("pipeline.notebook.inside", fromlist=["prepare"]).prepare()'
AFTER = '__import__("pipeline.notebook.inside", fromlist=["record"]).record()'
TRANSPORT = "EVIDENCE_KERNEL_TRANSPORT"
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
    """Runs the preamble, the cells, and the record of what was imported."""

    def papermill_execute_cells(self) -> None:
        """Execute all cells, the kernel's own preparation before, its record after, also when a cell failed."""
        self.wait_for_reply(self.kc.execute(BEFORE, silent=True, store_history=False))
        super().papermill_execute_cells()
        self.wait_for_reply(self.kc.execute(AFTER, silent=True, store_history=False))
        self.km.idle = True


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
        notes: list[str],
        **_: Any,
    ) -> None:
        """Execute the notebook that papermill prepared; nbclient's errors pass through.

        A fork server that refuses or is gone is noted, and a fresh kernel is used.
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
                try:
                    forked.execute(env=environment, stdout=log, stderr=log)
                except ForkServerError as reason:
                    notes.append(f"A fresh kernel was used, not a forked one. {reason}")
                else:
                    nb_man.output_path = None  # it ended well, and papermill itself writes it once more
                    return
            private = PrivateClient(nb_man, **options)
            private.directory = directory
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


papermill_engines.register(ENGINE, EvidenceEngine)
