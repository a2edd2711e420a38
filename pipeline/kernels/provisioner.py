"""A kernel provisioner of jupyter_client: forked kernels for nbclient, JupyterLab, Quarto and others."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from pipeline.kernels.client import KernelProcess
from pipeline.kernels.protocol import ForkServerError, Launch

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.02


class ForkedProvisioner(LocalProvisioner):
    """Provisioner `forked-provisioner`: asks a fork server for a kernel with the sockets of its connection file.

    The kernelspec's arguments after the module are the kernel's. Where no kernel can be forked, an ordinary one is
    started from the same kernelspec.
    """

    forked: KernelProcess | None = None

    @property
    def has_process(self) -> bool:
        """Say whether a kernel is managed."""
        return self.forked is not None or super().has_process

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel; returns how to connect to it."""
        from pipeline.kernels.engine import kernel_source
        from pipeline.kernels.manager import descriptor

        environment = dict(kwargs.get("env") or os.environ)
        launch = Launch(cwd=os.path.abspath(kwargs.get("cwd") or "."), environment=environment, argv=_arguments(cmd))  # noqa: PTH100
        output = descriptor(kwargs.get("stdout"), 1), descriptor(kwargs.get("stderr"), 2)
        try:
            source = await asyncio.to_thread(kernel_source)
            self.forked = await asyncio.to_thread(source.start, launch, stdout=output[0], stderr=output[1])
        except ForkServerError as reason:
            logger.warning("An ordinary kernel is used. %s", reason)
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.forked.pid
        self.cwd = launch.cwd
        return self.connection_info

    async def poll(self) -> int | None:
        """Return the exit code, None while the kernel runs."""
        if self.forked is not None:
            return self.forked.poll()
        code: int | None = await super().poll()
        return code

    async def wait(self) -> int | None:
        """Wait for the kernel's end; return its exit code."""
        if self.forked is None:
            ended: int | None = await super().wait()
            return ended
        while (code := self.forked.poll()) is None:
            await asyncio.sleep(POLL_SECONDS)
        self.forked.close()
        self.forked = None
        return code

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel's process group."""
        if self.forked is None:
            await super().send_signal(signum)
        else:
            self.forked.signal(signum)

    async def kill(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter_client's signature
        """Kill the kernel."""
        await self.send_signal(signal.SIGKILL) if self.forked else await super().kill(restart)

    async def terminate(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter_client's signature
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM) if self.forked else await super().terminate(restart)

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - jupyter_client's signature
        """Let go of the kernel."""
        if self.forked is not None:
            self.forked.close()
            self.forked = None
        await super().cleanup(restart)


def _arguments(cmd: list[str]) -> list[str]:
    """Return the kernel's own arguments: what follows `python -m module`."""
    return cmd[cmd.index("-m") + 2 :] if "-m" in cmd else cmd[1:]
