"""Start a fork server, and ask one for kernels."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pipeline.kernels.protocol import (
    DEFAULT_PRELOAD,
    SOCKET_VARIABLE,
    ForkServerError,
    KernelRefusedError,
    Launch,
    MessageReader,
    fork_available,
    send_message,
)


class KernelProcess:
    """A kernel as its client sees it; closing it (or dying) ends the kernel.

    `exit_code` is None while it runs, then what `subprocess` would say: negative for a signal. `info` is the content of
    its `kernel_info_reply`.
    """

    def __init__(self, connection: socket.socket, reader: MessageReader, pid: int, info: Mapping[str, Any]) -> None:
        self.pid, self.info = pid, info
        self.exit_code: int | None = None
        self._connection = connection
        self._reader = reader
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the kernel has ended."""
        return self._connection.fileno()

    def poll(self) -> int | None:
        """Return the exit code, None while the kernel runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end, at most `timeout` seconds; return the exit code, None while the kernel runs.

        The code is -9 when the server itself was lost: its kernels die with it.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            while self.exit_code is None:
                message = self._reader.next_message()  # what came with the answer to the start is there already
                if message is not None:
                    self.exit_code = message["exit"]
                    break
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._connection.settimeout(left)
                try:
                    alive = self._reader.receive()
                except (BlockingIOError, TimeoutError):
                    return None
                if not alive:
                    self.exit_code = -9
            return self.exit_code

    def signal(self, number: int) -> None:
        """Send a signal to the kernel's process group; nothing happens when it has ended."""
        with contextlib.suppress(OSError):
            self._connection.settimeout(5)
            send_message(self._connection, {"signal": int(number)})

    def close(self) -> None:
        """Let go of the kernel; the server kills what is left of it."""
        self._connection.close()
        if self.exit_code is None:
            self.exit_code = -9


class KernelSource(Protocol):
    """Whatever starts kernels: a `ForkServer`, or a `ForkClient` of one."""

    def start(self, launch: Launch, *, stdout: int, stderr: int, wire: int | None = None) -> KernelProcess:
        """Start a kernel; raises KernelRefusedError or ForkServerError."""


class ForkClient:
    """Kernels from a fork server that runs already, found by the path of its socket."""

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    def from_environment(cls) -> ForkClient | None:
        """Return a client of the server named by FORKED_KERNELS_SOCKET, None when it is not set."""
        address = os.environ.get(SOCKET_VARIABLE)
        return cls(address) if address else None

    def start(self, launch: Launch, *, stdout: int, stderr: int, wire: int | None = None) -> KernelProcess:
        """Start a kernel whose process writes to these descriptors; `wire` is its end of a socket pair.

        Waits for a server that is still importing. Raises KernelRefusedError or ForkServerError.
        """
        connection = self._connect()
        try:
            descriptors = [stdout, stderr, *([] if wire is None else [wire])]
            reply, reader = _ask(connection, launch.to_message(), descriptors)
        except OSError as error:
            connection.close()
            raise ForkServerError(f"The fork server behind {self.address} was lost: {error}.") from error
        if "pid" in reply:
            return KernelProcess(connection, reader, **reply)
        connection.close()
        raise KernelRefusedError(reply.get("refused", "The fork server ended without an answer."))

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self.address)
        except OSError as error:
            connection.close()
            raise ForkServerError(f"No fork server answers at {self.address}: {error.strerror}.") from error
        return connection


def _ask(
    connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int]
) -> tuple[dict[str, Any], MessageReader]:
    send_message(connection, message, descriptors)
    reader = MessageReader(connection)
    while (reply := reader.next_message()) is None:
        if not reader.receive():
            return {}, reader
    return reply, reader


class ForkServer:
    """A fork server of this process; a context manager, safe to use from several threads.

    preload  modules to import before kernels are forked; those that are not installed are skipped. Libraries
             only: code that may change, or is itself under test, should be imported by each notebook afresh.
    warm     functions ("module:name") to call once after that, for instance to compile kernels.
    env      laid over this process's environment for the server. What libraries read from it while they are imported,
             and what the interpreter itself reads (PYTHONHASHSEED: "0" unless given), is the same for all kernels; a
             kernel that needs another value is refused (KernelRefusedError). An empty IPYTHONDIR is a new directory:
             kernels without the user's IPython configuration.

    Returns at once while the server imports; the first kernel waits for it. Raises ForkServerError where forking is
    not available, and when the first kernel is asked for and a module cannot be imported or leaves threads running.
    """

    def __init__(
        self,
        preload: Sequence[str] = DEFAULT_PRELOAD,
        *,
        warm: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        if not fork_available():
            raise ForkServerError("Kernels cannot be forked on this platform; use ordinary kernels.")
        directory = Path(tempfile.mkdtemp(prefix="kernels-", dir=_short_temporary_directory()))
        self._directory = directory
        self.address = str(self._directory / "socket")
        self.info: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._owner = os.getpid()
        lifeline, theirs = socket.socketpair()
        self._lifeline, self._reader = lifeline, MessageReader(lifeline)
        environment = {"PYTHONHASHSEED": "0", **os.environ, **(env or {})}
        environment.pop(SOCKET_VARIABLE, None)
        with theirs, (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                [sys.executable, "-m", "pipeline.kernels.server", *map(str, (os.getpid(), theirs.fileno(), directory))],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        send_message(lifeline, {"preload": list(preload), "warm": list(warm)})

    def wait_ready(self) -> dict[str, Any]:
        """Wait until the server has imported everything; return what it says about itself.

        Keys: `pid`, `preloaded`, `missing` (not installed), `seconds`. Raises ForkServerError.
        """
        with self._lock:
            while not self.info:
                message = self._reader.next_message()
                if message is not None:
                    self.info = message
                elif not self._reader.receive():
                    self.info = {"error": f"it ended early.\n{self.log()[-2000:]}"}
        if "error" in self.info:
            raise ForkServerError(f"The fork server could not start: {self.info['error']}")
        return self.info

    def start(self, launch: Launch, *, stdout: int, stderr: int, wire: int | None = None) -> KernelProcess:
        """Start a kernel, see `ForkClient.start`."""
        self.wait_ready()
        return ForkClient(self.address).start(launch, stdout=stdout, stderr=stderr, wire=wire)

    def log(self) -> str:
        """Return what the server itself has printed, for instance while it imported libraries."""
        path = self._directory / "log"
        return path.read_text(errors="replace") if path.is_file() else ""

    def stop(self) -> None:
        """End the server and all its kernels, and remove its directory."""
        if os.getpid() != self._owner:
            return
        self._lifeline.close()
        if not self.info:  # nobody waited for it, and in the middle of an import it would not notice
            self._process.kill()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __reduce__(self) -> tuple[type[ForkClient], tuple[str]]:
        return ForkClient, (self.address,)


def _short_temporary_directory() -> str | None:
    """Return where to make a directory whose sockets have short paths; None is the usual place."""
    return None if len(tempfile.gettempdir()) < 40 else "/tmp"  # noqa: S108 - mkdtemp makes a private directory in it
