"""Network reads: which host and when; never what was asked of it, and nothing where there was no network."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import urllib.request
from pathlib import Path

import pytest

from pipeline.inputs.network import Network, host_of
from pipeline.inputs.observed import Observed
from tests.inputs.watching import by_itself, watched

NOBODY = ("192.0.2.1", 80)  # RFC 5737: an address for documentation, which leads nowhere


def connect(address: tuple[str, int] = NOBODY) -> None:
    with socket.socket() as tried:
        tried.settimeout(0.01)
        with contextlib.suppress(OSError):
            tried.connect(address)


def ask(name: str) -> None:
    with contextlib.suppress(OSError):
        socket.getaddrinfo(name, 443)


def test_a_host_is_named_and_nothing_that_was_asked_of_it(tmp_path: Path) -> None:
    """Of a URL with a user, a password and a token only the host is left."""
    with watched(tmp_path) as seen:
        with contextlib.suppress(OSError, http.client.InvalidURL):
            urllib.request.urlopen("http://jane:hunter2@prices.example.invalid/eod/SPX?token=abc123", timeout=1)
        connect()
    (host,) = seen[0].hosts
    assert host.name == "prices.example.invalid"
    assert host.first == host.last
    assert host.first.endswith("Z")
    text = json.dumps(seen[0].to_dict())
    assert not any(part in text for part in ("jane", "hunter2", "SPX", "token", "abc123"))
    assert Observed.from_dict(json.loads(text)) == seen[0]
    assert [*seen[0].warnings()] == [
        "This run read from the network and cannot be replayed from its own inputs: prices.example.invalid."
    ]


def test_first_and_last(tmp_path: Path) -> None:
    """A host that is spoke to again has another last time, and is one host."""
    with watched(tmp_path) as seen:
        for _ in range(2):
            ask("A.example.invalid.")
            connect()
    (host,) = seen[0].hosts
    assert host.name == "a.example.invalid"
    assert host.first < host.last


def test_without_a_network_nothing_was_read(tmp_path: Path) -> None:
    """A name that cannot be resolved is connected to by nobody."""
    with watched(tmp_path) as seen:
        ask("a.example.invalid")
    assert by_itself(seen[0]) == Observed()


def test_this_machine_is_no_network(tmp_path: Path) -> None:
    """Neither by name nor by address; nor is a Unix socket."""
    with watched(tmp_path) as seen:
        for name in ("localhost", "127.0.0.1", "::1", "127.1.2.3"):
            ask(name)
            connect((name, 9) if name != "::1" else ("127.0.0.1", 9))
        with socket.socket(socket.AF_UNIX) as unix, contextlib.suppress(OSError):
            unix.connect(str(tmp_path / "s"))
    assert by_itself(seen[0]) == Observed()


def test_an_address_counts_where_no_name_was_asked_for(tmp_path: Path) -> None:
    """As with a client that resolves by itself."""
    with watched(tmp_path) as seen:
        connect()
    assert [host.name for host in seen[0].hosts] == ["192.0.2.1"]


def test_the_tracking_store_is_not_read_from() -> None:
    """The host that a run is tracked on is passed over."""
    network = Network(["mlflow.example.invalid"])
    network.spoke_to("mlflow.example.invalid")
    assert network.hosts == ()


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("https://u:p@h.example/x?token=1", "h.example"),
        ("s3://bucket/key", "bucket"),
        (b"http://H.example", "h.example"),
        ("file:///data/x", None),
        ("data/x.csv", None),
        ("C:\\data\\x.csv", None),
        ("http://[bad", None),
        (3, None),
    ],
)
def test_the_host_of(given: object, host: str | None) -> None:
    """Of URLs; a path has none."""
    assert host_of(given) == host
