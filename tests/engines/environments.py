"""Environments of their own for the engines: libraries that this project does not depend on, tried at test time only.

Each is made once by uv from the package index, kept in a cache directory under a name that says what it holds, and
taken again by later runs. The package under test is not installed there: PYTHONPATH names its source.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
GUESTS = Path(__file__).parent / "guests"
CACHE = Path(os.environ.get("EVIDENCE_ENGINES") or Path.home() / ".cache" / "evidence-chain" / "engines")
OFFLINE = ("Could not connect", "Failed to fetch", "dns error", "error sending request", "not found in the package")


@dataclass(frozen=True)
class Environment:
    """A library at one version, the Python it needs, what else it must be held to; `always`: in the shorter tier."""

    name: str
    python: str
    requirements: tuple[str, ...]
    always: bool = True


ENVIRONMENTS = {
    one.name: one
    for one in (
        Environment("backtesting-0.6.6", "3.12", ("backtesting==0.6.6",)),
        Environment("backtesting-0.5.0", "3.12", ("backtesting==0.5.0", "bokeh<3.5", "pandas<3", "numpy<2.3")),
        Environment("backtrader-1.9.78", "3.13", ("backtrader==1.9.78.123", "pandas")),
        Environment("bt-1.4.1", "3.12", ("bt==1.4.1",)),
        Environment("bt-1.1.2", "3.11", ("bt==1.1.2", "pandas<3", "numpy<2.3"), always=False),
        Environment("skfolio-1.12.2", "3.12", ("skfolio==1.12.2",)),
        Environment("skfolio-0.5.0", "3.11",
                    ("skfolio==0.5.0", "cvxpy==1.5.3", "numpy<2", "scikit-learn<1.6", "pandas<2.3")),
        Environment("zipline-3.2.1", "3.12", ("zipline-reloaded==3.2.1", "empyrical-reloaded>=0.5.10", "pandas<3")),
        Environment("zipline-3.0.4", "3.11",
                    ("zipline-reloaded==3.0.4", "numpy<2", "pandas<2.2", "setuptools<81"), always=False),
        Environment("nautilus-1.231.0", "3.12", ("nautilus_trader==1.231.0",)),
        Environment("nautilus-1.211.0", "3.12", ("nautilus_trader==1.211.0", "pandas<3"), always=False),
        Environment("vectorbt-1.2.0", "3.12", ("vectorbt==1.2.0",)),
        Environment("vectorbt-0.28", "3.11",
                    ("vectorbt<1", "pandas<3", "plotly<6", "anywidget", "numpy<2.3"), always=False),
    )
}  # fmt: skip


def with_package(name: str) -> Environment:
    """Return an environment that has the package under test and what it needs beside the library, to execute runs."""
    base = ENVIRONMENTS[name]
    return replace(base, name=f"{name}-run", requirements=(*base.requirements, "--editable", str(ROOT)))


def python_of(environment: Environment) -> Path:
    """Return the Python of the environment, made where it is not there; skips the test where it cannot be made."""
    if not environment.always and not os.environ.get("ALL_ENGINES"):
        pytest.skip(f"{environment.name} is tried by `make test-engines ALL=1`")
    key = hashlib.sha256(" ".join((environment.python, *environment.requirements)).encode()).hexdigest()[:8]
    home = CACHE / f"{environment.name}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / ".complete").is_file():
            _make(environment, home)
    return home / "bin" / "python"


def _make(environment: Environment, home: Path) -> None:
    base, uv = _base(environment.python), shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if base is None:
        pytest.skip(f"there is no Python {environment.python} here, which {environment.name} needs")
    if uv is None:
        pytest.skip("there is no uv here")
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([uv, "venv", "--quiet", "--python", base, str(home)], check=True)
    done = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *environment.requirements],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 and any(words in done.stderr for words in OFFLINE):
        pytest.skip(f"the index does not give {environment.name}: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (home / ".complete").touch()


def _base(version: str) -> str | None:
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


def told_by(name: str, script: str, directory: Path) -> dict[str, Any]:
    """Run a script of guests/ in an environment; return what it found."""
    python = python_of(ENVIRONMENTS[name])
    out = directory / f"{script}.json"
    done = subprocess.run(
        [str(python), str(GUESTS / f"{script}.py"), str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        cwd=directory, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found
