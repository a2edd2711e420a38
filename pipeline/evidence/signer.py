"""Who can sign: the part of securesystemslib's `Signer` that this package uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class PublicKey(Protocol):
    """The public half of a key."""

    @property
    def keyid(self) -> str:
        """The SHA-256 of its DER form, hex."""
        ...

    @property
    def keyval(self) -> Mapping[str, Any]:
        """The key itself, as `public`: of an Ed25519 key its 32 bytes in hex."""
        ...


class Signer(Protocol):
    """A key file, a hardware token, or a key in a cloud."""

    @property
    def public_key(self) -> PublicKey:
        """What its signatures are checked with."""
        ...

    def sign(self, payload: bytes) -> Any:
        """Return a signature of the bytes."""
        ...
