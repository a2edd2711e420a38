"""What a run directory holds and no seal can cover: moved out of it before the seal, and named.

results/.unsealed/<run_id>/  what was moved there, under its own path
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.file_names import is_plain_name, one_form
from pipeline.layout import REPORT_DIR, UNSEALED
from pipeline.rundir import UNSEALED_DIR, RunDir

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}
LISTED = 10  # things named one by one


@dataclass(frozen=True)
class Unsealable:
    """One thing that cannot be sealed: its path relative to the run directory, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name!r} ({self.why})"


def set_aside(run: RunDir) -> list[Unsealable]:
    """Move what cannot be sealed from the run directory to `results/.unsealed/`, and return what it was.

    That is everything but regular files that can be read, and names that another system would read otherwise. Raises
    StorageError when something cannot be moved.
    """
    found = sorted(_unsealable(run), key=lambda item: item.name)
    for item in found:
        try:
            _move(run.path / item.name, run.unsealed / item.name)
        except OSError as error:
            raise StorageError(f"{item} lies in {run.path} and cannot be sealed or moved: {error.strerror}.") from error
    return found


def made_again(run: RunDir) -> str | None:
    """Make the run directory when the run removed it, or put a link or a file in its place; return what is said of it.

    Whatever stands there is moved to `results/.unsealed/`, and where a link leads nothing is touched. None when all is
    well; raises StorageError.
    """
    if run.path.is_dir() and not run.path.is_symlink():
        return None
    moved = ""
    try:
        if os.path.lexists(run.path):
            _move(run.path, run.unsealed / run.run_id)
            moved = f"; what stood in its place was moved to {UNSEALED_DIR}/{run.run_id} beside it"
        run.path.mkdir()
    except OSError as error:
        raise StorageError(f"{run.path} is no directory any more, and cannot be made: {error.strerror}.") from error
    return f"The run directory was removed or replaced while the run was executing, with all that it held{moved}."


def _move(source: Path, target: Path) -> None:
    """Move a thing, also one whose owner left himself no right to; raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except PermissionError:
        for path in (source.parent, source):
            if path.is_dir() and not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IRWXU)
        source.rename(target)


def sentence(run: RunDir, found: list[Unsealable]) -> str:
    """Return what was set aside, for the record and its reader."""
    named = ", ".join(str(item) for item in found[:LISTED])
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return (
        f"The run directory held what cannot be sealed: {named}{more}. Moved to {UNSEALED_DIR}/{run.run_id} beside it. "
        "A run directory holds regular files, with names in UTF-8 without a backslash or a drive: have the notebook "
        "write anything else elsewhere."
    )


def _unsealable(run: RunDir) -> Iterator[Unsealable]:
    seen: dict[str, str] = {}
    waiting = [run.path]
    while waiting:
        directory = waiting.pop()
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            name = directory.relative_to(run.path).as_posix()
            yield Unsealable(name, f"a directory that cannot be read: {error.strerror}")
            continue
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(run.path).as_posix()
            why = _name_problem(name) or _kind_problem(entry, name) or _twin_problem(name, seen)
            if why:
                yield Unsealable(name, why)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)


def _name_problem(name: str) -> str | None:
    if name in UNSEALED:
        return "the name of the seal"
    if is_plain_name(name):
        return None
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return "on other systems its name leads elsewhere"


def _kind_problem(entry: os.DirEntry[str], name: str) -> str | None:
    try:
        if entry.is_symlink():
            return f"a symbolic link to {os.readlink(entry.path)!r}"  # noqa: PTH115 - the target as it is written
        if entry.is_dir(follow_symlinks=False):
            return None
        kind = KINDS.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode))
        if kind:
            return kind
        if name == REPORT_DIR:
            return "a file where the report is rendered"
        with Path(entry.path).open("rb"):
            return None
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _twin_problem(name: str, seen: dict[str, str]) -> str | None:
    """Say which path is the same as this one elsewhere; `seen` is what came before, by the form that is compared."""
    twin = seen.setdefault(one_form(name), name)
    return None if twin == name else f"on other systems its name is that of {twin!r}"
