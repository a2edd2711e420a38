"""What a fork server has in memory before it forks: an IPython shell without sockets, and the libraries asked for."""

from __future__ import annotations

import contextlib
import fnmatch
import gc
import importlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.kernels.protocol import KernelRefusedError, Launch

if TYPE_CHECKING:
    from pipeline.kernels.shell import ForkedKernelApp

# Threads that may run while the server forks: their owners start them again in the child, or need them in neither.
FORK_SAFE_THREADS = {"jemalloc_bg_thd"}  # pyarrow's allocator has fork handlers of its own

SPECIALIZED_AFTER = 16  # calls of a function, at the most, until CPython rewrites its bytecode no more

# What the interpreter and compiled libraries read by themselves when they start.
FIXED_VARIABLES = (
    "PYTHONHASHSEED", "PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONWARNINGS", "PYTHONDEVMODE",
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS", "MALLOC_ARENA_MAX",
)  # fmt: skip

# What a kernel sets right after the fork, what libraries read again, or only hand on (MLflow its process's identity);
# and what Quarto sets for its kernels, which silences a warning of a debugger.
RENEWED_VARIABLES = {
    "MPLBACKEND", "TZ", "IPYTHONDIR", "JPY_PARENT_PID", "JPY_SESSION_NAME", "PWD", "OLDPWD", "COLUMNS", "LINES",
    "PYTEST_CURRENT_TEST", "_MLFLOW_TELEMETRY_SESSION_ID", "PYDEVD_DISABLE_FILE_VALIDATION",
}  # fmt: skip


@dataclass(frozen=True)
class Preloaded:
    """A prepared server: its shell, its modules, and the environment they were imported in."""

    app: ForkedKernelApp
    kernel_info: Mapping[str, Any]
    directory: Path
    modules: tuple[str, ...]
    missing: tuple[str, ...]
    ours: tuple[str, ...]
    top_level: Mapping[str, str]
    shell_environment: Mapping[str, str]
    configuration: Mapping[str, bytes]
    read: Mapping[str, str | None]

    def check(self, launch: Launch) -> None:
        """Raise KernelRefusedError when a kernel forked for this launch would differ from one started afresh."""
        environment = {**launch.environment, **self.shell_environment}
        for name, value in self.read.items():
            if environment.get(name) != value and not (name == "PYTHONHASHSEED" and name not in environment):
                raise KernelRefusedError(
                    f"The fork server was started with {name}={value!r}, the kernel is to have "
                    f"{environment.get(name)!r}. Give the server the same value (`env`)."
                )
        if launch.argv is None and _configuration(environment) != self.configuration:
            raise KernelRefusedError("The kernel's IPython directory has another configuration than the server's.")
        for name in _hidden(self.top_level, launch.cwd):
            raise KernelRefusedError(
                f"{launch.cwd} has a module {name!r} that hides the preloaded library of that name."
            )


def preload(modules: Sequence[str], warm: Sequence[str], directory: Path) -> Preloaded:
    """Build the shell and import the modules.

    Raises RuntimeError when one starts threads that a fork would lose, and when the installed ipykernel or IPython is
    not as forked kernels need it.
    """
    _leave_working_directory(directory)
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # a test in which the server was started by chance
    before = dict(os.environ)
    if os.environ.get("IPYTHONDIR") == "":
        os.environ["IPYTHONDIR"] = str(directory / "ipython")
    configuration = _configuration(os.environ)
    with _reads_of_the_environment() as read:
        from pipeline.kernels.internals import check_parts
        from pipeline.kernels.shell import prepared_app

        check_parts()
        importlib.import_module("pipeline.kernels.isolate")
        app = prepared_app()
        app.specialize(SPECIALIZED_AFTER)
        shell_environment = {name: value for name, value in os.environ.items() if before.get(name) != value}
        shell_environment.pop("IPYTHONDIR", None)
        known = frozenset(sys.modules)
        with app.kernel.shell.builtin_trap:  # libraries ask for `get_ipython` to see that they are in a notebook
            missing = tuple(name for name in modules if not _import(name))
            _warm_matplotlib()
            _show_table(app.kernel.shell.display_formatter.format)
            for name in warm:
                module, _, function = name.partition(":")
                getattr(importlib.import_module(module), function)()
                check_threads(name)
    asked = {*sys.modules} - known
    ours = _only_the_servers(known, asked)
    imported = tuple(name for name in modules if name not in missing)
    top_level = {name: _location(name) for name in {name.partition(".")[0] for name in asked} - {*ours}}
    gc.collect()
    gc.freeze()
    return Preloaded(
        app,
        {"status": "ok", **app.kernel.kernel_info},
        directory,
        imported,
        missing,
        ours,
        top_level,
        shell_environment,
        configuration,
        _fixed({*read} - {*shell_environment}, before),
    )


def _configuration(environment: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files a kernel with this environment reads its IPython configuration from, by name."""
    home = environment.get("IPYTHONDIR") or os.path.join(environment.get("HOME", ""), ".ipython")  # noqa: PTH118
    with contextlib.suppress(OSError), os.scandir(os.path.join(home, "profile_default")) as entries:  # noqa: PTH118
        return {
            entry.name: Path(entry.path).read_bytes()
            for entry in entries
            if fnmatch.fnmatchcase(entry.name, "ipython*_config.*")
        }
    return {}


def _fixed(read: set[str], environment: Mapping[str, str]) -> dict[str, str | None]:
    names = {*FIXED_VARIABLES, *read} - RENEWED_VARIABLES
    return {name: environment.get(name) for name in sorted(names)}


def _leave_working_directory(directory: Path) -> None:
    """Take the working directory off the import path, where `python -m` has put it, and go where no files are.

    Libraries read settings from the working directory when they are imported: those are each notebook's own.
    """
    if sys.path and sys.path[0] in {"", str(Path.cwd())}:
        del sys.path[0]
    sys.path[:] = [str(Path(entry).absolute()) if entry else entry for entry in sys.path]
    os.chdir(directory)


def _import(name: str) -> bool:
    """Import a module; return False when it is not installed."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name.partition(".")[0]):
            return False
        raise
    check_threads(name)
    return True


def _warm_matplotlib() -> None:
    """Have matplotlib read the entry points of its backends, which the first figure would do."""
    if "matplotlib.pyplot" in sys.modules:
        importlib.import_module("matplotlib.backends").backend_registry.list_all()


def _show_table(show: Callable[[Any], Any]) -> None:
    """Have pandas import what shows a table, and the interpreter specialize it: what does not change is not copied."""
    if "pandas" in sys.modules:
        for _ in range(SPECIALIZED_AFTER):
            show(importlib.import_module("pandas").DataFrame({"x": [1]}))


def check_threads(after: str) -> None:
    """Raise RuntimeError when threads run that a forked process would not have.

    Libraries with fork handlers (OpenBLAS) end their threads at the first fork and start them again when needed, so
    one fork is tried first.
    """
    if not _threads():
        return
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    left = _threads()
    if left:
        raise RuntimeError(
            f"After {after!r} these threads run, and a forked kernel would lose them: {', '.join(left)}."
        )


def _threads() -> list[str]:
    """Return the names of the threads besides the main one, without those that are known to be safe."""
    import threading

    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    others = [task for task in tasks.iterdir() if task.name != str(os.getpid())]
    return sorted({(task / "comm").read_text().strip() for task in others} - FORK_SAFE_THREADS)


def _only_the_servers(known: Collection[str], asked: Collection[str]) -> tuple[str, ...]:
    """Return the modules of this package that only the server needs: a kernel imports them afresh, if at all.

    A project may have a package of this name: it stays only when the server was asked to import from it.
    """
    package = __name__.partition(".")[0]
    stay = {package} if any(name.startswith(f"{package}.") for name in asked) else set()
    return tuple(name for name in known if name.partition(".")[0] == package and name not in stay)


def _location(name: str) -> str:
    """Return where a top-level module or package lies, empty for one without a file."""
    return os.path.realpath(getattr(sys.modules.get(name), "__file__", None) or "")


def _hidden(modules: Mapping[str, str], directory: str) -> Iterator[str]:
    """Yield those of the modules and packages that an import from the directory would find in it instead."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name.removesuffix(".py")
            file = entry.path if name != entry.name else os.path.join(entry.path, "__init__.py")  # noqa: PTH118
            if name in modules and os.path.isfile(file) and os.path.realpath(file) != modules[name]:  # noqa: PTH113
                yield name


@contextlib.contextmanager
def _reads_of_the_environment() -> Iterator[dict[str, None]]:
    """Collect the names of the variables that are asked for one by one, not those copied with the whole environment."""
    names: dict[str, None] = {}
    kind: Any = type(os.environ)
    lookup = kind.__getitem__

    def recording(environment: Any, name: str) -> Any:
        caller = sys._getframe(1).f_code
        if (
            environment is os.environ
            and isinstance(name, str)
            and caller.co_name not in {"__iter__", "copy", "items", "values"}
        ):
            names[name] = None
        return lookup(environment, name)

    kind.__getitem__ = recording
    try:
        yield names
    finally:
        kind.__getitem__ = lookup
