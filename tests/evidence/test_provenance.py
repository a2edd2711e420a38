"""Where a run came from: git, modules, packages, locks."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from pipeline.digest import sha256_file
from pipeline.evidence.modules import modules_of_this_process
from pipeline.evidence.provenance import git_state, installed_packages, lock_files


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_clean_tree_is_its_commit(repository: Path) -> None:
    """A clean work tree is clean, ignored files do not make it dirty."""
    (repository / "ignored").write_text("x")
    state = git_state(repository)
    assert state is not None
    assert len(state.commit) == 40
    assert not state.dirty


def test_every_change_has_a_digest_of_its_own(repository: Path) -> None:
    """Tracked edits and untracked files both count, by content and by name, from any folder of the tree."""
    seen = set()
    (repository / "sub").mkdir()
    for name, text in (("a.py", "x = 2\n"), ("b.py", "y = 1\n"), ("b.py", "y = 2\n"), ("sub/c d.py", "")):
        (repository / name).write_text(text)
        state = git_state(repository / "sub")
        assert state is not None
        assert state.dirty
        seen.add(state.dirty_sha256)
    assert len(seen) == 4


def test_outside_git_there_is_no_state(tmp_path: Path) -> None:
    """No repository, or one without a commit, is None and not an error."""
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None


def test_only_the_projects_own_modules_are_digested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the project are recorded by the digest of their source; libraries are recorded as packages."""
    source = tmp_path / "my_strategy.py"
    source.write_text("x = 1\n")
    mine = types.ModuleType("my_strategy")
    mine.__file__ = str(source)
    monkeypatch.setitem(sys.modules, "my_strategy", mine)
    found = modules_of_this_process()
    assert found["my_strategy"] == sha256_file(source)
    assert "pipeline.evidence.provenance" in found
    assert not {"pytest", "json", "numpy", "__future__"} & set(found)


def test_packages_are_named_as_the_index_names_them() -> None:
    """Names are lower case with hyphens, so that package URLs are comparable."""
    packages = installed_packages()
    assert "pandas" in packages
    assert "typing-extensions" in packages
    assert list(packages) == sorted(packages)


def test_lock_files_are_found(tmp_path: Path) -> None:
    """The digests of the lock files in the project's root are part of the evidence."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "base.txt").write_text("numpy==2.0\n")
    assert lock_files(tmp_path) == {"requirements/base.txt": sha256_file(tmp_path / "requirements" / "base.txt")}
