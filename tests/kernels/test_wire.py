"""What travels over a wire, and when."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest

from pipeline.kernels.wire import CHANNELS, Outgoing, Unpacker, WireSession, WireSocket


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
