"""Time anchors: somebody else's word on when a checkpoint of the ledger existed, kept in `results/anchors/`.

A token is made elsewhere (an RFC 3161 time-stamp authority, OpenTimestamps) over the bytes of `checkpoint_bytes`;
nothing here opens a network connection. Attaching one stores it and writes its digest into the ledger.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.digest import sha256_bytes
from pipeline.errors import UsageError
from pipeline.evidence.ledger import ANCHOR_ADDED, Checkpoint, Entry, Event, append
from pipeline.evidence.ledger_check import LedgerCheck, check_ledger
from pipeline.evidence.problem import Problem
from pipeline.files import write_atomic
from pipeline.rundir import ANCHORS_DIR

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

LARGEST = 1 << 20


class AnchorVerifier(Protocol):
    """Checks tokens of one kind: the plug-in point."""

    def verify(self, token: bytes, data: bytes) -> str:
        """Return a sentence that says when `data` existed, and who says so; raises ValueError."""


@dataclass(frozen=True)
class OpensslVerifier:
    """Checks RFC 3161 responses with the program `openssl` against the authority's certificate; no network."""

    certificate: Path

    def verify(self, token: bytes, data: bytes) -> str:
        """Return what `openssl ts -verify` says; raises ValueError."""
        with tempfile.TemporaryDirectory(prefix="evidence-anchor-") as name:
            content, response = Path(name) / "checkpoint", Path(name) / "token.tsr"
            content.write_bytes(data)
            response.write_bytes(token)
            check = ["-verify", "-data", str(content), "-in", str(response), "-CAfile", str(self.certificate)]
            done = _openssl(*check)
            if done.returncode != 0:
                raise ValueError(f"openssl ts -verify refuses it: {done.stderr.strip().splitlines()[-1:]}")
            text = _openssl("-reply", "-in", str(response), "-text").stdout
        stamp = next((line for line in text.splitlines() if line.startswith("Time stamp:")), "Time stamp: unknown")
        return f"RFC 3161, {stamp.lower()}"


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the bytes a token is made over: the checkpoint's text and a line break."""
    return f"{checkpoint}\n".encode()


def attach_anchor(ledger: Path, checkpoint: Checkpoint, token: Path, signer: Signer | None = None) -> Entry:
    """Store a token for a checkpoint beside the ledger, and add an entry with its digest.

    Raises UsageError when the token does not hold the checkpoint's SHA-256: it was made over something else; and when
    the checkpoint is not one of this ledger, which would look rolled back from then on.
    """
    found = check_ledger(ledger, checkpoint=checkpoint, signatures=False).problems
    if found:
        raise UsageError(f"The checkpoint is not of this ledger as it is: {found[0]}. Nothing was attached.")
    data = token.read_bytes() if token.stat().st_size <= LARGEST else b""
    wanted = sha256_bytes(checkpoint_bytes(checkpoint))
    if bytes.fromhex(wanted) not in data:
        raise UsageError(f"{token} is not about this checkpoint: it does not hold the SHA-256 {wanted}.")
    digest = sha256_bytes(data)
    name = f"{checkpoint.seq}-{digest[:16]}{token.suffix.lower()}"
    write_atomic(ledger.parent / ANCHORS_DIR / name, data)
    details = {"checkpoint": str(checkpoint), "file": f"{ANCHORS_DIR}/{name}"}
    return append(ledger, Event(ANCHOR_ADDED, subject_sha256=digest, details=details), signer)


def check_anchors(ledger: LedgerCheck, verifiers: Mapping[str, AnchorVerifier], notes: list[str]) -> Iterator[Problem]:
    """Compare each token with the ledger; `verifiers` (by suffix, such as `.tsr`) also check what the token says."""
    digests = {entry.seq: entry.digest for entry in ledger.entries}
    for entry in (entry for entry in ledger.entries if entry.event.kind == ANCHOR_ADDED):
        name = str(entry.event.details.get("file"))
        path = ledger.path.parent / ANCHORS_DIR / Path(name).name
        if path.is_symlink() or not path.is_file():
            yield Problem(name, "missing", f"the ledger's entry {entry.seq} lists it")
            continue
        data = path.read_bytes()
        try:
            checkpoint = Checkpoint.parse(str(entry.event.details.get("checkpoint")))
        except UsageError as error:
            yield Problem(name, "edited", f"the ledger's entry {entry.seq}: {error}")
            continue
        if sha256_bytes(data) != entry.event.subject_sha256:
            yield Problem(name, "edited", f"it is not the token of the ledger's entry {entry.seq}")
        elif digests.get(checkpoint.seq) != checkpoint.digest:
            yield Problem(name, "rolled back", f"it anchors another entry {checkpoint.seq} than the ledger's")
        else:
            yield from _said(name, path.suffix, data, checkpoint, verifiers, notes=notes)


def _said(
    name: str,
    suffix: str,
    data: bytes,
    checkpoint: Checkpoint,
    verifiers: Mapping[str, AnchorVerifier],
    *,
    notes: list[str],
) -> Iterator[Problem]:
    verifier = verifiers.get(suffix)
    if verifier is None:
        notes.append(f"{name}: the token is the one that was attached; what it says was not checked")
        return
    try:
        notes.append(f"{name}: {verifier.verify(data, checkpoint_bytes(checkpoint))}")
    except ValueError as error:
        yield Problem(name, "bad signature", str(error))


def _openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - fixed arguments
            ["openssl", "ts", *arguments],  # noqa: S607 - found on the path, as the user has it
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"openssl could not be run: {error}") from None
