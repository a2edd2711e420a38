"""The fork server's process: import libraries, then fork a kernel for every request. One thread, no event loop.

Started by `ForkServer` as `python -m pipeline.kernels.server OWNER LIFELINE DIRECTORY`. The process at the other end of
the lifeline is its owner, of that process id; the server ends when the owner does, while it imports, too.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.kernels.protocol import KernelRefusedError, Launch, MessageReader, send_message

if TYPE_CHECKING:
    from pipeline.kernels.preload import Preloaded

OWNER_CHECK_SECONDS = 1.0  # where nothing else wakes the server: the end of the lifeline does
OWNER_LOOK_SECONDS = 0.25  # while it imports


@dataclass
class Connection:
    """A client's connection: at most one kernel, which dies with it."""

    socket: socket.socket
    reader: MessageReader
    pid: int | None = None


class Server:
    """Accepts connections, forks kernels, passes signals on, reaps, and tells each client how its kernel ended."""

    def __init__(self, lifeline: socket.socket, owner: int, directory: Path, preloaded: Preloaded) -> None:
        self.preloaded = preloaded
        self.directory = directory
        self.lifeline = lifeline
        self.owner = owner
        self.connections: dict[int, Connection] = {}
        self.spare: tuple[int, socket.socket] | None = None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(directory / "socket"))
        self.listener.listen(128)
        self.woken, waker = socket.socketpair()
        self.waker = waker
        self.woken.setblocking(False)
        waker.setblocking(False)
        self.selector = selectors.PollSelector()
        for sock, handler in ((self.listener, self._accept), (self.woken, self._reap), (lifeline, self._owner_spoke)):
            self.selector.register(sock, selectors.EVENT_READ, handler)

    def serve(self) -> None:
        """Work until the owner is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker.fileno(), warn_on_full_buffer=False)
        self.spare = self._fork_spare()
        try:
            while os.getppid() == self.owner:
                for key, _ in self.selector.select(OWNER_CHECK_SECONDS):
                    key.data(key.fileobj)
        except EOFError:
            pass
        finally:
            for connection in self.connections.values():
                _kill(connection.pid)
            _kill(self.spare and self.spare[0])

    def _owner_spoke(self, lifeline: socket.socket) -> None:
        if not lifeline.recv(1024):
            raise EOFError

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        client.settimeout(10)
        connection = Connection(client, MessageReader(client))
        self.connections[client.fileno()] = connection
        self.selector.register(client, selectors.EVENT_READ, lambda _: self._serve_client(connection))

    def _serve_client(self, connection: Connection) -> None:
        if not connection.reader.receive():
            self._hang_up(connection)
            return
        while (message := connection.reader.next_message()) is not None:
            if "signal" in message:
                _signal(connection.pid, message["signal"])
            else:
                self._launch(connection, message)

    def _hang_up(self, connection: Connection) -> None:
        """Forget a client that has gone, and kill its kernel; the kernel is reaped later."""
        self.selector.unregister(connection.socket)
        del self.connections[connection.socket.fileno()]
        connection.socket.close()
        _close(connection.reader.descriptors)
        _kill(connection.pid)

    def _launch(self, connection: Connection, message: dict[str, Any]) -> None:
        descriptors, connection.reader.descriptors = connection.reader.descriptors, []
        try:
            launch = Launch(**message)
            self.preloaded.check(launch)
            connection.pid = self._start(launch, descriptors)
            reply: dict[str, Any] = {"pid": connection.pid, "info": self.preloaded.kernel_info}
        except (KernelRefusedError, OSError) as error:
            reply = {"refused": str(error)}
        finally:
            _close(descriptors)
        with contextlib.suppress(OSError):
            send_message(connection.socket, reply)
        if self.spare is None:
            self.spare = self._fork_spare()

    def _start(self, launch: Launch, descriptors: list[int]) -> int:
        """Start a kernel: over a wire the spare one, over sockets a new one; return its process id."""
        from pipeline.kernels.isolate import run_sockets

        if launch.argv is not None:
            return self._fork(lambda: run_sockets(launch, descriptors, self.preloaded))
        pid, orders = self.spare or self._fork_spare()
        self.spare = None
        with orders:
            send_message(orders, launch.to_message(), descriptors)
        return pid

    def _fork_spare(self) -> tuple[int, socket.socket]:
        """Fork a kernel ahead of its request, so that the request does not wait for it."""
        from pipeline.kernels.isolate import run_spare

        ours, theirs = socket.socketpair()
        with theirs:

            def run() -> int:
                ours.close()
                return run_spare(theirs, self.preloaded)

            return self._fork(run), ours

    def _fork(self, run: Callable[[], int]) -> int:
        """Fork a process that runs a kernel and never returns."""
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # the only other threads here are those that survive a fork, see preload.FORK_SAFE_THREADS
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._close_inherited()
            code = run()
        except BaseException:  # noqa: BLE001 - the process ends here, and its log says why
            traceback.print_exc(file=sys.__stderr__)
        finally:
            with contextlib.suppress(Exception):
                sys.__stdout__.flush()  # type: ignore[union-attr]
                sys.__stderr__.flush()  # type: ignore[union-attr]
            os._exit(code)

    def _close_inherited(self) -> None:
        """Close, in a kernel, what belongs to the server and to other kernels' clients."""
        sockets = [self.lifeline, self.listener, self.woken, self.waker, *(c.socket for c in self.connections.values())]
        _close([sock.fileno() for sock in sockets])
        for connection in self.connections.values():
            _close(connection.reader.descriptors)
        if self.spare is not None:
            self.spare[1].close()

    def _reap(self, woken: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            woken.recv(4096)
        for pid, status in _ended_children():
            if self.spare is not None and self.spare[0] == pid:
                self.spare[1].close()
                self.spare = None
            self._tell(pid, os.waitstatus_to_exitcode(status))

    def _tell(self, pid: int, code: int) -> None:
        for connection in self.connections.values():
            if connection.pid == pid:
                connection.pid = None
                with contextlib.suppress(OSError):
                    send_message(connection.socket, {"exit": code})


def _ended_children() -> Iterator[tuple[int, int]]:
    """Reap what has ended; yield process ids and wait statuses. What a kernel left in its process group is killed."""
    with contextlib.suppress(ChildProcessError):
        while True:
            if hasattr(os, "waitid"):  # look before reaping: as long as it is not reaped, its id is not used again
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                _kill(ended and ended.si_pid)
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


def _signal(pid: int | None, number: int) -> None:
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # forked just now, not yet the leader of a group
            os.kill(pid, number)


def _kill(pid: int | None) -> None:
    _signal(pid, signal.SIGKILL)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


@contextlib.contextmanager
def ending_with(owner: int, directory: Path) -> Iterator[None]:
    """End this process and remove its directory, whatever it is at, as soon as its parent is another than the owner."""

    def look(*_: object) -> None:
        if os.getppid() != owner:
            shutil.rmtree(directory, ignore_errors=True)
            os._exit(1)

    look()
    signal.signal(signal.SIGALRM, look)
    signal.siginterrupt(signal.SIGALRM, False)  # what a library waits for is not disturbed
    signal.setitimer(signal.ITIMER_REAL, OWNER_LOOK_SECONDS, OWNER_LOOK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def main(owner: int, lifeline_fd: int, directory: Path) -> None:
    """Preload what the owner asks for, say so, and serve."""
    lifeline = socket.socket(fileno=lifeline_fd)
    lifeline.set_inheritable(False)
    started = time.perf_counter()
    reader = MessageReader(lifeline)
    while (wanted := reader.next_message()) is None:
        if not reader.receive():
            shutil.rmtree(directory, ignore_errors=True)
            return
    try:
        from pipeline.kernels.preload import preload

        with ending_with(owner, directory):
            preloaded = preload(wanted["preload"], wanted["warm"], directory)
        server = Server(lifeline, owner, directory, preloaded)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the owner is told
        traceback.print_exc()
        with contextlib.suppress(OSError):
            send_message(lifeline, {"error": f"{type(error).__name__}: {error}"})
        return
    ready = {"pid": os.getpid(), "preloaded": list(preloaded.modules), "missing": list(preloaded.missing)}
    try:
        send_message(lifeline, {**ready, "seconds": round(time.perf_counter() - started, 3)})
        server.serve()
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # an owner that was killed cannot


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
