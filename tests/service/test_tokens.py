"""Tokens: what is kept of them, what they are good for, and when they are of no use any more."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.edge import run_command
from pipeline.errors import EvidenceError, UsageError
from pipeline.service.tokens import TokenFile
from pipeline.settings import Settings


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


def test_the_text_of_a_token_is_kept_nowhere(tokens: TokenFile) -> None:
    """Whoever reads the file cannot use the service."""
    token, text = tokens.create("ci", ["write"], None)
    assert text.startswith("evt_")
    assert len(text) > 40
    assert text[4:] not in tokens.path.read_text()
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    assert tokens.find(text) == token
    assert tokens.find(text + "x") is None


@pytest.mark.parametrize(
    ("scope", "allowed"), [("read", {"read"}), ("write", {"read", "write"}), ("admin", {"read", "write", "admin"})]
)
def test_a_scope_implies_the_lesser_ones(tokens: TokenFile, scope: str, allowed: set[str]) -> None:
    """Nothing more."""
    token, _ = tokens.create("ci", [scope], None)
    assert {name for name in ("read", "write", "admin") if token.allows(name)} == allowed  # type: ignore[arg-type]


def test_a_token_ends(tokens: TokenFile) -> None:
    """At its time, which is UTC."""
    token, _ = tokens.create("ci", ["read"], 1.0)
    now = dt.datetime.now(dt.UTC)
    assert not token.expired(now)
    assert token.expired(now + dt.timedelta(days=1, seconds=1))
    assert not replace(token, expires_at=None).expired(now + dt.timedelta(days=10_000))


def test_another_process_that_revokes_a_token_is_seen_at_once(tokens: TokenFile) -> None:
    """A service needs no restart for it."""
    _, text = tokens.create("ci", ["read"], None)
    assert tokens.find(text) is not None
    TokenFile(tokens.path).revoke("ci")
    assert tokens.find(text) is None


def test_what_cannot_be_revoked_or_made_is_named(tokens: TokenFile) -> None:
    """Two of one name are told apart by their ids."""
    one, _ = tokens.create("ci", ["read"], None)
    tokens.create("ci", ["read"], None)
    with pytest.raises(UsageError, match=one.token_id):
        tokens.revoke("ci")
    with pytest.raises(UsageError, match="Did you mean 'write'"):
        tokens.create("ci", ["wrote"], None)
    with pytest.raises(UsageError, match="days"):
        tokens.create("ci", ["read"], -1.0)
    with pytest.raises(UsageError, match="name"):
        tokens.create("", ["read"], None)
    assert tokens.revoke(one.token_id) == one


def test_a_damaged_file_lets_nobody_in(tokens: TokenFile) -> None:
    """It is an error, not an empty list."""
    tokens.path.write_text("{")
    with pytest.raises(EvidenceError, match="cannot be read"):
        tokens.find("evt_x")


def test_the_commands_make_list_and_revoke(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The token is printed once, when it is made."""
    assert run_command(["tokens", "create", "--name", "ci", "--scope", "write", "--days", "2", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert TokenFile(project.root / ".service/tokens.json").find(made["token"]) is not None
    assert run_command(["tokens", "list", "--json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert {**listed, "token": made["token"]} == made
    assert run_command(["tokens", "revoke", "ci"]) == 0
    assert run_command(["tokens", "revoke", "ci"]) == 2
    assert "There is no token 'ci'" in capsys.readouterr().err
