"""What papermill and nbclient document, in ordinary kernels and in forked ones."""

from __future__ import annotations

import asyncio
import io
import logging
import textwrap
import time
from pathlib import Path

import pytest
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from pipeline.kernels import ForkServer
from tests.kernels.notebooks import Dying, execute, notebook, outputs, read, text, texts


def test_parameters_are_injected(either: ForkServer | None, tmp_path: Path) -> None:
    """Values of all kinds arrive, and the parameters cell is followed by the injected one."""
    values = {"number": 1.5, "word": "Ω'\"\\", "many": [1, None, {"a": True}], "nothing": None}
    source = notebook(
        "print(repr(dict(number=number, word=word, many=many, nothing=nothing)))", parameters="number = 0"
    )
    done = execute(source, tmp_path, either, parameters=values)
    assert text(done).strip() == repr(values)
    assert [cell.metadata.tags for cell in done.cells][:2] == [["parameters"], ["injected-parameters"]]


def test_errors_stop_the_notebook(either: ForkServer | None, tmp_path: Path) -> None:
    """A cell that raises ends the execution; the executed notebook holds the error and what ran before."""
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"):
        execute(notebook("print('ran')", "1 / 0", "print('never')"), tmp_path, either)
    _, second, third = outputs(read(tmp_path))
    assert texts(read(tmp_path))[0] == "ran\n"
    assert second[0]["ename"] == "ZeroDivisionError"
    assert third == []


def test_output_of_programs_is_in_the_cell_that_ran_them(kernels: ForkServer, tmp_path: Path) -> None:
    """Also of one that ends at once: what it printed is read before the cell's end is told."""
    done = execute(notebook("import os", *(f"_ = os.system('echo {n}')" for n in range(40))), tmp_path, kernels)
    assert texts(done)[1:] == [f"{n}\n" for n in range(40)]


@pytest.mark.slow
def test_a_program_that_goes_on_printing_holds_nothing_up(kernels: ForkServer, tmp_path: Path) -> None:
    script = "import time\nwhile True:\n    print('more', flush=True)\n    time.sleep(1e-5)"
    source = notebook(
        f"import subprocess, sys\nprogram = subprocess.Popen([sys.executable, '-c', {script!r}])",
        *["import time\ntime.sleep(0.1)"] * 3,
        "program.kill()\nprogram.wait()\nprint('over')",
    )
    done = execute(source, tmp_path, kernels, execution_timeout=30)
    assert "over\n" in texts(done)[-1]


def test_text_that_cannot_be_sent_stops_nothing(kernels: ForkServer, tmp_path: Path) -> None:
    """A lone surrogate is no text; the error is shown, and the next cells run."""
    done = execute(notebook("print('\\ud800')", "print('next')"), tmp_path, kernels, execution_timeout=20)
    assert texts(done)[1] == "next\n"


def test_a_child_that_goes_on_with_the_cell_ends_there(kernels: ForkServer, tmp_path: Path) -> None:
    source = notebook(
        "import os, time\nif os.fork():\n    time.sleep(0.3)\nelse:\n    print('child')", *["print('parent')"] * 5
    )
    done = execute(source, tmp_path, kernels, execution_timeout=20)
    assert texts(done)[1:] == ["parent\n"] * 5


def test_workers_find_the_modules_beside_the_notebook(kernels: ForkServer, tmp_path: Path) -> None:
    """Also when the server was started by a notebook elsewhere: a worker that is spawned looks where its parent is."""
    (tmp_path / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    source = notebook(
        "import beside, multiprocessing as mp\n"
        "with mp.get_context('spawn').Pool(1) as pool:\n    print(pool.map(beside.double, [1, 2]))"
    )
    assert text(execute(source, tmp_path, kernels)) == "[2, 4]\n"


def test_allowed_errors(either: ForkServer | None, tmp_path: Path) -> None:
    """After a cell tagged `raises-exception` the next cells run."""
    source = notebook("1 / 0", "open('after', 'w').close()", tags={0: ["raises-exception"]})
    with pytest.raises(PapermillExecutionError):  # papermill reports the error at the end
        execute(source, tmp_path, either)
    assert (tmp_path / "after").exists()


@pytest.mark.slow
def test_time_limit_of_a_cell(either: ForkServer | None, tmp_path: Path) -> None:
    """A cell beyond its time limit raises CellTimeoutError; what it printed until then is kept."""
    with pytest.raises(CellTimeoutError):
        execute(
            notebook("print('begun', flush=True)\nimport time\ntime.sleep(60)"), tmp_path, either, execution_timeout=2
        )
    assert text(read(tmp_path)) == "begun\n"


@pytest.mark.slow
def test_interrupted_cell(either: ForkServer | None, tmp_path: Path) -> None:
    """With `interrupt_on_timeout` the cell is interrupted, and the kernel lives on with its state."""
    caught = "x = 1\ntry:\n    import time; time.sleep(60)\nexcept KeyboardInterrupt:\n    print('interrupted')"
    done = execute(notebook(caught, "print(x)"), tmp_path, either, execution_timeout=2, interrupt_on_timeout=True)
    assert text(done) == "interrupted\n1\n"


def test_input_is_refused(either: ForkServer | None, tmp_path: Path) -> None:
    """Nobody can answer, so `input` raises at once."""
    with pytest.raises(PapermillExecutionError, match="StdinNotImplementedError"):
        execute(notebook("input('?')"), tmp_path, either)


@pytest.mark.slow
def test_large_outputs(either: ForkServer | None, tmp_path: Path) -> None:
    """Twenty megabytes and ten thousand messages arrive complete and in order."""
    big = "for i in range(10_000): print(i)\nprint('x' * 20_000_000)"
    many = "from IPython.display import display\nfor i in range(300): display(i)"
    shown = text(execute(notebook(big, many), tmp_path, either))
    lines = shown.splitlines()
    assert lines[:10_000] == [str(i) for i in range(10_000)]
    assert len(lines[10_000]) == 20_000_000
    assert len(outputs(read(tmp_path))[1]) == 300


@pytest.mark.slow
def test_large_source(either: ForkServer | None, tmp_path: Path) -> None:
    """A cell may be larger than what a socket holds."""
    assert text(execute(notebook(f"data = {'x' * 3_000_000!r}\nprint(len(data))"), tmp_path, either)) == "3000000\n"


def test_output_arrives_while_the_cell_runs(either: ForkServer | None, tmp_path: Path) -> None:
    """What a cell prints is passed on while it runs, so that progress can be followed."""
    follow = """
        import os, time
        print('first', flush=True)
        for _ in range(600):
            if os.path.exists('seen'):
                break
            time.sleep(0.05)
        print('second', os.path.exists('seen'))
    """

    class Follower(io.StringIO):
        def write(self, part: str) -> int:
            if "first" in part:
                (tmp_path / "seen").touch()
            return super().write(part)

    follower = Follower()
    execute(notebook(textwrap.dedent(follow)), tmp_path, either, stdout_file=follower)
    assert follower.getvalue() == "first\nsecond True\n"


def test_progress_is_saved(either: ForkServer | None, tmp_path: Path) -> None:
    """Which cells are done and which one is running can be read from the output file, within a moment."""
    peek = """
        import json, time
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                cells = json.load(open('out.ipynb'))['cells']
            except ValueError:  # papermill writes into the file itself: for a moment it is empty
                continue
            shown = [cell['metadata']['papermill']['status'] for cell in cells]
            if shown[1] == 'running':
                break
            time.sleep(0.02)
        print(shown, cells[0]['outputs'][0]['text'])
    """
    shown = text(execute(notebook("print('before')", textwrap.dedent(peek), "2"), tmp_path, either))
    assert shown == "before\n['completed', 'running', 'pending'] ['before\\n']\n"


def test_output_log(either: ForkServer | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With `log_output` what cells print goes to papermill's log."""
    with caplog.at_level(logging.INFO, logger="papermill"):
        execute(notebook("print('into the log')"), tmp_path, either, log_output=True)
    assert "into the log" in caplog.text


def test_language_info(either: ForkServer | None, tmp_path: Path) -> None:
    """The executed notebook says which Python executed it."""
    assert execute(notebook("1"), tmp_path, either).metadata.language_info.name == "python"


def test_within_a_running_event_loop(either: ForkServer | None, tmp_path: Path) -> None:
    """Papermill can be called where an event loop runs already, as in a notebook."""

    async def inside() -> str:
        return text(execute(notebook("print('ok')"), tmp_path, either))

    assert asyncio.run(inside()) == "ok\n"


def test_sequence_in_one_process(either: ForkServer | None, tmp_path: Path) -> None:
    """Several notebooks one after another use a kernel each."""
    pids = {text(execute(notebook("import os\nprint(os.getpid())"), tmp_path, either)) for _ in range(3)}
    assert len(pids) == 3


def test_exit_in_a_cell(either: ForkServer | None, tmp_path: Path) -> None:
    """`exit()` ends the kernel kindly: its exit handlers run."""
    source = notebook("import atexit\natexit.register(lambda: open('handled', 'w').close())\nexit()")
    execute(source, tmp_path, either)
    for _ in range(100):
        if (tmp_path / "handled").exists():
            break
        time.sleep(0.05)
    assert (tmp_path / "handled").exists()


def test_a_kernel_that_dies_early_is_followed_by_an_ordinary_one(
    kernels: ForkServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first cell nothing was done, so the notebook is executed; the log says by what."""
    done = execute(notebook("print('ran')", "print('on')"), tmp_path, Dying(kernels))
    assert text(done) == "ran\non\n"
    assert "An ordinary kernel is used. The forked one died before the first cell." in caplog.text


def test_a_cell_that_ends_its_kernel_is_executed_once(kernels: ForkServer, tmp_path: Path) -> None:
    """Also when it is the first: what it did is not done again in another kernel."""
    for number in range(5):
        with pytest.raises(DeadKernelError):
            execute(notebook(f"open('ran', 'a', 1).write('{number}\\n')\nimport os; os._exit(1)"), tmp_path, kernels)
    assert (tmp_path / "ran").read_text().split() == ["0", "1", "2", "3", "4"]


def test_engine_is_found_by_its_name(tmp_path: Path) -> None:
    """`papermill --engine forked` works for anybody who has installed this package: it is an entry point."""
    from papermill.engines import papermill_engines

    from pipeline.kernels.entry import ForkedEngine

    assert papermill_engines.get_engine("forked") is ForkedEngine
