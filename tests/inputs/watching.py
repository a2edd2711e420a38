"""Watch this process as a kernel is watched, in a project of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.inputs import doors, watch
from pipeline.inputs.observed import Observed, ObservedFile
from pipeline.inputs.places import Known, Places


@contextmanager
def watched(root: Path, *directories: Path, declared: Mapping[str, Known] | None = None) -> Iterator[list[Observed]]:
    """Watch the project at `root`; the list holds what was seen once the block has ended."""
    places = Places(str(root), str(root / "results"), tuple(map(str, directories or (root,))), declared or {})
    seen: list[Observed] = []
    doors.open_doors()
    own = watch.start(places)
    try:
        yield seen
    finally:
        seen.append(watch.stop(own))


def by_itself(seen: Observed) -> Observed:
    """Return what hook and doors saw, without what the system was asked."""
    return replace(seen, completeness=None)


def files_read(root: Path, act: Callable[[], Any], *directories: Path) -> dict[str, ObservedFile]:
    """Return the files that were seen to be read while `act` was called, by their names."""
    with watched(root, *directories) as seen:
        act()
    assert seen[0].failed is None
    return {file.path: file for file in seen[0].files}
