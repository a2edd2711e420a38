"""The command line: fast, honest about mistakes, safe in a pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.edge import run_command
from pipeline.files import write_atomic
from pipeline.settings import Settings
from tests.evidence.sealed_runs import World

COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()"]


def evidence(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_help_imports_nothing_heavy() -> None:
    """`evidence --help` and `import pipeline` load neither pandas nor papermill nor mlflow."""
    code = (
        "import sys, contextlib\nsys.argv = ['evidence', '--help']\nfrom pipeline.cli import main\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print([m for m in ('numpy', 'pandas', 'papermill', 'mlflow', 'matplotlib', 'pandera') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "abc"], 2, "There is no run 'abc'"),
        (["show"], 2, "There are no runs"),
        (["verify"], 2, "There are no runs"),
        (["verify", "last", "--all"], 2, "Give one of: a RUN_ID"),
        (["verify", "--all"], 0, ""),
        (["render"], 2, "There are no runs"),
        (["render", "last", "--all"], 2, "Give one of: RUN_ID"),
        (["run", "--config", "absent.toml"], 2, "absent.toml cannot be read"),
        (["run", "--config", "config/demo.toml", "-p", "fats=1"], 2, "Did you mean 'fast'?"),
        (["run", "--config", "config/demo.toml", "-p", "fast"], 2, "key=value"),
        (["run", "--config", "config/demo.toml", "--tracking", "loud"], 2, "tracking.mode"),
        (["run", "--config", "config/demo.toml", "--run-id", "x"], 2, "UUID4"),
        (["run", "--config", "config/sweep.toml"], 2, "sweep: a section of sweep specs. `evidence sweep"),
        (["run", "--config", "config/demo.toml", "-p", "backtest.fee=2"], 2, "demo.toml with backtest.fee as given is"),
        (["run", "--config", "config/demo.toml", "--why"], 2, "--reuse"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_mistakes_are_said_on_stderr_with_their_exit_code(
    project: Settings, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    """Wrong usage is exit code 2 and a sentence on stderr; never a traceback."""
    returned = run_command(arguments)
    said = " ".join(capsys.readouterr().err.replace("\u2502", " ").split())
    assert returned == code, said
    assert message in said
    assert "Traceback" not in said


def test_the_program_ends_with_the_exit_code_of_its_command(project: Settings) -> None:
    """As a process of its own it says the same."""
    done = evidence("show", "abc")
    assert done.returncode == 2, done.stderr
    assert "There is no run 'abc'" in done.stderr


@pytest.mark.slow
def test_a_run_that_is_interrupted_says_so(project: Settings) -> None:
    """Ctrl-C in the middle: a sentence on stderr and exit code 130."""
    command = [*COMMAND, "run", "--config", "config/demo.toml", "--tracking", "off"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a shell may have it ignored
    )
    while not [*project.results.glob(".running/*/state.json")]:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("Interrupted. `evidence list`")


@pytest.mark.slow
def test_show_says_the_whole_error(project: Settings) -> None:
    """Not its first line only: what is wrong with the data and where stands below it."""
    (project.root / "bad.csv").write_text(
        "Date,Open,High,Low,Close\n2020-01-02,1,2,3,1\n2020-01-01,1,2,1,1\n2020-01-03,1,2,1,1\n"
    )
    data = ("data.source=bad.csv", "data.start=2020-01-01", "data.end=2020-12-31")
    options = ("--tracking", "off", "--no-report", *(word for item in data for word in ("-p", item)))
    failed = evidence("run", "--config", "config/demo.toml", *options)
    assert failed.returncode != 0
    shown = evidence("show", "last").stdout
    assert "data contract" in shown
    assert "rule: timestamps increase" in shown


@pytest.mark.slow
def test_doctor_says_what_is_missing_and_how_to_get_it(project: Settings) -> None:
    """Every package that this project declares and uses is looked for, and what is missing comes with a remedy."""
    findings = json.loads(evidence("doctor", "--json").stdout)
    names = {finding["name"] for finding in findings}
    assert {
        "pandas",
        "mlflow-skinny",
        "ghp-import",
        "rocrate",
        "distributed",
        "fastapi",
        "quarto",
        "git",
        "results",
    } <= names
    assert not {"duckdb", "pytest", "quarto-cli"} & names
    assert all(finding["version"] or finding["remedy"] for finding in findings)
    assert evidence("doctor").returncode == 0


def test_an_empty_project_lists_nothing(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """No runs: a hint for people, an empty list for programs."""
    assert run_command(["list"]) == 0
    assert "evidence run" in capsys.readouterr().out
    assert run_command(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.slow
def test_a_broken_seal_is_said_beside_its_report(project: Settings) -> None:
    """Who renders the report of a run that was edited hears it on the terminal too, not only from the page."""
    run = World(project.results, None).run(report=None)
    done = evidence("render", run.run_id, "--renderer", "embedded")
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr
    write_atomic(run.stats, b'{"sharpe": 9.0}\n')
    done = evidence("render", run.run_id, "--renderer", "embedded")
    assert done.returncode == 0, done.stderr
    assert f"Warning: {run.run_id} does not match its seal, and its report says so: stats.json: edited" in done.stderr


@pytest.mark.slow
def test_where_results_go_outside_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that nobody asked for is announced; in a project, and where there are results, nothing is said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text('data = {source = "none.csv"}\nreport = {enabled = false}\n')
    told = f"results go to {tmp_path / 'results'}, a new directory"
    assert told in evidence("run", "--config", "run.toml").stderr
    (tmp_path / "results").mkdir()
    assert told not in evidence("run", "--config", "run.toml").stderr


@pytest.mark.slow
def test_a_console_that_lacks_a_character_stops_nothing(project: Settings) -> None:
    """On a cp1252 console what it cannot show is escaped; the command goes on, and its exit code is its own."""
    run = World(project.results, None).run()
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}
    said = ""
    for arguments, code in ((["list"], 0), (["verify", run.run_id], 0), (["show", "→测"], 2)):
        done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, check=False)
        said = (done.stdout + done.stderr).decode("cp1252")
        assert done.returncode == code, said
        assert "Traceback" not in said
    assert r"\u2192\u6d4b" in said
