"""Gather what a run was made from, so that a bundle of it can be replayed without the sender's project."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import UsageError
from pipeline.evidence.bundle import CODE, INPUTS, PACKAGE
from pipeline.evidence.compare import Inputs, read_inputs
from pipeline.evidence.inputs import ending
from pipeline.evidence.ledger import TRIAL_COUNTED, TRIALS_ENDED, Entry
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.luggage import NOTHING, LeftOut, Luggage, Source
from pipeline.evidence.modules import PACKAGE as OURS
from pipeline.evidence.modules import of_package
from pipeline.evidence.strict_json import LONGEST
from pipeline.evidence.trial import Scope
from pipeline.replay.git import file_at
from pipeline.replay.importable import present_sources
from pipeline.replay.restore import Finder, items_of
from pipeline.report.trials import TrialIndex
from pipeline.run import Run
from pipeline.secrets import of_this_process
from pipeline.settings import Settings

NOTEBOOK = "notebook"
LEDGER, STRATEGIES = "ledger", "strategies"  # the ledger's leaves; with what each entry tried
PARTS = (LEDGER, NOTEBOOK, CODE, INPUTS)  # in the order in which the default takes them, as long as there is room
NO_PARTS = "none"
NOT_ASKED = "it was not asked for"
ROOM = 64 * 2**20  # bytes that the default takes along
NOT_NEEDED = frozenset({"__pycache__", "assets", "templates"})  # of this package, to execute a run


@dataclass
class _Found:
    """What was found of one part, and what is missing of it."""

    files: dict[str, Source] = field(default_factory=dict)
    missing: list[LeftOut] = field(default_factory=list)

    def add(self, name: str, source: Source, what: str) -> None:
        """Take a file along, unless it holds a secret of this process."""
        secrets = of_this_process()
        named = secrets.named_in(source) if isinstance(source, bytes) else secrets.named_in_file(source)
        if named:
            self.missing.append(LeftOut(what, f"it holds a secret, {', '.join(named)}"))
        else:
            self.files[name] = source

    @property
    def size(self) -> int:
        """Bytes of all files."""
        sizes = (len(one) if isinstance(one, bytes) else one.stat().st_size for one in self.files.values())
        return sum(sizes)


def read_parts(text: str | None) -> tuple[str, ...] | None:
    """Read the names of parts, `inputs,code`; None for the default. Raises UsageError."""
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    return () if names == (NO_PARTS,) else known_parts(names)


def known_parts(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that are those of parts; raises UsageError."""
    if unknown := [name for name in names if name not in (*PARTS, STRATEGIES)]:
        raise UsageError(
            f"{unknown[0]!r} cannot go along: give some of {', '.join(PARTS)}, {STRATEGIES}, or {NO_PARTS}."
        )
    return tuple(names)


@contextmanager
def gathered(run: Run, settings: Settings, *, wanted: Sequence[str] | None = None) -> Iterator[Luggage]:
    """Yield what goes into a bundle beside the run: each thing found by the digest that the seal has of it.

    `wanted` are names of PARTS, all of which must be had, else UsageError. None takes what can be had and fits ROOM,
    and says what was left out. No file that holds a secret of this process's environment goes along.
    """
    if run.manifest is None:
        yield NOTHING  # what is not sealed is not bundled
        return
    recorded = read_inputs(run.manifest)
    with tempfile.TemporaryDirectory(prefix="evidence-bundle-") as directory:
        finder = Finder(recorded, settings, settings.root, (), Path(directory))
        yield _chosen(run, finder, PARTS if wanted is None else wanted, room=ROOM if wanted is None else None)


def ledger_luggage(run: Run, wanted: Sequence[str], *, must: bool) -> Luggage:
    """Return luggage of the ledger's leaves alone, if `wanted`; raises UsageError where they `must` be had."""
    named = {*wanted, *([LEDGER] if STRATEGIES in wanted else [])}
    left_out = [] if LEDGER in named else [LeftOut(LEDGER, NOT_ASKED)]
    scopes = _scopes(run, named, left_out)
    if scopes is None and LEDGER in named and must:
        raise UsageError(f"The ledger's leaves cannot go along: {left_out[-1].why}.")
    return Luggage({}, () if scopes is None else (LEDGER,), tuple(left_out), scopes)


def _chosen(run: Run, finder: Finder, wanted: Sequence[str], *, room: int | None) -> Luggage:
    files: dict[str, Source] = {}
    ledger = ledger_luggage(run, wanted, must=room is None)
    parts, left_out = [*ledger.parts], [*ledger.left_out]
    left_out += [LeftOut(part, NOT_ASKED) for part in PARTS if part not in (*wanted, LEDGER)]
    for part in (part for part in PARTS if part in wanted and part != LEDGER):
        found = _code(finder) if part == CODE else _inputs(run, finder, part)
        if room is not None and found.size > room:
            left_out.append(LeftOut(part, f"its {found.size:,} bytes are more than there is room for: --with {part}"))
            continue
        if room is None and found.missing:
            raise UsageError(f"Not all of the {part} can go along: {found.missing[0].name}: {found.missing[0].why}.")
        room = None if room is None else room - found.size
        files |= found.files
        parts += [part] if found.files else []
        left_out += found.missing
    return Luggage(files, tuple(parts), tuple(left_out), ledger.scopes)


def _scopes(run: Run, wanted: Collection[str], left_out: list[LeftOut]) -> frozenset[int] | None:
    """Return which of the ledger's entries show what they tried: those of the run's own family, or all."""
    if LEDGER not in wanted:
        return None
    size = run.dir.ledger.stat().st_size if run.dir.ledger.is_file() else 0
    if not 0 < size <= LONGEST:
        why = f"its {size:,} bytes are more than {LONGEST:,}" if size else "there is none"
        left_out.append(LeftOut(LEDGER, why))
        return None
    entries = check_ledger(run.dir.ledger).entries
    if STRATEGIES in wanted:
        return frozenset(entry.seq for entry in entries)
    family = TrialIndex(run.dir.results).family_of(run)
    scopes, runs = {one.scope for one in family}, {run.run_id, *(one.run_id for one in family)}
    return frozenset(e.seq for e in entries if _scope_of(e) in scopes or (e.event.run_id in runs and not _of_batch(e)))


def _of_batch(entry: Entry) -> bool:
    """Say whether an entry tells of trials of a sweep, which may be of several families."""
    return entry.event.kind in (TRIAL_COUNTED, TRIALS_ENDED)


def _scope_of(entry: Entry) -> Scope | None:
    try:
        return Scope.of_event(entry.event)
    except ValueError:
        return None


def _inputs(run: Run, finder: Finder, part: str) -> _Found:
    found = _Found()
    for item in items_of(run.config, finder.recorded):
        if (item.name == NOTEBOOK) != (part == NOTEBOOK):
            continue
        file = finder.exact(item)
        if file is None:
            found.missing.append(LeftOut(item.name, "no file with its digest was found", item.digest))
        else:
            found.add(f"{INPUTS}/{item.digest}{ending(file[0])}", file[0], item.name)
    if part == NOTEBOOK and finder.recorded.notebook is None:
        found.missing.append(LeftOut(NOTEBOOK, "the run recorded none"))
    return found


def _code(finder: Finder) -> _Found:
    """Find the modules that the run imported, here or in the recorded commit; this package goes whole or not."""
    found, recorded = _Found(), finder.recorded
    present = present_sources(recorded.modules, finder.root)
    same = {name: one for name, one in present.items() if sha256_file(one.file) == recorded.modules[name]}
    for name in (name for name in recorded.modules if not of_package(name)):
        place, source = (same[name].place, same[name].file) if name in same else _committed(name, finder)
        if source is None:
            found.missing.append(LeftOut(f"module {name}", "its source was changed since", recorded.modules[name]))
        else:
            found.add(f"{CODE}/{place}", source, f"module {name}")
    ours = [name for name in recorded.modules if of_package(name)]
    if OURS in same and all(name in same for name in ours):
        for name, file in _package_files(same[OURS].file.parent).items():
            found.add(f"{PACKAGE}/{OURS}/{name}", file, f"package {OURS}")
    elif ours:
        found.missing.append(LeftOut(f"package {OURS}", "another version of it is installed than the run used"))
    return found


def _committed(name: str, finder: Finder) -> tuple[str, bytes | None]:
    git, start = finder.recorded.git, name.replace(".", "/")
    for place in (f"{start}.py", f"{start}/__init__.py") if git else ():
        data = file_at(finder.root, git["commit"], place) if git else None
        if data is not None and sha256_bytes(data) == finder.recorded.modules[name]:
            return place, data
    return start, None


def _package_files(directory: Path) -> Mapping[str, Path]:
    """Return the files of this package that a run needs, by their paths in it."""
    found = ((path.relative_to(directory), path) for path in sorted(directory.rglob("*")) if path.is_file())
    return {name.as_posix(): path for name, path in found if not NOT_NEEDED & {*name.parts}}


def missing_code(recorded: Inputs, root: Path) -> list[str]:
    """Return the modules of a run, this package's apart, that Python would not find from `root`."""
    present = present_sources(recorded.modules, root)
    return [name for name in recorded.modules if name not in present and not of_package(name)]
