"""Which hosts a run spoke to, and when first and last: never an address's path, query, user or password."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOCAL = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "::"})  # noqa: S104


@dataclass(frozen=True)
class Host:
    """A host and when it was first and last spoken to, ISO-8601 UTC text."""

    name: str
    first: str
    last: str


class Network:
    """Collects hosts out of audit events and from doors; this machine itself is none, nor are those `passed_over`.

    A name that is asked for counts once something is connected to: without a network nothing is. An address counts
    by itself as long as there is no name.
    """

    def __init__(self, passed_over: Iterable[str] = ()) -> None:
        self._passed_over = frozenset(passed_over)
        self._hosts: dict[str, Host] = {}
        self._asked_for: set[Any] = set()
        self.events: dict[str, Callable[..., None]] = {
            "socket.getaddrinfo": self._asked,
            "socket.gethostbyname": self._asked,
            "socket.connect": self._connected,
            "urllib.Request": self._requested,
        }

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, by name."""
        return tuple(sorted(self._hosts.values(), key=lambda host: host.name))

    def spoke_to(self, given: Any) -> None:
        """Take note of a host by its name or address."""
        name = given.decode("ascii", "replace") if isinstance(given, bytes) else given
        if not isinstance(name, str):
            return
        name = name.rpartition("@")[2].rstrip(".").lower()
        if name in LOCAL or name in self._passed_over or _is_this_machine(name):
            return
        now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        known = self._hosts.get(name)
        self._hosts[name] = Host(name, known.first if known else now, now)

    def _asked(self, host: Any, *_: Any) -> None:
        self._asked_for.add(host)

    def _requested(self, url: Any, *_: Any) -> None:
        self._asked_for.add(host_of(url))

    def _connected(self, _socket: Any, address: Any) -> None:
        if not isinstance(address, tuple):
            return
        names, self._asked_for = self._asked_for, set()
        for name in names:
            self.spoke_to(name)
        if not self._hosts:
            self.spoke_to(address[0])


def host_of(url: Any) -> str | None:
    """Return the host of a URL of the network, None for anything else: a path, a file's URL."""
    text = url.decode("utf-8", "replace") if isinstance(url, bytes) else url
    if not isinstance(text, str) or "://" not in text:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return None if parts.scheme in ("file", "local") else parts.hostname


def _is_this_machine(name: str) -> bool:
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False
