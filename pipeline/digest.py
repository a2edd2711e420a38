"""Canonical JSON (RFC 8785) and SHA-256 digests: the identity of everything in the evidence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Serialise `value` in the one form RFC 8785 (JSON Canonicalization Scheme) allows.

    Equal values give equal bytes on every platform. NaN, infinities and integers beyond ±2**53
    raise ValueError: they have no canonical form.
    """
    import rfc8785

    return rfc8785.dumps(value)


def exact_json(value: Any) -> bytes:
    """Serialise `value` on one line with sorted keys, strict; unlike in canonical JSON 5.0 stays 5.0, and is not 5."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def pretty_json(value: Any) -> bytes:
    """Serialise `value` for people: sorted keys, two spaces, strict (NaN raises ValueError)."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
