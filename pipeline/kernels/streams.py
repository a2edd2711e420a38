"""What a forked kernel prints goes over its wire: Python's streams, and what other programs print."""

from __future__ import annotations

import os
import select
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from ipykernel import iostream
from ipykernel.iostream import PIPE_BUFFER_SIZE, IOPubThread, OutStream
from jupyter_client.session import Session
from zmq.eventloop.zmqstream import ZMQStream

from pipeline.kernels.wire import WireSocket

PATIENCE = 0.1
PIPE_READS = -(-(1 << 16) // PIPE_BUFFER_SIZE)  # to empty a pipe of Linux's usual capacity


class WireIOPubThread(IOPubThread):
    """Publishes output over a wire, also what child processes of the kernel print: those have a Unix socket."""

    directory: Path

    def __init__(self, socket: WireSocket, session: Session) -> None:
        super().__init__(socket, session=session)
        self._pipe_flag = True
        self._pipe_address = ""
        os.register_at_fork(before=self._expect_child)

    def send_multipart(self, *arguments: Any, **options: Any) -> None:
        """Send at once, in the thread that asks for it: a wire may be written by any."""
        self._really_send(*arguments, **options)

    def schedule(self, f: Callable[[], Any]) -> None:
        """Have the thread call a function."""
        if self.thread.is_alive():
            self.io_loop.add_callback(f)
        else:
            f()

    def _setup_event_pipe(self) -> None:
        """Do nothing: the thread's loop is woken without a pipe of ours."""

    def _expect_child(self) -> None:
        """Open the socket before the first child process is forked: most kernels never do that."""
        if self._pipe_address or not self._is_master_process():
            return
        self._pipe_uuid = os.urandom(16)
        self._pipe_address = f"ipc://{self.directory}/output-{os.getpid()}"
        pipe = zmq.Context().socket(zmq.PULL)
        pipe.linger = 0
        pipe.bind(self._pipe_address)
        self.schedule(lambda: ZMQStream(pipe, self.io_loop).on_recv(self._handle_pipe_msg))

    def _setup_pipe_out(self) -> tuple[Any, Any]:
        context = zmq.Context()
        pipe = context.socket(zmq.PUSH)
        pipe.linger = 3000
        pipe.connect(self._pipe_address)
        return context, pipe


class WireStream(OutStream):
    """A stream that publishes in the thread that flushes it, what other programs have printed until then too.

    `flushing` keeps the order: text that the publishing thread has taken is sent before anything that follows.
    """

    __module__ = OutStream.__module__
    _should_watch = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.flushing, self.reading = threading.RLock(), threading.RLock()
        super().__init__(*arguments, **options)

    def flush(self) -> None:
        """Publish what was written."""
        if self._is_master_process():
            self._read_pipe()
            self._flush()
        else:
            super().flush()

    def _flush(self) -> None:
        if self._is_master_process():
            with self.flushing:
                try:
                    super()._flush()
                except Exception:  # noqa: BLE001 - text that cannot be sent; the request it belongs to is answered
                    traceback.print_exc(file=sys.__stderr__)
        else:
            super()._flush()

    def _watch_pipe_fd(self) -> None:
        """Read what other programs print to the descriptor, until the stream is closed."""
        while self._should_watch and self._read_pipe(wait=True):
            continue

    def _read_pipe(self, *, wait: bool = False) -> bool:
        """Take over what the pipe holds, no more than it can hold; return False when it has been closed."""
        if not self._should_watch:
            return True
        readable = select.poll()
        readable.register(self._fid, select.POLLIN)
        if wait:
            readable.poll()
        if not self.reading.acquire(timeout=PATIENCE):
            return True  # the other thread reads what never ends
        try:
            for _ in range(PIPE_READS):
                if not self._should_watch or not readable.poll(0):
                    break
                text = os.read(self._fid, PIPE_BUFFER_SIZE)
                if not text:
                    return False
                self.write(text.decode(errors="replace"))
                os.write(self._original_stdstream_copy, text)
        finally:
            self.reading.release()
        return True


# libraries and people look at the name of the class of `sys.stdout`
WireStream.__name__ = WireStream.__qualname__ = OutStream.__name__
vars(iostream)["WireStream"] = WireStream  # ipykernel imports it by name when this module is forgotten already
