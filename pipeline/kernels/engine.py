"""The papermill engine `forked`, and the nbclient client it uses."""

from __future__ import annotations

import functools
import logging
from typing import Any

from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine
from papermill.log import logger
from papermill.utils import merge_kwargs, remove_args

from pipeline.kernels.client import ForkClient, ForkServer, KernelSource
from pipeline.kernels.manager import ForkedKernelManager
from pipeline.kernels.protocol import ForkServerError, fork_available
from pipeline.kernels.saving import SparingNotebookClient

DIED_EARLY = "The forked one died before the first cell."
_own: dict[str, ForkServer] = {}


class ForkedNotebookClient(SparingNotebookClient):
    """Executes a notebook in a forked kernel; a kernel that dies is noticed at once."""

    source: KernelSource
    memory: int | None = None
    manager: ForkedKernelManager | None = None

    @property
    def began(self) -> bool:
        """Say whether the kernel has begun with a cell."""
        return self.manager is not None and self.manager.began

    def create_kernel_manager(self) -> ForkedKernelManager:
        """Return a manager of one forked kernel."""
        self.km = self.manager = ForkedKernelManager(self.source, memory=self.memory)
        return self.km

    async def _async_poll_kernel_alive(self) -> None:
        await self.kc.wire.gone()
        self.task_poll_for_reply.cancel()


class ForkedEngine(NBClientEngine):
    """Papermill engine `forked`: the options of the default engine, `kernels` (a KernelSource), `memory` (bytes)."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        kernels: KernelSource | None = None,
        memory: int | None = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Execute the notebook in a forked kernel, or in an ordinary one where that is not possible.

        A forked kernel that dies before it begins with the first cell is followed by an ordinary one.
        """
        options = merge_kwargs(
            remove_args(["input_path", "timeout", "startup_timeout"], **kwargs),
            timeout=execution_timeout or kwargs.get("timeout"),
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log=logger,
        )
        client = ForkedNotebookClient(nb_man, **options)
        try:
            client.source, client.memory = kernels or kernel_source(), memory
            _check_same_python(kernel_name)
            return client.execute()
        except ForkServerError as reason:
            logger.log(logging.WARNING, "An ordinary kernel is used. %s", reason)
        except DeadKernelError:
            if client.began:
                raise
            logger.log(logging.WARNING, "An ordinary kernel is used. %s", DIED_EARLY)
        return super().execute_managed_notebook(
            nb_man, kernel_name, start_timeout=start_timeout, execution_timeout=execution_timeout, **kwargs
        )


def kernel_source() -> KernelSource:
    """Return the server named by FORKED_KERNELS_SOCKET, or this process's own, which is started at first use."""
    import atexit
    import os

    shared = ForkClient.from_environment()
    if shared is not None:
        return shared
    key = str(os.getpid())
    if key not in _own:
        if not fork_available():
            raise ForkServerError("Kernels cannot be forked on this platform.")
        _own[key] = ForkServer()
        atexit.register(_own[key].stop)
    return _own[key]


@functools.lru_cache
def _check_same_python(kernel_name: str) -> None:
    """Raise ForkServerError when a kernelspec asks for another interpreter or another kernel than a forked one is."""
    import os
    import sys

    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        spec = KernelSpecManager().get_kernel_spec(kernel_name)
    except NoSuchKernel:
        if kernel_name in {"python3", "python"}:
            return
        raise
    program = spec.argv[0]
    ours = {"python", "python3", f"python3.{sys.version_info[1]}", sys.executable}
    if program not in ours and not (os.path.exists(program) and os.path.samefile(program, sys.executable)):  # noqa: PTH110, PTH121
        raise ForkServerError(f"The kernel {kernel_name!r} runs {program}, not {sys.executable}.")
