"""A notebook executed for a run: which bytes are executed, which error is the error, and how it may end early."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest

from pipeline.errors import CellFailedError, KernelDiedError, RunFailedError
from pipeline.kernels import ForkServer
from pipeline.notebook.execute import Executed, execute_notebook
from pipeline.notebook.request import KernelRequest
from pipeline.notebook.template import read_notebook
from tests.kernels.notebooks import NEEDS_FORK, Dying
from tests.notebooks import write_notebook
from tests.tiers import mostly_slow


@pytest.fixture(params=[pytest.param("fresh", marks=pytest.mark.slow), "forked"])
def kernels(request: pytest.FixtureRequest) -> ForkServer | None:
    """Return where kernels come from: once the fork server, once None for fresh ones."""
    return request.getfixturevalue("server") if request.param == "forked" else None


def execute(
    directory: Path, kernels: ForkServer | None, *cells: str, tags: dict[int, list[str]] | None = None
) -> Executed:
    """Execute these cells, which follow the parameters cell; `tags` are those of a cell by its place in the file."""
    path = write_notebook(directory / "in.ipynb", *cells)
    notebook = nbformat.read(path, as_version=4)
    for place, given in (tags or {}).items():
        notebook.cells[place].metadata["tags"] = given
    nbformat.write(notebook, path)
    return execute_file(path, directory, kernels)


def execute_file(path: Path, directory: Path, kernels: object) -> Executed:
    own = {"EVIDENCE_SEED": "7", "EVIDENCE_MODULES_FILE": str(directory / "modules.json"), "PYTHONHASHSEED": "0"}
    request = KernelRequest(cwd=directory, log=directory / "kernel.log", environment={**os.environ, **own, "TZ": "UTC"})
    return execute_notebook(
        read_notebook(path),
        directory / "out.ipynb",
        {},
        request,
        root=directory,
        kernels=kernels,  # type: ignore[arg-type]
    )


def shown(directory: Path) -> str:
    """Return what the executed notebook printed."""
    cells = nbformat.read(directory / "out.ipynb", as_version=4).cells
    return "".join(o["text"] for cell in cells for o in cell.get("outputs", []) if o["output_type"] == "stream")


ERRORS = [
    ("%no_such_magic", "UsageError", "Line magic function `%no_such_magic` not found."),
    ("%md\n# A heading", "UsageError", "Line magic function `%md` not found."),
    ("%%timeit -n 1 -r 1\n1 / 0", "ZeroDivisionError", "division by zero"),
    ("%%bash\nexit 3", "CalledProcessError", "returned non-zero exit status 3"),
    ("raise ValueError('caf\\udce9')", "ValueError", "caf"),
    ("raise ValueError('a\\ud800b')", "ValueError", "a\\ud800b"),
    ("raise ExceptionGroup('two', [ValueError(1), KeyError('k')])", "ExceptionGroup", "two (2 sub-exceptions)"),
    ("raise KeyboardInterrupt('by hand')", "KeyboardInterrupt", "by hand"),
    ("x = (", "SyntaxError", "incomplete input"),
    ("import asyncio\nawait asyncio.sleep(0)\nraise OSError('late')", "OSError", "late"),
    ("import warnings\nwarnings.simplefilter('error')\nwarnings.warn('strict')", "UserWarning", "strict"),
    ("raise type('Own', (BaseException,), {})('base')", "Own", "base"),
    ("class E(Exception):\n    def __str__(self): raise RuntimeError('no text')\nraise E()", "RuntimeError", "no text"),
]


@pytest.mark.parametrize(
    ("cell", "ename", "evalue"), mostly_slow(ERRORS, 0, 2, 5), ids=[f"{ename} {evalue}" for _, ename, evalue in ERRORS]
)
def test_the_error_is_the_kernels(
    server: ForkServer | None, tmp_path: Path, cell: str, ename: str, evalue: str
) -> None:
    """Name, text and cell of an error are those of the kernel's reply, whether or not there is an error output."""
    with pytest.raises(CellFailedError) as failed:
        execute(tmp_path, server, "x = 1", cell, "print('never')")
    error = failed.value
    assert (error.cell, error.ename) == (2, ename)
    assert evalue in error.evalue
    assert error.traceback
    assert str(error).startswith(f"{ename}: ")
    assert "in cell 2 of the notebook, counted from 0" in str(error)
    assert "never" not in shown(tmp_path)


def test_a_long_error_is_shortened(server: ForkServer | None, tmp_path: Path) -> None:
    """Message and record of an error are bounded and say how much they leave out; the notebook has all of it."""
    with pytest.raises(CellFailedError) as failed:
        execute(tmp_path, server, "raise ValueError('begin' + 'x' * 100_000 + 'end')")
    assert len(str(failed.value)) < 1_200
    assert "characters left out" in str(failed.value)
    assert failed.value.evalue.startswith("begin")
    assert failed.value.evalue.endswith("end")
    assert len(failed.value.traceback) < 60_000
    assert "x" * 100_000 in (tmp_path / "out.ipynb").read_text()


def test_the_cell_that_failed_is_named_and_marked(kernels: ForkServer | None, tmp_path: Path) -> None:
    """A cell tagged `raises-exception` may raise: it is neither the error, nor marked as one."""
    tags = {1: ["raises-exception"]}
    with pytest.raises(CellFailedError, match=r"KeyError: 'real' \(in cell 2 of the notebook"):
        execute(tmp_path, kernels, "1 / 0", "raise KeyError('real')", "x = 1", tags=tags)
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    marked = [number for number, cell in enumerate(cells) if "papermill-error-cell-tag" in cell.metadata.tags]
    assert marked == [0, 3]
    assert cells[4].source == "raise KeyError('real')"


def test_an_error_that_is_allowed_is_no_failure(kernels: ForkServer | None, tmp_path: Path) -> None:
    """The tag `raises-exception` is honoured, as nbclient does; what comes after such a cell runs."""
    executed = execute(tmp_path, kernels, "1 / 0", "print('after')", tags={1: ["raises-exception"]})
    assert executed == Executed((), None)
    assert shown(tmp_path) == "after\n"


@pytest.mark.parametrize(
    "call", mostly_slow(["exit()", "quit()", "import sys; sys.exit()", "import sys; sys.exit(0)"], 0, 2)
)
def test_a_notebook_that_ends_itself(kernels: ForkServer | None, tmp_path: Path, call: str) -> None:
    """The call is named with its cell and the cells that did not run; modules are recorded all the same."""
    (tmp_path / "mine.py").write_text("value = 1\n")
    executed = execute(tmp_path, kernels, "import mine", call, "print('never')", "", "x = 1")
    name = "sys.exit()" if "sys" in call else "exit()"
    assert (
        executed.left_early
        == f"The notebook called {name} in cell 2 of the notebook, counted from 0. Not run: cells 3, 5."
    )
    assert "never" not in shown(tmp_path)
    assert "mine" in json.loads((tmp_path / "modules.json").read_bytes())


def test_an_exit_in_the_last_cell_is_none(server: ForkServer | None, tmp_path: Path) -> None:
    """Nothing is said when nothing was left out."""
    assert execute(tmp_path, server, "x = 1", "exit()").left_early is None


def test_an_exit_with_a_reason_is_an_error(server: ForkServer | None, tmp_path: Path) -> None:
    """`sys.exit` with anything but success is a failed cell, and the message says what it is."""
    with pytest.raises(
        CellFailedError, match=r"SystemExit: no data \(in cell 1 .*\): .* sys\.exit\. Not run: cell 2\."
    ):
        execute(tmp_path, server, "import sys; sys.exit('no data')", "x = 1")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("import os\nos._exit(7)", "ended by itself, with exit code 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    ],
)
def test_how_a_kernel_ended_is_said(kernels: ForkServer | None, tmp_path: Path, cell: str, said: str) -> None:
    """A dead kernel is told with its exit code or signal, and the cell that ended it ran once."""
    with pytest.raises(KernelDiedError, match=said) as died:
        execute(tmp_path, kernels, "open('ran', 'a').write('x')", cell)
    assert died.value.cell == 2
    assert (tmp_path / "ran").read_text() == "x"


@pytest.mark.slow
@NEEDS_FORK
def test_a_forked_kernel_that_dies_early_is_followed_by_a_fresh_one(server: ForkServer, tmp_path: Path) -> None:
    """Before the first cell nothing has been done that could not be done again; the run carries a note."""
    write_notebook(tmp_path / "in.ipynb", "print('ran')")
    executed = execute_file(tmp_path / "in.ipynb", tmp_path, Dying(server))
    assert executed.notes == ("A fresh kernel was used, not a forked one. The forked one died before the first cell.",)
    assert shown(tmp_path) == "ran\n"


@pytest.mark.slow
def test_a_module_beside_the_notebook_is_told(tmp_path: Path) -> None:
    """In Jupyter it would be imported: the error says where modules come from, and only for one that is there."""
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "mine.py").write_text("")
    write_notebook(folder / "in.ipynb", "import mine.part")
    with pytest.raises(CellFailedError, match=r"mine\.py lies beside the notebook.*append\('deep'\)"):
        execute_file(folder / "in.ipynb", tmp_path, None)
    write_notebook(folder / "in.ipynb", "import yours")
    with pytest.raises(CellFailedError, match="No module named 'yours'") as told:
        execute_file(folder / "in.ipynb", tmp_path, None)
    assert "beside" not in str(told.value)


def test_a_kernel_that_cannot_be_prepared_fails_the_run(kernels: ForkServer | None, tmp_path: Path) -> None:
    """Numbers that were not seeded, and modules that were not recorded, are no evidence."""
    with pytest.raises(RunFailedError, match=r"could not record which modules it imported: \w+Error: "):
        execute(tmp_path, kernels, "import pipeline.files\npipeline.files.write_json = None")


@pytest.mark.slow
def test_a_module_that_hides_a_library_is_named(tmp_path: Path) -> None:
    """No run can be made beside a `numpy.py`: the error says which file is imported in place of which library."""
    (tmp_path / "numpy.py").write_text("")
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(RunFailedError, match=r"could not be prepared: .*Python imports [^,]*numpy\.py in place of"):
        execute(tmp_path, None, "x = 1")


@pytest.mark.slow
def test_a_module_that_hides_what_the_run_needs_not_is_the_notebooks(tmp_path: Path) -> None:
    """Beside a `yaml.py` a notebook imports that one, as in Jupyter."""
    (tmp_path / "yaml.py").write_text("value = 7\n")
    execute(tmp_path, None, "import yaml\nprint(yaml.value)")
    assert shown(tmp_path) == "7\n"


def test_a_notebook_may_make_errors_of_warnings_and_clear_its_environment(
    kernels: ForkServer | None, tmp_path: Path
) -> None:
    """What is done after its last cell does not depend on what it left."""
    cell = "import os, warnings\nwarnings.simplefilter('error')\nos.environ.clear()\nos.chdir('/')"
    assert execute(tmp_path, kernels, cell) == Executed((), None)
    assert json.loads((tmp_path / "modules.json").read_bytes())


def test_the_bytes_that_were_read_are_executed(server: ForkServer | None, tmp_path: Path) -> None:
    """A file that is replaced after it was digested is not what is executed."""
    path = write_notebook(tmp_path / "in.ipynb", "print('digested')")
    given = read_notebook(path)
    write_notebook(path, "print('another')")
    own = {"EVIDENCE_SEED": "7", "EVIDENCE_MODULES_FILE": str(tmp_path / "modules.json"), "PYTHONHASHSEED": "0"}
    request = KernelRequest(cwd=tmp_path, log=tmp_path / "kernel.log", environment={**os.environ, **own, "TZ": "UTC"})
    execute_notebook(given, tmp_path / "out.ipynb", {}, request, root=tmp_path, kernels=server)
    assert shown(tmp_path) == "digested\n"


def test_braces_in_a_path_are_letters(server: ForkServer | None, tmp_path: Path) -> None:
    """papermill would fill them with parameters, and execute another file."""
    folder = tmp_path / "{0} {run_id}" / "}{"
    folder.mkdir(parents=True)
    write_notebook(folder / "nb_.ipynb", "print('another')")
    path = write_notebook(folder / "nb_{x}.ipynb", "print('this one')")
    execute_file(path, folder, server)
    assert shown(folder) == "this one\n"
    metadata = nbformat.read(folder / "out.ipynb", as_version=4).metadata.papermill
    assert (metadata.input_path, metadata.output_path) == ("nb_{x}.ipynb", "out.ipynb")


def test_text_that_is_none_is_shown(kernels: ForkServer | None, tmp_path: Path) -> None:
    """Half of a surrogate pair in what a cell prints is shown by its code point, not lost."""
    execute(tmp_path, kernels, "print('a\\ud800b')")
    assert shown(tmp_path) == "a\\ud800b\n"
