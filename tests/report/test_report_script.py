"""`scripts/render_last_report.sh`: a thin door to `evidence render`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "render_last_report.sh"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return the script in a project whose `evidence` prints what it was called with."""
    project = tmp_path / "a project"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, project / "scripts")
    return project / "scripts" / SCRIPT.name


def call(script: Path, *arguments: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [str(script), *arguments], capture_output=True, text=True, check=False, cwd="/", env=environment
    )


def give_evidence(directory: Path) -> None:
    directory.mkdir(parents=True)
    program = directory / "evidence"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$EVIDENCE_ROOT" "$@"\n')
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ((), ["render", "--last"]),
        (("abc",), ["render", "abc"]),
        (("--renderer", "quarto"), ["render", "--last", "--renderer", "quarto"]),
    ],
)
def test_the_last_run_or_a_given_one(copy: Path, given: tuple[str, ...], passed: list[str]) -> None:
    """From any directory: without a run_id the last run, options are handed on, the project's .venv is used."""
    give_evidence(copy.parents[1] / ".venv" / "bin")
    done = call(copy, *given)
    assert done.stdout.splitlines() == [str(copy.parents[1]), *passed]


def test_evidence_on_path(copy: Path, tmp_path: Path) -> None:
    """Without a .venv the one on PATH is used."""
    give_evidence(tmp_path / "bin")
    assert call(copy, path=f"{tmp_path / 'bin'}:/usr/bin:/bin").stdout.splitlines()[1:] == ["render", "--last"]


def test_nothing_installed(copy: Path) -> None:
    """Without either it says how to install it."""
    done = call(copy)
    assert done.returncode == 1
    assert "make demo" in done.stderr
