"""Public keys: what no key pair can have is refused wherever a key is read."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.errors import UsageError
from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.keys import show_key
from pipeline.evidence.public_key import keyid_of, pem_of, read_public_key, weakness
from pipeline.evidence.rotation import add_trusted_key
from pipeline.evidence.trust import load_trust
from pipeline.evidence.unbundle import verify_path
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import World, kinds
from tests.evidence.test_bundle import unpack

# "Taming the many EdDSAs", table 1: all encodings of the eight points of small order, those with y >= p included.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]
P = 2**255 - 19
# y >= p, though the point is of large order or none; and y = 2, which is on no point.
MALFORMED = [*((P + more).to_bytes(32, "little").hex() for more in range(2, 19)), (2).to_bytes(32, "little").hex()]


def spellings(raw: bytes) -> list[str]:
    """Return a key as each form that is read: base64, PEM, base64 DER."""
    pem = pem_of(Ed25519PublicKey.from_public_bytes(raw))
    return [base64.b64encode(raw).decode(), pem, "".join(pem.splitlines()[1:-1])]


def test_a_constant_signature_passes_under_a_point_of_small_order() -> None:
    """Why such keys are refused: the library itself verifies this signature over any payload."""
    weak = Ed25519PublicKey.from_public_bytes(bytes.fromhex(SMALL_ORDER[0]))
    for payload in (b"one", b"another"):
        weak.verify(bytes.fromhex(SMALL_ORDER[0]) + bytes(32), payload)


@pytest.mark.parametrize("encoding", [*SMALL_ORDER, *MALFORMED])
def test_what_is_no_key_is_refused_however_it_is_written(encoding: str) -> None:
    """Small order, a second spelling of a point, no point at all: in base64, PEM and DER."""
    for text in spellings(bytes.fromhex(encoding)):
        with pytest.raises(ValueError, match=r"small order|not encoded as Ed25519|not a point"):
            read_public_key(text)


def test_every_key_that_is_made_is_read() -> None:
    """Keys of key pairs pass, with their id whichever way they are written."""
    for seed in range(200):
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(bytes([seed])).digest()).public_key()
        assert weakness(key.public_bytes_raw()) is None
        if seed < 5:
            assert {keyid_of(read_public_key(text)) for text in spellings(key.public_bytes_raw())} == {keyid_of(key)}


def test_a_weak_key_is_refused_by_trust_file_command_and_public_half(tmp_path: Path) -> None:
    """A trust file names the entry, `keys` adds no such key, and a public half beside a private key is not believed."""
    weak = base64.b64encode(bytes.fromhex(SMALL_ORDER[0])).decode()
    file = tmp_path / "trust.toml"
    file.write_text(f'[[keys]]\nname = "mallory"\npublic_key = "{weak}"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"trust.toml, key 1 \(mallory\).*small order"):
        load_trust(file)
    with pytest.raises(UsageError, match=r"mallory.*small order"):
        add_trusted_key(tmp_path / "new.toml", "mallory", weak)
    key = tmp_path / "key.pem"
    key.write_text("private", encoding="ascii")
    key.chmod(0o600)
    key.with_suffix(".pub").write_text(pem_of(Ed25519PublicKey.from_public_bytes(bytes.fromhex(SMALL_ORDER[0]))))
    with pytest.raises(UsageError, match="small order"):
        show_key({"EVIDENCE_KEY_FILE": str(key)})


def test_a_weak_key_that_a_bundle_brings_along_is_a_problem(world: World, signed: RunDir, tmp_path: Path) -> None:
    """It vouches for nothing, and the bundle that brings it is not as any bundle of ours."""
    make_bundle(signed, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer)
    folder = unpack(tmp_path / "b.zip", tmp_path / "unpacked")
    weak = Ed25519PublicKey.from_public_bytes(bytes.fromhex(SMALL_ORDER[0]))
    (folder / "keys" / "weak.pem").write_text(pem_of(weak), encoding="ascii")
    assert ("keys/weak.pem", "refused") in kinds(verify_path(folder).problems)
    only = dataclasses.replace(world.trust, keys=())
    assert "unknown key" in {kind for _, kind in kinds(verify_path(folder, trust=only).problems)}
