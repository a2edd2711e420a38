"""Restore what a run was made from: its code, its notebook and its data, each found by its digest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from pipeline.backtest.data import source_path
from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import DataError, NotebookError, UsageError
from pipeline.evidence.compare import Inputs
from pipeline.evidence.inputs import ending, find_by_digest, find_kept
from pipeline.evidence.provenance import git_state
from pipeline.inputs.given import frames_of
from pipeline.replay.git import file_at, has_commit, worktree
from pipeline.replay.importable import present_modules
from pipeline.settings import Settings
from pipeline.template_files import template_path

SPEC_KEYS = {"data": ("data", "source"), "benchmark": ("benchmark", "source"), "notebook": ("run", "notebook")}
MOST_NAMES = 5


@dataclass(frozen=True)
class Restored:
    """One input as the replay is given it: what, whether it is the one of the run, and where it was found."""

    name: str
    exact: bool
    found: str

    def __str__(self) -> str:
        return f"{self.name}: {'as recorded' if self.exact else 'NOT as recorded'}, {self.found}"


@dataclass(frozen=True)
class Workspace:
    """A directory that stands for the project's root as the run saw it, and the spec to execute there."""

    root: Path
    spec: dict[str, Any]
    restored: tuple[Restored, ...]
    frames: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A file that a run was made from: its name, where the run had it, its SHA-256; whether the spec says where."""

    name: str
    value: str
    digest: str
    of_spec: bool = True


@dataclass(frozen=True)
class _Place:
    """Where a replay may take place: `moved` when `root` is a copy that files may be put into."""

    root: Path
    moved: bool
    code: Restored


@contextmanager
def workspace(
    spec: dict[str, Any], recorded: Inputs, settings: Settings, *, search: Sequence[Path] = ()
) -> Iterator[Workspace]:
    """Yield a workspace with the recorded inputs, as far as they can be found; nothing of the project is changed.

    Code is taken from git when the project's differs; data and notebook from where the spec says, the kept inputs,
    git, and the directories of `search`. What is not found is replaced by what is there, and said to be not exact.
    Raises UsageError when there is nothing at all.
    """
    temporary = Path(tempfile.mkdtemp(prefix="evidence-replay-"))
    try:
        with _code(recorded, settings, temporary) as place:
            finder = Finder(recorded, settings, place.root, tuple(search), temporary)
            found = [(item, *finder.find(item)) for item in items_of(spec, recorded)]
            wanted = {item: path for item, path, _ in found if path is not None}
            root, values = _put(spec, wanted, place, temporary)
            frames, gone = frames_of(recorded.frames, settings.results)
            of_frames = [
                Restored(f"frame {name}", True, f"the kept copy {Path(frames[name]).name[:12]}") for name in frames
            ]
            of_frames += [Restored(f"frame {name}", False, "as the notebook makes it again") for name in gone]
            yield Workspace(root, values, (place.code, *(item for _, _, item in found), *of_frames), frames)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def items_of(spec: dict[str, Any], recorded: Inputs) -> Iterator[Item]:
    """Yield the files that a run was made from: those its spec names, then those it was seen to read."""
    for name, (section, key) in SPEC_KEYS.items():
        value = (spec.get(section) or {}).get(key)
        if (digest := getattr(recorded, name)) is not None and value is not None:
            yield Item(name, value, digest)
    for path, digest in recorded.inputs.items():
        yield Item(f"input {path}", path, digest, of_spec=False)


@contextmanager
def _code(recorded: Inputs, settings: Settings, temporary: Path) -> Iterator[_Place]:
    """Choose the project as it is, or the recorded commit when more of the recorded modules are the same there."""
    if not recorded.modules:
        yield _Place(settings.root, False, _unknown_code(recorded, settings.root))
        return
    here = _changed(recorded, settings.root)
    if not here:
        yield _Place(settings.root, False, Restored("code", True, "the project's own"))
        return
    git = recorded.git
    if git is None or not has_commit(settings.root, git["commit"]):
        reason = (
            "no commit was recorded" if git is None else f"the commit {git['commit'][:12]} is not in the repository"
        )
        text = f"the project's own as it is now: {reason}; changed: {_some(here)}"
        yield _Place(settings.root, False, Restored("code", False, text))
        return
    with worktree(settings.root, git["commit"], temporary) as tree:
        there = here if tree is None or not tree.is_dir() else _changed(recorded, tree)
        if tree is None or len(there) >= len(here):
            text = f"the project's own as it is now: the commit {git['commit'][:12]} does not bring it back"
            text = f"{text}; changed: {_some(here)}"
            yield _Place(settings.root, False, Restored("code", False, text))
        else:
            yield _Place(tree, True, Restored("code", not there, _from_commit(git, there)))


def _unknown_code(recorded: Inputs, root: Path) -> Restored:
    """Describe the project as code of a run that ended before it recorded what it had imported, as with its kernel."""
    state = git_state(root)
    if state is not None and recorded.git == {"commit": state.commit, "dirty_sha256": state.dirty_sha256}:
        return Restored("code", True, f"the project's own, which is at the commit {state.commit[:12]} as it was")
    text = "the project's own as it is now: the run ended before it recorded which modules it had imported"
    return Restored("code", False, text)


def _from_commit(git: dict[str, Any], changed: list[str]) -> str:
    text = f"the commit {git['commit'][:12]} in a work tree of its own"
    if changed and git.get("dirty_sha256"):
        return f"{text}; the run had uncommitted changes, which are lost: {_some(changed)}"
    return f"{text}; changed: {_some(changed)}" if changed else text


def _changed(recorded: Inputs, root: Path) -> list[str]:
    """Return the modules whose source is another one now; of one that is on no path of its own that nobody finds it."""
    present = present_modules(recorded.modules, root)
    changed = (name for name, digest in recorded.modules.items() if present.get(name) != digest)
    return [name if name in present else f"{name} (not found on the import path)" for name in changed]


@dataclass(frozen=True)
class Finder:
    """Looks for a file by its digest, nearest place first."""

    recorded: Inputs
    settings: Settings
    root: Path
    search: tuple[Path, ...]
    temporary: Path

    def exact(self, item: Item) -> tuple[Path, str] | None:
        """Return the recorded file itself and where it was found; None when it is nowhere."""
        present = self._present(item, self.root)
        if present is not None and sha256_file(present) == item.digest:
            return present, item.value
        if not item.of_spec and not _below_root(item.value):
            return None
        return next(self._elsewhere(item), None)

    def find(self, item: Item) -> tuple[Path | None, Restored]:
        """Return the file to put where the run had it (None: it is there already), and how it was found."""
        present, found = self._present(item, self.root), self.exact(item)
        if found is not None:
            path, where = found
            return None if path == present else path, Restored(item.name, True, where)
        if not item.of_spec and not _below_root(item.value):
            return None, self._in_vain(item, present)
        return self._instead(item, present)

    def _elsewhere(self, item: Item) -> Iterator[tuple[Path, str]]:
        own = self._present(item, self.settings.root)
        if own is not None and sha256_file(own) == item.digest:
            yield own, f"{item.value} of the project"
        if (kept := find_kept(self.settings.results, item.digest)) is not None:
            yield kept, f"the kept copy {kept.name[:12]}{kept.suffix}"
        if (path := self._from_git(item)) is not None:
            yield path, f"{item.value} of the recorded commit"
        for directory in self.search:
            if (path := find_by_digest(directory, item.digest, suffix=ending(PurePath(item.value)))) is not None:
                yield path, f"{path.name} found by its digest"

    def _from_git(self, item: Item) -> Path | None:
        git = self.recorded.git
        data = None if git is None else file_at(self.settings.root, git["commit"], item.value)
        if data is None or sha256_bytes(data) != item.digest:
            return None
        path = self.temporary / f"{item.digest}-{PurePath(item.value).name}"
        path.write_bytes(data)
        return path

    def _in_vain(self, item: Item, present: Path | None) -> Restored:
        """Say of a file outside of the project, which the notebook finds by itself, that it is not the one it was."""
        kept = next((where for _, where in self._elsewhere(item)), None)
        known = f"; put {kept} there" if kept else ""
        if present is None:
            raise UsageError(f"The run read {item.value}, outside of the project, which is gone{known}. Put it back.")
        return Restored(item.name, False, f"{item.value} as it is now, outside of the project{known}")

    def _instead(self, item: Item, present: Path | None) -> tuple[Path | None, Restored]:
        instead = present or self._present(item, self.settings.root)
        if instead is None:
            raise UsageError(
                f"The {item.name} of the run, {item.value} with SHA-256 {item.digest}, is not in its place, among the "
                "kept inputs, or in git. Put it back, or name a directory that holds it with --search."
            )
        text = f"{item.value} as it is now: the recorded one, sha256:{item.digest[:12]}, was not found"
        return (None if present is not None else instead), Restored(item.name, False, text)

    def _present(self, item: Item, root: Path) -> Path | None:
        try:
            if not item.of_spec:
                path = root / Path(item.value).expanduser()
                return path if path.is_file() else None
            if item.name != "notebook":
                return source_path(item.value, root)
            return template_path(Settings(root, self.settings.results), item.value, error=NotebookError)
        except (DataError, NotebookError):
            return None


def _put(spec: dict[str, Any], wanted: dict[Item, Path], place: _Place, temporary: Path) -> tuple[Path, dict[str, Any]]:
    """Put found files where the run had them, in a copy of the root; the spec names those that no copy can hold."""
    inside = {item: path for item, path in wanted.items() if _fits(item.value, place)}
    values = spec
    for item in (item for item in wanted if item.of_spec and item not in inside):
        section, key = SPEC_KEYS[item.name]
        values = {**values, section: {**values[section], key: str(wanted[item])}}
    files = {PurePath(item.value).parts: path for item, path in inside.items()}
    root = place.root
    if files and not place.moved:
        root = temporary / "overlay"
        _overlay(place.root, root, files)
    elif files:
        _link_into(root, files)
    return root, values


def _fits(value: str, place: _Place) -> bool:
    """Say whether a name in a spec is a place in a copy of the root: below it, and not behind a link out of it."""
    path = PurePath(value)
    if not _below_root(value) or value.startswith("sample:"):
        return False
    return not place.moved or (place.root / path).parent.resolve().is_relative_to(place.root)


def _below_root(value: str) -> bool:
    path = PurePath(value)
    return not (path.is_absolute() or ".." in path.parts or value.startswith("~"))


def _overlay(root: Path, target: Path, files: dict[tuple[str, ...], Path]) -> None:
    """Make `target` look like `root` by links, except for `files`; git and the results are left out."""
    target.mkdir()
    heads = {parts[0] for parts in files}
    for entry in sorted(root.iterdir()) if root.is_dir() else []:
        if entry.name not in heads | {".git"}:
            _link(target / entry.name, entry.resolve())
    for head in sorted(heads):
        below = {parts[1:]: path for parts, path in files.items() if parts[0] == head}
        if () in below:
            _link(target / head, below[()].resolve())
        else:
            _overlay(root / head, target / head, below)


def _link(target: Path, source: Path) -> None:
    """Make `target` a link to `source`, or a copy where links are not allowed (Windows, without the right to)."""
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)


def _link_into(root: Path, files: dict[tuple[str, ...], Path]) -> None:
    for parts, path in files.items():
        target = root.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        _link(target, path.resolve())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
