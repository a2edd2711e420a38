"""DSSE envelopes: the signature of a manifest, a report's statement, a ledger entry, a bundle.

Format: https://github.com/secure-systems-lab/dsse, made and checked by securesystemslib. A `Signer` is
securesystemslib's interface, so a hardware token or a cloud key can sign as well as a key file.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pipeline.evidence.strict_json import canonical, parse_canonical
from pipeline.rundir import RunDir
from pipeline.running import write_aside

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope

    from pipeline.evidence.signer import Signer

STATEMENT = "application/vnd.in-toto+json"
KEYID = re.compile(r"[0-9a-f]{64}")


def sign_manifest(run: RunDir, signer: Signer | None) -> None:
    """Write `manifest.dsse.json` beside the manifest; no file without a signer.

    The payload is the manifest's bytes exactly, so the signature covers the complete list of files.
    """
    if signer is not None:
        write_aside(run, run.signature, make_envelope(run.manifest.read_bytes(), STATEMENT, signer))


def make_envelope(payload: bytes, payload_type: str, signer: Signer) -> bytes:
    """Sign `payload`; return the envelope as canonical JSON."""
    return canonical(_signed(payload, payload_type, signer))


def sign_detached(payload: bytes, payload_type: str, signer: Signer) -> list[dict[str, str]]:
    """Sign `payload`; return only the envelope's `signatures`, for a payload that is kept elsewhere."""
    signatures: list[dict[str, str]] = _signed(payload, payload_type, signer)["signatures"]
    return signatures


def _signed(payload: bytes, payload_type: str, signer: Signer) -> dict[str, Any]:
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, payload_type, {})
    envelope.sign(cast("Any", signer))
    return dict(envelope.to_dict())


@dataclass(frozen=True)
class Signed:
    """An envelope taken apart, nothing checked yet but its form: one signature, base64 that has one meaning."""

    payload: bytes
    payload_type: str
    keyid: str
    signature: bytes

    def envelope(self) -> Envelope:
        """Return it as securesystemslib's envelope."""
        from securesystemslib.dsse import Envelope
        from securesystemslib.signer import Signature  # type: ignore[attr-defined]

        return Envelope(self.payload, self.payload_type, {self.keyid: Signature(self.keyid, self.signature.hex())})


def read_envelope(data: bytes) -> Signed:
    """Take an envelope apart; raises ValueError for anything but what `make_envelope` writes."""
    value = parse_canonical(data)
    if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"}:
        raise ValueError("it is not a DSSE envelope")
    payload_type = value["payloadType"]
    if payload_type != STATEMENT:
        raise ValueError(f"its payload is {str(payload_type)[:60]!r}, not {STATEMENT}")
    return read_signatures(_unbase64(value["payload"]), payload_type, value["signatures"])


def read_signatures(payload: bytes, payload_type: str, signatures: Any) -> Signed:
    """Put a payload and its detached `signatures` together; raises ValueError unless there is exactly one."""
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise ValueError("it does not hold exactly one signature")
    entry = signatures[0]
    if not isinstance(entry, dict) or entry.keys() != {"keyid", "sig"}:
        raise ValueError("its signature is malformed")
    keyid = entry["keyid"]
    if not isinstance(keyid, str) or not KEYID.fullmatch(keyid):
        raise ValueError("its keyid is not a SHA-256")
    return Signed(payload, payload_type, keyid, _unbase64(entry["sig"]))


def _unbase64(text: Any) -> bytes:
    """Decode base64 in its only form: no line breaks, no other alphabet, no stray bits before the padding."""
    if not isinstance(text, str):
        raise ValueError("base64 text is needed")  # noqa: TRY004 - malformed data, not a wrong argument
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"bad base64: {error}") from None
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 that was not written by an encoder")
    return data
