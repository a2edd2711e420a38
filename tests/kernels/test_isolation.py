"""What happens in one forked kernel stays there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from pipeline.kernels import ForkServer
from tests.kernels.notebooks import NEEDS_FORK, PRELOAD, environment, execute, execute_in_thread, notebook, text

LOOK = """
import os, random, sys, threading, numpy as np, pandas as pd, matplotlib.pyplot as plt, warnings, logging, decimal
print(pd.options.display.max_rows, plt.rcParams['lines.linewidth'], np.get_printoptions()['precision'])
print(sorted(os.environ)[:3], 'LEAK' in os.environ, os.getcwd(), os.umask(0o22), time.tzname if 'time' in dir() else '')
print('colorsys' in sys.modules, hasattr(np, 'leak'), hasattr(__builtins__, 'leak'), '/leak' in sys.path)
print(threading.active_count(), len(plt.get_fignums()), warnings.filters[0], logging.getLogger().handlers)
print(decimal.getcontext().prec, sys.getrecursionlimit(), len(os.listdir('/proc/self/fd')))
"""

CHANGE = """
import os, random, sys, threading, time, numpy as np, pandas as pd, matplotlib.pyplot as plt, warnings, logging, decimal
pd.options.display.max_rows = 1; plt.rcParams['lines.linewidth'] = 99; np.set_printoptions(precision=1)
os.environ['LEAK'] = '1'; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset(); os.umask(0o77); os.chdir('/')
import colorsys; np.leak = 1; import builtins; builtins.leak = 1; sys.path.insert(0, '/leak')
threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); plt.figure()
warnings.simplefilter('ignore'); logging.basicConfig(); decimal.getcontext().prec = 3; sys.setrecursionlimit(5000)
files = [open(os.devnull) for _ in range(50)]
"""

pytestmark = [pytest.mark.slow, NEEDS_FORK]


def test_nothing_leaks_into_the_next_kernel(kernels: ForkServer, tmp_path: Path) -> None:
    """Options, environment, modules, directories, threads, files, filters of one notebook are not seen by another."""
    before = text(execute(notebook(LOOK), tmp_path, kernels))
    execute(notebook(CHANGE), tmp_path, kernels)
    assert text(execute(notebook(LOOK), tmp_path, kernels)) == before


def test_random_numbers_differ_between_kernels(kernels: ForkServer, tmp_path: Path) -> None:
    """A fork copies the state of generators, so every kernel seeds them anew, and a seeded one repeats itself."""
    draw = "import random, numpy as np, uuid\nprint(random.random(), np.random.rand(), uuid.uuid4())"
    assert text(execute(notebook(draw), tmp_path, kernels)) != text(execute(notebook(draw), tmp_path, kernels))
    seeded = "import random, numpy as np\nrandom.seed(1); np.random.seed(1)\nprint(random.random(), np.random.rand())"
    assert text(execute(notebook(seeded), tmp_path, kernels)) == text(execute(notebook(seeded), tmp_path, kernels))


def test_a_kernel_has_what_its_request_says(kernels: ForkServer, tmp_path: Path) -> None:
    """Environment, directory and time zone come from the request, not from the server."""
    look = notebook("import os, time\nprint(os.environ['ONLY_HERE'], time.tzname, os.getcwd())")
    with environment(TZ="Asia/Tokyo", ONLY_HERE="yes"):
        shown = text(execute(look, tmp_path, kernels))
    assert shown == f"yes ('JST', 'JST') {tmp_path}\n"
    absent = text(execute(notebook("import os\nprint('ONLY_HERE' in os.environ)"), tmp_path, kernels))
    assert absent == "False\n"


def test_modules_of_this_package_are_not_in_a_kernel(kernels: ForkServer, tmp_path: Path) -> None:
    """A notebook imports the code of its own project afresh; nothing of the server's is there."""
    look = notebook("import sys\nprint([name for name in sys.modules if 'pipeline' in name])")
    shown = text(execute(look, tmp_path, kernels))
    assert shown == "[]\n"


@pytest.mark.parametrize(
    "death", ["import os; os._exit(3)", "import ctypes; ctypes.string_at(0)", "import os; os.kill(os.getpid(), 9)"]
)
def test_a_kernel_that_dies_kills_no_other(death: str, kernels: ForkServer, tmp_path: Path) -> None:
    """`os._exit`, a segmentation fault and SIGKILL end one notebook at once, with DeadKernelError; the others go on."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(
            execute_in_thread, notebook("import time\ntime.sleep(1.5)\nprint('alive')"), tmp_path / "other", kernels
        )
        begin = time.monotonic()
        with pytest.raises(DeadKernelError):
            execute(notebook("print('before')", death), tmp_path / "dying", kernels)
        took = time.monotonic() - begin
        assert text(other.result()) == "alive\n"
    assert took < 30, "a death is noticed without waiting for a time limit"


def test_memory_limit(kernels: ForkServer, tmp_path: Path) -> None:
    """A limit turns memory that blows up into MemoryError in the notebook that asked for it, and in no other."""
    grow = notebook("import numpy as np\nprint(np.ones(4_000_000).nbytes)", "np.ones(100_000_000)")
    with pytest.raises(PapermillExecutionError, match="MemoryError"):
        execute(grow, tmp_path, kernels, memory=300_000_000)
    execute(notebook("import numpy as np\nbig = np.ones(100_000_000)"), tmp_path, kernels)


def test_endless_loop_is_ended(kernels: ForkServer, tmp_path: Path) -> None:
    """A cell that does not end is ended by the time limit, and its process with it."""
    pid_file = tmp_path / "pid"
    loop = notebook(f"import os\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\nwhile True: pass")
    with pytest.raises(CellTimeoutError):
        execute(loop, tmp_path, kernels, execution_timeout=1)
    assert _gone(int(pid_file.read_text()))


def test_processes_left_behind_are_killed(kernels: ForkServer, tmp_path: Path) -> None:
    """What a notebook started and did not wait for ends with its kernel."""
    started = "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)"
    pid = int(text(execute(notebook(started), tmp_path, kernels)))
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_work_is_finished_before_the_kernel_ends(kernels: ForkServer, tmp_path: Path) -> None:
    """As in an ordinary kernel, exit handlers run, threads are waited for, and open files are written at the end."""
    last = """
        import atexit, threading, time
        def late(name):
            time.sleep(0.3)
            open(name, 'w').write('done')
        atexit.register(late, 'handler')
        threading.Thread(target=late, args=('thread',)).start()
        unclosed = open('file', 'w')
        _ = unclosed.write('done')
    """
    execute(notebook(textwrap.dedent(last)), tmp_path, kernels)
    assert [(tmp_path / name).read_text() for name in ("handler", "thread", "file")] == ["done"] * 3


def test_many_kernels_at_once(kernels: ForkServer, tmp_path: Path) -> None:
    """Threads share one server; every notebook gets its own parameters and process."""
    source = notebook("import os\nprint(value, os.getpid())", parameters="value = 0")
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(execute_in_thread, source, tmp_path / str(i), kernels, parameters={"value": i})
            for i in range(8)
        ]
        shown = [text(run.result()).split() for run in runs]
    assert [int(value) for value, _ in shown] == list(range(8))
    assert len({pid for _, pid in shown}) == 8


def test_nothing_survives_a_killed_owner(tmp_path: Path) -> None:
    """When the process that owns the server is killed, the server and its busy kernels end too."""
    script = tmp_path / "owner.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pathlib import Path
        from pipeline.kernels import ForkServer
        from tests.kernels.notebooks import execute, notebook
        with ForkServer(("numpy",)) as server:
            print(server.wait_ready()["pid"], server.address, flush=True)
            execute(notebook("import os\\nopen('kernel', 'w').write(str(os.getpid()))\\nwhile True: pass"),
                    Path({str(tmp_path)!r}), server)
        """)
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid, address = owner.stdout.readline().split()
    server, directory = int(pid), Path(address).parent
    while not (tmp_path / "kernel").is_file() or not (tmp_path / "kernel").read_text():
        assert owner.poll() is None
        time.sleep(0.05)
    kernel = int((tmp_path / "kernel").read_text())
    assert psutil.pid_exists(server)
    assert psutil.pid_exists(kernel)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert _gone(server)
    assert _gone(kernel)
    assert not directory.exists()


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
def test_nothing_survives_an_owner_that_is_killed_early(tmp_path: Path, seconds: float) -> None:
    """A server that still imports notices at once, not when it has imported everything, and leaves no directory."""
    script = tmp_path / "owner.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pipeline.kernels import ForkServer
        server = ForkServer(("numpy", "slow_to_import"))
        print(server._process.pid, server.address, flush=True)
        time.sleep(600)
        """)
    )
    (tmp_path / "slow_to_import.py").write_text("import time\nfor _ in range(6000):\n    time.sleep(0.01)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    pid, address = owner.stdout.readline().split()
    time.sleep(seconds)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert _gone(int(pid))
    assert not Path(address).parent.exists()


def test_kernels_die_with_the_server(tmp_path: Path) -> None:
    """A server that is killed takes its kernels along, and the notebook's client says that the kernel died."""
    with ForkServer(("numpy",)) as server:
        pid = server.wait_ready()["pid"]
        threading.Timer(1.0, os.kill, (pid, signal.SIGKILL)).start()
        with pytest.raises(DeadKernelError):
            execute(
                notebook("open('kernel', 'w').write(str(__import__('os').getpid()))\nwhile True: pass"),
                tmp_path,
                server,
            )
    assert _gone(int((tmp_path / "kernel").read_text()))


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Neither the server nor its client grows with the number of kernels, and no descriptor is left open."""
    with ForkServer(PRELOAD) as server:
        processes = psutil.Process(server.wait_ready()["pid"]), psutil.Process()
        used = []
        for count in range(60):
            execute(notebook("1 + 1"), tmp_path, server)
            if count in {19, 59}:
                used.append([(process.memory_info().rss, _descriptors(process)) for process in processes])
    (server_before, client_before), (server_after, client_after) = used
    assert server_after[0] - server_before[0] < 5_000_000
    assert client_after[0] - client_before[0] < 15_000_000
    assert server_after[1] == server_before[1]
    assert client_after[1] == client_before[1]


def _descriptors(process: psutil.Process) -> int:
    """Count open descriptors at rest, the least seen in a second: an ended kernel is hung up on a moment later."""
    counts = []
    for _ in range(20):
        counts.append(process.num_fds())
        time.sleep(0.05)
    return min(counts)


def _gone(pid: int) -> bool:
    """Wait a moment for the end of a process; a zombie that somebody else has to reap counts as ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for _ in range(100):
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(0.1)
                return True
        return False
    return True
