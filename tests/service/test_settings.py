"""How the service is to be served: file, environment, command line, and what is refused."""

from __future__ import annotations

import socket

import pytest

from pipeline.errors import UsageError
from pipeline.service.server import listen_at
from pipeline.service.settings import Place, ServiceSettings
from pipeline.settings import Settings
from tests.conftest import REPOSITORY


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(project: Settings) -> None:
    """A later word is the one that counts; what nobody says has its default."""
    (project.root / "config/service.toml").write_text('[service]\nname = "desk"\nport = 1\nburst = 7\n')
    environ = {"EVIDENCE_SERVICE_PORT": "2", "EVIDENCE_SERVICE_BURST": "8", "EVIDENCE_SERVICE_ORIGINS": "a, b,"}
    found = ServiceSettings.load(project, {"port": 3, "host": None}, environ)
    assert (found.name, found.port, found.burst, found.origins) == ("desk", 3, 8, ("a", "b"))
    assert (found.host, found.auth) == ("127.0.0.1", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[service]\nprot = 1\n", "Did you mean 'port'?"),
        ("[service]\nport = 99999\n", "service.port"),
        ("[server]\nport = 1\n", r"\[service\]"),
        ("port", "cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_is_named(project: Settings, text: str, said: str) -> None:
    """Where it is, and what is there instead."""
    (project.root / "config/service.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        ServiceSettings.load(project, environ={})


@pytest.mark.parametrize(
    ("host", "local"), [("localhost", True), ("127.8.8.8", True), ("::1", True), ("0.0.0.0", False)]
)
def test_without_tokens_nobody_else_is_served(project: Settings, host: str, *, local: bool) -> None:
    """`--no-auth` is for this machine; any other address asks for tokens."""
    if local:
        assert not ServiceSettings.load(project, {"host": host, "auth": False}, {}).auth
        return
    with pytest.raises(UsageError, match="--no-auth"):
        ServiceSettings.load(project, {"host": host, "auth": False}, {})
    assert ServiceSettings.load(project, {"host": host}, {}).auth


def test_what_the_service_keeps_is_for_nobody_else(project: Settings) -> None:
    """Its directory cannot be read by others, and git leaves it alone."""
    place = Place.of(project, ServiceSettings()).make()
    assert place.directory.stat().st_mode & 0o777 == 0o700
    assert (place.directory / ".gitignore").read_text() == "*\n"


def test_the_page_lists_every_setting() -> None:
    """With its default and its meaning, as they are."""
    page = (REPOSITORY / "docs/service.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for name, field in ServiceSettings.model_fields.items():
        [row] = [row for row in rows if row.startswith(f"| `{name}` |")]
        shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default or "")
        assert row == f"| `{name}` | {f'`{shown}`' if shown not in ('', '()') else ''} | {field.description} |"


def test_an_address_is_listened_at_once() -> None:
    """By a socket that says it is TCP, else answers wait for Nagle; a port that is taken, or none of ours, is said."""
    with listen_at(ServiceSettings(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with pytest.raises(UsageError, match="cannot be used"):
            listen_at(ServiceSettings(port=listener.getsockname()[1]))
    with pytest.raises(UsageError, match="cannot be used"):
        listen_at(ServiceSettings(host="192.0.2.1", port=0))
