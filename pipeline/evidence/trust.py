"""The trust file: which public keys may sign, and when, as ssh's allowed_signers says it for git.

require_signatures = true         # optional: an unsigned run, report or ledger entry is a problem

[[keys]]
name = "alice"                    # who, in your words
keyid = "…"                       # optional; SHA-256 of the key's DER form
public_key = "…"                  # base64 of the 32 bytes, or PEM
valid_from = 2026-01-01T00:00:00Z # optional
valid_to = 2027-01-01T00:00:00Z   # optional
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError, nearest
from pipeline.evidence.dsse import Signed
from pipeline.evidence.public_key import keyid_of, pem_of, read_public_key
from pipeline.settings import Settings
from pipeline.toml import parse_toml

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

TRUST_FILE = Path("config") / "trusted_keys.toml"
FIELDS = ("name", "keyid", "public_key", "valid_from", "valid_to")


@dataclass(frozen=True)
class TrustedKey:
    """An allowed Ed25519 public key; the times bound when it may sign, None where there is no bound."""

    name: str
    keyid: str
    pem: str
    valid_from: dt.datetime | None = None
    valid_to: dt.datetime | None = None

    def problem_at(self, when: str | None) -> str | None:
        """Say why the key may not sign at `when` (ISO-8601 UTC); None when it may, or nothing bounds it."""
        if self.valid_from is None and self.valid_to is None:
            return None
        try:
            moment = dt.datetime.fromisoformat(when or "")
        except (ValueError, TypeError):
            return f"the time of signing is not known, and the key {self.name} is valid for a time only"
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        if self.valid_from and moment < self.valid_from:
            return f"signed at {when}, the key {self.name} is valid from {self.valid_from.isoformat()}"
        if self.valid_to and moment > self.valid_to:
            return f"signed at {when}, the key {self.name} was valid to {self.valid_to.isoformat()}"
        return None

    @cached_property
    def key(self) -> SSlibKey:
        """The key as securesystemslib holds it."""
        from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

        return SSlibKey.from_crypto(read_public_key(self.pem), keyid=self.keyid)


@dataclass(frozen=True)
class Trust:
    """The allowed keys and the policy. `source` names the file in messages.

    `named` says that somebody gave these keys for a check (`--trust`): what none of them signed does not pass it.
    """

    keys: tuple[TrustedKey, ...]
    require_signatures: bool = False
    source: str = "trust file"
    named: bool = False

    @property
    def demands(self) -> bool:
        """Say whether what nobody signed is a problem."""
        return self.require_signatures or self.named

    def find(self, keyid: str) -> TrustedKey | None:
        """Return the key with this id."""
        return next((key for key in self.keys if key.keyid == keyid), None)

    def check(self, signed: Signed, when: str | None, *, bounded: bool = True) -> Iterator[tuple[str, str]]:
        """Yield kind and message of what is wrong with a signature made at `when`; nothing when all is well.

        `bounded=False` is for what says no time: then the key's validity in time is not asked for.
        """
        from securesystemslib.exceptions import VerificationError

        trusted = self.find(signed.keyid)
        if trusted is None:
            yield "unknown key", f"the key {signed.keyid} is not in {self.source}"
            return
        try:
            signed.envelope().verify([trusted.key], 1)
        except (VerificationError, ValueError):
            yield (
                "bad signature",
                f"it was not made by the key of {trusted.name} ({signed.keyid[:16]}) over this content",
            )
            return
        if bounded and (late := trusted.problem_at(when)) is not None:
            yield "expired key", late


def load_trust(path: Path, *, named: bool = False) -> Trust:
    """Read a trust file; raises UsageError that names the entry for anything malformed or unknown."""
    try:
        values = parse_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"The trust file {path} cannot be read: {error}.") from None
    _only(values, ("require_signatures", "keys"), path)
    entries = values.get("keys", [])
    require = values.get("require_signatures", False)
    if not isinstance(require, bool) or not isinstance(entries, list):
        raise UsageError(f"{path}: require_signatures is true or false, keys are [[keys]] tables.")
    keys = tuple(_key(entry, f"{path}, key {number}") for number, entry in enumerate(entries, 1))
    if len({key.keyid for key in keys}) != len(keys):
        raise UsageError(f"{path}: a key is listed twice.")
    return Trust(keys, require, path.name, named)


def project_trust(settings: Settings, given: Path | None = None) -> Trust | None:
    """Return the given trust file, as one that is named, else the project's `config/trusted_keys.toml`, else None."""
    if given is not None:
        return load_trust(given, named=True)
    path = settings.root / TRUST_FILE
    return load_trust(path) if path.is_file() else None


def trusted(text: str, name: str, **bounds: Any) -> TrustedKey:
    """Return the public key in `text` as a trusted one; raises ValueError."""
    key = read_public_key(text)
    return TrustedKey(name, keyid_of(key), pem_of(key), **bounds)


def _key(entry: Any, where: str) -> TrustedKey:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: a [[keys]] table is needed.")
    _only(entry, FIELDS, where)
    name, text = entry.get("name"), entry.get("public_key")
    if not isinstance(name, str) or not name.strip() or not isinstance(text, str):
        raise UsageError(f"{where}: name and public_key (PEM or base64) are needed.")
    bounds = {field: _time(entry.get(field), f"{where} ({name}), {field}") for field in ("valid_from", "valid_to")}
    try:
        key = trusted(text, name, **bounds)
    except ValueError as error:
        raise UsageError(f"{where} ({name}): the public key cannot be read: {error}.") from None
    if entry.get("keyid") not in (None, key.keyid):
        raise UsageError(f"{where} ({name}): the keyid does not belong to the public key; its keyid is {key.keyid}.")
    return key


def _time(value: Any, where: str) -> dt.datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if not isinstance(value, dt.datetime):
        raise UsageError(f"{where}: a time such as 2026-01-01T00:00:00Z is needed.")
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)


def _only(values: dict[str, Any], known: tuple[str, ...], where: object) -> None:
    for name in values:
        if name not in known:
            raise UsageError(f"{where}: unknown field {name!r}. {nearest(name, known)}")
