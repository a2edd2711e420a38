"""Signatures: made here, checked by others; every way a signature can be wrong has its own name."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.digest import canonical_json
from pipeline.evidence import events
from pipeline.evidence.dsse import make_envelope, read_envelope, sign_manifest
from pipeline.evidence.events import adopt_run
from pipeline.evidence.keys import signer_pem
from pipeline.evidence.ledger import append
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.statement import write_report_statement
from pipeline.evidence.unbundle import verify_path
from pipeline.evidence.verify import verify_run
from pipeline.files import write_atomic
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import World, kinds, new_signer, seal, trust_in


def test_a_signed_run_verifies_and_names_its_signer(world: World, signed: RunDir) -> None:
    """Files, signature, report and ledger agree: no problem, no note, and the name from the trust file."""
    verification = verify_run(signed, trust=world.trust, ledger=check_ledger(world.ledger, trust=world.trust))
    assert verification.problems == ()
    assert verification.notes == ()
    assert verification.signer == "alice"


def test_an_unsigned_run_says_so_and_is_a_problem_only_by_policy(world: World) -> None:
    """Without a key everything works; with `require_signatures` it does not pass."""
    run = World(world.results, None).run()
    verification = verify_run(run, trust=world.trust, ledger=world.ledger)
    assert verification.ok
    assert "the run is unsigned" in verification.notes
    strict = dataclasses.replace(world.trust, require_signatures=True)
    problems = kinds(verify_run(run, trust=strict, ledger=world.ledger).problems)
    assert problems == [
        ("manifest.dsse.json", "unsigned"),
        ("report/statement.json", "unsigned"),
        ("ledger.jsonl", "unsigned"),
    ]


def test_without_a_trust_file_the_signature_is_bound_but_not_checked(signed: RunDir) -> None:
    """Nothing is claimed about who signed; that the envelope is about this manifest is still checked."""
    verification = verify_run(signed)
    assert verification.ok
    assert "not checked" in verification.notes[0]


def test_an_independent_implementation_accepts_the_signature(world: World, signed: RunDir, tmp_path: Path) -> None:
    """DSSE from its specification, with `cryptography` and with openssl: PAE, then Ed25519."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    envelope = json.loads(signed.signature.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    pae = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    public = load_pem_public_key(signer_pem(world.signer).encode())
    public.verify(signature, pae)  # type: ignore[call-arg,union-attr]
    assert payload == signed.manifest.read_bytes()
    if shutil.which("openssl"):
        for name, data in (("pae", pae), ("sig", signature), ("key", signer_pem(world.signer).encode())):
            (tmp_path / name).write_bytes(data)
        command = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "key",
            "-rawin",
            "-in",
            "pae",
            "-sigfile",
            "sig",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert b"Verified Successfully" in done.stdout
        command = ["sh", "-c", "openssl pkey -pubin -in key -outform DER | sha256sum"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        assert done.stdout.decode().split()[0] == world.signer.public_key.keyid


def test_securesystemslib_needs_the_key_id_as_a_keyword(world: World, signed: RunDir) -> None:
    """Its own id of a key is another one, and it looks for signatures by that: docs/evidence.md says which to give."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    key = load_pem_public_key(signer_pem(world.signer).encode())
    envelope = Envelope.from_dict(json.loads(signed.signature.read_bytes()))
    with pytest.raises(VerificationError):
        envelope.verify([SSlibKey.from_crypto(key)], 1)
    assert envelope.verify([SSlibKey.from_crypto(key, keyid=world.signer.public_key.keyid)], 1)


@pytest.mark.parametrize("which", ["manifest", "report"])
def test_the_statements_are_in_toto_statements(signed: RunDir, which: str) -> None:
    """The reference implementation of in-toto attestations reads and validates them, SLSA's provenance too."""
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import resource_descriptor, statement, statement_pb2

    file = signed.signature if which == "manifest" else signed.report_statement
    values = json.loads(read_envelope(file.read_bytes()).payload)
    parsed = ParseDict(values, statement_pb2.Statement())
    statement.Statement.copy_from_pb(parsed).validate()
    for subject in parsed.subject:
        resource_descriptor.ResourceDescriptor.copy_from_pb(subject).validate()
    # The one field that SLSA does not have: consumers ignore what they do not know.
    values["predicate"].pop("evidence_run", None)
    provenance = ParseDict(values["predicate"], provenance_pb2.Provenance())
    assert provenance.build_definition.build_type.startswith("urn:evidence-chain:")


def test_an_edited_manifest_no_longer_matches_its_signature(world: World, signed: RunDir) -> None:
    """Editing a file and the manifest to fit passes the digests, and fails the signature and the ledger."""
    signed.stats.write_bytes(b'{"sharpe": 9.0}\n')
    seal(signed)
    assert kinds(verify_run(signed).problems)[0] == ("manifest.dsse.json", "bad signature")
    problems = kinds(verify_run(signed, trust=world.trust, ledger=world.ledger).problems)
    assert problems == [
        ("manifest.dsse.json", "bad signature"),
        ("report/index.html", "edited"),
        ("manifest.json", "edited"),
    ]


def test_signed_again_by_a_stranger_is_an_unknown_key(world: World, signed: RunDir) -> None:
    """A key that is not in the trust file proves nothing, however good its signature."""
    sign_manifest(signed, new_signer())
    problems = kinds(verify_run(signed, trust=world.trust, ledger=world.ledger).problems)
    assert problems == [("manifest.dsse.json", "unknown key"), ("manifest.dsse.json", "wrong signer")]


def test_signed_again_by_a_colleague_is_a_wrong_signer(world: World, signed: RunDir) -> None:
    """An allowed key is not enough: the ledger knows who sealed the run."""
    colleague = new_signer()
    sign_manifest(signed, colleague)
    trust = trust_in(world.signer, colleague)
    assert kinds(verify_run(signed, trust=trust, ledger=world.ledger).problems) == [
        ("manifest.dsse.json", "wrong signer")
    ]


def test_a_signature_that_names_anothers_key_is_bad(world: World, signed: RunDir) -> None:
    """The keyid in an envelope is a claim; the key behind it decides."""
    envelope = json.loads(make_envelope(signed.manifest.read_bytes(), "application/vnd.in-toto+json", new_signer()))
    envelope["signatures"][0]["keyid"] = world.signer.public_key.keyid
    signed.signature.write_bytes(canonical_json(envelope))
    assert kinds(verify_run(signed, trust=world.trust).problems) == [("manifest.dsse.json", "bad signature")]


def test_a_removed_signature_is_missing(world: World, signed: RunDir) -> None:
    """The ledger says the run was signed, so taking the signature away does not make it an honest unsigned run."""
    signed.signature.unlink()
    assert kinds(verify_run(signed, trust=world.trust, ledger=world.ledger).problems) == [
        ("manifest.dsse.json", "missing")
    ]


@pytest.mark.parametrize(("bound", "late"), [("valid_to", "2025-12-31"), ("valid_from", "2026-02-01")])
def test_a_key_signs_only_while_it_is_valid(world: World, signed: RunDir, bound: str, late: str) -> None:
    """As in allowed_signers: a signature from before or after the key's time is named, one inside is fine."""
    moment = dt.datetime.fromisoformat(late).replace(tzinfo=dt.UTC)
    key = dataclasses.replace(world.trust.keys[0], **{bound: moment})
    trust = dataclasses.replace(world.trust, keys=(key,))
    assert ("manifest.dsse.json", "expired key") in kinds(verify_run(signed, trust=trust).problems)
    inside = {"valid_from": dt.datetime(2025, 1, 1, tzinfo=dt.UTC), "valid_to": dt.datetime(2100, 1, 1, tzinfo=dt.UTC)}
    key = dataclasses.replace(world.trust.keys[0], **inside)
    assert verify_run(signed, trust=dataclasses.replace(world.trust, keys=(key,))).ok


MALFORMED: dict[str, Any] = {
    "empty": b"",
    "not an object": b"[]",
    "no signature": lambda e: e | {"signatures": []},
    "two signatures": lambda e: e | {"signatures": e["signatures"] * 2},
    "another type": lambda e: e | {"payloadType": "text/plain"},
    "a field more": lambda e: e | {"extra": 1},
    "a keyid that is none": lambda e: e | {"signatures": [{**e["signatures"][0], "keyid": "../x"}]},
    "base64 with spaces": lambda e: e | {"payload": e["payload"][:8] + " " + e["payload"][8:]},
    "a number": lambda e: e | {"payload": 1},
}


@pytest.mark.parametrize("damage", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_envelope_is_a_bad_signature_not_a_crash(world: World, signed: RunDir, damage: Any) -> None:
    """Whatever stands in the signature's place, verification answers."""
    data = damage if isinstance(damage, bytes) else canonical_json(damage(json.loads(signed.signature.read_bytes())))
    signed.signature.write_bytes(data)
    assert kinds(verify_run(signed, trust=world.trust).problems) == [("manifest.dsse.json", "bad signature")]


def test_the_report_is_bound_to_its_run(world: World, signed: RunDir) -> None:
    """An edited report, an added file beside it and the report of another run are each named."""
    other = world.run(report=b"<html>other")
    signed.report.write_bytes(b"<html>better numbers")
    (signed.report.parent / "more.html").write_bytes(b"x")
    (signed.report.parent / "not.partial-.html").write_bytes(b"x")
    (signed.report.parent / ".partial-1-index.html").write_bytes(b"x")
    assert kinds(verify_run(signed, trust=world.trust).problems) == [
        ("report/.partial-1-index.html", "added"),
        ("report/index.html", "edited"),
        ("report/more.html", "added"),
        ("report/not.partial-.html", "added"),
    ]
    shutil.rmtree(signed.report.parent)
    assert verify_run(signed, trust=world.trust, ledger=world.ledger).ok, "a view may be removed"
    shutil.copytree(other.report.parent, signed.report.parent)
    assert kinds(verify_run(signed, trust=world.trust, ledger=world.ledger).problems) == [
        ("report/statement.dsse.json", "edited"),
        ("report/index.html", "edited"),
    ]


def test_a_report_rendered_again_gets_its_own_statement(world: World, signed: RunDir) -> None:
    """The newest render counts, and only one statement stays. What nobody signed is no report of a signed run: whoever
    can write there could show other numbers under a seal that is good; the statement may as well be gone.
    """
    signed.report.write_bytes(b"<html>again")
    write_report_statement(signed, None)
    assert sorted(path.name for path in signed.report.parent.iterdir()) == [
        "index.html",
        "render.json",
        "statement.json",
    ]
    assert kinds(verify_run(signed, trust=world.trust).problems) == [("report/statement.json", "unsigned")]
    assert kinds(verify_path(signed.path, trust=world.trust).problems) == [("report/statement.json", "unsigned")]
    signed.report_statement_unsigned.unlink()
    assert kinds(verify_run(signed, trust=world.trust).problems) == [("report/statement.json", "unsigned")]
    assert verify_run(signed).ok, "without a trust file no signature is looked at"
    write_report_statement(signed, world.signer)
    assert verify_run(signed, trust=world.trust).ok
    assert not signed.report_statement_unsigned.exists()


def test_a_run_sealed_again_with_other_contents_is_named(world: World, signed: RunDir) -> None:
    """A later entry does not take back an earlier one: numbers edited and sealed anew, without the key, stand beside
    an entry that recorded another manifest. The same manifest entered twice is no contradiction.
    """
    append(world.ledger, events.sealed(signed), world.signer)
    assert verify_run(signed, trust=world.trust, ledger=world.ledger).ok
    write_atomic(signed.stats, b'{"sharpe": 9.0}\n')
    seal(signed)
    signed.signature.unlink()
    shutil.rmtree(signed.report.parent)
    append(world.ledger, events.sealed(signed))
    assert set(kinds(verify_run(signed, trust=world.trust, ledger=world.ledger).problems)) == {
        ("ledger.jsonl", "unsigned"),
        ("manifest.json", "edited"),
    }


def test_a_run_sealed_past_the_ledger_is_named_until_it_is_adopted(world: World, signed: RunDir) -> None:
    """A run that no entry knows was added behind the ledger's back; adopting it says so in the ledger, once."""
    lone = World(world.results / "elsewhere", world.signer).run(report=None)
    moved = RunDir(world.results, lone.run_id)
    lone.path.rename(moved.path)
    assert kinds(verify_run(moved, ledger=world.ledger).problems) == [("ledger.jsonl", "missing entry")]
    assert adopt_run(moved, world.signer) is not None
    assert adopt_run(moved, world.signer) is None
    assert verify_run(moved, trust=world.trust, ledger=world.ledger).ok
