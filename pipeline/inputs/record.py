"""What was read, as the manifest names it, and as it is kept for replays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evidence.manifest import Input
from pipeline.inputs.observed import Observed, ObservedFile

PREFIX = "input:"
OBSERVED = "observed"


def dependencies(observed: Observed) -> list[Input]:
    """Return the files that were read as inputs of the manifest, those that the spec names left out."""
    return [_dependency(file) for file in observed.files if file.declared is None]


def _dependency(file: ObservedFile) -> Input:
    digest = {} if file.sha256 is None else {"sha256": file.sha256}
    changed = {} if file.changed_to is None else {"changed_to": file.changed_to, "by_the_run": file.by_the_run}
    made = {"made": True} if file.made else {}
    annotations: dict[str, Any] = {"found": OBSERVED, "doors": list(file.doors), "size": file.size, **changed, **made}
    return Input(f"{PREFIX}{file.path}", file.path, digest, annotations)


def files_to_keep(observed: Observed, root: Path) -> Mapping[str, tuple[Path, str]]:
    """Return the files, by name, that a replay needs: path and SHA-256; not what the run, or its time, has changed."""
    return {
        f"{PREFIX}{file.path}": (root / Path(file.path).expanduser(), file.sha256)
        for file in observed.files
        if file.sha256 is not None and file.changed_to is None and not file.made
    }
