"""Whether the watch saw every read: beside hook and doors, the system is asked which files were opened at all.

The system does not say by whom. So a file that neither hook nor doors saw may have been read by native code of the run,
by a process that it started, or by another program: it is named, not counted among the inputs.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from pipeline.inputs import inotify
from pipeline.inputs.inotify import Inotify

MOST_NAMES = 8  # in a sentence
MOST = 4_096  # folders, and links to files, that are looked at
PAUSE = 0.1  # seconds that events gather before they are taken
LOOK = 0.5  # seconds after which the thread looks whether it is over


@dataclass(frozen=True)
class Completeness:
    """What came of asking the system: the number of folders it was asked about, and the files nobody else saw.

    `secrets` counts those among them that look like secrets. `why` says why the question has no full answer: then a
    file that is not named may have been read all the same.
    """

    folders: int = 0
    unseen: tuple[str, ...] = ()
    secrets: int = 0
    why: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what was recorded; unknown keys are passed over. Raises TypeError."""
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        return cls(**{**known, "unseen": tuple(known.get("unseen", ()))})

    def checked(self) -> Iterator[str]:
        """Yield the sentence that says that nothing was missed; none where something was, or may have been."""
        if not (self.unseen or self.secrets or self.why):
            folders = f"{self.folders:,} folder{'s' if self.folders != 1 else ''}"
            yield f"Reads: the system tells of no file below the run's {folders} that was read and not seen."

    def unexamined(self) -> Iterator[str]:
        """Yield what was read by others than were seen, and why there may be more of it."""
        hidden = (f"{self.secrets:,} that look like secrets",) if self.secrets else ()
        if names := (*self.unseen, *hidden):
            more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
            yield (
                "Read by something that was not seen (native code of the run, a process that it started, or another "
                f"program): {', '.join(names[:MOST_NAMES])}{more}."
            )
        if self.why:
            yield f"Whether files were read that were not seen was not examined: {self.why}."


@dataclass
class _File:
    """What the system told of one file: whether it was made meanwhile, is open, was read."""

    made: bool = False
    open: bool = False
    read: bool = False


@dataclass
class Lookout:
    """Has the system tell which files below some folders are opened, from when it is made until `end`.

    `folders` yields each folder to look at, and each file that is elsewhere and linked to from there. Folders that are
    made later are not looked at. `quiet` is called in the thread that takes the events.
    """

    folders: Callable[[], Iterator[str]]
    quiet: Callable[[], None]
    _queue: Inotify | None = None
    _names: dict[int, str] = field(default_factory=dict)
    _files: dict[str, _File] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _why: str | None = None

    def __post_init__(self) -> None:
        try:
            self._queue = Inotify()
        except OSError as error:
            self._why = str(error.strerror or error)
            return
        self._look_at_all(self._queue)
        if self._queue.descriptor >= 0:
            threading.Thread(target=self._work, name="evidence-opens", daemon=True).start()

    def _look_at_all(self, queue: Inotify) -> None:
        for path in self.folders():
            if len(self._names) >= MOST:
                self._give_up(f"there are more than {MOST:,} folders")
                return
            try:
                self._names.setdefault(queue.add(path), path)
            except FileNotFoundError:
                continue
            except OSError as error:
                full = error.errno == errno.ENOSPC
                self._give_up("the system watches no more folders" if full else str(error.strerror))
                return

    def _give_up(self, why: str) -> None:
        self._why = self._why or why
        self.close()

    def close(self) -> None:
        """Take no more notice; in a fork without the lock, which another thread may have had."""
        if self._queue is not None:
            self._queue.close()

    def _work(self) -> None:
        self.quiet()
        queue = self._queue
        while queue is not None and (descriptor := queue.descriptor) >= 0:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if poll.poll(LOOK * 1000):
                time.sleep(PAUSE)
                self.take()

    def take(self) -> None:
        """Take the events that have come, so that there is room for more."""
        with self._lock:
            if self._queue is not None and self._queue.descriptor >= 0:
                for number, mask, name in self._queue.events():
                    self._happened(number, mask, name)

    def _happened(self, number: int, mask: int, name: str) -> None:
        if mask & inotify.OVERFLOW:
            self._why = self._why or "more files were opened at once than the system remembers"
        elif mask & inotify.MOVE_SELF:
            self._why = self._why or "a folder was renamed meanwhile"
        elif not mask & inotify.IS_FOLDER and number in self._names:
            path = f"{self._names[number]}{os.sep}{name}" if name else self._names[number]
            file = self._files.setdefault(path, _File())
            file.made |= bool(mask & (inotify.CREATE | inotify.MOVED_TO))
            file.read |= bool(mask & inotify.CLOSE_NOWRITE)
            file.open = bool(mask & inotify.OPEN) or (file.open and not mask & inotify.CLOSE_WRITE)

    def end(self) -> tuple[tuple[str, ...], int, str | None]:
        """Return the files that were read, or are open, the number of folders, and why that may not be all.

        A file that was made meanwhile and is gone was nobody's input.
        """
        self.take()
        with self._lock:
            self.close()
        read = (path for path, file in self._files.items() if file.read or file.open)
        return (
            tuple(path for path in read if not self._files[path].made or os.path.exists(path)),  # noqa: PTH110
            len(self._names),
            self._why,
        )
