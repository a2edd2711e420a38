"""Every snippet of docs/tracking.md is executed: Python in order, TOML built, commands run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
import warnings
from pathlib import Path

import pytest

from pipeline.tracking import MLflowTracker, TrackingWarning, build_tracker_from_config
from tests.servers import free_port

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "tracking.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in snippets("sh") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def test_no_snippet_is_left_out() -> None:
    """Only languages this test executes."""
    assert set(re.findall(r"^```(\w+)$", GUIDE, re.MULTILINE)) == {"python", "sh", "toml"}


@pytest.mark.slow
def test_python(sqlite_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, in one namespace, as a reader would."""
    namespace: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrackingWarning)  # the demo's engine has undefined stats
        for snippet in snippets("python"):
            exec(compile(snippet, "docs/tracking.md", "exec"), namespace)
    assert "first try" in capsys.readouterr().out
    assert {"equity_curve.csv", "stats.json"} <= {path.name for path in Path("my_artifacts").iterdir()}


def test_toml() -> None:
    """A tracker can be built from it."""
    for snippet in snippets("toml"):
        assert isinstance(build_tracker_from_config(tomllib.loads(snippet)), MLflowTracker)


def test_installs_name_extras_that_exist() -> None:
    """What the guide says to install is declared."""
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [re.search(r"\[(\w+)\]", command[2]) for command in commands() if command[:2] == ["pip", "install"]]
    assert named
    assert all(name is not None and name[1] in declared for name in named)


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("command", [c for c in commands() if c[0] == "mlflow"], ids=" ".join)
def test_mlflow_commands(command: list[str], template_database: Path, tmp_path: Path) -> None:
    """Servers start and answer (on a free port), other commands end well."""
    shutil.copyfile(template_database, tmp_path / "mlflow.db")
    port = str(free_port())
    full = [sys.executable, "-m", *(port if word == "5000" else word for word in command)]
    with subprocess.Popen(full, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        if command[1] not in ("server", "ui"):
            assert process.wait(60) == 0
            return
        try:
            _answers(f"http://127.0.0.1:{port}/health")
        finally:
            process.terminate()


def _answers(address: str) -> None:
    for _ in range(900):
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"{address} does not answer")


@pytest.mark.parametrize("command", [c for c in commands() if c[0] == "evidence"], ids=" ".join)
def test_evidence_commands(command: list[str]) -> None:
    """They run in a project without runs and end well."""
    from typer.testing import CliRunner

    from pipeline.cli.app import app

    done = CliRunner().invoke(app, command[1:])
    assert done.exit_code == 0, done.output
