"""What the last build saw. Only a cache: without it everything is made again, and the pages are the same."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.files import write_atomic
from pipeline.site.layout import STATE

VERSION = 5


@dataclass
class RunState:
    """One run as the last build left it: what its directory looked like, its row, what its folder here looks like.

    `held` are the paths of its files that hold a secret in clear, and are not on the site.
    """

    fingerprint: str
    seal: str
    entry: dict[str, Any]
    written: str
    held: list[str] = field(default_factory=list)


@dataclass
class SiteState:
    """The last build: `key` is everything that shapes all pages, `trust` what verification depended on."""

    key: str = ""
    trust: str = ""
    public: bool | None = None
    runs: dict[str, RunState] = field(default_factory=dict)
    prose: dict[str, list[str]] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)


def read_state(root: Path) -> SiteState:
    """Return the state of a site, an empty one when there is none that can be read."""
    try:
        values = json.loads((root / STATE).read_bytes())
        if values.pop("version") != VERSION:
            return SiteState()
        runs = {run_id: RunState(*facts) for run_id, facts in values.pop("runs").items()}
        return SiteState(runs=runs, **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return SiteState()


def write_state(root: Path, state: SiteState) -> bool:
    """Write the state unless it is there already; say whether it was written."""
    runs = {run_id: [r.fingerprint, r.seal, r.entry, r.written, r.held] for run_id, r in sorted(state.runs.items())}
    values = {
        "version": VERSION, "key": state.key, "trust": state.trust, "public": state.public, "runs": runs,
        "prose": state.prose, "groups": state.groups,
    }  # fmt: skip
    data = json.dumps(values, separators=(",", ":")).encode()
    path = root / STATE
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomic(path, data)
    return True


def fingerprint(directory: Path) -> str:
    """Return what changes whenever a file below a directory does: names, sizes, times of change, inodes.

    Empty for a directory that is removed meanwhile.
    """
    with contextlib.suppress(FileNotFoundError):
        return sha256_bytes("\n".join(sorted(_facts(directory, ""))).encode(errors="surrogateescape"))
    return ""


def _facts(directory: Path | str, prefix: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _facts(entry.path, f"{prefix}{entry.name}/")
            else:
                seen = entry.stat(follow_symlinks=False)
                yield f"{prefix}{entry.name}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_ctime_ns}\0{seen.st_ino}"
