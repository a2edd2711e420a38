"""Which files are the tables now: `current.json`, replaced in one step, so that a reader has all of one state."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pipeline.errors import LakeError, StorageError
from pipeline.files import read_json, write_atomic
from pipeline.lake.place import Place
from pipeline.lake.records import RECORDS, SUFFIX
from pipeline.lake.schema import VERSION, tables

PARQUET = ".parquet"
KEPT = 3600.0  # seconds that a file stays after it was replaced: whoever reads the earlier state goes on
AGAIN = "Make the lake again: `evidence lake ingest --rebuild`."


@dataclass(frozen=True)
class Part:
    """A file of a table: how many rows and runs it has, and the runs whose rows no longer count."""

    file: str
    rows: int
    runs: int
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class LedgerRead:
    """How far the ledger was read: bytes, and the digest of the last entry before them."""

    offset: int = 0
    digest: str | None = None


@dataclass(frozen=True)
class Index:
    """One state of the lake; `results` is the directory it is of, as a spec would name it."""

    results: str
    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    ledger: LedgerRead = field(default_factory=LedgerRead)
    version: int = VERSION

    def of(self, table: str) -> tuple[Part, ...]:
        """Return the parts of a table."""
        return self.parts.get(table, ())

    def with_parts(self, table: str, parts: Iterable[Part]) -> Self:
        """Return the state in which a table has these parts."""
        return replace(self, parts={**self.parts, table: tuple(parts)})

    def without(self, table: str, run_ids: Iterable[str]) -> Self:
        """Return the state in which the rows of these runs no longer count in a table."""
        gone = set(run_ids)
        kept = (replace(part, without=tuple(sorted({*part.without, *gone}))) for part in self.of(table))
        return self.with_parts(table, kept) if gone else self

    @property
    def files(self) -> set[str]:
        """The names of all files."""
        return {part.file for parts in self.parts.values() for part in parts}

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "version": self.version,
            "results": self.results,
            "ledger": asdict(self.ledger),
            "parts": {name: [asdict(part) for part in parts] for name, parts in self.parts.items()},
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read what to_dict wrote; raises KeyError, TypeError or AttributeError for anything else."""
        parts = {
            name: tuple(Part(**{**part, "without": tuple(part["without"])}) for part in found)
            for name, found in values["parts"].items()
            if name in tables()
        }
        return cls(values["results"], parts, LedgerRead(**values["ledger"]), values["version"])


def read_index(place: Place) -> Index | None:
    """Return the state of a lake; None where there is none. Raises LakeError for one that cannot be read."""
    try:
        found = Index.from_dict(read_json(place.current))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise LakeError(f"{place.current} cannot be read. {AGAIN}") from None
    if found.version != VERSION:
        raise LakeError(f"The lake {place.path} is of version {found.version}, and {VERSION} is read here. {AGAIN}")
    return found


def write_index(place: Place, index: Index, *, durable: bool = True) -> None:
    """Put a state in place of the one before, whose files stay for an hour; raises StorageError.

    Unless `durable` it is not waited for the disk: what a power cut then loses is made again from `results/`.
    """
    before = _files_of(place)
    for name in index.files - before if durable else ():
        _to_disk(place.runs / name)
    write_atomic(place.current, json.dumps(index.to_dict(), separators=(",", ":")).encode())
    for name in before - index.files:
        _touch(place.runs / name)  # from now on its hour counts
    _sweep_out(place, index)


def new_file(table: str) -> str:
    """Return a new name for a part of a table."""
    return f"{table}-{uuid.uuid4().hex[:16]}{SUFFIX if table == RECORDS else PARQUET}"


def _files_of(place: Place) -> set[str]:
    try:
        found = read_index(place)
    except LakeError:
        return set()
    return set() if found is None else found.files


def _sweep_out(place: Place, index: Index) -> None:
    """Remove files that are no part of the state, nor were within the hour."""
    oldest = time.time() - KEPT
    for entry in os.scandir(place.runs):
        if entry.name.endswith((PARQUET, SUFFIX)) and entry.name not in index.files and entry.stat().st_mtime < oldest:
            Path(entry.path).unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror}.") from error


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        return
