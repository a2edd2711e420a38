"""What processes read that the run starts is not seen: that there were some is told, however they were started."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.inputs.children import FORK, SHELL, UNNAMED
from pipeline.inputs.observed import Observed, read_observed, write_observed
from pipeline.run import Run
from pipeline.settings import Settings
from tests.inputs.watching import watched

POSIX = pytest.mark.skipif(os.name != "posix", reason="these calls are POSIX's")


def children_of(root: Path, act: Callable[[], Any]) -> tuple[str, ...]:
    with watched(root) as seen:
        act()
    assert seen[0].failed is None
    return seen[0].children


def worker(method: str) -> None:
    process = multiprocessing.get_context(method).Process(target=os.getpid)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_no_process_is_none(tmp_path: Path) -> None:
    """Nothing is recorded of a run that starts none."""
    assert children_of(tmp_path, lambda: (tmp_path / "x").write_text("1")) == ()


def test_a_program_is_named_without_its_arguments(tmp_path: Path) -> None:
    """Arguments may hold secrets."""
    secret = [sys.executable, "-c", "pass", "--token=abc"]
    assert children_of(tmp_path, lambda: subprocess.run(secret, check=True)) == (Path(sys.executable).name,)


@POSIX
@pytest.mark.parametrize(
    ("act", "name"),
    [
        (lambda: os.system("true"), SHELL),
        (lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0), "true"),
        (lambda: subprocess.run("true", shell=True, check=True), "sh"),
    ],
)
def test_calls_of_the_system(tmp_path: Path, act: Callable[[], Any], name: str) -> None:
    """They raise events of their own."""
    assert children_of(tmp_path, act) == (name,)


@POSIX
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork of a process with threads
@pytest.mark.parametrize(
    ("method", "name"),
    [
        pytest.param("fork", FORK, marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")),
        pytest.param("spawn", UNNAMED, marks=pytest.mark.slow),
    ],
)
def test_workers(tmp_path: Path, method: str, name: str) -> None:
    """A spawned worker raises no event: when it is over, the system still tells that there was one."""
    found = children_of(tmp_path, lambda: worker(method))
    assert found
    assert method == "spawn" or found == (name,)


def test_it_survives_as_json(tmp_path: Path) -> None:
    """What was written is what is read."""
    write_observed(tmp_path / "inputs.json", Observed(children=("git",)))
    assert read_observed(tmp_path / "inputs.json") == Observed(children=("git",))


@pytest.mark.slow
def test_the_seal_says_it(project: Settings) -> None:
    """In the list of what was not examined."""
    import numpy as np
    import pandas as pd

    run = pipeline.start_run(tracking={"mode": "off"}, settings=project)
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    run.save(pd.Series(np.full(30, 0.001), pd.bdate_range("2020-01-01", periods=30)), kind="returns")
    run.finish()
    sealed = (Run(run.dir).manifest or {})["predicate"]["evidence_run"]["boundary"]["unexamined"]
    assert [text for text in sealed if f"started ({Path(sys.executable).name})" in text]
