"""Linux' inotify, by ctypes: who opens what below some folders, without a process being told of it, or slowed down."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress

CLOSE_WRITE, CLOSE_NOWRITE, OPEN, MOVED_TO, CREATE = 0x8, 0x10, 0x20, 0x80, 0x100
MOVE_SELF, OVERFLOW, IS_FOLDER = 0x800, 0x4000, 0x40000000
ASKED = CLOSE_WRITE | CLOSE_NOWRITE | OPEN | MOVED_TO | CREATE | MOVE_SELF
HEAD = struct.Struct("iIII")
PIECE = 1 << 16  # bytes at a time


class Inotify:
    """A queue of the system's; raises OSError where there is none, or where no further one is to be had."""

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("there is no inotify")
        self._library = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._raise_when(self.descriptor)

    def add(self, path: str) -> int:
        """Look at a folder, or a file, from now on; return its number, one for each inode."""
        number: int = self._library.inotify_add_watch(self.descriptor, os.fsencode(path), ASKED)
        self._raise_when(number)
        return number

    def events(self) -> Iterator[tuple[int, int, str]]:
        """Yield what has happened: the number of the folder or file, the event's bits, the name within the folder."""
        with suppress(BlockingIOError):
            while True:
                content = os.read(self.descriptor, PIECE)
                place = 0
                while place < len(content):
                    number, mask, _, length = HEAD.unpack_from(content, place)
                    place += HEAD.size
                    yield number, mask, os.fsdecode(content[place : place + length].rstrip(b"\0"))
                    place += length

    def close(self) -> None:
        """Give the queue back; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    @staticmethod
    def _raise_when(answer: int) -> None:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
