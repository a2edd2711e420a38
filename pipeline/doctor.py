"""What is installed on this machine, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import dataclass

from pipeline.settings import Settings

EXTRAS = {
    "tracking": ("mlflow-skinny", "sqlalchemy", "alembic"),
    "ui": ("mlflow",),
    "report": ("plotly", "pypandoc_binary", "pyyaml"),
    "notebook": ("jupyterlab",),
    "sweep": ("optuna", "pebble", "numba", "scipy", "arch"),
    "dask": ("distributed",),
}
BASE = ("numpy", "pandas", "pyarrow", "matplotlib", "pandera", "pydantic", "papermill", "nbclient", "ipykernel")


@dataclass(frozen=True)
class Finding:
    """One thing a run may need: the extra it belongs to, its version (None: missing), how to get it."""

    group: str
    name: str
    version: str | None
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look for the interpreter, the packages of every extra, and the programs."""
    findings = [Finding("python", platform.python_implementation(), platform.python_version())]
    findings += [_package("base", name, "pip install evidence-chain") for name in BASE]
    for extra, names in EXTRAS.items():
        findings += [_package(extra, name, f"pip install 'evidence-chain[{extra}]'") for name in names]
    findings.append(
        _program("git", "--version", remedy="install git: without it a run does not record the code's version")
    )
    findings.append(
        _program("quarto", "--version", remedy="quarto.org/docs/get-started, or pip install 'evidence-chain[quarto]'; "
                 "without it reports are rendered by the embedded renderer")
    )  # fmt: skip
    findings.append(Finding("project", "root", str(settings.root)))
    findings.append(Finding("project", "results", str(settings.results)))
    findings.append(Finding("project", "tracking store", settings.default_tracking_uri))
    return findings


def _package(group: str, name: str, remedy: str) -> Finding:
    try:
        return Finding(group, name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(group, name, None, remedy)


def _program(name: str, *arguments: str, remedy: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding("program", name, None, remedy)
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    return Finding("program", name, done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown version")
