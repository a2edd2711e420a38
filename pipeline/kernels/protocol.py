"""What a client and a fork server say to each other: one JSON object a line, with file descriptors beside it."""

from __future__ import annotations

import array
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SOCKET_VARIABLE = "FORKED_KERNELS_SOCKET"
DEFAULT_PRELOAD = (
    "numpy",
    "pandas",
    "pandas.io.formats.html",
    "pandas.io.formats.string",
    "pandas.io.formats.csvs",
    "pyarrow.parquet",
    "pyarrow.pandas_compat",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "PIL.PngImagePlugin",
    "plotly.graph_objects",
    "plotly.express",
    "mlflow",
)
MAX_DESCRIPTORS = 4


class ForkServerError(RuntimeError):
    """A fork server could not be started or reached."""


class KernelRefusedError(ForkServerError):
    """A fork server will not start this kernel: it would differ from one started afresh. The message says why."""


@dataclass(frozen=True)
class Launch:
    """One kernel: where, with which environment, and how it talks.

    `environment` replaces the server's own. `argv` are the arguments of an IPython kernel that opens the sockets
    of a connection file; None is a kernel that talks over the wire, a socket handed over at its start.
    `memory` is the limit in bytes for what the kernel may take beyond what it starts with, None is no limit.
    """

    cwd: str
    environment: Mapping[str, str]
    argv: Sequence[str] | None = None
    memory: int | None = None

    def to_message(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "environment": dict(self.environment), "argv": self.argv and list(self.argv)}


def fork_available() -> bool:
    """Say whether kernels can be forked safely here: on Linux, and elsewhere under POSIX only when asked for.

    macOS has `fork`, but its frameworks may not survive it. FORKED_KERNELS=1 takes the risk, FORKED_KERNELS=0 never
    forks.
    """
    asked = os.environ.get("FORKED_KERNELS")
    if not hasattr(os, "fork") or asked == "0":
        return False
    return sys.platform.startswith("linux") or asked == "1"


def send_message(connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message; the descriptors travel with its first byte."""
    data = json.dumps(message).encode() + b"\n"
    sent = socket.send_fds(connection, [data], list(descriptors)) if descriptors else 0
    if sent < len(data):
        connection.sendall(data[sent:])


class MessageReader:
    """Puts messages together from what arrives, and keeps the descriptors that came along."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.descriptors: list[int] = []
        self._buffer = bytearray()

    def receive(self, flags: int = 0) -> bool:
        """Read once; return False when the other side has closed. Raises BlockingIOError like `recv`."""
        space = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self.connection.recvmsg(1 << 16, space, flags)
        except ConnectionError:
            return False
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
                self.descriptors += found
        self._buffer += data
        return bool(data)

    def next_message(self) -> dict[str, Any] | None:
        """Return the next complete message, None when there is none yet."""
        line, separator, rest = self._buffer.partition(b"\n")
        if not separator:
            return None
        self._buffer = rest
        message: dict[str, Any] = json.loads(line)
        return message
