"""Kept inputs: copies of input notebooks and of small data files, named by their digest, so that runs can be replayed.

results/.inputs/<sha256><suffix>
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path, PurePath

from pipeline.digest import sha256_file
from pipeline.errors import StorageError
from pipeline.files import PARTIAL, replace_file, write_atomic
from pipeline.rundir import INPUTS_DIR

DATA_LIMIT = 64 * 1024 * 1024
NOTEBOOK = "notebook"
COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".zip", ".zst"})


def keep_inputs(
    results: Path,
    files: Mapping[str, tuple[Path, str]],
    *,
    contents: Mapping[str, bytes] | None = None,
    data_limit: int = DATA_LIMIT,
) -> list[str]:
    """Copy input files (name to path and SHA-256) below `results`, once for each content; return warnings.

    The notebook is always kept, anything else up to `data_limit` bytes. `contents` are the bytes of those that were
    read already. A copy whose bytes are not the ones that were digested is thrown away. Nothing is raised: a run does
    not depend on its kept inputs.
    """
    warnings = []
    for name, (path, sha256) in files.items():
        content = (contents or {}).get(name)
        try:
            if name == NOTEBOOK or path.stat().st_size <= data_limit:
                _keep(path, sha256, results / INPUTS_DIR, content)
        except (OSError, StorageError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            warnings.append(f"The input {path.name} was not kept for replays: {reason}.")
    return warnings


def find_kept(results: Path, sha256: str) -> Path | None:
    """Return a kept file whose bytes have this digest; None when there is none, or when it was changed since."""
    for path in sorted((results / INPUTS_DIR).glob(f"{sha256}*")):
        if path.is_file() and sha256_file(path) == sha256:
            return path
    return None


def find_by_digest(directory: Path, sha256: str, *, suffix: str = "") -> Path | None:
    """Return a file anywhere below `directory` whose bytes have this digest; only names with `suffix` are read."""
    for path in sorted(directory.rglob(f"*{suffix}")):
        with contextlib.suppress(OSError):
            if path.is_file() and sha256_file(path) == sha256:
                return path
    return None


def _keep(path: Path, sha256: str, directory: Path, content: bytes | None) -> None:
    target = directory / f"{sha256}{ending(path)}"
    size = path.stat().st_size if content is None else len(content)
    if use_kept(target) == size:
        return
    if content is not None:
        write_atomic(target, content)
        return
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{PARTIAL}{uuid.uuid4().hex}"
    try:
        if _copy(path, partial) == sha256:
            replace_file(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def use_kept(kept: Path) -> int | None:
    """Mark a kept file as used from now on, and return its bytes; None when it is not there.

    Whoever removes what no run uses any more leaves a file that was marked since.
    """
    try:
        size = kept.stat().st_size
        os.utime(kept)
    except PermissionError:
        return size  # not ours to mark, and not ours to remove
    except OSError:
        return None
    return size


def _copy(source: Path, target: Path) -> str:
    """Copy a file's bytes to a new file and return the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(1 << 20):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def ending(path: PurePath) -> str:
    """Return the ending that says how to read the file, as `.csv` or `.csv.gz`."""
    endings = [ending.lower() for ending in path.suffixes]
    return "".join(endings[-2:] if endings and endings[-1] in COMPRESSED else endings[-1:])
