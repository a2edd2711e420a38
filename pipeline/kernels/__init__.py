"""Forked kernels: Jupyter kernels that start in milliseconds, because the libraries were imported before.

A fork server is a clean process that imports libraries once and forks an isolated IPython kernel for every notebook.
This package needs jupyter_client, ipykernel, nbclient and papermill, and nothing else of this project.

    with ForkServer() as kernels:                           # starts importing at once
        papermill.execute_notebook("in.ipynb", "out.ipynb", engine_name="forked", kernels=kernels)

Several threads may use one server. So may several processes: a `ForkServer` that is pickled arrives as a
`ForkClient`, and a process that has `FORKED_KERNELS_SOCKET` in its environment uses the server behind it
(`python -m pipeline.kernels serve`). Kernels end with the process that asked for them, and with the server;
the server ends with the process that started it.

Where forking is not available (`fork_available`) or a server refuses (KernelRefusedError), the papermill engine
and the provisioner start an ordinary kernel instead.
"""

from __future__ import annotations

from pipeline.kernels.client import ForkClient, ForkServer, KernelProcess, KernelSource
from pipeline.kernels.protocol import (
    DEFAULT_PRELOAD,
    SOCKET_VARIABLE,
    ForkServerError,
    KernelRefusedError,
    Launch,
    fork_available,
)

__all__ = [
    "DEFAULT_PRELOAD",
    "SOCKET_VARIABLE",
    "ForkClient",
    "ForkServer",
    "ForkServerError",
    "KernelProcess",
    "KernelRefusedError",
    "KernelSource",
    "Launch",
    "fork_available",
]
