"""The fork server of this project's runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from pipeline.kernels import DEFAULT_PRELOAD, ForkServer, ForkServerError, KernelSource
from pipeline.notebook.request import DEFAULTS

# What the modules of this package, and notebooks that use them, import from other distributions.
PRELOAD = (
    *DEFAULT_PRELOAD,
    "pydantic",
    "rfc8785",
    "tomllib",
    "tomli_w",
    "psutil",
    "importlib.metadata",
)
WARM = ("pipeline.notebook.warm:libraries", "pipeline.notebook.warm:package")
WARM_FOR_MANY_BARS = (*WARM, "pipeline.notebook.warm:compiled_loop")


def fork_server(preload: tuple[str, ...] = PRELOAD, warm: tuple[str, ...] = WARM) -> ForkServer:
    """Start a fork server for runs; use it as a context manager and give it to `execute_notebook` as `kernels`.

    Raises ForkServerError where kernels cannot be forked (`pipeline.kernels.fork_available`).
    """
    environment = {**DEFAULTS, **os.environ, "PYTHONHASHSEED": "0", "IPYTHONDIR": ""}
    return ForkServer(preload, warm=warm, env=environment)


def try_fork_server(warm: tuple[str, ...] = WARM) -> ForkServer | None:
    """Start a fork server for runs; return None where kernels cannot be forked."""
    try:
        return fork_server(warm=warm)
    except ForkServerError:
        return None


@contextmanager
def kernel_ahead() -> Iterator[KernelSource | None]:
    """Start a fork server that imports while its owner is busy with other things; None where kernels cannot be forked.

    One notebook gains as well, when there is something to do before it: opening the tracking store, for instance.
    """
    with try_fork_server() or nullcontext() as server:
        yield server
