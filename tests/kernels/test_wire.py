"""What travels over a wire, and when."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from pipeline.kernels.wire import CHANNELS, Outgoing, Unpacker, WireSession, WireSocket, pack


def arrived(end: socket.socket) -> list[tuple[str, list[bytes]]]:
    """Return the packets that have arrived."""
    try:
        return [*Unpacker().feed(end.recv(1 << 16, socket.MSG_DONTWAIT))]
    except BlockingIOError:
        return []


def test_what_is_held_back_goes_with_what_follows() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outgoing = Outgoing()
        reply, published = WireSocket("shell", outgoing, hold=True), WireSocket("iopub", outgoing)
        published.send_multipart([b"before there is a wire"])
        outgoing.wire = theirs
        reply.send_multipart([b"reply"])
        assert arrived(ours) == []
        published.send_multipart([b"idle"])
        assert arrived(ours) == [("shell", [b"reply"]), ("iopub", [b"idle"])]
        reply.send_multipart([b"another"])
        outgoing.flush()
        assert arrived(ours) == [("shell", [b"another"])]


@pytest.mark.parametrize("cut", [1, 5, 64])
def test_a_packet_may_arrive_in_pieces(cut: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outgoing = Outgoing()
        outgoing.wire = theirs
        for channel in CHANNELS:
            WireSocket(channel, outgoing).send_multipart([b"", channel.encode() * 50, memoryview(b"x" * 3)])
        data, unpacker = ours.recv(1 << 16), Unpacker()
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    packets = [packet for piece in pieces for packet in unpacker.feed(piece)]
    assert packets == [(channel, [b"", channel.encode() * 50, b"xxx"]) for channel in CHANNELS]


def test_a_message_is_read_as_jupyter_client_reads_it() -> None:
    session = WireSession()
    request = session.msg("execute_request", {"code": "1"})
    sent = session.msg("display_data", {"data": {"text/plain": "é"}}, parent=request, metadata={"kept": [1, None]})
    sent["header"]["date"] = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    _, frames = session.feed_identities(session.serialize(sent))
    assert session.message([*frames, b"buffer"]) == session.deserialize([*frames, b"buffer"])
    assert frames[0] == b""  # no signature


@pytest.mark.parametrize("raises", [False, True])
def test_a_signal_handler_may_send_and_raise_while_something_is_sent(raises: bool) -> None:
    """No packet is torn, and nobody waits for himself."""
    ours, theirs = socket.socketpair()
    outgoing = Outgoing()
    outgoing.wire = theirs
    published = WireSocket("iopub", outgoing)
    handled = []
    sending = handling = False

    def handler(*_: object) -> None:
        nonlocal sending, handling
        if handling:  # on a slow machine the next signal comes before this one is handled
            return
        handling = True
        handled.append(len(handled))
        published.send_multipart([b"handler", str(handled[-1]).encode()])
        handling = False
        if raises and sending:
            sending = False
            raise InterruptedError

    received: list[tuple[str, list[bytes]]] = []

    def read() -> None:
        unpacker = Unpacker()
        while data := ours.recv(1 << 14):
            received.extend(unpacker.feed(data))
            time.sleep(0.0001)  # so slow that handlers find a send in progress

    reader = threading.Thread(target=read)
    before = signal.signal(signal.SIGALRM, handler)
    reader.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        for number in range(40):
            try:
                sending = True
                published.send_multipart([b"main", str(number).encode(), bytes(1 << 18)])
                sending = False
            except InterruptedError:
                continue
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    outgoing.flush()
    theirs.close()
    reader.join(20)
    ours.close()
    assert not reader.is_alive()
    assert handled
    assert {frames[0] for _, frames in received} == {b"main", b"handler"}
    assert all(len(frames[2]) == 1 << 18 for _, frames in received if frames[0] == b"main")
    assert [frames[1] for _, frames in received if frames[0] == b"handler"] == [str(n).encode() for n in handled]
    if not raises:
        assert [frames[1] for _, frames in received if frames[0] == b"main"] == [str(n).encode() for n in range(40)]


class Interrupting(deque[Any]):
    """A queue on which a signal handler runs as soon as the first thing was put into it."""

    def __init__(self, handler: Callable[[], None]) -> None:
        super().__init__()
        self.handlers = [handler]

    def append(self, item: Any) -> None:
        super().append(item)
        if self.handlers:
            self.handlers.pop()()


def test_a_packet_is_sent_once_when_a_handler_comes_as_it_is_queued() -> None:
    """Between being queued and being no longer held back it must not be queued again."""
    ours, theirs = socket.socketpair()
    outgoing = Outgoing()
    outgoing.wire = theirs
    main, other = pack("iopub", [b"main"]), pack("iopub", [b"handler"])
    outgoing._waiting = Interrupting(lambda: outgoing.send(other))
    outgoing.send(main)
    theirs.close()
    data = b"".join(iter(lambda: ours.recv(1 << 14), b""))
    ours.close()
    assert [frames for _, frames in Unpacker().feed(data)] == [[b"main"], [b"handler"]]


@pytest.mark.parametrize("array", [np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.empty((0, 3)), np.arange(3)])
def test_buffers_are_sent_in_memory_order(array: np.ndarray) -> None:
    ((_, frames),) = Unpacker().feed(pack("iopub", [array.data]))
    assert frames == [array.tobytes("A")]
