"""The kernel behind the provisioner is a Jupyter kernel: the conformance suite of the Jupyter project passes on it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import jupyter_kernel_test
import nbclient
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel

from pipeline.kernels import ForkServer
from pipeline.kernels.__main__ import install
from tests.kernels.notebooks import notebook, text

pytestmark = pytest.mark.slow
NAME = "forked-under-test"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, kernels: ForkServer) -> Iterator[None]:
    """Install the kernelspec where only these tests look for it, and use the session's server."""
    prefix = tmp_path_factory.mktemp("prefix")
    install(NAME, str(prefix), user=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(prefix / "share" / "jupyter"))
        patch.setenv("FORKED_KERNELS_SOCKET", kernels.address)
        yield


class TestConformance(jupyter_kernel_test.KernelTests):
    """jupyter_kernel_test's suite."""

    kernel_name = NAME
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar[list[dict[str, Any]]] = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples: ClassVar[list[str]] = ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n"]
    incomplete_code_samples: ClassVar[list[str]] = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples: ClassVar[list[str]] = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result: ClassVar[list[dict[str, str]]] = [{"code": "1+2+3", "result": "6"}]
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"}
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


def is_forked(manager: KernelManager, kernels: ForkServer) -> bool:
    """Say whether the kernel's parent is the fork server."""
    status = Path(f"/proc/{manager.provisioner.pid}/status").read_text()
    return f"PPid:\t{kernels.wait_ready()['pid']}" in status


def test_kernels_come_from_the_server(kernels: ForkServer) -> None:
    """The provisioner forks; what is tested here is not an ordinary kernel."""
    manager, client = start_new_kernel(kernel_name=NAME)
    try:
        assert is_forked(manager, kernels)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    assert not manager.is_alive()


def test_interrupt_restart_and_kill(kernels: ForkServer) -> None:
    """An interrupt stops a cell, a restart gives a new process with no state, a killed kernel is seen as dead."""
    manager, client = start_new_kernel(kernel_name=NAME)
    try:
        client.execute_interactive("x = 1", timeout=20)
        # after an error ipykernel aborts for a moment what arrives, unless it was told not to
        waiting = client.execute("import time; time.sleep(60)", stop_on_error=False)
        time.sleep(0.5)
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=20))["parent_header"].get("msg_id") != waiting:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert client.execute_interactive("x", timeout=20)["content"]["status"] == "ok"
        before = manager.provisioner.pid
        manager.restart_kernel()
        client.wait_for_ready(timeout=30)
        assert manager.provisioner.pid != before
        assert client.execute_interactive("x", timeout=20, output_hook=print)["content"]["ename"] == "NameError"
        assert is_forked(manager, kernels)
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        for _ in range(100):
            if not manager.is_alive():
                break
            time.sleep(0.05)
        assert not manager.is_alive()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_nbclient_starts_it_by_name() -> None:
    """nbclient needs nothing but the name of the kernelspec."""
    done = nbclient.NotebookClient(notebook("print('by name')"), kernel_name=NAME).execute()
    assert text(done) == "by name\n"
