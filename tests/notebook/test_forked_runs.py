"""A run in a forked kernel is the run it would have been in a fresh one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import pipeline
from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import CellFailedError, CellTimeoutError, KernelDiedError
from pipeline.kernels import ForkServer
from pipeline.notebook.execute import execute_notebook
from pipeline.notebook.forked import WARM_FOR_MANY_BARS, fork_server
from pipeline.notebook.request import KernelRequest
from pipeline.notebook.template import read_notebook
from pipeline.run import Run
from pipeline.runner import run_backtest
from pipeline.settings import Settings
from pipeline.spec import read_spec
from tests.kernels.notebooks import NEEDS_FORK
from tests.notebooks import write_notebook

pytestmark = NEEDS_FORK

PACKAGE = Path(pipeline.__file__).parent


def request(directory: Path, **changed: object) -> KernelRequest:
    """Return what the runner asks for, for a kernel in `directory`."""
    own = {
        "EVIDENCE_SEED": "7",
        "EVIDENCE_MODULES_FILE": str(directory / "modules.json"),
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
    }
    return KernelRequest(cwd=directory, log=directory / "kernel.log", environment={**os.environ, **own}, **changed)  # type: ignore[arg-type]


def run(directory: Path, kernels: ForkServer | None, *cells: str, **changed: object) -> str | None:
    """Execute these cells; return what is to be noted of it, None when there is nothing."""
    notebook = read_notebook(write_notebook(directory / "in.ipynb", *cells))
    executed = execute_notebook(
        notebook, directory / "out.ipynb", {}, request(directory, **changed), root=directory, kernels=kernels
    )
    return "\n".join(executed.notes) or None


def printed(directory: Path) -> str:
    """Return what the executed notebook printed."""
    cells = nbformat.read(directory / "out.ipynb", as_version=4).cells
    return "".join(o["text"] for cell in cells for o in cell.get("outputs", []) if o["output_type"] == "stream")


def test_seed_environment_and_modules_are_the_same(server: ForkServer, tmp_path: Path) -> None:
    """Seeded numbers, hash order, time zone, IPython directory and the record of modules are the same."""
    (tmp_path / "mine.py").write_text("import decimal\nvalue = 1\n")
    look = """
        import random, time, os, numpy as np, mine
        print(random.random(), np.random.rand(), hash('a'), time.tzname, os.listdir(os.environ['IPYTHONDIR']))
    """
    shown = []
    for kernels in (None, server):
        assert run(tmp_path, kernels, look.replace("        ", "")) is None
        modules = (tmp_path / "modules.json").read_text()
        assert '"mine"' in modules
        assert "pipeline.kernels" not in modules
        shown.append((printed(tmp_path), modules))
    assert shown[0] == shown[1]


@pytest.mark.parametrize("forked", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_module_is_recorded_as_it_was_imported(server: ForkServer, tmp_path: Path, forked: bool) -> None:
    """The record names the source that was executed: not what the file holds later, when it was edited or removed in
    the meantime, and not what it holds while Python takes an older compilation of it for good.
    """
    sources = {name: f"value = 1  # {name}\n" for name in ("edited", "removed", "again", "stale")}
    for name, text in sources.items():
        (tmp_path / f"{name}.py").write_text(text)
    os.utime(tmp_path / "stale.py", (10**9, 10**9))
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(tmp_path / "stale.py")], check=True)
    sources["stale"] = sources["stale"].replace("1", "2")
    (tmp_path / "stale.py").write_text(sources["stale"])
    os.utime(tmp_path / "stale.py", (10**9, 10**9))
    sources["again"] = sources["again"].replace("1", "2")
    cells = (
        "import edited, removed, again, stale",
        "from pathlib import Path\nPath('edited.py').write_text('value = 2')\nPath('removed.py').unlink()",
        f"import importlib\nPath('again.py').write_text({sources['again']!r})\nimportlib.reload(again)",
        "print(edited.value, removed.value, again.value, stale.value)",
    )
    assert run(tmp_path, server if forked else None, *cells) is None
    assert printed(tmp_path) == "1 1 2 2\n"
    recorded = json.loads((tmp_path / "modules.json").read_bytes())
    assert {name: recorded.get(name) for name in sources} == {
        name: sha256_bytes(text.encode()) for name, text in sources.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "error", "changed"),
    [
        ("1 / 0", CellFailedError, {}),
        ("import time; time.sleep(60)", CellTimeoutError, {"cell_timeout": 1}),
        ("import time; time.sleep(60)", CellTimeoutError, {"timeout": 2}),
        ("import os; os._exit(1)", KernelDiedError, {}),
        ("b'x' * 900_000_000", CellFailedError, {"memory": 300_000_000}),
    ],
)
def test_failures_become_this_projects_errors(
    cell: str, error: type[Exception], changed: dict[str, object], server: ForkServer, tmp_path: Path
) -> None:
    """What fails in a forked kernel is told like what fails in a fresh one: the error, and the cell."""
    with pytest.raises(error) as raised:
        run(tmp_path, server, "print('before')", cell, **changed)
    assert raised.value.cell == 2  # type: ignore[attr-defined]
    assert printed(tmp_path) == "before\n"


@pytest.mark.slow
def test_a_refusal_is_noted(server: ForkServer, tmp_path: Path) -> None:
    """A fresh kernel executes what the server refuses, and the caller is told why."""
    (tmp_path / "yaml.py").write_text("seen = True\n")
    note = run(tmp_path, server, "import yaml\nprint(yaml.seen)")
    assert note is not None
    assert re.search(r"A fresh kernel was used, .*yaml", note)
    assert "True" in printed(tmp_path)


@pytest.mark.slow
def test_a_run_has_the_same_modules_of_this_package_in_every_kernel(tmp_path: Path) -> None:
    """What runs use of this package is there from the start, forked or fresh; of the fork server there is nothing.

    A folder of the package's name hides nothing.
    """
    (tmp_path / "pipeline").mkdir()
    found = "import sys; print(*sorted(n for n in sys.modules if n.partition('.')[0] == 'pipeline'))"
    shown = []
    with fork_server() as server:
        for kernels in (None, server):
            assert run(tmp_path, kernels, found) is None
            shown.append(printed(tmp_path).split())
            assert [*json.loads((tmp_path / "modules.json").read_bytes())] == shown[-1]
    assert shown[0] == shown[1]
    assert {"pipeline", "pipeline.session", "pipeline.backtest.engine"} < {*shown[0]}
    assert not [name for name in shown[0] if name.startswith("pipeline.kernels")]


@pytest.mark.slow
def test_kernels_have_the_loop_that_the_server_compiled(tmp_path: Path) -> None:
    """Their first backtest, however short, runs the loop that the server compiled."""
    pytest.importorskip("numba")
    backtest = """
        from pipeline.backtest import BacktestEngine, get_strategy, kernel, load_ohlcv
        kernel._run_plain = None
        bars = load_ohlcv("sample:sp500", start="2018-01-01")
        hold = get_strategy("buy_and_hold").signal_fn
        print(len(BacktestEngine().run_realistic(df=bars, strategy_signal_fn=hold, symbol="SPX").trades))
    """
    with fork_server(warm=WARM_FOR_MANY_BARS) as server:
        assert run(tmp_path, server, backtest.replace("        ", "")) is None
    assert printed(tmp_path) == "1\n"


EDITED_MEANWHILE = """
import os
from pathlib import Path
from pipeline.kernels import KernelRefusedError, Launch
from pipeline.notebook.execute import execute_notebook
from pipeline.notebook.forked import fork_server
from pipeline.notebook.request import KernelRequest
from pipeline.notebook.template import read_notebook

own = {"EVIDENCE_SEED": "7", "EVIDENCE_MODULES_FILE": "modules.json", "PYTHONHASHSEED": "0"}
root = Path.cwd()
with fork_server(("numpy",), warm=("pipeline.notebook.warm:package",)) as server:
    server.wait_ready()
    with open("pipeline/backtest/engine.py", "a") as source:
        source.write("raise SystemExit")
    request = KernelRequest(cwd=root, log=root / "log", environment={**os.environ, **own})
    given = read_notebook(root / "in.ipynb")
    executed = execute_notebook(given, root / "out.ipynb", {}, request, root=root, kernels=server)
    assert executed.notes == (), executed
    Path("other/pipeline").mkdir(parents=True)
    Path("other/pipeline/__init__.py").touch()
    try:
        server.start(Launch(cwd=str(root / "other"), environment={**os.environ, **own}), stdout=1, stderr=2)
    except KernelRefusedError as refusal:
        print(refusal)
"""


@pytest.mark.slow
def test_this_package_is_recorded_as_the_server_imported_it(tmp_path: Path) -> None:
    """A module of this package that is edited while the server runs is executed, and recorded, as it was before.

    Where another package of its name would be imported no kernel is forked.
    """
    package = shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    before = (package / "backtest" / "engine.py").read_bytes()
    write_notebook(tmp_path / "in.ipynb", "import pipeline.backtest.engine as e\nprint(e.__file__)")
    shown = subprocess.run(
        [sys.executable, "-c", EDITED_MEANWHILE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "has a module 'pipeline' that hides" in shown
    assert printed(tmp_path) == f"{package / 'backtest' / 'engine.py'}\n"
    recorded = json.loads((tmp_path / "modules.json").read_bytes())
    assert recorded["pipeline.backtest.engine"] == sha256_bytes(before)
    assert recorded["pipeline.backtest.engine"] != sha256_file(package / "backtest" / "engine.py")


@pytest.mark.slow
@pytest.mark.parametrize("forked", [False, True])
def test_a_kernel_that_is_done_is_not_interrupted(forked: bool, server: ForkServer, tmp_path: Path) -> None:
    """A kernel that is asked to end right after its last reply prints nothing, however long it is with that reply."""
    slowly = """
        import time
        handlers = get_ipython().kernel.shell_handlers
        reply = handlers["kernel_info_request"]  # papermill's last request
        async def slow(*request):
            await reply(*request)
            time.sleep(0.5)
        handlers["kernel_info_request"] = slow
    """
    assert run(tmp_path, server if forked else None, slowly.replace("        ", "")) is None
    assert (tmp_path / "kernel.log").read_text() == ""


@pytest.mark.slow
def test_code_that_changes_is_imported_afresh(server: ForkServer, tmp_path: Path) -> None:
    """The project's own modules are never preloaded, so an edit between two runs is executed, and recorded."""
    for value in ("1", "2"):
        (tmp_path / "changing.py").write_text(f"value = {value}  # {'x' * int(value)}\n")
        assert run(tmp_path, server, "import changing\nprint(changing.value)") is None
        assert printed(tmp_path) == f"{value}\n"
    assert "changing" not in sys.modules


@pytest.mark.slow
def test_the_demo_run_is_the_same(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every artifact of `config/demo.toml` has the same bytes, and the executed notebook the same outputs."""
    spec, given = read_spec(project.root / "config" / "demo.toml", {"report.enabled": False})
    runs = [run_backtest(spec, settings=project, given=given).run]
    with fork_server() as kernels:
        outcome = run_backtest(spec, settings=project, given=given, kernels=kernels)
    assert outcome.error is None
    assert not [warning for warning in outcome.warnings if "kernel" in warning]
    runs.append(outcome.run)
    first, second = (artifacts(found) for found in runs)
    assert len(first) >= 10
    assert {name: (data, second.get(name)) for name, data in first.items() if second.get(name) != data} == {}
    assert second == first
    one, other = (outputs(found) for found in runs)
    assert other == one


def artifacts(found: Run) -> dict[str, bytes]:
    """Return the files of a run that are the same in every execution of its spec."""
    varying = {"manifest.json", "tracking.json", "notebook.ipynb", "debug/tracking.jsonl", "debug/log.jsonl"}
    files = (path for path in found.dir.path.rglob("*") if path.is_file())
    named = {path.relative_to(found.dir.path).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in named.items() if name not in varying and not name.startswith("report/")}


def outputs(found: Run) -> list[str]:
    """Return the outputs of the executed notebook, without the run's id."""
    cells = nbformat.read(found.dir.notebook, as_version=4).cells
    return [re.sub(r"[0-9a-f-]{32,36}", "ID", str(cell.get("outputs"))) for cell in cells]
