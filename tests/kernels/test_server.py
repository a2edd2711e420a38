"""A fork server starts only what equals a kernel started afresh, and says why it does not."""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.kernels import ForkClient, ForkServer, ForkServerError, KernelRefusedError, Launch, fork_available
from pipeline.kernels.client import KernelProcess
from pipeline.kernels.protocol import MessageReader
from pipeline.kernels.wire import Unpacker, pack
from tests.kernels.notebooks import NEEDS_FORK, environment, execute, notebook, text


def start(kernels: ForkServer | ForkClient, directory: Path, **changed: str) -> int:
    """Ask for a kernel with these variables changed, and end it; return its process id."""
    with environment():
        launch = Launch(cwd=str(directory), environment={**os.environ, **changed}, argv=["-f", "kernel.json"])
    process = kernels.start(launch, stdout=1, stderr=2)
    process.close()
    return process.pid


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "OMP_NUM_THREADS", "LC_ALL", "MPLCONFIGDIR"])
def test_another_value_of_what_was_read_is_refused(name: str, kernels: ForkServer, tmp_path: Path) -> None:
    """What the interpreter or a library read when it was imported cannot change in a fork, so it is refused by name."""
    with pytest.raises(KernelRefusedError, match=f"{name}=.*'other'"):
        start(kernels, tmp_path, **{name: "other"})


def test_a_module_that_hides_a_library_is_refused(kernels: ForkServer, tmp_path: Path) -> None:
    """A notebook beside its own `numpy.py` would import that one, so no kernel with the real numpy is forked for it."""
    (tmp_path / "numpy.py").write_text("mine = True\n")
    with pytest.raises(KernelRefusedError, match="numpy"):
        start(kernels, tmp_path)


def test_a_directory_that_is_not_there_is_reported(kernels: ForkServer, tmp_path: Path) -> None:
    """The kernel ends with an error of its own; the server goes on."""
    with environment():
        launch = Launch(cwd=str(tmp_path / "missing"), environment=dict(os.environ), argv=["-f", "kernel.json"])
    with (tmp_path / "log").open("wb") as log:
        process = kernels.start(launch, stdout=log.fileno(), stderr=log.fileno())
    assert process.wait(30) == 1
    process.close()
    assert "missing" in (tmp_path / "log").read_text()
    assert start(kernels, tmp_path)


def test_an_end_that_is_told_with_the_start_is_known() -> None:
    """A kernel that ends at once: both messages of the server may arrive in one piece."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = MessageReader(ours)
        theirs.sendall(b'{"pid": 1, "info": {}}\n{"exit": 3}\n')
        assert reader.receive()
        process = KernelProcess(ours, reader, **(reader.next_message() or {}))
        assert (process.poll(), process.wait(1)) == (3, 3)


@pytest.mark.slow
def test_a_refused_notebook_runs_in_an_ordinary_kernel(
    kernels: ForkServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine says why it does not fork, and executes all the same."""
    (tmp_path / "numpy.py").write_text("mine = True\n")
    with caplog.at_level(logging.WARNING, logger="papermill"):
        done = execute(notebook("import numpy\nprint(numpy.mine)"), tmp_path, kernels)
    assert text(done) == "True\n"
    assert "An ordinary kernel is used" in caplog.text


def test_without_fork_ordinary_kernels_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where forking is not available or not wanted, the engine gives the same result another way."""
    monkeypatch.setenv("FORKED_KERNELS", "0")
    assert not fork_available()
    with pytest.raises(ForkServerError, match="ordinary kernels"):
        ForkServer(())
    done = execute(notebook("print('ran')"), tmp_path, None, engine_name="forked")
    assert text(done) == "ran\n"


@pytest.mark.slow
@NEEDS_FORK
def test_threads_that_a_fork_would_lose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that leaves a thread running cannot be preloaded; the error names it."""
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ForkServer(("threaded",)) as server, pytest.raises(ForkServerError, match="threaded"):
        server.wait_ready()


@pytest.mark.slow
@NEEDS_FORK
def test_modules_that_are_missing_or_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is skipped and named; what cannot be imported is an error."""
    (tmp_path / "broken.py").write_text("raise OSError('no licence')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ForkServer(("not_installed_anywhere",)) as server:
        assert server.wait_ready()["missing"] == ["not_installed_anywhere"]
    with ForkServer(("broken",)) as server, pytest.raises(ForkServerError, match="no licence"):
        server.wait_ready()


def test_a_server_is_shared_by_its_address(
    kernels: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process uses a server through a pickled one, or through the environment."""
    assert start(pickle.loads(pickle.dumps(kernels)), tmp_path)
    monkeypatch.setenv("FORKED_KERNELS_SOCKET", kernels.address)
    found = ForkClient.from_environment()
    assert found is not None
    assert found.address == kernels.address
    assert text(execute(notebook("print('ok')"), tmp_path, None, engine_name="forked")) == "ok\n"


def test_a_lost_server_is_said(tmp_path: Path) -> None:
    """Without a server there is an error that says where it was looked for."""
    with pytest.raises(ForkServerError, match="No fork server answers"):
        start(ForkClient(str(tmp_path / "nothing")), tmp_path)


def test_the_socket_is_private(kernels: ForkServer) -> None:
    """Nobody but its owner can ask a server for a kernel."""
    assert Path(kernels.address).parent.stat().st_mode & 0o077 == 0


@NEEDS_FORK
def test_stopping_leaves_nothing(tmp_path: Path) -> None:
    """A server that is stopped removes its directory and its process."""
    with ForkServer(()) as server:
        pid = server.wait_ready()["pid"]
        directory = Path(server.address).parent
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
@NEEDS_FORK
def test_stopping_does_not_wait_for_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked for a server in vain, since a spec was refused, gets the answer at once."""
    begun, done = tmp_path / "begun", tmp_path / "done"
    code = "import time\nfrom pathlib import Path\nPath({!r}).touch()\ntime.sleep(3)\nPath({!r}).touch()"
    (tmp_path / "long_import.py").write_text(code.format(str(begun), str(done)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ForkServer(("long_import",)):
        while not begun.exists():
            time.sleep(0.01)
    assert not done.exists()


def test_wire_takes_any_cut() -> None:
    """Packets arrive whole however the stream is cut."""
    packets = [("shell", [b"a", b""]), ("iopub", []), ("control", [b"x" * 1000]), ("shell", [b"\0" * 3])]
    stream = b"".join(pack(channel, frames) for channel, frames in packets)
    for size in (1, 2, 7, 64, len(stream)):
        unpacker, found = Unpacker(), []
        for begin in range(0, len(stream), size):
            found += list(unpacker.feed(stream[begin : begin + size]))
        assert found == packets


@pytest.mark.slow
@NEEDS_FORK
def test_package_is_usable_alone() -> None:
    """Importing it, its server included, loads no other module of this project."""
    check = (
        "import sys, pipeline.kernels.engine, pipeline.kernels.server, pipeline.kernels.provisioner\n"
        "print([m for m in sys.modules if m.startswith('pipeline.') and not m.startswith('pipeline.kernels')])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
@NEEDS_FORK
def test_command_line(tmp_path: Path) -> None:
    """`install` writes a kernelspec, `serve` runs a program with a server beside it."""
    command = [sys.executable, "-m", "pipeline.kernels"]
    done = subprocess.run([*command, "install", "--prefix", str(tmp_path)], capture_output=True, text=True, check=True)
    spec = json.loads((Path(done.stdout.strip()) / "kernel.json").read_text())
    assert spec["metadata"]["kernel_provisioner"]["provisioner_name"] == "forked-provisioner"
    show = "import os; print(os.path.exists(os.environ['FORKED_KERNELS_SOCKET']))"
    serve = [*command, "serve", "--preload", "json", "--", sys.executable, "-c", show]
    served = subprocess.run(serve, capture_output=True, text=True, check=True)
    assert served.stdout == "True\n"


@pytest.mark.slow
@NEEDS_FORK
def test_the_users_ipython_configuration_counts(tmp_path: Path) -> None:
    """Configuration and startup files of the IPython directory work; a kernel with another configuration is refused."""
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "00.py").write_text("started = 'started'\n")
    (profile / "ipython_config.py").write_text("c.InteractiveShell.ast_node_interactivity = 'all'\n")
    with environment(IPYTHONDIR=str(tmp_path / "ipython")), ForkServer(()) as server:
        done = execute(notebook("started\n1"), tmp_path / "nb", server)
        assert [output["data"]["text/plain"] for output in done.cells[0].outputs] == ["'started'", "1"]
        launch = Launch(cwd=str(tmp_path), environment={**os.environ, "IPYTHONDIR": str(tmp_path / "other")})
        with pytest.raises(KernelRefusedError, match="configuration"):
            server.start(launch, stdout=1, stderr=2)


@pytest.mark.slow
@NEEDS_FORK
def test_directories_made_for_the_server_outlive_its_kernels(tmp_path: Path) -> None:
    """Where no home can be written to, matplotlib makes itself a directory, and removes it at its exit."""
    look = notebook("import matplotlib, os\nprint(os.path.isdir(matplotlib.get_configdir()))")
    nowhere = {"HOME": "/proc/none", "XDG_CONFIG_HOME": None, "XDG_CACHE_HOME": None, "MPLCONFIGDIR": None}
    with environment(**nowhere, IPYTHONDIR=str(tmp_path / "ipython")), ForkServer(("matplotlib.pyplot",)) as server:
        assert [text(execute(look, tmp_path / str(n), server)) for n in range(3)] == ["True\n"] * 3
