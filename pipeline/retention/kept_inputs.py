"""Kept inputs go with the last run that used them.

A run that begins while others are removed must not lose an input it was just about to use: whoever keeps a file that is
there already touches it (pipeline.evidence.inputs), and a file that was touched since its users were counted stays.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from pathlib import Path

from pipeline.evidence.manifest import read_manifest
from pipeline.files import PARTIAL
from pipeline.rundir import INPUTS_DIR, RunDir, run_ids
from pipeline.running import read_state

ASIDE = f"{PARTIAL}unused-"
SLACK = 5.0  # seconds by which clocks and file systems may disagree


def inputs_of(run: RunDir) -> tuple[str, ...]:
    """Return the SHA-256 of everything a sealed run was made from; empty for a run without a manifest."""
    try:
        items = read_manifest(run)["predicate"]["buildDefinition"]["resolvedDependencies"]
        digests = (item.get("digest", {}).get("sha256") for item in items)
        return tuple(sorted({digest for digest in digests if isinstance(digest, str)}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


def remove_unused(results: Path, digests: Collection[str]) -> tuple[int, int]:
    """Remove those of these kept inputs that no run uses any more; return how many, and their bytes."""
    for aside in sorted((results / INPUTS_DIR).glob(f"{ASIDE}*")):  # of somebody who was killed
        _put_back(aside)
    wanted = set(digests)
    found = {path: path.stat().st_mtime_ns for path in _kept(results) if path.name[:64] in wanted}
    if not found:
        return 0, 0
    used, since = _users(results)
    gone = [
        size for path, touched in found.items()
        if path.name[:64] not in used and touched < since and (size := _remove(path, touched)) is not None
    ]  # fmt: skip
    return len(gone), sum(gone)


def _kept(results: Path) -> Iterator[Path]:
    directory = results / INPUTS_DIR
    yield from (path for path in directory.iterdir() if path.is_file()) if directory.is_dir() else ()


def _users(results: Path) -> tuple[set[str], float]:
    """Return what sealed runs use, and the time (ns) from which on a file may be one that an unsealed run uses."""
    used: set[str] = set()
    since = float("inf")
    for run_id in run_ids(results):
        run = RunDir(results, run_id)
        if run.manifest.is_file():
            used.update(inputs_of(run))
        else:
            since = min(since, _began(run))
    return used, since


def _began(run: RunDir) -> float:
    """Return when an unsealed run began, in ns since 1970; 0 when nobody says, as then it may use anything."""
    state = read_state(run)
    try:
        return (dt.datetime.fromisoformat(state.started_at if state else "").timestamp() - SLACK) * 1e9
    except ValueError:
        return 0.0


def _remove(path: Path, touched: int) -> int | None:
    """Remove a file unless somebody has begun to use it; return its bytes, None when it stays."""
    aside = path.with_name(f"{ASIDE}{path.name}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return None
    seen = aside.stat()
    if seen.st_mtime_ns == touched:
        aside.unlink()
        return seen.st_size
    _put_back(aside)
    return None


def _put_back(aside: Path) -> None:
    """Give a file its name again, unless there is another one by now, of the same bytes."""
    path = aside.with_name(aside.name.removeprefix(ASIDE))
    if path.exists():
        aside.unlink()
    else:
        aside.rename(path)
