"""The watch over what this process reads: an audit hook, and the record of what it and the doors saw.

A hook cannot be taken off again, sees every thread, and an exception in it breaks what the user called: so it catches
everything, passes over what happens inside itself, and does next to nothing as long as nobody watches.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.evidence.modules import files_of_modules
from pipeline.inputs.children import Children
from pipeline.inputs.completeness import Completeness, Lookout
from pipeline.inputs.digesting import Digester, Reading
from pipeline.inputs.frames import Frame
from pipeline.inputs.network import Network
from pipeline.inputs.observed import MISSING, Observed, ObservedFile
from pipeline.inputs.places import Filter, Known, Places, stamp_of
from pipeline.inputs.secret_files import holds_secrets, looks_secret

OPEN, SQLITE, DECLARED = "open", "sqlite3", "run.input"
WRITES = os.O_WRONLY | os.O_RDWR
EMPTIES = os.O_TRUNC
OFTEN = 1_000  # reads after which the system's events are taken, so that they do not run over


class Watch:
    """What is seen between `start` and `stop`."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._declared = dict(places.declared)
        self._filter = Filter(places, self._declared)
        known = {entry.stamp: entry.sha256 for entry in self._declared.values() if entry.stamp and entry.sha256}
        self._digester = Digester(known, self.look_away)
        self._began = _file_time()
        self._readings: dict[str, list[Reading]] = {}
        self._frames: dict[str, Frame] = {}
        self._written: set[str] = set()
        self._secrets: set[str] = set()
        self._failed: str | None = None
        self._noted = 0
        self._local = threading.local()
        self.network = Network(places.hosts)
        self.children = Children()
        self._lookout = Lookout(partial(self._filter.folders, places.directories), self.look_away)
        self._events: dict[str, Callable[..., None]] = {
            **self.network.events,
            **self.children.events,
            "open": self._opened,
            "sqlite3.connect": self._connected,
            "os.rename": self._renamed,
            "os.remove": self._removed,
        }

    def look_away(self) -> None:
        """Pass over whatever this thread does from now on."""
        self._local.away = True

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event; never raises but for an interruption."""
        handler = self._events.get(event)
        if handler is None:
            return
        if event == "open":
            path = arguments[0]
            if type(path) is str and self._filter.is_foreign(path):
                return
        self.quietly(handler, *arguments)

    def quietly(self, handler: Callable[..., None], *arguments: Any) -> None:
        """Call a handler that may read files itself, and may fail, without anybody noticing but the record."""
        if getattr(self._local, "away", False):
            return
        self._local.away = True
        try:
            handler(*arguments)
        except Exception as error:  # noqa: BLE001 - the user's call goes on, whatever went wrong here
            self._failed = self._failed or f"{type(error).__name__}: {error}"
        finally:
            self._local.away = False

    def read(self, path: str, door: str) -> None:
        """Take note that a file was read through a door."""
        path = _absolute(path)
        known = path in self._readings
        if path in self._written or path in self._secrets or not (known or self._filter.counts(path)):
            return
        if not known and self._is_secret(path):
            self._secrets.add(path)
            return
        try:
            found = os.stat(path)  # noqa: PTH116 - called for every file
        except OSError:
            return
        if stat.S_ISREG(found.st_mode):
            self._note(path, found, door)

    def _is_secret(self, path: str) -> bool:
        return holds_secrets(path) or (path not in self._declared and looks_secret(path))

    def declare(self, path: str, name: str) -> None:
        """Take note that a file is an input under this name, wherever it lies."""
        self._declared.setdefault(path, Known(name))
        self.quietly(self.read, path, DECLARED)

    def declare_frame(self, frame: Frame) -> None:
        """Take note of a frame that was declared; a later one of the same name takes its place."""
        self._frames[frame.name] = frame

    def _note(self, path: str, found: os.stat_result, door: str) -> None:
        self._noted += 1
        if not self._noted % OFTEN:
            self._lookout.take()
        stamp = stamp_of(found)
        readings = self._readings.setdefault(path, [])
        for reading in readings:
            if reading.stamp == stamp:
                if door not in reading.doors:
                    reading.doors.append(door)
                return
        reading = Reading(path, stamp, door)
        readings.append(reading)
        self._digester.ask(reading)

    def _opened(self, given: Any, _mode: Any, flags: int) -> None:
        if isinstance(given, int):
            return
        path = os.fsdecode(given)
        if not flags & WRITES:
            self.read(path, OPEN)
            return
        if flags & os.O_RDWR and not flags & EMPTIES:
            self.read(path, OPEN)
        self._write(path)

    def _connected(self, given: Any, *_: Any) -> None:
        path = os.fsdecode(given)
        if path.startswith("file:"):
            path = unquote(urlsplit(path).path)
        if path and path != ":memory:":
            self.read(path, SQLITE)

    def _renamed(self, source: Any, target: Any, *_: Any) -> None:
        old, new = _absolute(os.fsdecode(source)), _absolute(os.fsdecode(target))
        self._write(new, made=old in self._written)

    def _removed(self, given: Any, *_: Any) -> None:
        self._write(os.fsdecode(given), made=False)

    def wrote(self, path: str) -> None:
        """Take note that the run itself writes a file, before it does."""
        self._write(path)

    def _write(self, given: str, *, made: bool = True) -> None:
        """Let the digest of a file that was read be taken before the run writes to it."""
        path = _absolute(given)
        if not self._filter.counts(path):
            return
        for reading in self._readings.get(path, ()):
            self._digester.digest(reading)
        if made:
            self._written.add(path)

    def end(self) -> Observed:
        """Wait for the digests, look at every file again, and return what was seen."""
        self.look_away()
        self._digester.end(reading for found in self._readings.values() for reading in found)
        code = files_of_modules()
        readings = {path: found for path, found in self._readings.items() if os.path.realpath(path) not in code}
        files = tuple(sorted((self._described(*item) for item in readings.items()), key=lambda file: file.path))
        frames, children = tuple(self._frames.values()), self.children.end()
        complete = self._completeness(code)
        return Observed(files, self.network.hosts, frames, len(self._secrets), children, self._failed, complete)

    def _completeness(self, code: Container[str]) -> Completeness:
        """Return what the system tells of files that were opened, besides those that were seen or are recorded."""
        opened, folders, why = self._lookout.end()
        seen = {os.path.realpath(path) for path in (*self._readings, *self._written, *self._secrets)}
        seen.update(map(os.path.realpath, self.places.apart))
        others = [path for path in opened if self._filter.counts(path)]
        others = [path for path in others if (real := os.path.realpath(path)) not in seen and real not in code]
        secrets = {path for path in others if self._is_secret(path)}
        unseen = tuple(sorted(self.places.name(path) for path in others if path not in secrets))
        return Completeness(folders, unseen, len(secrets), why)

    def forget(self) -> None:
        """Give back, in a fork, what the watch has of the system."""
        self._lookout.close()

    def _described(self, path: str, readings: list[Reading]) -> ObservedFile:
        first, last = readings[0], readings[-1]
        known = self._declared.get(path)
        return ObservedFile(
            path=self.places.name(path),
            sha256=first.sha256,
            size=first.stamp[2],
            doors=tuple(dict.fromkeys(door for reading in readings for door in reading.doors)),
            changed_to=self._changed(path, first, last),
            by_the_run=path in self._written,
            made=first.stamp[3] > self._began,
            declared=known.name if known else None,
        )

    def _changed(self, path: str, first: Reading, last: Reading) -> str | None:
        """Return the digest of what a file holds now, when that is not what was read first."""
        with suppress(OSError):
            now = stamp_of(os.stat(path))  # noqa: PTH116
            if now == first.stamp and first is last:
                return None if first.sha256 else self._digester.digest_now(path)
        digest = self._digester.digest_now(path) or MISSING
        if digest != first.sha256:
            return digest
        return last.sha256 if last.sha256 != first.sha256 else None


@dataclass
class _Process:
    """The watches of this process, the oldest first; the hook, once added, stays."""

    watches: tuple[Watch, ...] = ()
    hooked: bool = False
    endings: tuple[Callable[[], None], ...] = ()


_process = _Process()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _process.watches:
        watch.see(event, arguments)


def start(places: Places) -> Watch:
    """Watch what this process reads from now on."""
    watch = Watch(places)
    _process.watches += (watch,)
    if not _process.hooked:
        _process.hooked = True
        sys.addaudithook(_hook)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget)
    return watch


def _forget() -> None:
    for watch in _process.watches:
        watch.forget()
    _process.watches = ()


def watching() -> tuple[Watch, ...]:
    """Return the watches of this process."""
    return _process.watches


def at_end(act: Callable[[], None]) -> None:
    """Have something done before a watch ends: a door that looks at what was read only now and then."""
    _process.endings += (act,)


def stop(watch: Watch | None = None) -> Observed:
    """End a watch, by default the oldest, and return what was seen; nothing when nobody watched."""
    if watch is None:
        watch = next(iter(_process.watches), None)
    if watch is None:
        return Observed()
    for act in _process.endings:
        act()
    _process.watches = tuple(other for other in _process.watches if other is not watch)
    return watch.end()


def _file_time() -> int:
    """Return the time, in nanoseconds, by the clock that files are stamped with."""
    coarse = getattr(time, "CLOCK_REALTIME_COARSE", None)
    return time.time_ns() if coarse is None else time.clock_gettime_ns(coarse)


def _absolute(path: str) -> str:
    """Return a path as absolute and plain, links as they are."""
    if path.startswith("/") and not ("/." in path or "//" in path or path.endswith("/")):
        return path  # what `normpath` would say, at once
    if not os.path.isabs(path):  # noqa: PTH117 - called for every file
        path = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118
    return os.path.normpath(path)
