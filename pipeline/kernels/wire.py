"""The wire: Jupyter messages over a socket pair, in place of five ZeroMQ sockets.

A packet is one multipart message as `jupyter_client.session.Session` serializes it, with the name of its channel.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

CHANNELS = ("shell", "iopub", "control", "stdin")
KEY = b"wire"  # jupyter_client signs messages; on a private socket pair the key is no secret
_HEAD = struct.Struct("!BI")
_CHUNK = 1 << 18


def pack(channel: str, frames: Sequence[Any]) -> bytes:
    """Return the bytes of one packet; frames are bytes-like."""
    parts = [memoryview(frame).cast("B") for frame in frames]
    lengths = struct.pack(f"!{len(parts)}Q", *(len(part) for part in parts))
    return b"".join([_HEAD.pack(CHANNELS.index(channel), len(parts)), lengths, *parts])


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


class WireSocket:
    """What a kernel sends through: looks like a ZeroMQ socket or stream to ipykernel's and jupyter_client's code.

    Without a wire, before a request has come, what is sent is dropped.
    """

    wire: socket.socket | None = None

    def __init__(self, channel: str, lock: threading.Lock) -> None:
        self.closed = False
        self.callback: Any = None
        self._channel, self._lock = channel, lock

    def send_multipart(self, frames: Sequence[Any], *_: Any, **__: Any) -> None:
        """Send one message; waits while the other side is slow."""
        if self.wire is None:
            return
        packet = pack(self._channel, [getattr(frame, "buffer", frame) for frame in frames])
        with self._lock:
            self.wire.sendall(packet)

    def on_recv(self, callback: Any, copy: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - as ZMQStream has it
        """Keep what is to be called with each message that arrives on this channel."""
        self.callback = callback

    def flush(self, *_: Any) -> None:
        """Do nothing: what was sent is gone."""

    def close(self) -> None:
        """Send nothing more through this channel."""
        self.closed = True
