"""A run that started ends sealed, as FAILED when anything went wrong, and says what it was."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipeline.runner
import pipeline.sealing
from pipeline.errors import ArtifactError, EvidenceError, InputChangedError, SpecError, UnexpectedError
from pipeline.evidence.unsealable import set_aside
from pipeline.kernels import ForkServer
from pipeline.run import Run, all_runs
from pipeline.run_record import RunError
from pipeline.rundir import UNSEALED_DIR, RunDir, new_run_id
from pipeline.runner import RunOutcome, run_backtest
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.notebooks import ARTIFACTS, write_notebook
from tests.privileges import without_privileges
from tests.tiers import mostly_slow

QUIET = {"tracking": {"mode": "off"}, "report": {"enabled": False}}


def run_cells(project: Settings, kernels: ForkServer | None, *cells: str, **more: Any) -> RunOutcome:
    write_notebook(project.root / "notebooks" / "n.ipynb", *cells)
    spec = RunSpec.from_mapping({"run": {"notebook": "notebooks/n.ipynb"}, **QUIET, **more})
    return run_backtest(spec, settings=project, kernels=kernels, check=False)


def failed(run: Run) -> RunError:
    """Return the error in the seal of a run that failed and verifies."""
    assert run.status == "FAILED"
    assert run.verify().ok
    assert run.record.error is not None
    return run.record.error


UNSEALABLE = {
    "os.symlink('/etc/hostname', run_dir / 'latest')": "'latest' (a symbolic link to '/etc/hostname')",
    "os.symlink('.', run_dir / 'loop')": "'loop' (a symbolic link to '.')",
    "os.symlink('nowhere', run_dir / 'plots')": "'plots' (a symbolic link to 'nowhere')",
    "os.mkfifo(run_dir / 'pipe')": "'pipe' (a named pipe)",
    "import socket; os.chdir(run_dir)\nwith socket.socket(socket.AF_UNIX) as s: s.bind('s')": "'s' (a socket)",
    "open(os.fsencode(run_dir) + b'/caf\\xe9.txt', 'w').close()": r"'caf\udce9.txt' (its name is not UTF-8)",
    "os.mkdir(os.fsencode(run_dir) + b'/caf\\xe9'); open(os.fsencode(run_dir) + b'/caf\\xe9/a', 'w').close()": (
        r"'caf\udce9' (its name is not UTF-8)"
    ),
    "(run_dir / 'a\\\\b').write_text('x')": r"'a\\b' (on other systems its name leads elsewhere)",
    "[(run_dir / name).write_text('x') for name in ('e\\u0301', '\\u00e9')]": "on other systems its name is that of",
    "[(run_dir / name).write_text('x') for name in ('A', 'a')]": "'a' (on other systems its name is that of 'A')",
    "(run_dir / 'manifest.json').write_text('{}')": "'manifest.json' (the name of the seal)",
    "(run_dir / 'manifest.dsse.json').mkdir()": "'manifest.dsse.json' (the name of the seal)",
    "(run_dir / 'report').write_text('x')": "'report' (a file where the report is rendered)",
    "(run_dir / 'report').mkdir(); os.symlink('/etc', run_dir / 'report' / 'etc')": "'report/etc' (a symbolic link",
}


@pytest.mark.parametrize(("cell", "said"), UNSEALABLE.items(), ids=[*UNSEALABLE.values()])
def test_what_cannot_be_sealed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, said: str) -> None:
    """It lies outside of the run's directory afterwards, under a name of its own, and is described."""
    monkeypatch.chdir(tmp_path)
    run = RunDir.create(tmp_path, new_run_id())
    exec(cell, {"os": os, "run_dir": run.path})
    (item,) = set_aside(run)
    assert said in str(item)
    assert len([*(tmp_path / UNSEALED_DIR / run.run_id).iterdir()]) == 1


@pytest.mark.parametrize(("cell", "said"), mostly_slow(UNSEALABLE.items()), ids=[*UNSEALABLE.values()])
def test_what_cannot_be_sealed_is_moved_aside_and_named(
    project: Settings, server: ForkServer | None, cell: str, said: str
) -> None:
    """The run fails and says what was there; its directory then holds what the seal covers, and nothing is lost."""
    outcome = run_cells(project, server, ARTIFACTS + cell)
    error = failed(outcome.run)
    assert error.kind == "ArtifactError"
    assert said in error.message
    assert f"{UNSEALED_DIR}/{outcome.run.run_id}" in error.message
    assert (outcome.run.dir.path / "stats.json").is_file()
    assert len([*(project.results / UNSEALED_DIR / outcome.run.run_id).iterdir()]) == 1
    assert not outcome.run.dir.scratch.exists()


@pytest.mark.slow
def test_what_is_moved_aside_does_not_hide_the_error(project: Settings, server: ForkServer | None) -> None:
    """The error stays the error; what was moved is a warning."""
    outcome = run_cells(project, server, ARTIFACTS + "os.symlink('x', run_dir / 'link')\nraise KeyError('real')")
    assert "KeyError: 'real'" in failed(outcome.run).message
    assert any("'link' (a symbolic link to 'x')" in warning for warning in outcome.run.record.warnings)


@pytest.mark.slow
def test_directories_of_any_depth_are_looked_through(tmp_path: Path) -> None:
    """A tree deeper than Python's stack is a tree."""
    run = RunDir.create(tmp_path, new_run_id())
    made = [run.path / Path(*["d"] * depth) for depth in range(1, 1101)]
    for path in made:
        path.mkdir()
    (made[-1] / "f").write_text("x")
    assert set_aside(run) == []
    assert run.sealed_paths() == ["d/" * 1100 + "f"]
    (made[-1] / "f").unlink()
    for path in reversed(made):  # pytest's own removal of old directories would not get through
        path.rmdir()


def test_a_file_that_cannot_be_read_is_moved_aside(tmp_path: Path) -> None:
    """What nobody can digest is not in a seal."""
    run = RunDir.create(tmp_path, new_run_id())
    (run.path / "secret").write_text("x")
    (run.path / "secret").chmod(0)
    (run.path / "closed").mkdir(mode=stat.S_IWUSR)
    (run.path / "shut").mkdir(mode=0)
    (run.path / "fixed").mkdir()
    (run.path / "fixed" / "link").symlink_to("/nowhere")
    (run.path / "fixed").chmod(stat.S_IRUSR | stat.S_IXUSR)
    printed = without_privileges(f"""if True:
        from pathlib import Path
        from pipeline.evidence.unsealable import set_aside
        from pipeline.rundir import RunDir
        print([item.name for item in set_aside(RunDir(Path({str(tmp_path)!r}), {run.run_id!r}))])""")
    assert printed.strip() == "['closed', 'fixed/link', 'secret', 'shut']"
    assert run.sealed_paths() == []


REPLACED = {
    "removed": "",
    "a file": "run_dir.write_text('x')",
    "a link": "os.symlink(run_dir.parent.parent / 'elsewhere', run_dir)",
}


@pytest.mark.parametrize("cell", mostly_slow(REPLACED.values()), ids=[*REPLACED])
def test_a_run_directory_that_is_gone_is_made_again(project: Settings, server: ForkServer | None, cell: str) -> None:
    """The run is sealed as FAILED; where a link in its place leads, nothing is moved."""
    elsewhere = project.results.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs").symlink_to("/nowhere")
    outcome = run_cells(project, server, ARTIFACTS, "import os, shutil; shutil.rmtree(run_dir)", cell or "0")
    assert failed(outcome.run)
    assert not outcome.run.dir.path.is_symlink()
    assert (elsewhere / "theirs").is_symlink()


RAISED = [
    MemoryError(),
    RecursionError("too deep"),
    sqlite3.OperationalError("database is locked"),
    KeyError("ours"),
    RuntimeError("a library's"),
    OSError(11, "Resource temporarily unavailable"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ValueError("\ud800" * 3),
]


@pytest.mark.parametrize("where", ["track_run", "_execute", "check_artifacts"])
@pytest.mark.parametrize("failure", mostly_slow(RAISED, 4, 7), ids=[type(failure).__name__ for failure in RAISED])
def test_an_exception_of_any_class_is_sealed(
    project: Settings, server: ForkServer | None, monkeypatch: pytest.MonkeyPatch, where: str, failure: Exception
) -> None:
    """Raised in place of a stage, since no input is known that raises it there."""

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(pipeline.runner, where, fail)
    if where == "check_artifacts":
        monkeypatch.setattr(pipeline.runner, "_execute", lambda *_: None)
    outcome = run_cells(project, server, ARTIFACTS)
    error = failed(outcome.run)
    assert isinstance(outcome.error, UnexpectedError)
    assert (error.kind, error.ename) == ("UnexpectedError", type(failure).__name__)
    assert error.message.startswith(type(failure).__name__)
    assert "in fail" in error.traceback
    assert not outcome.run.dir.scratch.exists()


def test_what_ends_the_process_is_raised_after_the_seal(
    project: Settings, server: ForkServer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SystemExit, as a handler of SIGTERM may raise it, seals the run and is not swallowed; Ctrl-C does not seal."""
    for kind, status in ((SystemExit, "FAILED"), (KeyboardInterrupt, "KILLED")):

        def fail(*_: Any, kind: type[BaseException] = kind) -> None:
            raise kind(143)

        monkeypatch.setattr(pipeline.runner, "_execute", fail)
        with pytest.raises(kind):
            run_cells(project, server, ARTIFACTS)
        assert all_runs(settings=project)[0].status == status


@pytest.mark.parametrize("file", mostly_slow(["modules.json", "tracking.json"]))
def test_records_that_cannot_be_read_are_left_out_of_the_seal(
    project: Settings, server: ForkServer | None, file: str
) -> None:
    """A notebook that writes over the run's own records fails its run; it does not leave it unsealed."""
    name = f"debug/{file}" if file == "modules.json" else file
    spoil = f"import atexit\natexit.register(lambda: (run_dir / {name!r}).write_bytes(b'\\xff['))"
    outcome = run_cells(project, server, ARTIFACTS + spoil)
    assert failed(outcome.run).ename == "UnicodeDecodeError"
    assert outcome.run.record.modules == {}
    assert any("not in the seal" in warning for warning in outcome.run.record.warnings)


def test_an_input_that_is_gone_at_the_end(project: Settings, server: ForkServer | None) -> None:
    """Removed is changed."""
    (project.root / "bars.csv").write_text("timestamp,open,high,low,close\n")
    write_notebook(
        project.root / "notebooks" / "n.ipynb", ARTIFACTS + "os.remove('bars.csv')", parameters="run_id = 0\ndata = 0"
    )
    spec = RunSpec.from_mapping({"run": {"notebook": "notebooks/n.ipynb"}, "data": {"source": "bars.csv"}, **QUIET})
    outcome = run_backtest(spec, settings=project, kernels=server)
    assert isinstance(outcome.error, InputChangedError)
    failed(outcome.run)


def test_a_run_that_cannot_be_opened_has_not_started(project: Settings, server: ForkServer | None) -> None:
    """Before its entry in the ledger nothing was begun: no directory is left that would stay unsealed for ever."""
    run_cells(project, server, ARTIFACTS)
    with (project.results / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b"damaged\n")
    with pytest.raises(EvidenceError, match="damaged"):
        run_cells(project, server, ARTIFACTS)
    assert [run.status for run in all_runs(settings=project)] == ["FINISHED"]


def test_a_seal_that_cannot_be_written_says_why(
    project: Settings, server: ForkServer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unsealed run that was not interrupted has its reason in the record; raised in place of a full disk."""

    def fail(*_: Any) -> str:
        raise pipeline.errors.StorageError("manifest.json could not be written: no space")

    monkeypatch.setattr(pipeline.sealing, "write_manifest", fail)
    with pytest.raises(EvidenceError, match="no space"):
        run_cells(project, server, ARTIFACTS)
    (run,) = all_runs(settings=project)
    assert run.record.error is not None
    assert run.record.error.message.endswith("never sealed: manifest.json could not be written: no space")


def test_a_value_the_evidence_cannot_hold_is_refused_before_the_start(
    project: Settings, server: ForkServer | None
) -> None:
    """JSON has no canonical form for it, so it could never be sealed."""
    write_notebook(project.root / "notebooks" / "n.ipynb", ARTIFACTS, parameters="run_id = x = None")
    run = {"notebook": "notebooks/n.ipynb", "parameters": {"x": "\ud800"}}
    with pytest.raises(SpecError, match="canonical form"):
        run_backtest(RunSpec.from_mapping({"run": run, **QUIET}), settings=project, kernels=server)
    assert all_runs(settings=project) == []


def test_the_sealed_notebook_is_the_one_that_ran(project: Settings, server: ForkServer | None) -> None:
    """A notebook edited after it was read is an input that changed; the kept one and the digest are of what ran."""
    edit = "Path('notebooks/n.ipynb').write_text('{}')"
    outcome = run_cells(project, server, ARTIFACTS + edit)
    assert isinstance(outcome.error, InputChangedError)
    notebook = outcome.run.record.notebook
    assert notebook is not None
    kept = project.results / ".inputs" / f"{notebook.sha256}.ipynb"
    assert edit in kept.read_text()


@pytest.mark.slow
def test_exit_after_the_results_is_a_warning(project: Settings, server: ForkServer | None) -> None:
    """`sys.exit(0)` when all is saved ends a finished run, and names what did not run; before that it is the reason."""
    outcome = run_cells(project, server, ARTIFACTS, "import sys\nsys.exit(0)", "x = 1", "x = 2")
    assert outcome.error is None
    said = "The notebook called sys.exit() in cell 2 of the notebook, counted from 0. Not run: cells 3, 4."
    assert said in outcome.run.record.warnings
    outcome = run_cells(project, server, "exit()", ARTIFACTS)
    assert isinstance(outcome.error, ArtifactError)
    assert "exit() in cell 1 of the notebook, counted from 0. Not run: cell 2." in failed(outcome.run).message


@pytest.mark.parametrize("name", ["run_id", "seed", "data", "strategy", "backtest"])
def test_parameters_that_the_run_sets_are_refused(name: str) -> None:
    """The notebook would run with one value and the seal say another; the message says what to set instead."""
    with pytest.raises(SpecError, match=rf"run.parameters: .*{name} is set by the run itself; (set|give)"):
        RunSpec.from_mapping({"run": {"parameters": {name: 1}}})


@pytest.mark.parametrize("value", [2**53, -(2**53), [1, {"deep": 10**30}]])
def test_integers_that_json_cannot_hold_are_refused(value: Any) -> None:
    """RFC 8785 has no canonical form for them: another reader would see another number."""
    for section, key in (("run", "parameters"), ("strategy", "params")):
        with pytest.raises(SpecError, match=r"2\*\*53|more than 64 bits; give it as text"):
            RunSpec.from_mapping({section: {key: {"x": value}}})
    RunSpec.from_mapping({"run": {"parameters": {"x": 2**53 - 1}}})


@pytest.mark.slow
def test_braces_in_every_path(project: Settings, server: ForkServer | None, tmp_path: Path) -> None:
    """Braces are letters: in the project, its results, the data, the strategy's directory and the report's source."""
    root = tmp_path / "{run_id} {0}" / "}{"
    project.root.rename(root.parent.mkdir(parents=True) or root)
    os.chdir(root)
    (root / "reports" / "backtest_report.qmd").rename(root / "reports" / "{x}.qmd")
    (root / "notebooks" / "backtest.ipynb").rename(root / "notebooks" / "{seed}.ipynb")
    bars = pd.DataFrame({"open": 1.0, "high": 2.0, "low": 1.0}, index=pd.bdate_range("2020-01-01", periods=300))
    bars["close"] = 1.5 + np.sin(np.arange(300.0) / 9) / 3
    bars.to_csv(root / "{data}.csv", index_label="timestamp")
    (root / "mine.py").write_text("def signal(df, params):\n    return (df['close'] > df['open']).astype(int)\n")
    settings = Settings(root, root / "{results}")
    values = {
        "run": {"notebook": "notebooks/{seed}.ipynb"},
        "data": {"source": "{data}.csv"},
        "strategy": {"name": "mine:signal"},
        "report": {"template": "reports/{x}.qmd"},
    }
    outcome = run_backtest(RunSpec.from_mapping(values), settings=settings)
    assert outcome.error is None
    assert not [text for text in outcome.warnings if "No report" in text]
    assert outcome.run.verify().ok
    assert outcome.run.dir.report.is_file()
