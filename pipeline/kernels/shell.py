"""An IPython kernel built in two steps: its shell before the fork, what is one kernel's own after it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import linecache
import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zmq
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from IPython.core.application import BaseIPythonApplication
from IPython.core.profiledir import ProfileDir, ProfileDirError
from IPython.paths import get_ipython_dir
from traitlets import Any as AnyTrait

from pipeline.kernels.internals import installed
from pipeline.kernels.streams import WireIOPubThread
from pipeline.kernels.wire import Outgoing, Unpacker, WireSession, WireSocket, pack

# Imported by a kernel's first cells; before the fork they cost nothing.
IMPORTED_LATER = (
    "IPython.core.completerlib", "IPython.core.magics.namespace", "IPython.lib.pretty",
    "IPython.core.ultratb", "ipykernel.debugger", "stack_data", "pygments.formatters",
    "asyncio", "tornado.platform.asyncio", "psutil", "sqlite3", "faulthandler",
    "IPython.core.logger", "concurrent.futures.thread", "IPython.core.payloadpage",
)  # fmt: skip


class NoShellThread:
    """Stands where ipykernel has a thread for the shell channel, and says that there is none."""

    def __init__(self) -> None:
        self.parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


class WireKernel(IPythonKernel):
    """An IPython kernel whose channels are wires; it has no subshells."""

    _supports_kernel_subshells = False

    published: WireSocket
    shell_stream = AnyTrait(allow_none=True)
    control_stream = AnyTrait(allow_none=True)
    debugpy_stream = AnyTrait(allow_none=True)

    def start(self) -> None:
        """Begin to answer; there is no debugger."""
        if self.shell:
            self.shell.exit_now = False
        super(IPythonKernel, self).start()

    def _publish_status(self, status: str, *arguments: Any, **options: Any) -> None:
        """Publish that the kernel is busy together with what it publishes next, at the latest with its reply."""
        self.published.hold = status == "busy"
        super()._publish_status(status, *arguments, **options)
        self.published.hold = False


class ForkedKernelApp(IPKernelApp):
    """The kernel application; `prepare` runs in the server, `connect` and `run` in the kernel."""

    kernel_class = WireKernel
    outstream_class = "ipykernel.iostream.WireStream"

    def prepare(self) -> None:
        """Build the kernel and its shell, with the user's IPython configuration, without sockets and threads."""
        BaseIPythonApplication.initialize(self, [])
        self.init_pdb()
        self.session = WireSession(parent=self)
        self.config.HistoryManager.hist_file = ":memory:"
        self.kernel = WireKernel.instance(
            parent=self,
            session=self.session,
            log=self.log,
            shell_channel_thread=NoShellThread(),
            profile_dir=self.profile_dir,  # type: ignore[has-type]
            user_ns=self.user_ns,
        )
        self.init_shell()
        self.init_gui_pylab()
        self.init_extensions()
        self.kernel.shell.display_formatter.format(0)
        self.kernel._execute_sleep = 0.0  # for sockets that overtake each other
        self.kernel.shell._sys_modules_keys = set(sys.modules)
        self.log.setLevel(self.log_level)  # its handler drops the rest, but only after a record was made of it
        self._outgoing = Outgoing()
        self.kernel.published = WireSocket("iopub", self._outgoing)
        # after a reply the kernel is said to be idle; both go together
        self.channels = {"shell": WireSocket("shell", self._outgoing, hold=True)}
        self._publish_to(self.kernel.published)

    def specialize(self, calls: int) -> None:
        """Answer so many requests before the fork, so that CPython rewrites the bytecode of their path here.

        The last one is listened to: raises RuntimeError when its answer is not that of an IPython kernel.
        """
        shell = self.kernel.shell
        names, hidden, hooks = dict(shell.user_ns), dict(shell.user_ns_hidden), shell.events.callbacks
        shell.events.callbacks = {event: [] for event in hooks}
        self._open_loop()
        for _ in range(calls - 1):
            self._rehearse("0", silent=False)
        answer = self._heard("0")
        self.loop.close()
        asyncio.set_event_loop(None)
        shell.events.callbacks = hooks
        shell.displayhook.flush()
        for known, before in ((shell.user_ns, names), (shell.user_ns_hidden, hidden)):
            known.clear()
            known.update(before)
        shell.user_ns["_oh"].clear()
        shell.last_execution_result = None
        if not {"status", "execute_input", "ok"} <= answer:
            raise RuntimeError(f"Forked kernels do not answer as they should with {installed()}: {sorted(answer)}.")

    def _heard(self, code: str) -> set[str]:
        """Answer a request; return the types of the messages that are published, and the status of the reply."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._outgoing.wire = theirs
            self._rehearse(code, silent=False)
            self._outgoing.wire = None
            theirs.close()
            data = b"".join(iter(lambda: ours.recv(1 << 16), b""))
        packets = list(Unpacker().feed(data))
        messages = [self.session.message(self.session.feed_identities(frames)[1]) for _, frames in packets]
        return {str(said["content"].get("status", said["msg_type"])) for said in messages}

    def begin(self, directory: Path) -> None:
        """Make, after the fork, what is this kernel's own and needs no request: identity, threads, streams.

        What is printed before `connect` goes nowhere.
        """
        self.session.session, self.session.pid = str(uuid.uuid4()), os.getpid()
        WireIOPubThread.directory = directory
        self.iopub_thread = WireIOPubThread(self.kernel.published, self.session)
        self.iopub_thread.start()
        atexit.unregister(self.iopub_thread.stop)  # it publishes to the last, and ends with the process
        self.iopub_socket = self.iopub_thread.background_socket
        self.init_io()
        self.init_signal()
        self._join()
        self._open_loop()
        self._rehearse("print()", silent=True)  # this copies the memory that requests and cells write to

    def _open_loop(self) -> None:
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.tasks: set[asyncio.Task[None]] = set()
        self.kernel.start()
        self.io_loop = self.kernel.io_loop

    def _rehearse(self, code: str, *, silent: bool) -> None:
        """Answer a request that nobody sees."""
        content = {"code": code, "silent": silent, "store_history": False, "user_expressions": {}}
        sources = {*linecache.cache}
        frames = self.session.serialize(self.session.msg("execute_request", content))
        self.loop.run_until_complete(self._answer(self.channels["shell"], frames))
        self.kernel.set_parent(b"", {})
        for name in linecache.cache.keys() - sources:
            del linecache.cache[name]

    def connect(self, wire: socket.socket) -> None:
        """Begin to talk over the wire, with the streams, environment and directories of the request in place."""
        self.wire = self._outgoing.wire = wire
        os.register_at_fork(after_in_child=self.wire.close)  # a child lives on when the kernel does not
        self._unpacker = Unpacker()
        self._own_directories()
        if "PYTEST_CURRENT_TEST" in os.environ:  # ipykernel then leaves the descriptors alone
            self._leave_descriptors()
        self.kernel.start()  # in a context that the rehearsal has not touched
        self.init_path()
        self.init_gui_pylab()
        self.init_code()
        sys.stdout.flush()
        sys.stderr.flush()

    def _leave_descriptors(self) -> None:
        """Redirect only what is printed by Python."""
        for stream in (sys.stdout, sys.stderr):
            stream.close()
        self.reset_io()
        self.capture_fd_output = False
        self.init_io()
        self._join_streams()

    def init_code(self) -> None:
        """Run what the user's IPython configuration asks for.

        IPython would then note the names of all modules; they are noted before the fork, since to touch each of
        some thousand names is to copy the memory they lie in.
        """
        self._run_startup_files()
        self._run_exec_lines()
        self._run_exec_files()
        if self.hide_initial_ns:
            self.shell.user_ns_hidden.update(self.shell.user_ns)

    def _join(self) -> None:
        """Put the new session, thread and streams where the kernel and its shell keep them."""
        kernel = self.kernel
        kernel.ident = str(uuid.uuid4())
        kernel.iopub_thread = self.iopub_thread
        self._publish_to(self.iopub_socket)
        self._join_streams()
        self.displayhook.get_execution_count = lambda: kernel.execution_count

    def _publish_to(self, iopub: Any) -> None:
        """Have the kernel answer on its channels, and publish to this socket."""
        kernel, shell = self.kernel, self.kernel.shell
        kernel.session = self.session
        kernel.shell_stream = self.channels["shell"]
        kernel.iopub_socket = iopub
        for publisher in (shell.displayhook, shell.display_pub):
            publisher.session, publisher.pub_socket = self.session, iopub
        shell.displayhook.topic = kernel._topic("execute_result")

    def _join_streams(self) -> None:
        self.kernel._stdout, self.kernel._stderr = sys.stdout, sys.stderr

    def _own_directories(self) -> None:
        """Use the working directory, and the IPython directory of the kernel's environment."""
        shell, directory = self.kernel.shell, get_ipython_dir()
        if directory != self.ipython_dir or not Path(self.profile_dir.location).is_dir():  # type: ignore[has-type]
            self.ipython_dir = directory
            self.profile_dir = self._own_profile(directory)
        self.kernel.profile_dir = shell.profile_dir = self.profile_dir
        shell.ipython_dir = self.ipython_dir
        shell.history_manager.dir_hist[:] = [Path.cwd()]
        shell.init_environment()

    def _own_profile(self, directory: str) -> ProfileDir:
        Path(directory).mkdir(parents=True, exist_ok=True)
        try:
            return ProfileDir.find_profile_dir_by_name(directory, self.profile, self.config)
        except ProfileDirError:
            return ProfileDir.create_profile_dir_by_name(directory, self.profile, self.config)

    def run(self) -> None:
        """Answer requests until the client asks for the end or is gone."""
        self.ended = False
        self.loop.add_reader(self.wire, self._read)
        while not self.ended:
            with contextlib.suppress(KeyboardInterrupt):
                self.loop.run_forever()
                break  # asked to end, or stopped by `exit` in a cell
        self.loop.remove_reader(self.wire)

    def say_goodbye(self) -> None:
        """Tell the client that the kernel is done; only its memory is left to be given back."""
        with contextlib.suppress(OSError):
            self._outgoing.send(pack("control", [b""]))

    def _end(self) -> None:
        self.ended = True
        self.loop.stop()

    def _read(self) -> None:
        if os.getpid() != self.session.pid:  # a child that went on with the cell of its parent
            os._exit(0)
        try:
            data = self.wire.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._end()
        for channel, frames in self._unpacker.feed(data):
            if channel == "control":
                self._end()
                continue
            task = self.loop.create_task(self._answer(self.channels[channel], frames))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _answer(self, channel: WireSocket, frames: Iterable[Any]) -> None:
        try:
            await channel.callback([zmq.Frame(frame) for frame in frames])
        finally:
            self._outgoing.flush()


def prepared_app() -> ForkedKernelApp:
    """Return the application of every kernel of this server, prepared up to the fork."""
    import importlib

    for name in IMPORTED_LATER:
        try:
            importlib.import_module(name)
        except ImportError:  # a name of another version; it is imported when it is needed
            continue
    app: ForkedKernelApp = ForkedKernelApp.instance()
    app.prepare()
    return app
