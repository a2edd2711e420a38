"""A forked kernel as nbclient sees it: a kernel manager and a client that talk over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import sys
import time
from collections import deque
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

from pipeline.kernels.client import KernelProcess, KernelSource
from pipeline.kernels.protocol import Launch
from pipeline.kernels.wire import Unpacker, WireSession, pack

KILL_SECONDS = 5.0
GONE_SECONDS, GONE_CHECKS = 2.0, 200
_CHUNK = 1 << 18


class Wire:
    """The client's end of a wire: sends without waiting, and sorts what arrives by channel."""

    def __init__(self, end: socket.socket, session: WireSession, process: KernelProcess) -> None:
        end.setblocking(False)
        self.session, self.process = session, process
        self.done = False  # the kernel said that it has ended
        self.began = False  # the kernel said that it has begun with a request
        self.closed = asyncio.Event()
        self._socket, self._unpacker = end, Unpacker()
        self._queues: dict[str, deque[dict[str, Any]]] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._unsent = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None

    def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message; what the kernel does not take at once is sent while messages are waited for."""
        self._unsent += pack(channel, [*self.session.serialize(message), *(message.get("buffers") or [])])
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.add_writer(self._socket, self._flush)
            return
        except OSError:
            self._unsent.clear()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_writer(self._socket)

    def attach(self) -> None:
        """Read within the event loop that is running now."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            closed, self.closed = self.closed, asyncio.Event()
            if closed.is_set():
                self.closed.set()
            self._loop = loop
            loop.add_reader(self._socket, self._read)
            self._flush()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed.set()
            if self._loop is not None:
                self._loop.remove_reader(self._socket)
            for waiting in self._waiting.values():
                _finish(waiting)
        for channel, frames in self._unpacker.feed(data):
            if channel == "control":
                self.done = True
                self.closed.set()
                continue
            _, parts = self.session.feed_identities(frames)
            message = self.session.message(parts)
            self.began = self.began or message["content"].get("execution_state") == "busy"
            self.put(channel, message)

    def put(self, channel: str, message: dict[str, Any]) -> None:
        """Give a message to whoever gets the next one of a channel."""
        self._queues.setdefault(channel, deque()).append(message)
        if channel in self._waiting:
            _finish(self._waiting.pop(channel))

    async def get(self, channel: str, timeout: float | None) -> dict[str, Any]:
        """Return the next message of a channel; raises `queue.Empty` after `timeout` seconds, or from a dead kernel."""
        self.attach()
        queue = self._queues.setdefault(channel, deque())
        deadline = None if timeout is None else time.monotonic() + timeout
        while not queue:
            arrived = self._waiting[channel] = asyncio.get_running_loop().create_future()
            if timeout is not None and self.closed.is_set():
                await self.gone()
                raise Empty
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                await asyncio.wait_for(arrived, left)
            except TimeoutError:
                raise Empty from None
        return queue.popleft()

    async def gone(self) -> None:
        """Wait until the wire has broken and the process has ended; a process that cannot be talked to is killed."""
        self.attach()
        await self.closed.wait()
        for _ in range(GONE_CHECKS):
            if self.done or self.process.poll() is not None:
                return
            await asyncio.sleep(GONE_SECONDS / GONE_CHECKS)
        self.process.signal(signal.SIGKILL)

    async def goodbye(self) -> None:
        """Wait until the kernel says that it is done; a wire that merely breaks says nothing."""
        await self.closed.wait()
        if not self.done:
            await asyncio.Event().wait()

    def close(self) -> None:
        """Close this end."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._socket.close()


class WireChannel:
    """One channel of a wire, with the methods nbclient uses."""

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire, self._name = wire, name

    def send(self, message: dict[str, Any]) -> None:
        """Send a message to the kernel."""
        self._wire.send(self._name, message)

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message; raises `queue.Empty`."""
        return await self._wire.get(self._name, timeout)


class WireClient(AsyncKernelClient):
    """A kernel client over a wire."""

    def use(self, wire: Wire) -> None:
        """Talk over this wire."""
        self.wire = wire
        self._channels = {name: WireChannel(wire, name) for name in ("shell", "iopub", "control", "stdin")}

    @property
    def shell_channel(self) -> Any:
        """The channel of requests and replies."""
        return self._channels["shell"]

    @property
    def iopub_channel(self) -> Any:
        """The channel of outputs."""
        return self._channels["iopub"]

    @property
    def control_channel(self) -> Any:
        """The channel that ends the kernel."""
        return self._channels["control"]

    @property
    def stdin_channel(self) -> Any:
        """The channel of input, which a wire's kernel does not ask for."""
        return self._channels["stdin"]

    def start_channels(self, *_: Any, **__: Any) -> None:
        """Do nothing: the wire is there from the start."""

    def stop_channels(self) -> None:
        """Close the wire."""
        self.wire.close()

    def kernel_info(self, **_: Any) -> str:
        """Request what the server has already said of its kernels; the reply waits among those of the kernel."""
        request = self.session.msg("kernel_info_request")
        self.wire.put("shell", self.session.msg("kernel_info_reply", self.wire.process.info, parent=request["header"]))
        return str(request["msg_id"])

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Do nothing: what is sent now is answered once the kernel is ready."""

    async def is_alive(self) -> bool:
        """Say whether the kernel's process runs."""
        return not self.wire.done and self.wire.process.poll() is None


class ForkedKernelManager:
    """The life of one forked kernel, with the methods of a kernel manager that nbclient uses."""

    def __init__(self, source: KernelSource, *, memory: int | None = None) -> None:
        self.source, self.memory = source, memory
        self.process: KernelProcess | None = None
        self.exit_code: int | None = None
        self.idle = False  # nothing runs that the end of the kernel would have to interrupt
        self._client: WireClient | None = None

    @property
    def began(self) -> bool:
        """Say whether the kernel has begun with a request."""
        return self._client is not None and self._client.wire.began

    @property
    def has_kernel(self) -> bool:
        """Say whether a kernel was started and not cleaned up."""
        return self.process is not None

    def start_kernel(
        self,
        *,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        stdout: Any = None,
        stderr: Any = None,
        **_: Any,
    ) -> None:
        """Start the kernel; raises KernelRefusedError or ForkServerError."""
        session = WireSession()
        ours, theirs = socket.socketpair()
        launch = Launch(
            cwd=os.path.abspath(cwd or "."),  # noqa: PTH100 - links stay as they are, as with an ordinary kernel
            environment=dict(os.environ if env is None else env),
            memory=self.memory,
        )
        try:
            with theirs:
                self.process = self.source.start(
                    launch, stdout=descriptor(stdout, 1), stderr=descriptor(stderr, 2), wire=theirs.fileno()
                )
        except BaseException:
            ours.close()
            raise
        self._client = WireClient(session=session)
        self._client.use(Wire(ours, session, self.process))

    def client(self) -> WireClient:
        """Return the client of the kernel that was started."""
        if self._client is None:
            raise RuntimeError("No kernel was started.")
        return self._client

    async def is_alive(self) -> bool:
        """Say whether the kernel's process runs."""
        return self.process is not None and self.process.poll() is None

    def interrupt_kernel(self) -> None:
        """Interrupt what the kernel is doing."""
        if self.process is not None:
            self.process.signal(signal.SIGINT)

    async def shutdown_kernel(self, *, now: bool = False, restart: bool = False) -> None:  # noqa: ARG002
        """End the kernel: kindly at first, with SIGTERM and SIGKILL when it does not end by itself."""
        if self.process is None or self._client is None:
            return
        wire = self._client.wire
        wire.attach()
        if not now:
            wire.send("control", wire.session.msg("shutdown_request", {"restart": False}))
            # how long a kernel that was asked to end is waited for before each signal
            for seconds, number in ((0.1, signal.SIGINT), (2.4, signal.SIGTERM), (2.5, signal.SIGKILL)):
                if await self._ended(seconds):
                    return
                if number != signal.SIGINT or not self.idle:
                    self.process.signal(number)
        else:
            self.process.signal(signal.SIGKILL)
        await self._ended(KILL_SECONDS)

    async def _ended(self, timeout: float) -> bool:
        """Wait until the kernel says that it is done, or its process has ended; messages are read meanwhile."""
        if self.process is None or self._client is None:
            return True
        wire, loop = self._client.wire, asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(self.process.fileno(), functools.partial(_finish, ended))
        goodbye = loop.create_task(wire.goodbye())
        try:
            await asyncio.wait({ended, goodbye}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            goodbye.cancel()
            loop.remove_reader(self.process.fileno())
        if wire.done and self.process.exit_code is None:
            self.process.exit_code = 0
        return self.process.poll() is not None

    def cleanup_resources(self) -> None:
        """Let go of the process."""
        if self.process is not None:
            self.exit_code = self.process.poll()
            self.process.close()
            self.process = None


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def descriptor(stream: Any, default: int) -> int:
    """Return the descriptor of what a kernel's own output is to go to."""
    if stream is None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return int((sys.__stdout__ if default == 1 else sys.__stderr__).fileno())  # type: ignore[union-attr]
        return default
    return int(stream if isinstance(stream, int) else stream.fileno())
