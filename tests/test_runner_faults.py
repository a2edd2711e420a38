"""Runs that go wrong: each ends as a sealed FAILED run that says what happened, or never verifies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import (
    ArtifactError,
    CellFailedError,
    CellTimeoutError,
    DataError,
    EvidenceError,
    InputChangedError,
    KernelDiedError,
    NotebookError,
    RunExistsError,
    StrategyError,
    UsageError,
)
from pipeline.kernels import ForkServer
from pipeline.run import Run, all_runs, load_run
from pipeline.runner import RunOutcome, run_backtest
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.notebooks import ARTIFACTS, write_notebook

QUIET = {"tracking": {"mode": "off"}, "report": {"enabled": False}}


def run_cells(
    project: Settings, *cells: str, run: dict[str, object] | None = None, kernels: ForkServer | None = None
) -> RunOutcome:
    write_notebook(project.root / "notebooks" / "fault.ipynb", *cells)
    spec = RunSpec.from_mapping({"run": {"notebook": "notebooks/fault.ipynb", **(run or {})}, **QUIET})
    return run_backtest(spec, settings=project, kernels=kernels, check=False)


def assert_failed(outcome: RunOutcome, kind: type[EvidenceError]) -> Run:
    """A failed run is evidence: sealed, verifying, with its notebook and its error."""
    run = outcome.run
    assert isinstance(outcome.error, kind)
    assert run.status == "FAILED"
    assert run.verify().ok
    assert run.notebook is not None
    assert run.record.error is not None
    assert run.record.error.kind == kind.__name__
    assert not run.dir.scratch.exists()
    return run


def test_a_cell_that_raises(project: Settings, server: ForkServer | None) -> None:
    """The record names the cell by its place in the input notebook, the exception and its message."""
    outcome = run_cells(project, "x = 1", "raise ValueError('no <b>luck</b>\\n€')", "print('never')", kernels=server)
    run = assert_failed(outcome, CellFailedError)
    assert run.record.error is not None
    assert run.record.error.cell == 2
    assert run.record.error.ename == "ValueError"
    assert run.record.error.evalue == "no <b>luck</b>\n€"
    assert "raise ValueError" in run.record.error.traceback
    assert "\x1b" not in run.record.error.traceback


@pytest.mark.slow
def test_a_notebook_that_never_ends(project: Settings) -> None:
    """`run.timeout` ends the whole notebook, also one that ignores interrupts."""
    loop = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    outcome = run_cells(project, "x = 1", loop, run={"timeout": 3.0})
    run = assert_failed(outcome, CellTimeoutError)
    assert run.record.error is not None
    assert run.record.error.cell == 2
    assert "run.timeout = 3.0" in str(outcome.error)


def test_a_kernel_that_is_killed(project: Settings, server: ForkServer | None) -> None:
    """A dead kernel fails its run at the cell that was being executed."""
    outcome = run_cells(project, "x = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", kernels=server)
    run = assert_failed(outcome, KernelDiedError)
    assert run.record.error is not None
    assert run.record.error.cell == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param("(run_dir / 'stats.json').write_text('{\"sharpe\": NaN}')", "holds NaN", marks=pytest.mark.slow),
        pytest.param(
            "(run_dir / 'stats.json').write_text('{\"sharpe\": true}')", "sharpe is True", marks=pytest.mark.slow
        ),
        ("(run_dir / 'equity.csv').write_text('a,b\\n')", "has the columns"),
        pytest.param("(run_dir / 'trades.csv').unlink()", "without writing trades.csv", marks=pytest.mark.slow),
    ],
)
def test_malformed_artifacts(project: Settings, server: ForkServer | None, damage: str, message: str) -> None:
    """A notebook that ends with artifacts outside the contract is a failed run, not a finished one."""
    outcome = run_cells(project, ARTIFACTS + damage, kernels=server)
    assert_failed(outcome, ArtifactError)
    assert message in str(outcome.error)


@pytest.mark.slow
def test_a_notebook_that_writes_nothing(project: Settings) -> None:
    """Ending without artifacts is a failure that says how to write them."""
    outcome = run_cells(project, "x = 1")
    assert_failed(outcome, ArtifactError)
    assert "run.save(result)" in str(outcome.error)


def test_an_input_that_changes_while_the_run_executes(project: Settings, server: ForkServer | None) -> None:
    """The manifest never claims a digest of data that the notebook may not have read."""
    data = project.root / "bars.csv"
    data.write_text("timestamp,open,high,low,close\n")
    write_notebook(
        project.root / "notebooks" / "n.ipynb",
        ARTIFACTS + "Path('bars.csv').write_text('other')",
        parameters="run_id = None\ndata = {}",
    )
    values = {"run": {"notebook": "notebooks/n.ipynb"}, "data": {"source": "bars.csv"}, **QUIET}
    outcome = run_backtest(RunSpec.from_mapping(values), settings=project, kernels=server)
    assert_failed(outcome, InputChangedError)
    assert "bars.csv" in str(outcome.error)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"strategy": {"name": "ma_crosover"}}, StrategyError, "ma_crossover"),
        ({"strategy": {"name": "ma_crossover", "params": {"fast": 0}}}, StrategyError, "fast"),
        ({"strategy": {"name": "ma_crossover", "params": {"fats": 3}}}, StrategyError, "fast"),
        ({"data": {"source": "absent.csv"}}, DataError, "absent.csv"),
        ({"data": {"source": "sample:sp50"}}, DataError, "sp500"),
        ({"run": {"notebook": "notebooks/absent.ipynb"}}, NotebookError, "absent.ipynb"),
        ({"run": {"parameters": {"sede": 1}}}, NotebookError, "seed"),
        ({"report": {"template": "reports/absent.qmd"}}, UsageError, "absent.qmd"),
    ],
)
def test_what_can_be_refused_is_refused_before_anything_starts(
    project: Settings, values: dict[str, object], error: type[EvidenceError], message: str
) -> None:
    """A wrong request leaves no run directory behind."""
    with pytest.raises(error, match=message):
        run_backtest(RunSpec.from_mapping(values), settings=project)
    assert all_runs(settings=project) == []


def test_a_section_the_notebook_cannot_take_is_refused(project: Settings) -> None:
    """A spec that sets costs for a notebook that does not declare them is not silently ignored."""
    write_notebook(project.root / "notebooks" / "n.ipynb", "x = 1")
    values = {"run": {"notebook": "notebooks/n.ipynb"}, "backtest": {"fee_bps": 3.0}}
    with pytest.raises(NotebookError, match="no parameter 'backtest'"):
        run_backtest(RunSpec.from_mapping(values), settings=project)


@pytest.mark.slow
def test_an_existing_run_id_is_refused(project: Settings) -> None:
    """The same run_id twice is an error; the first run stays as it was."""
    first = run_cells(project, ARTIFACTS).run
    spec = RunSpec.from_mapping({"run": {"notebook": "notebooks/fault.ipynb"}, **QUIET})
    with pytest.raises(RunExistsError, match=first.run_id):
        run_backtest(spec, settings=project, run_id=first.run_id)
    assert first.verify().ok


@pytest.mark.slow
def test_a_full_disk_fails_the_run_and_says_so(full_disk: Path, project: Settings) -> None:
    """Results on a disk that fills up: no run that verifies, an error that names the cause, the next run works."""
    small = Settings(project.root, full_disk / "results")
    fill = "(run_dir / 'big.bin').write_bytes(b'x' * 4_000_000)"
    write_notebook(project.root / "notebooks" / "fault.ipynb", ARTIFACTS + fill)
    spec = RunSpec.from_mapping({"run": {"notebook": "notebooks/fault.ipynb"}, **QUIET})
    error: object = None
    try:
        error = run_backtest(spec, settings=small).error
    except EvidenceError as raised:
        error = raised
    assert "No space left on device" in str(error)
    assert not [run for run in all_runs(settings=small) if run.status == "FINISHED"]
    assert run_cells(project, ARTIFACTS).error is None


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell starts in the background
from pipeline.runner import run_backtest
from pipeline.settings import Settings
from pipeline.spec import RunSpec
spec = RunSpec.from_mapping({"run": {"notebook": "notebooks/fault.ipynb"}, "tracking": {"mode": "off"},
                             "report": {"enabled": False}})
run_backtest(spec, settings=Settings.load(), check=False)
"""


def start_in_process(project: Settings, *cells: str) -> subprocess.Popen[bytes]:
    write_notebook(project.root / "notebooks" / "fault.ipynb", *cells)
    return subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=project.root)


def wait_for(condition: object, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_in_its_notebook(project: Settings, blow: signal.Signals) -> None:
    """Killed or interrupted: never a directory that verifies, the list says KILLED, no kernel is left behind."""
    sign = project.root / "kernel.pid"
    cell = f"import os, time, pathlib\npathlib.Path({str(sign)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    process = start_in_process(project, "x = 1", cell)
    wait_for(lambda: sign.exists() and sign.read_text())
    assert all_runs(settings=project)[0].status == "RUNNING"
    process.send_signal(blow)
    process.wait(30)
    run = load_run("last", settings=project)
    assert run.status == "KILLED"
    assert run.record.error is not None
    assert "notebook" in run.record.error.message
    assert [problem.kind for problem in run.verify().problems] == ["unsealed"]
    wait_for(lambda: not alive(int(sign.read_text())))
    assert run_cells(project, ARTIFACTS).error is None


@pytest.mark.slow
def test_kill_9_at_any_moment(project: Settings) -> None:
    """Whenever the blow falls, the run either verifies as a whole or not at all, and the next run works."""
    begin = time.monotonic()
    assert start_in_process(project, ARTIFACTS).wait(60) == 0
    whole = time.monotonic() - begin
    for step in range(12):
        process = start_in_process(project, ARTIFACTS)
        time.sleep(whole * (step + 0.5) / 12)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    runs = all_runs(settings=project)
    assert runs
    for run in runs:
        assert run.status in ("FINISHED", "KILLED")
        assert run.verify().ok == (run.status == "FINISHED")
    assert run_cells(project, ARTIFACTS).error is None


@pytest.mark.slow
def test_the_kernel_is_isolated_from_the_caller(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same results wherever a run is started: seed, time zone, hash seed and IPython profile are the run's own."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    profile = project.root / "ipython" / "profile_default" / "startup"
    profile.mkdir(parents=True)
    (profile / "00.py").write_text("leaked = True\n")
    monkeypatch.setenv("IPYTHONDIR", str(project.root / "ipython"))
    probe = """
import json, random, time, numpy
facts = [random.random(), numpy.random.rand(), hash("x"), time.tzname[0], "leaked" in globals(),
         os.environ.get("MLFLOW_RUN_ID", ""), os.getcwd()]
(run_dir / "facts.json").write_text(json.dumps(facts))
"""
    facts = []
    for _ in range(2):
        run = run_cells(project, ARTIFACTS + probe, run={"seed": 11}).run
        facts.append(json.loads((run.dir.path / "facts.json").read_bytes()))
        monkeypatch.setenv("PYTHONHASHSEED", "78")
    assert facts[0] == facts[1]
    assert facts[0][3:] == ["UTC", False, "", os.fspath(project.root)]


@pytest.mark.slow
def test_a_strategy_that_looks_ahead_is_a_warning(project: Settings) -> None:
    """What the run's own examination found is said with the run, not only on its page."""
    (project.root / "ahead.py").write_text(
        "def signals(df, params):\n    return (df['close'].shift(-1) > df['close']).astype(int)\n"
    )
    spec = RunSpec.from_mapping({"strategy": {"name": "ahead:signals"}, **QUIET})
    outcome = run_backtest(spec, settings=project)
    assert outcome.error is None
    assert any(warning.startswith("LOOKS AHEAD: ") for warning in outcome.warnings)
    assert any(warning.startswith("LOOKS AHEAD: ") for warning in outcome.run.record.warnings)


@pytest.mark.slow
def test_a_strategy_that_returns_something_else_is_told_so(project: Settings) -> None:
    """The message is about the strategy, not about the figure that could not be drawn of it."""
    (project.root / "short.py").write_text(
        "def signals(df, params):\n    return (df['close'] * 0).astype(int).iloc[5:]\n"
    )
    spec = RunSpec.from_mapping({"strategy": {"name": "short:signals"}, "tracking": {"mode": "off"}})
    outcome = run_backtest(spec, settings=project)
    assert outcome.error is not None
    assert "The signals of short:signals are not on the index of the data" in str(outcome.error)
