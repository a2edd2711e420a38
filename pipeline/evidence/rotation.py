"""Who may sign, changed by commands: add a key to the trust file, replace the key in use."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_bytes
from pipeline.errors import UsageError
from pipeline.evidence.keys import (
    KEY,
    KeyInfo,
    Prompt,
    key_path,
    load_private,
    private_pem,
    public_path,
    refuse_inside_project,
    signer_of,
    write_private_file,
)
from pipeline.evidence.ledger import KEY_ROTATED, Entry, Event, append
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.public_key import keyid_of, pem_of, read_public_key
from pipeline.evidence.trust import TrustedKey, load_trust
from pipeline.files import replace_file, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from pipeline.evidence.signer import Signer

HEADER = """\
# Public keys that may sign runs, reports and ledger entries of this project. Commit this file.
# require_signatures = true makes an unsigned run a problem; without it, signatures can be taken off unnoticed.
require_signatures = {require}
"""


@dataclass(frozen=True)
class Rotation:
    """A key replaced: the old one's id, the new one, where the old private key was kept, the ledger's entry."""

    old_keyid: str
    new: KeyInfo
    retired: Path
    entry: Entry


def add_trusted_key(path: Path, name: str, public_key: str, *, require: bool = True) -> str:
    """Append a key to the trust file, made when it is not there; return its keyid. A listed key stays as it is.

    `require` is what a new trust file says of signatures: that they must be there, or, for a project that has unsigned
    runs already, that they may. Raises UsageError for a trust file or a key that cannot be read.
    """
    try:
        key = read_public_key(public_key)
    except ValueError as error:
        raise UsageError(f"The public key of {name} cannot be read: {error}.") from None
    if _find(path, keyid_of(key)) is None:
        _write(path, _text(path, require=require) + _block(name, key, None))
    return keyid_of(key)


def replace_trusted_key(path: Path, old_keyid: str, name: str, public_key: str, when: str) -> None:
    """End an old key's validity in the trust file at `when`, where a new one's begins: both, or nothing.

    Raises UsageError when the old entry does not have its `keyid` on a line of its own, where the new line goes.
    """
    known, text = _find(path, old_keyid), _text(path)
    moment = dt.datetime.fromisoformat(when)
    if known is not None and (known.valid_to is None or known.valid_to > moment):
        lines = text.splitlines()
        places = [i for i, line in enumerate(lines) if line.replace(" ", "").startswith(f'keyid="{old_keyid}"')]
        if len(places) != 1:
            raise UsageError(f'{path}: write `keyid = "{old_keyid}"` below the name of {known.name}, then try again.')
        text = "\n".join(_ended(lines, places[0], when)) + "\n"
    _write(path, text + _block(name, read_public_key(public_key), when))


def _ended(lines: list[str], place: int, when: str) -> list[str]:
    """Return the lines with `valid_to` below that of the keyid, instead of a later one that its table may have."""
    tables = [i for i, line in enumerate(lines) if line.startswith("[")]
    begin = max((i for i in tables if i < place), default=0)
    end = min((i for i in tables if i > place), default=len(lines))
    table = [*lines[begin : place + 1], f"valid_to = {when}", *lines[place + 1 : end]]
    kept = [line for line in table if line == f"valid_to = {when}" or line.partition("=")[0].strip() != "valid_to"]
    return [*lines[:begin], *kept, *lines[end:]]


def _find(path: Path, keyid: str) -> TrustedKey | None:
    return load_trust(path).find(keyid) if path.is_file() else None


def _text(path: Path, *, require: bool = True) -> str:
    if path.is_file():
        return path.read_text(encoding="utf-8").rstrip("\n") + "\n"
    return HEADER.format(require=str(require).lower())


def _block(name: str, key: Ed25519PublicKey, valid_from: str | None) -> str:
    lines = [
        "\n[[keys]]",
        f"name = {json.dumps(name, ensure_ascii=False)}",
        f'keyid = "{keyid_of(key)}"',
        f'public_key = "{base64.b64encode(key.public_bytes_raw()).decode()}"',
        *([f"valid_from = {valid_from}"] if valid_from else []),
    ]
    return "\n".join(lines) + "\n"


def rotate_key(
    trust_file: Path,
    ledger: Path,
    *,
    name: str | None = None,
    passphrase: str | None = None,
    environ: Mapping[str, str] = os.environ,
    prompt: Prompt | None = None,
) -> Rotation:
    """Replace the key in use by a new one: the ledger says so, signed by the old key, and so does the trust file.

    What the old key signed until now stays valid. Interrupted at any step, calling it again finishes it. Raises
    UsageError when there is no key, or it comes from the environment.
    """
    path = key_path(environ)
    if environ.get(KEY) or not path.is_file():
        raise UsageError(f"There is no key file to rotate at {path}. `evidence keys init` makes one.")
    refuse_inside_project(path)
    old = load_private(path, environ, prompt=prompt)
    signer, old_id = signer_of(old), keyid_of(old.public_key())
    if _find(trust_file, old_id) is None:
        if trust_file.is_file():
            raise UsageError(f"{trust_file} does not name the key in use: `evidence keys init` adds it, then rotate.")
        add_trusted_key(trust_file, name or "me", pem_of(old.public_key()))
    new, waiting = _next_key(path, passphrase, environ, prompt)
    public = pem_of(new)
    if _find(trust_file, keyid_of(new)) is None:
        entry = _tell(ledger, signer, old_id, public)
        known = _find(trust_file, old_id)
        replace_trusted_key(trust_file, old_id, name or (known.name if known else "me"), public, entry.time)
    else:
        entry = _told(ledger, keyid_of(new))
    retired = path.with_name(f"{path.stem}-{old_id[:16]}{path.suffix}")
    if not retired.exists():
        write_private_file(retired, path.read_bytes())
    replace_file(waiting, path)
    public_path(path).write_text(public, encoding="ascii")
    return Rotation(old_id, KeyInfo(keyid_of(new), public, path, passphrase is not None), retired, entry)


def _tell(ledger: Path, signer: Signer, old_id: str, public: str) -> Entry:
    details = {"old_keyid": old_id, "new_keyid": keyid_of(read_public_key(public)), "new_public_key": public}
    return append(ledger, Event(KEY_ROTATED, subject_sha256=sha256_bytes(public.encode()), details=details), signer)


def _told(ledger: Path, new_id: str) -> Entry:
    """Return the entry of a rotation that was interrupted after it was told."""
    entries = [e for e in check_ledger(ledger).entries if e.event.kind == KEY_ROTATED]
    return next(entry for entry in reversed(entries) if entry.event.details.get("new_keyid") == new_id)


def _next_key(
    path: Path, passphrase: str | None, environ: Mapping[str, str], prompt: Prompt | None
) -> tuple[Ed25519PublicKey, Path]:
    """Return the public key that comes next and where its private half waits, from an interrupted rotation if any."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    waiting = path.with_suffix(".next")
    if waiting.is_file() and waiting.stat().st_size:
        return load_private(waiting, environ, prompt=prompt).public_key(), waiting
    waiting.unlink(missing_ok=True)
    key = Ed25519PrivateKey.generate()
    write_private_file(waiting, private_pem(key, passphrase))
    return key.public_key(), waiting


def _write(path: Path, text: str) -> None:
    """Write the trust file only if it can be read afterwards."""
    trial = path.with_name(f".{path.name}.new")
    write_atomic(trial, text.encode())
    try:
        load_trust(trial)
    except UsageError:
        trial.unlink()
        raise
    replace_file(trial, path)
