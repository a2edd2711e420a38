"""The private parts of other packages that forked kernels use: all of them, and what for.

None of their authors promised these. A server looks for them before it builds its shell, and then has a request
answered (`ForkedKernelApp.specialize`); where something is not as expected it does not start, and whoever wanted a
kernel uses an ordinary one, with a warning that says which part it was. A test compares this list with the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType

KERNEL, APP = "ipykernel.ipkernel:IPythonKernel", "ipykernel.kernelapp:IPKernelApp"
SHELL, HISTORY = "ipykernel.zmqshell:ZMQInteractiveShell", "IPython.core.history:HistoryManager"
PUBLISHER, STREAM = "ipykernel.iostream:IOPubThread", "ipykernel.iostream:OutStream"
CLIENT = "nbclient:NotebookClient"
DISTRIBUTIONS = ("ipykernel", "ipython")


@dataclass(frozen=True)
class Part:
    """One private part: `module` or `module:Class`, its name, and what is done with it.

    `late` is one that the class's own code gives to its instances, so that the class does not have it; without one
    that is not `needed` forked kernels work as well.
    """

    home: str
    name: str
    use: str
    late: bool = False
    needed: bool = True

    def __str__(self) -> str:
        return f"{self.home.replace(':', '.')}.{self.name}"


PARTS = (
    Part("threading", "_shutdown", "called at a kernel's end: waits for threads as the interpreter does"),
    Part("atexit", "_run_exitfuncs", "called at a kernel's end: runs exit handlers as the interpreter does"),
    Part("sys", "_getframe", "says who asks for a variable while libraries are imported"),
    Part("multiprocessing.process", "ORIGINAL_DIR", "set: where workers that are spawned look for modules"),
    Part(KERNEL, "_supports_kernel_subshells", "overridden: there are none"),
    Part(KERNEL, "_publish_status", "overridden: sent together with what follows"),
    Part(KERNEL, "_topic", "called: the topic of results"),
    Part(KERNEL, "_execute_sleep", "set to 0: it is for sockets that overtake each other"),
    Part(KERNEL, "_stdout", "set: the streams that were made after the fork", late=True),
    Part(KERNEL, "_stderr", "set: the streams that were made after the fork", late=True),
    Part(SHELL, "_sys_modules_keys", "set before the fork: to note them after it would copy their memory", late=True),
    Part(APP, "_run_startup_files", "called: what the user's IPython configuration asks for"),
    Part(APP, "_run_exec_lines", "called: the same"),
    Part(APP, "_run_exec_files", "called: the same"),
    Part(HISTORY, "_finalizer", "detached: a history in memory goes with the process", late=True, needed=False),
    Part(PUBLISHER, "_really_send", "called in whatever thread sends"),
    Part(PUBLISHER, "_setup_event_pipe", "overridden: nothing is set up"),
    Part(PUBLISHER, "_setup_pipe_out", "overridden: children of the kernel have a Unix socket"),
    Part(PUBLISHER, "_handle_pipe_msg", "called with what children of the kernel print"),
    Part(PUBLISHER, "_is_master_process", "called: tells the kernel from its children"),
    Part(PUBLISHER, "_pipe_flag", "set: children of the kernel may print", late=True),
    Part(PUBLISHER, "_pipe_uuid", "set: what their messages begin with", late=True),
    Part(STREAM, "_flush", "overridden: sends in the thread that flushes"),
    Part(STREAM, "_is_master_process", "called: tells the kernel from its children"),
    Part(STREAM, "_watch_pipe_fd", "overridden: reads what other programs print"),
    Part(STREAM, "_should_watch", "read: whether that is redirected", late=True),
    Part(STREAM, "_fid", "read: the pipe it is redirected to", late=True),
    Part(STREAM, "_original_stdstream_copy", "written to: where it went before", late=True),
    Part(CLIENT, "_async_poll_kernel_alive", "overridden: a kernel that dies is noticed at once", needed=False),
)


def check_parts(parts: Iterable[Part] = PARTS) -> None:
    """Raise RuntimeError naming the parts that the installed releases do not have."""
    if missing := [str(part) for part in lacking(parts)]:
        raise RuntimeError(f"Forked kernels need what {installed()} do not have: {', '.join(missing)}.")


def installed() -> str:
    """Return the installed releases: `ipykernel 7.2.0, ipython 9.6.0`."""
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in DISTRIBUTIONS)


def lacking(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts that are needed and not there."""
    for part in (part for part in parts if part.needed):
        module, _, name = part.home.partition(":")
        home = getattr(import_module(module), name, None) if name else import_module(module)
        if not (_is_named_by(home, part.name) if part.late else hasattr(home, part.name)):
            yield part


def _is_named_by(owner: object, name: str) -> bool:
    """Say whether the code of a class or of its bases has an attribute of this name."""
    methods = (item for base in inspect.getmro(owner) for item in vars(base).values()) if inspect.isclass(owner) else ()
    return any(name in item.__code__.co_names for item in methods if isinstance(item, FunctionType))
