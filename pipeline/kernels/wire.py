"""The wire: Jupyter messages over a socket pair, in place of five ZeroMQ sockets.

A packet is one multipart message as `jupyter_client.session.Session` serializes it, with the name of its channel.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from jupyter_client.session import Session

CHANNELS = ("shell", "iopub", "control", "stdin")
_HEAD = struct.Struct("!BI")
_CHUNK = 1 << 18


def pack(channel: str, frames: Sequence[Any]) -> bytes:
    """Return the bytes of one packet; frames are bytes-like."""
    parts = [_flat(memoryview(frame)) for frame in frames]
    lengths = struct.pack(f"!{len(parts)}Q", *(len(part) for part in parts))
    return b"".join([_HEAD.pack(CHANNELS.index(channel), len(parts)), lengths, *parts])


def _flat(view: memoryview) -> memoryview:
    """Return the bytes of a buffer, in memory order."""
    try:
        return view.cast("B")
    except TypeError:  # an empty array, or one in Fortran's order
        return memoryview(view.tobytes("A"))


class WireSession(Session):
    """A session whose messages are not signed: a socket pair is private."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(key=b"wire", **traits)  # a session without a key logs a warning
        self.auth = None

    def message(self, frames: Sequence[bytes]) -> dict[str, Any]:
        """Return what `deserialize` would, for a message from our own kernel: five parts, then buffers."""
        header, parent, metadata, content = map(self.unpack, frames[1:5])
        for head in (header, parent):
            if "date" in head:
                head["date"] = datetime.fromisoformat(head["date"])
        return {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": header["msg_type"],
            "parent_header": parent,
            "metadata": metadata,
            "content": content,
            "buffers": [memoryview(frame) for frame in frames[5:]],
        }


class Unpacker:
    """Cuts a stream of bytes into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, list[bytes]]]:
        """Add bytes; yield the channel and frames of each packet that is complete."""
        self._buffer += data
        while (packet := self._next()) is not None:
            yield packet

    def _next(self) -> tuple[str, list[bytes]] | None:
        buffer = self._buffer
        if len(buffer) < _HEAD.size:
            return None
        channel, count = _HEAD.unpack_from(buffer)
        begin = _HEAD.size + 8 * count
        if len(buffer) < begin:
            return None
        lengths = struct.unpack_from(f"!{count}Q", buffer, _HEAD.size)
        if len(buffer) < begin + sum(lengths):
            return None
        frames = []
        for length in lengths:
            frames.append(bytes(memoryview(buffer)[begin : begin + length]))
            begin += length
        del buffer[:begin]
        return CHANNELS[channel], frames


class Outgoing:
    """The kernel's end of a wire, shared by its channels. Before there is a wire, what is sent is dropped.

    A packet that is held back goes together with the next one, so that the client wakes up once for both.
    """

    wire: socket.socket | None = None

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: list[bytes] = []
        self._waiting: deque[tuple[list[bytes], list[int]]] = deque()  # packets, and how many bytes of them have gone
        self._sending = False

    def send(self, packet: bytes, *, hold: bool = False) -> None:
        """Send a packet after those held back, or hold it back itself; waits while the other side is slow."""
        if self.wire is None:
            return
        with self._lock:
            self._held.append(packet)
            if not hold:
                self._send_held()

    def flush(self) -> None:
        """Send what is held back."""
        with self._lock:
            self._send_held()

    def _send_held(self) -> None:
        """Send everything; a signal handler may send meanwhile, and may raise: what is left goes with the next call."""
        if self.wire is None:
            return
        held, self._held = self._held, []  # no handler runs before the next call has ended: nothing goes twice
        self._waiting.append((held, []))
        if self._sending:
            return
        self._sending = True
        try:
            while self._waiting:
                packets, gone = self._waiting[0]
                if len(packets) > 1:
                    packets[:] = [b"".join(packets)]
                packet = packets[0] if packets else b""
                if (start := sum(gone)) == len(packet):
                    self._waiting.popleft()
                else:
                    gone.extend(map(self.wire.send, (memoryview(packet)[start:],)))  # no handler runs within this call
        finally:
            self._sending = False


class WireSocket:
    """What a kernel sends through: looks like a ZeroMQ socket or stream to ipykernel's and jupyter_client's code.

    While `hold` is true, what is sent waits for what follows it on any channel.
    """

    def __init__(self, channel: str, outgoing: Outgoing, *, hold: bool = False) -> None:
        self.closed = False
        self.hold = hold
        self.callback: Any = None
        self._channel, self._outgoing = channel, outgoing

    def send_multipart(self, frames: Sequence[Any], *_: Any, **__: Any) -> None:
        """Send one message."""
        packet = pack(self._channel, [getattr(frame, "buffer", frame) for frame in frames])
        self._outgoing.send(packet, hold=self.hold)

    def on_recv(self, callback: Any, copy: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - as ZMQStream has it
        """Keep what is to be called with each message that arrives on this channel."""
        self.callback = callback

    def flush(self, *_: Any) -> None:
        """Do nothing: what was sent is gone."""

    def close(self) -> None:
        """Send nothing more through this channel."""
        self.closed = True
