"""What a forked process does before it is a kernel, and when it ends."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import locale
import os
import random
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.kernels.protocol import Launch, MessageReader

if TYPE_CHECKING:
    from pipeline.kernels.preload import Preloaded

PR_SET_PDEATHSIG = 1
INLINE = "module://matplotlib_inline.backend_inline"  # what ipykernel uses unless MPLBACKEND says otherwise


def become_process(preloaded: Preloaded) -> None:
    """Be a process of one's own after the fork: session, signals, random numbers, modules."""
    server = os.getppid()
    os.setsid()
    _die_with(server)
    _own_random_numbers()
    _own_modules(preloaded.ours)
    atexit.unregister(shutil.rmtree)  # of directories that libraries made for the server and all its kernels
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def run_spare(orders: socket.socket, preloaded: Preloaded) -> int:
    """Be a kernel that is ready to start: wait for a request, then run it to its end; return the exit code."""
    become_process(preloaded)
    preloaded.app.begin(preloaded.directory)
    reader = MessageReader(orders)
    while (message := reader.next_message()) is None:
        if not reader.receive():
            return 0
    orders.close()
    _follow(Launch(**message), reader.descriptors, preloaded)
    wire = socket.socket(fileno=reader.descriptors[2])
    _be_named(["-f", str(preloaded.directory / f"{os.getpid()}.json"), "--HistoryManager.hist_file=:memory:"])
    preloaded.app.connect(wire)
    preloaded.app.run()
    code = end(preloaded.app.kernel)
    if not _children_run():  # those are killed by the server, and the client is to wait for that
        preloaded.app.say_goodbye()
    return code


def run_sockets(launch: Launch, descriptors: list[int], preloaded: Preloaded) -> int:
    """Be a kernel with the sockets of a connection file: an ordinary one with libraries in memory."""
    from ipykernel.kernelapp import IPKernelApp

    become_process(preloaded)
    _follow(launch, descriptors, preloaded)
    prepared = preloaded.app
    for singleton in (prepared.kernel.shell, prepared.kernel, prepared):
        singleton.clear_instance()
    atexit.unregister(prepared.kernel.shell.atexit_operations)
    arguments = list(launch.argv or ())
    _be_named(arguments)
    app = IPKernelApp.instance(parent_handle=os.getppid())
    app.initialize(arguments)
    app.start()
    code = end(app.kernel)
    app.close()
    return code


def _follow(launch: Launch, descriptors: list[int], preloaded: Preloaded) -> None:
    """Take on the working directory, streams, environment and limits of a request."""
    _own_streams(*descriptors[:2])
    os.chdir(launch.cwd)
    _own_multiprocessing()
    _own_environment(launch, preloaded.shell_environment)
    _own_memory(launch.memory)
    _own_matplotlib()


def end(kernel: Any) -> int:
    """Do what the interpreter does at its end, without taking apart the memory shared with the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.shell.reset = functools.partial(_release, kernel.shell)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    kernel.shell.user_ns.clear()
    gc.collect()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    return 0


def _release(shell: Any, **_: Any) -> None:
    """Let go of the user's objects; IPython's own `reset` would also make the shell ready for others.

    A history in memory goes with the process: to close it would be to copy it first.
    """
    shell.displayhook.flush()
    for name in {*shell.user_ns} - {"__builtin__", "__builtins__", "__name__"}:  # what `__del__` methods may need
        shell.user_ns.pop(name, None)
    history = shell.history_manager
    if history is not None and history.hist_file == ":memory:":
        with contextlib.suppress(AttributeError):  # of another IPython
            history._finalizer.detach()
        shell.history_manager = None


def _children_run() -> bool:
    """Say whether a child process of this kernel still runs."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True


def _die_with(server: int) -> None:
    """Have the kernel killed when the server ends in whatever way; elsewhere than on Linux the wire's end does it."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)


def _own_streams(stdout: int, stderr: int) -> None:
    """Print to these descriptors; a kernel that has redirected 1 and 2 already keeps copies of what they were."""
    null = os.open(os.devnull, os.O_RDONLY)
    copies = [getattr(stream, "_original_stdstream_copy", None) for stream in (sys.stdout, sys.stderr)]
    for source, target in ((null, 0), (stdout, copies[0] or 1), (stderr, copies[1] or 2)):
        os.dup2(source, target)
        os.close(source)


def _own_environment(launch: Launch, of_shell: Mapping[str, str]) -> None:
    """Have the environment of the request, and what the kernel's own libraries add to it."""
    for name in list(os.environ):  # `clear` lists them anew for each
        del os.environ[name]
    os.environ.update(launch.environment)
    os.environ.setdefault("MPLBACKEND", INLINE)
    os.environ.update({name: value for name, value in of_shell.items() if name != "MPLBACKEND"})
    os.environ["JPY_PARENT_PID"] = str(os.getppid())
    time.tzset()
    locale.setlocale(locale.LC_CTYPE, "")


def _own_memory(limit: int | None) -> None:
    """Limit what may be allocated beyond what came with the fork."""
    if limit is None:
        return
    import resource

    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    start = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)
    resource.setrlimit(resource.RLIMIT_DATA, (start + limit, start + limit))


def _own_random_numbers() -> None:
    """Seed the global generators anew: a fork copies their state."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _own_modules(ours: tuple[str, ...]) -> None:
    """Forget the server's own modules: a notebook imports the code of its own project afresh."""
    for name in ours:
        sys.modules.pop(name, None)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(child, None)


def _own_multiprocessing() -> None:
    """Let workers that are spawned look for modules where an ordinary kernel's would."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.ORIGINAL_DIR = str(Path.cwd())
        sys.modules["__mp_main__"] = sys.modules["__main__"]


def _own_matplotlib() -> None:
    """Give a matplotlib that is loaded already the backend and the `matplotlibrc` it would find now."""
    matplotlib: Any = sys.modules.get("matplotlib")
    if matplotlib is None:
        return
    if Path("matplotlibrc").is_file():
        matplotlib.rcParams.update(matplotlib.rc_params())
    backend = os.environ["MPLBACKEND"] or INLINE
    if backend != matplotlib.get_backend(auto_select=False):
        matplotlib.rcParams["backend"] = backend


def _be_named(argv: list[str]) -> None:
    """Have the command line of an ordinary kernel."""
    import ipykernel

    sys.argv[:] = [str(Path(ipykernel.__file__).parent.parent / "ipykernel_launcher.py"), *argv]
    sys.orig_argv[:] = [sys.executable, "-m", "ipykernel_launcher", *argv]
