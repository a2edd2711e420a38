"""Time anchors: a token of somebody else's clock, stored beside the ledger, bound to a checkpoint."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.digest import sha256_bytes
from pipeline.errors import UsageError
from pipeline.evidence.ledger import Checkpoint, Event, append, head
from pipeline.evidence.timestamp import OpensslVerifier, attach_anchor, checkpoint_bytes
from pipeline.evidence.verify_all import verify_ledger
from tests.evidence.sealed_runs import World, kinds

CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {0}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
[ext]
extendedKeyUsage = critical,timeStamping
"""


@pytest.fixture
def checkpoint(world: World) -> Checkpoint:
    append(world.ledger, Event("run_started"))
    kept = head(world.ledger)
    assert kept is not None
    return kept


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Return the directory of a time-stamp authority of our own."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (tmp_path / "tsa.cnf").write_text(CONFIG.format(tmp_path))
    (tmp_path / "serial").write_text("01\n")
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tsa.key -out tsa.pem -subj /CN=tsa"
    openssl(tmp_path, *command.split(), "-addext", "extendedKeyUsage=critical,timeStamping")
    return tmp_path


def stamp(authority: Path, data: bytes, name: str = "token") -> Path:
    (authority / "checkpoint").write_bytes(data)
    openssl(authority, "ts", "-query", "-data", "checkpoint", "-sha256", "-cert", "-out", "query")
    answer = f"ts -reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey tsa.key -out {name}.tsr"
    openssl(authority, *answer.split())
    return authority / f"{name}.tsr"


def test_an_rfc_3161_token_is_attached_and_checked(world: World, checkpoint: Checkpoint, authority: Path) -> None:
    """The token of a real authority, over the checkpoint's file, says when that state of the ledger existed."""
    token = stamp(authority, checkpoint_bytes(checkpoint))
    entry = attach_anchor(world.ledger, checkpoint, token, world.signer)
    append(world.ledger, Event("run_started"), world.signer)
    _, plain = verify_ledger(world.results, trust=world.trust)
    assert plain.ok
    assert any("not checked" in note for note in plain.notes)
    checks = {".tsr": OpensslVerifier(authority / "tsa.pem")}
    _, checked = verify_ledger(world.results, trust=world.trust, anchors=checks)
    assert checked.ok
    assert any("time stamp:" in note for note in checked.notes)
    stored = world.results / entry.event.details["file"]
    other = stamp(authority, b"something else", "other").read_bytes()
    for data, kind in ((other, "edited"), (stored.read_bytes()[:-1], "edited"), (None, "missing")):
        stored.unlink(missing_ok=True)
        if data is not None:
            stored.write_bytes(data)
        _, damaged = verify_ledger(world.results, trust=world.trust, anchors=checks)
        assert kinds(damaged.problems) == [(f"anchors/{stored.name}", kind)]


def test_a_token_by_another_authority_is_named(world: World, checkpoint: Checkpoint, authority: Path) -> None:
    """The plug-in decides whose clock counts."""
    attach_anchor(world.ledger, checkpoint, stamp(authority, checkpoint_bytes(checkpoint)))
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout b.key -out b.pem -subj /CN=b"
    openssl(authority, *command.split())
    _, found = verify_ledger(world.results, anchors={".tsr": OpensslVerifier(authority / "b.pem")})
    assert [kind for _, kind in kinds(found.problems)] == ["bad signature"]


def test_a_token_about_something_else_is_refused(world: World, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A token that does not hold the checkpoint's digest cannot be attached to it; any format that does can."""
    token = tmp_path / "token.ots"
    token.write_bytes(b"\0OpenTimestamps\0" + bytes(32))
    with pytest.raises(UsageError, match="not about this checkpoint"):
        attach_anchor(world.ledger, checkpoint, token)
    token.write_bytes(b"\0OpenTimestamps\0" + bytes.fromhex(sha256_bytes(checkpoint_bytes(checkpoint))))
    attach_anchor(world.ledger, checkpoint, token)
    assert verify_ledger(world.results)[1].ok


def test_a_checkpoint_of_another_ledger_is_not_anchored(world: World, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Entries cannot be taken back: a token for another ledger would make this one look rolled back for ever."""
    token = tmp_path / "token.ots"
    for other in (Checkpoint(checkpoint.seq, "ab" * 32), Checkpoint(checkpoint.seq + 1, checkpoint.digest)):
        token.write_bytes(bytes.fromhex(sha256_bytes(checkpoint_bytes(other))))
        with pytest.raises(UsageError, match="not of this ledger as it is"):
            attach_anchor(world.ledger, other, token)
    assert head(world.ledger) == checkpoint
    assert not (world.results / "anchors").exists()
