"""What is installed on this machine, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.masking import masked
from pipeline.settings import Settings

DISTRIBUTION = "evidence-chain"
BASE = "base"
UNLISTED = {
    "all", "dev",  # made of others
    "quarto",  # a program: looked for on PATH
    "lake", "observability",  # nothing uses them yet
}  # fmt: skip


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
    findings += [_package(group, name) for group, name in sorted(_packages())]
    findings.append(
        _program("git", "--version", remedy="install git: without it a run does not record the code's version")
    )
    findings.append(
        _program("quarto", "--version", remedy="quarto.org/docs/get-started, or pip install 'evidence-chain[quarto]'; "
                 "without it reports are rendered by the embedded renderer")
    )  # fmt: skip
    findings.append(Finding("project", "root", str(settings.root)))
    findings.append(Finding("project", "results", str(settings.results)))
    findings.append(Finding("project", "tracking store", masked(settings.default_tracking_uri)))
    return findings


def _packages() -> Iterator[tuple[str, str]]:
    """Yield the extra (or "base") and the name of every package that this distribution declares; itself when it is not
    installed.
    """
    from packaging.requirements import Requirement

    try:
        about = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        yield BASE, DISTRIBUTION
        return
    declared = [Requirement(text) for text in about.get_all("Requires-Dist", [])]
    yield from ((BASE, needed.name) for needed in declared if needed.marker is None)
    for extra in {*about.get_all("Provides-Extra", [])} - UNLISTED:
        for needed in declared:
            if needed.marker is not None and needed.marker.evaluate({"extra": extra}):
                yield extra, needed.name


def _package(group: str, name: str) -> Finding:
    remedy = f"pip install {DISTRIBUTION}" if group == BASE else f"pip install '{DISTRIBUTION}[{group}]'"
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
