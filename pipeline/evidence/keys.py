"""Signing keys: Ed25519, one private key a person or machine, outside every project.

Where the key comes from, the first that is there: EVIDENCE_KEY (PEM text), EVIDENCE_KEY_FILE, the user's
configuration directory. A passphrase comes from EVIDENCE_KEY_PASSPHRASE or is asked for.
"""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import StorageError, UsageError
from pipeline.evidence.public_key import keyid_of, pem_of, read_public_key
from pipeline.evidence.trust import TRUST_FILE, project_trust
from pipeline.settings import Settings, find_root, is_project

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pipeline.evidence.signer import Signer

KEY = "EVIDENCE_KEY"
KEY_FILE = "EVIDENCE_KEY_FILE"
PASSPHRASE = "EVIDENCE_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
FILE_NAME = "signing_key.pem"

SECRETS = (KEY, KEY_FILE, PASSPHRASE)

Prompt = Callable[[str], str]


@dataclass(frozen=True)
class KeyInfo:
    """A key pair without its secret: id, public key as PEM, the private key's file (None: from the environment)."""

    keyid: str
    public_pem: str
    path: Path | None
    encrypted: bool


def key_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the private key is, or would be: EVIDENCE_KEY_FILE, else the user's configuration directory."""
    if environ.get(KEY_FILE):
        return Path(environ[KEY_FILE]).expanduser()
    from platformdirs import user_config_path

    return user_config_path("evidence-chain") / FILE_NAME


def load_signer(environ: Mapping[str, str] = os.environ, *, prompt: Prompt | None = None) -> Signer | None:
    """Return what signs, or None when there is no key: then runs are unsigned, and say so.

    `prompt` is called with a question when a passphrase is needed and EVIDENCE_KEY_PASSPHRASE is not set. Raises
    UsageError for a key that is named and not there, readable by others, not Ed25519, or locked.
    """
    if environ.get(KEY):
        return _signer(_private(environ[KEY].encode(), KEY, environ, prompt))
    path = key_path(environ)
    if not path.is_file():
        if environ.get(KEY_FILE):
            raise UsageError(f"{KEY_FILE} names {path}, which does not exist. `evidence keys init` makes a key.")
        return None
    return _signer(_private(read_private_file(path), str(path), environ, prompt))


def check_signer(signer: Signer | None, settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """Compare what is about to sign with the project's trust file; return a warning when nothing signs there.

    Raises UsageError for a key that the trust file does not allow now: neither what it signed would verify, nor the
    ledger it signed an entry of.
    """
    trust = project_trust(settings)
    if trust is None:
        text = f"Signed, but there is no {settings.root / TRUST_FILE} that says whose signature counts, which `evidence"
        return f"{text} verify` asks for: `evidence keys init` makes it." if signer else None
    file, names = settings.root / TRUST_FILE, ", ".join(f"{key.name} ({key.keyid[:16]}…)" for key in trust.keys)
    if signer is None:
        text = f"No signing key was found (looked for {key_path(environ)}), and {file} names {names or 'no key'}"
        never = "require_signatures is true, so this will not verify"
        mixed = "this is unsigned, which does not verify in a ledger that has signed entries"
        end = f": {never if trust.require_signatures else mixed}."
        return f"{text}{end} {KEY_FILE} says where a key is, `evidence keys init` makes one."
    keyid = signer.public_key.keyid
    place = KEY if environ.get(KEY) else key_path(environ)
    known = trust.find(keyid)
    if known is None:
        raise UsageError(
            f"The key {keyid[:16]}… ({place}) may not sign here: {file} names {names or 'no key'}. What it signs would "
            f"not verify. `evidence keys init --name YOU` adds it; {KEY_FILE} names another key to sign with."
        )
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    if (late := known.problem_at(now)) is not None:
        raise UsageError(f"The key {keyid[:16]}… ({place}) may not sign now, as {file} has it: {late}.")
    return None


def read_private_file(path: Path) -> bytes:
    """Read a private key file; raises UsageError when others than its owner may read it."""
    mode = path.stat().st_mode
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise UsageError(f"Others may read the private key {path} (mode {stat.S_IMODE(mode):04o}): `chmod 600 {path}`.")
    return path.read_bytes()


def create_key(path: Path, *, passphrase: str | None = None) -> KeyInfo:
    """Make a key pair: the private key at `path` with mode 0600, the public one beside it as `.pub`.

    Raises UsageError when there is a key already, or `path` is inside a project.
    """
    refuse_inside_project(path)
    if path.exists():
        raise UsageError(f"There is a key already: {path}. `evidence keys rotate` replaces it.")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    write_private_file(path, private_pem(key, passphrase))
    public = pem_of(key.public_key())
    public_path(path).write_text(public, encoding="ascii")
    return KeyInfo(keyid_of(key.public_key()), public, path, passphrase is not None)


def show_key(environ: Mapping[str, str] = os.environ, *, prompt: Prompt | None = None) -> KeyInfo:
    """Describe the key in use; raises UsageError when there is none."""
    path = None if environ.get(KEY) else key_path(environ)
    if path is not None and not path.is_file():
        raise UsageError(f"There is no key at {path}. `evidence keys init` makes one.")
    data = environ[KEY].encode() if path is None else read_private_file(path)
    if path is not None and public_path(path).is_file():
        try:
            public = read_public_key(public_path(path).read_text(encoding="ascii"))
        except ValueError as error:
            raise UsageError(f"The public key {public_path(path)} cannot be read: {error}.") from None
    else:
        public = _private(data, str(path or KEY), environ, prompt).public_key()
    return KeyInfo(keyid_of(public), pem_of(public), path, b"ENCRYPTED" in data)


def public_path(path: Path) -> Path:
    """Return where the public half of the key at `path` is kept."""
    return path.with_suffix(".pub")


def private_pem(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    """Return a private key as PKCS8 PEM, encrypted when there is a passphrase."""
    from cryptography.hazmat.primitives import serialization as ser

    lock: Any = ser.BestAvailableEncryption(passphrase.encode()) if passphrase else ser.NoEncryption()
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, lock)


def write_private_file(path: Path, data: bytes) -> None:
    """Write a new file that was never readable by others; raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - by descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"The key {path} could not be written: {error.strerror}.") from error


def refuse_inside_project(path: Path) -> None:
    """Raise UsageError when `path` is inside a project, where a private key ends up published."""
    root = find_root(path.expanduser().resolve().parent)
    if is_project(root):
        raise UsageError(f"{path} is inside the project {root}: a private key belongs outside of it.")


def signer_of(key: Ed25519PrivateKey) -> Signer:
    """Return a signer for a private key; its keyid is the SHA-256 of the public key's DER form."""
    return _signer(key)


def _signer(key: Ed25519PrivateKey) -> Signer:
    from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

    return CryptoSigner(key, SSlibKey.from_crypto(key.public_key(), keyid=keyid_of(key.public_key())))


def signer_pem(signer: Signer) -> str:
    """Return a signer's public key as PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return pem_of(Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer.public_key.keyval["public"])))


def load_private(path: Path, environ: Mapping[str, str] = os.environ, *, prompt: Prompt | None = None) -> Any:
    """Return the private key in a file; raises UsageError."""
    return _private(read_private_file(path), str(path), environ, prompt)


def _private(data: bytes, where: str, environ: Mapping[str, str], prompt: Prompt | None) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, _passphrase(data, where, environ, prompt))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        reason = "wrong passphrase, or damaged" if b"ENCRYPTED" in data else "not a PKCS8 private key in PEM"
        raise UsageError(f"The signing key {where} cannot be read: {reason}.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"The signing key {where} is not an Ed25519 key. `evidence keys init` makes one.")
    return key


def _passphrase(data: bytes, where: str, environ: Mapping[str, str], prompt: Prompt | None) -> bytes | None:
    if b"ENCRYPTED" not in data:
        return None
    if environ.get(PASSPHRASE):
        return environ[PASSPHRASE].encode()
    if prompt is None:
        raise UsageError(f"The signing key {where} has a passphrase: set {PASSPHRASE}.")
    return prompt(f"Passphrase of {where}: ").encode()
