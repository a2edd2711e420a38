"""Publish a built site: to a directory, with one atomic switch, or to a git branch."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import EvidenceError, StorageError, UsageError
from pipeline.files import PARTIAL, list_files
from pipeline.site.layout import HEAD, UNPUBLISHED
from pipeline.site.state import read_state

RELEASES = ".releases"
CNAME = "CNAME"
HOW_TO_INSTALL = "ghp-import is not installed. pip install 'evidence-chain[report]'."


@dataclass(frozen=True)
class Published:
    """What was published where: files that were new or changed, files in all; `changed` is False for no difference."""

    target: str
    files: int
    copied: int
    changed: bool


def publish_directory(site: Path, target: Path) -> Published:
    """Make `target` a symbolic link to a whole copy of the site beside it, replaced in one step.

    As rsync does, a file with the size and time of the one published before is not copied again but linked to it.
    The release before stays beside it in `<target>.releases/`. Raises UsageError, StorageError.
    """
    names = _names(site)
    if target.exists() and not target.is_symlink():
        if not target.is_dir() or any(target.iterdir()):
            raise UsageError(f"{target} has content of its own. Give a path that is free, or was published before.")
        target.rmdir()
    releases = target.with_name(target.name + RELEASES)
    current = target.resolve() if target.is_symlink() else None
    new = releases / uuid.uuid4().hex[:12]
    try:
        copied = sum(_place(site / name, new / name, current / name if current else None) for name in names)
        if current and not copied and set(list_files(current)) == set(names):
            shutil.rmtree(new)
            return Published(str(target), len(names), 0, changed=False)
        _switch(target, new)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise StorageError(
            f"{target} could not be published: {error.strerror}. What was there is untouched."
        ) from error
    _forget(releases, keep={new, current})
    return Published(str(target), len(names), copied, changed=True)


def publish_branch(
    site: Path, repository: Path, branch: str = "gh-pages", *, push: bool = False, full: bool = False
) -> Published:
    """Commit the site to a branch of a git repository, whose work tree stays as it is; with `push` to origin too.

    Nothing is committed when the branch has this site already; a CNAME that others committed there stays. A site that
    was not built for the public is refused without `full`: a branch goes where the repository goes. Raises UsageError
    for that, without ghp-import, a repository or somebody who commits, and for a branch that is none, is checked out
    or holds something else than a site; EvidenceError when git refuses.
    """
    try:
        import ghp_import
    except ImportError:
        raise UsageError(HOW_TO_INSTALL) from None
    names = _names(site)
    if not full and not read_state(site).public:
        raise UsageError(
            f"The site in {site} shows paths, hosts and users, as it was not built for the public, and a branch goes "
            "where the repository goes. Build it with --public, or give --full."
        )
    _check_branch(repository, branch)
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=site.resolve().parent) as directory:
        new = Path(directory)
        for name in names:
            _link_or_copy(site / name, new / name)
        _keep_cname(repository, branch, new)
        if changed := _blobs(new) != _committed(repository, branch):
            try:
                with contextlib.chdir(repository):
                    ghp_import.ghp_import(directory, branch=branch, mesg="Publish the website", nojekyll=True)
            except (ghp_import.GhpError, OSError) as error:
                raise UsageError(f"{repository}: the site was not committed to {branch}: {error}") from None
            except Exception as error:  # ghp-import raises it plain when git refuses
                raise EvidenceError(f"{repository}: git refused the site on {branch}: {error}") from error
    if push:
        _push(repository, branch)
    return Published(branch, len(names), len(names) if changed else 0, changed=changed)


def _keep_cname(repository: Path, branch: str, new: Path) -> None:
    """Put the CNAME of the branch, which names its address, beside a site that has none."""
    if not (new / CNAME).exists() and (kept := _git(repository, "show", f"refs/heads/{branch}:{CNAME}")):
        (new / CNAME).write_text(kept + "\n", encoding="utf-8")


def _blobs(directory: Path) -> dict[str, str]:
    """Return git's digest of each file."""
    found = {}
    for name in list_files(directory):
        data = (directory / name).read_bytes()
        found[name] = hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()
    return found


def _committed(repository: Path, branch: str) -> dict[str, str]:
    """Return git's digest of each file that a branch has; nothing without the branch."""
    listed = _git(repository, "ls-tree", "-r", "-z", f"refs/heads/{branch}").split("\0")
    entries = (entry.partition("\t") for entry in listed if entry)
    return {name: facts.split()[2] for facts, _, name in entries}


def _push(repository: Path, branch: str) -> None:
    done = _run_git(repository, "push", "origin", f"refs/heads/{branch}")
    if done is None or done.returncode != 0:
        said = "" if done is None else done.stderr.strip().rpartition("\n")[2]
        raise EvidenceError(
            f"{branch} was committed, and not pushed to origin: {said} Where origin has commits that are not here: "
            f"`git fetch origin +{branch}:{branch}`, then publish again."
        )


def _check_branch(repository: Path, branch: str) -> None:
    """Refuse what is no branch, and one whose content a commit of the site would take away."""
    if _git(repository, "rev-parse", "--git-dir"):
        if not _git(repository, "check-ref-format", "--branch", branch):
            raise UsageError(f"{branch!r} is no name of a branch. Give one as gh-pages.")
        if not _git(repository, "var", "GIT_COMMITTER_IDENT"):
            raise UsageError("git does not know who commits: git config user.name NAME; git config user.email MAIL")
    if _git(repository, "symbolic-ref", "HEAD") == f"refs/heads/{branch}":
        raise UsageError(f"{branch} is checked out: the site would replace its files. Give another one, as gh-pages.")
    for place in ("heads", "remotes/origin"):
        tip = f"refs/{place}/{branch}"
        if _git(repository, "rev-parse", "--verify", tip) and not _git(repository, "rev-parse", f"{tip}:{HEAD}"):
            raise UsageError(f"{tip} has content of its own. Give a branch that is new, or was published before.")


def _git(repository: Path, *arguments: str) -> str:
    """Return what git says; nothing when it refuses or is not there."""
    done = _run_git(repository, *arguments)
    return done.stdout.strip() if done is not None and done.returncode == 0 else ""


def _run_git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    try:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    except OSError:
        return None


def _names(site: Path) -> list[str]:
    if not (site / HEAD).is_file():
        raise UsageError(f"There is no site in {site}. `evidence site build` makes one.")
    return [
        name
        for name in list_files(site)
        if name not in UNPUBLISHED and not name.rpartition("/")[2].startswith(PARTIAL) and not name.startswith(".git/")
    ]


def _place(source: Path, target: Path, published: Path | None) -> bool:
    """Put a file into the new release; say whether its bytes had to be copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if published is not None and _quick_same(source, published):
        os.link(published, target)
        return False
    shutil.copy2(source, target)
    return True


def _quick_same(source: Path, published: Path) -> bool:
    try:
        there, here = published.stat(), source.stat()
    except OSError:
        return False
    return (there.st_size, there.st_mtime_ns) == (here.st_size, here.st_mtime_ns)


def _switch(target: Path, new: Path) -> None:
    waiting = target.with_name(f".{target.name}.{new.name}")
    waiting.symlink_to(Path(new.parent.name) / new.name, target_is_directory=True)
    waiting.replace(target)


def _forget(releases: Path, keep: set[Path | None]) -> None:
    kept = {path.name for path in keep if path is not None}
    for old in _folders(releases):
        if old.name not in kept:
            shutil.rmtree(old, ignore_errors=True)


def _folders(directory: Path) -> Iterator[Path]:
    return (path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
