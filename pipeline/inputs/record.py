"""What a run was given and what it read, as the manifest names it, and as it is kept for replays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.evidence.manifest import Input
from pipeline.inputs.declared import PREFIX
from pipeline.inputs.observed import Observed, ObservedFile

DECLARED, OBSERVED = "declared", "observed"
FRAME, NETWORK = "frame:", "network:"


def dependencies(
    observed: Observed, files: Mapping[str, tuple[str, str]], declared: Mapping[str, str]
) -> Iterator[Input]:
    """Yield the inputs beside data, benchmark and notebook, for the manifest: declared files, others read, frames.

    `files` are those that the spec names: name to URI and SHA-256; `declared` is the name under which `[inputs]` has
    some of them.
    """
    read = {f"{PREFIX}{file.path}": file for file in observed.files}
    for name, (uri, sha256) in files.items():
        if name in declared:
            seen = _seen(read[name]) if name in read else {}
            yield Input(name, uri, {"sha256": sha256}, {"found": DECLARED, "input": declared[name], **seen})
    own = {uri for uri, _ in files.values()}
    for name, file in read.items():
        if name not in files and file.path not in own:
            digest = {} if file.sha256 is None else {"sha256": file.sha256}
            found = {"found": OBSERVED} if file.declared is None else {"found": DECLARED, "input": file.declared}
            yield Input(name, file.path, digest, {**found, **_seen(file)})
    for frame in observed.frames:
        annotations = {"found": DECLARED, "input": frame.name, "data_sha256": frame.data_sha256, "rows": frame.rows}
        more = {"columns": frame.columns, "kept": frame.kept, **({"replayed": True} if frame.replayed else {})}
        yield Input(f"{FRAME}{frame.name}", f"{FRAME}{frame.name}", {"sha256": frame.sha256}, annotations | more)
    for host in observed.hosts:
        times = {"found": OBSERVED, "first": host.first, "last": host.last}
        yield Input(f"{NETWORK}{host.name}", f"{NETWORK}{host.name}", {}, times)


def _seen(file: ObservedFile) -> dict[str, Any]:
    changed = {} if file.changed_to is None else {"changed_to": file.changed_to, "by_the_run": file.by_the_run}
    return {"doors": list(file.doors), "size": file.size, **changed, **({"made": True} if file.made else {})}


def files_to_keep(observed: Observed, root: Path) -> Mapping[str, tuple[Path, str]]:
    """Return the files, by name, that a replay needs: path and SHA-256; not what the run, or its time, has changed."""
    return {
        f"{PREFIX}{file.path}": (root / Path(file.path).expanduser(), file.sha256)
        for file in observed.files
        if file.sha256 is not None and file.changed_to is None and not file.made
    }
