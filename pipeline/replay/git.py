"""Get files and whole work trees of a commit out of the project's git repository."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def has_commit(root: Path, commit: str) -> bool:
    """Say whether the repository that holds `root` has this commit; what is not a full commit id never is one."""
    return COMMIT.fullmatch(commit) is not None and _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def file_at(root: Path, commit: str, name: str) -> bytes | None:
    """Return the bytes of a file at a commit, `name` relative to `root`; None when it is not there."""
    return _git(root, "show", f"{commit}:./{name}") if COMMIT.fullmatch(commit) else None


@contextmanager
def worktree(root: Path, commit: str, directory: Path) -> Iterator[Path | None]:
    """Check out a commit in `directory/tree` and yield what corresponds to `root` there; None when git refuses.

    The project's own files are not touched; the work tree is removed at the end.
    """
    tree = directory / "tree"
    prefix = _git(root, "rev-parse", "--show-prefix")
    added = None if prefix is None else _git(root, "worktree", "add", "--detach", str(tree), commit)
    if prefix is None or added is None:
        yield None
        return
    try:
        yield (tree / prefix.decode().strip()).resolve()
    finally:
        _git(root, "worktree", "remove", "--force", str(tree))


def _git(root: Path, *arguments: str) -> bytes | None:
    """Return what git prints; None when it fails. Hooks of the repository are not run."""
    command = ["git", "-C", str(root), "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=300, check=False)  # noqa: S603 - fixed arguments
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
