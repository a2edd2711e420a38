"""Ed25519 public keys: reading them, and the ids they are known by."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from pipeline.digest import sha256_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
SIGN = 1 << 255


def read_public_key(text: str) -> Ed25519PublicKey:
    """Return the Ed25519 public key in PEM, base64 of 32 bytes, or base64 DER.

    Raises ValueError, also for a key whose signatures anybody can make: see `weakness`.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        if "-----BEGIN" in text:
            key: Any = load_pem_public_key(text.strip().encode())
        else:
            data = base64.b64decode(text.strip(), validate=True)
            key = Ed25519PublicKey.from_public_bytes(data) if len(data) == 32 else load_der_public_key(data)
    except (binascii.Error, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is not an Ed25519 key")  # noqa: TRY004 - a malformed file, not a wrong argument
    if (reason := weakness(key.public_bytes_raw())) is not None:
        raise ValueError(reason)
    return key


def weakness(raw: bytes) -> str | None:
    """Say why 32 bytes are no public key that a key pair can have; None when they are one.

    OpenSSL, and so `cryptography`, takes any bytes. Under a point of small order (8 times it is the neutral element)
    one constant signature is good for every payload; y ≥ p, or a sign where x is 0, spells a key in a second way
    (RFC 8032, section 5.1.3; the encodings: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs", table 1).
    """
    encoded = int.from_bytes(raw, "little")
    y, sign = encoded % SIGN, encoded >= SIGN
    if y >= P:
        return "it is not encoded as Ed25519 asks: y is not below 2^255 - 19"
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    if sign and x2 == 0:
        return "it is not encoded as Ed25519 asks: x is 0 and has a sign"
    if pow(x2, (P - 1) // 2, P) not in (0, 1):
        return "it is not a point of the curve"
    return "its point has a small order, so that anybody can sign in its name" if _small_order(x2, y) else None


def _small_order(x2: int, y: int) -> bool:
    """Say whether 8 times the point is the neutral element; of x its square is enough to double a point."""
    for _ in range(3):
        sum_, difference = (y * y + x2) % P, (y * y - x2) % P
        x2 = 4 * x2 * y * y * pow(difference, -2, P) % P
        y = sum_ * pow(2 - difference, -1, P) % P
    return y == 1


def keyid_of(key: Ed25519PublicKey) -> str:
    """Return the id of a key: what `openssl pkey -pubin -outform DER | sha256sum` prints for it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return sha256_bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pem_of(key: Ed25519PublicKey) -> str:
    """Return a public key as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
