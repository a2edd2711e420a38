"""The journal of a run: everything that was logged, in order, one checked JSON line each.

    {"seq": 3, "time": 1760000000000, "kind": "metrics", "data": {…}, "crc": "9f3c01ab"}

Append-only. `seq` starts at 1 without gaps, `time` is milliseconds since 1970 UTC, `crc` is the CRC-32 of the
line without it. A line that a crash cut short fails its check and is passed over; its number is used again.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import StorageError
from pipeline.file_lock import locked

RAW = "raw"  # the kind of the entry that says: raw MLflow calls were made too


@dataclass(frozen=True)
class JournalEntry:
    """One line of a journal. `kind`: start, params, metrics, skipped, tags, inputs, artifact, child, raw or end."""

    seq: int
    time: int
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """The readable entries of a journal, and how many lines were damaged."""

    entries: list[JournalEntry] = field(default_factory=list)
    damaged: int = 0

    @property
    def last(self) -> int:
        """The sequence number of the last entry; 0 when there is none."""
        return self.entries[-1].seq if self.entries else 0

    def of(self, kind: str) -> list[JournalEntry]:
        """Return the entries of one kind."""
        return [entry for entry in self.entries if entry.kind == kind]


def now_ms() -> int:
    """Return the time as milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def read_journal(path: Path) -> Journal:
    """Read a journal; a missing one is empty, damaged lines are counted and passed over.

    What is no file is missing; raises StorageError for a file that cannot be read.
    """
    try:
        raw = path.read_bytes() if os.path.isfile(path) else b""  # noqa: PTH113 - a Path raises for a circle of links
    except FileNotFoundError:
        return Journal()
    except OSError as error:
        raise StorageError(f"{path} could not be read: {error.strerror}. Check its permissions.") from error
    entries: list[JournalEntry] = []
    damaged = 0
    for line in raw.split(b"\n"):
        entry = decode(line) if line else None
        if entry is not None and entry.seq > (entries[-1].seq if entries else 0):
            entries.append(entry)
        elif line:
            damaged += 1
    return Journal(entries, damaged)


def encode(entry: JournalEntry) -> bytes:
    """Return the line of an entry, newline included; NaN raises ValueError."""
    body = _body(entry)
    return body[:-1] + f',"crc":"{zlib.crc32(body):08x}"}}\n'.encode()


def decode(line: bytes) -> JournalEntry | None:
    """Return the entry of a line, None when the line is damaged."""
    try:
        value = json.loads(line)
        crc = value.pop("crc")
        entry = JournalEntry(**value)
        return entry if crc == f"{zlib.crc32(_body(entry)):08x}" else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _body(entry: JournalEntry) -> bytes:
    values = {"seq": entry.seq, "time": entry.time, "kind": entry.kind, "data": entry.data}
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode()


class JournalWriter:
    """Appends to a journal; several threads and processes may do so at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._size = -1
        self._last = 0

    def append(self, kind: str, data: dict[str, Any], *, at: int | None = None) -> JournalEntry:
        """Append one entry, durable against the end of this process; raises StorageError."""
        with self._lock:
            try:
                return self._append(kind, data, at)
            except OSError as error:
                message = f"{self.path} could not be written: {error.strerror}. Free space or check permissions."
                raise StorageError(message) from error

    def _append(self, kind: str, data: dict[str, Any], at: int | None) -> JournalEntry:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path, append=True) as descriptor:
            size = self._catch_up(descriptor)
            entry = JournalEntry(self._last + 1, at or now_ms(), kind, data)
            _write_all(descriptor, encode(entry), size)
            self._size, self._last = os.fstat(descriptor).st_size, entry.seq
            return entry

    def _catch_up(self, descriptor: int) -> int:
        """Take up after what others wrote, closing a line that a crash cut short; return the file's size."""
        size = os.fstat(descriptor).st_size
        if size != self._size:
            self._last = read_journal(self.path).last if size else 0
            if size:
                os.lseek(descriptor, size - 1, os.SEEK_SET)
                if os.read(descriptor, 1) != b"\n":
                    _write_all(descriptor, b"\n", size)
                    size += 1
        return size


def _write_all(descriptor: int, data: bytes, size: int) -> None:
    """Append all of `data`, or leave the file at `size` bytes and raise OSError."""
    try:
        written = os.write(descriptor, data)
        if written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        os.ftruncate(descriptor, size)
        raise
    if written < len(data):
        os.ftruncate(descriptor, size)
        raise OSError(28, "No space left on device")
