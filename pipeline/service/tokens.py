"""Tokens: who may use the service, to what, and until when. What is kept of one is its SHA-256.

A token is 256 random bits, so a fast digest is enough: there is nothing to guess. The file is read again when another
process has changed it: a token that is revoked is of no use from then on.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.errors import EvidenceError, UsageError, nearest
from pipeline.file_lock import locked
from pipeline.files import read_json, write_json

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
IMPLIED: Mapping[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "admin"}),
}
MARK = "evt_"
VERSION = 1
SHORTEST_NAME = 1
LONGEST_NAME = 100


@dataclass(frozen=True)
class Token:
    """What is kept of a token; times are UTC, ISO-8601."""

    token_id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: str
    expires_at: str | None
    sha256: str

    def allows(self, scope: Scope) -> bool:
        """Say whether it is good for this: writing implies reading, administration both."""
        return any(scope in IMPLIED[own] for own in self.scopes)

    def expired(self, now: dt.datetime) -> bool:
        """Say whether its time is over."""
        return self.expires_at is not None and dt.datetime.fromisoformat(self.expires_at) <= now

    def shown(self) -> dict[str, Any]:
        """Return what is listed of it."""
        facts = asdict(self)
        del facts["sha256"]
        return {**facts, "scopes": list(self.scopes), "expired": self.expired(_now())}


class TokenFile:
    """The tokens of a project's service, by their digests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._by_digest: dict[str, Token] = {}

    def create(self, name: str, scopes: Sequence[str], days: float | None) -> tuple[Token, str]:
        """Make a token and return it with its text, which nobody can read again; raises UsageError."""
        chosen = _scopes(scopes)
        if not (SHORTEST_NAME <= len(name) <= LONGEST_NAME) or not name.isprintable():
            raise UsageError(f"A token has a name of {SHORTEST_NAME} to {LONGEST_NAME} characters: who uses it.")
        if days is not None and not 0 < days <= 36_500:
            raise UsageError("A token is good for more than 0 and at most 36,500 days.")
        text = MARK + secrets.token_urlsafe(32)
        now = _now()
        expires = None if days is None else (now + dt.timedelta(days=days)).isoformat(timespec="seconds")
        token = Token(secrets.token_hex(4), name, chosen, now.isoformat(timespec="seconds"), expires, _digest(text))
        with self._writing() as tokens:
            tokens.append(token)
        return token, text

    def revoke(self, wanted: str) -> Token:
        """Remove the token with this id, or the only one of this name; raises UsageError."""
        with self._writing() as tokens:
            found = [token for token in tokens if wanted in (token.token_id, token.name)]
            if len(found) != 1:
                ids = [token.token_id for token in (found or tokens)]
                what = f"{len(found)} tokens have the name" if found else "There is no token"
                raise UsageError(f"{what} {wanted!r}. {nearest(wanted, ids)}")
            tokens.remove(found[0])
        return found[0]

    def all(self) -> list[Token]:
        """Return the tokens, the oldest first; raises EvidenceError for a file that cannot be read."""
        try:
            values = read_json(self.path) if self.path.is_file() else {"tokens": []}
            return [_token(item) for item in values["tokens"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(f"The tokens in {self.path} cannot be read: {error}. Make new ones.") from None

    def find(self, text: str) -> Token | None:
        """Return the token of this text; None when there is none, or its time is over."""
        with self._lock:
            if (there := _identity(self.path)) != self._seen:
                self._by_digest = {token.sha256: token for token in self.all()}
                self._seen = there
            token = self._by_digest.get(_digest(text))
        return None if token is None or token.expired(_now()) else token

    def _writing(self) -> _Writing:
        return _Writing(self)


class _Writing:
    """The list of tokens while nobody else writes; it is kept when nothing was raised."""

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        self._tokens: list[Token] = []
        self._held = locked(file.path.with_name(f"{file.path.name}.lock"), seconds=10.0)

    def __enter__(self) -> list[Token]:
        self._file.path.parent.mkdir(parents=True, exist_ok=True)
        self._held.__enter__()
        try:
            self._tokens = self._file.all()
        except BaseException:
            self._held.__exit__(None, None, None)
            raise
        return self._tokens

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                values = [{**asdict(token), "scopes": list(token.scopes)} for token in self._tokens]
                write_json(self._file.path, {"version": VERSION, "tokens": values})
                self._file.path.chmod(0o600)
        finally:
            self._held.__exit__(None, None, None)


def _token(values: Mapping[str, Any]) -> Token:
    return Token(**{**values, "scopes": _scopes(values["scopes"])})


def _scopes(names: Sequence[str]) -> tuple[Scope, ...]:
    for name in names:
        if name not in SCOPES:
            raise UsageError(f"{name!r} is nothing a token can be good for. {nearest(name, SCOPES)}")
    if not names:
        raise UsageError(f"A token is good for one of: {', '.join(SCOPES)}.")
    return tuple(scope for scope in SCOPES if scope in names)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - once a request
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
