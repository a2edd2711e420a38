"""What a run was made from: commit, packages, lock files, platform, as found out on this machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_file

LIBRARIES = ("site-packages", "dist-packages")
COMMIT_LINE, NO_COMMIT = "# branch.oid ", "(initial)"


@dataclass(frozen=True)
class GitState:
    """The commit a work tree is at; `dirty_sha256` covers the uncommitted changes, None when there are none."""

    commit: str
    dirty_sha256: str | None

    @property
    def dirty(self) -> bool:
        """Say whether the work tree differs from the commit."""
        return self.dirty_sha256 is not None


def git_state(root: Path) -> GitState | None:
    """Return the state of the git work tree that holds `root`; None without git or without a commit.

    The digest of a dirty tree covers the diff of tracked files and the names and contents of untracked ones.
    """
    status = _git(root, "status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z")
    lines = [] if status is None else status.rstrip(b"\0").decode(errors="surrogateescape").split("\0")
    commit = next((line.removeprefix(COMMIT_LINE) for line in lines if line.startswith(COMMIT_LINE)), NO_COMMIT)
    if commit == NO_COMMIT:
        return None
    return GitState(commit, None if all(line.startswith("# ") for line in lines) else _dirty_digest(root))


def _dirty_digest(root: Path) -> str | None:
    diff = _git(root, "diff", "--binary", "--no-ext-diff", "--no-textconv", "HEAD") or b""
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", ":/") or b""
    if not diff and not untracked:
        return None
    top = Path((_git(root, "rev-parse", "--show-toplevel") or b".").decode().strip())
    digest = hashlib.sha256(diff)
    for name in sorted(filter(None, untracked.split(b"\0"))):
        path = top / name.decode(errors="surrogateescape")
        content = sha256_file(path) if path.is_file() else "-"
        digest.update(b"\0" + name + b"\0" + content.encode())
    return digest.hexdigest()


def _git(root: Path, *arguments: str) -> bytes | None:
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]  # never in the way of the user's own
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603 - fixed arguments
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@dataclass(frozen=True)
class Environment:
    """What a run was executed on: the interpreter, the platform, every installed package."""

    python: str
    implementation: str
    platform: str
    machine: str
    packages: dict[str, str]

    @classmethod
    def of_this_process(cls) -> Environment:
        """Describe this process; kernels started by it use the same interpreter and packages."""
        return cls(
            python=platform.python_version(),
            implementation=platform.python_implementation(),
            platform=platform.platform(),
            machine=platform.machine(),
            packages=installed_packages(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(vars(self))


def installed_packages() -> dict[str, str]:
    """Return name and version of every installed distribution, sorted by name."""
    return dict(_distributions(tuple((entry, _changed(entry)) for entry in sys.path)))


@lru_cache(maxsize=1)
def _distributions(_path: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """Read the distributions on the import path; where packages are installed, the time of the last change is given."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.name
        if name:
            found[name.lower().replace("_", "-")] = distribution.version
    return dict(sorted(found.items()))


def _changed(directory: str) -> int:
    if not directory.endswith(LIBRARIES):
        return 0
    try:
        return Path(directory).stat().st_mtime_ns
    except OSError:
        return 0


def lock_files(root: Path) -> dict[str, str]:
    """Return the digests of the dependency lock files in the project's root, by POSIX path."""
    patterns = ("requirements/*.txt", "requirements*.txt", "uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")
    files = sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file())
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in files}
