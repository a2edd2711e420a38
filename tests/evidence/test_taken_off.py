"""Signatures cannot be taken off, and nobody's word alone hides a run or a key."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from pipeline.evidence import events
from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.ledger import RUN_PRUNED, Event, append, head, line_of
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.rotation import add_trusted_key
from pipeline.evidence.trust import Trust, load_trust, project_trust
from pipeline.evidence.unbundle import verify_bundle, verify_path
from pipeline.evidence.verify import verify_run
from pipeline.evidence.verify_all import verify_all
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from tests.evidence.sealed_runs import World, kinds, new_signer, seal

KEYS = "config/trusted_keys.toml"


def trust_file(world: World, path: Path) -> Path:
    from pipeline.evidence.keys import signer_pem

    add_trusted_key(path, "alice", signer_pem(world.signer))
    return path


def named(trust: Trust) -> Trust:
    """Return a trust file as `--trust` reads it."""
    return dataclasses.replace(trust, named=True)


def forge(world: World, run: RunDir) -> None:
    """Do what whoever can write there can: other statistics, sealed again without a key, the ledger rewritten."""
    run.stats.write_bytes(b'{"sharpe": 2.61}\n')
    run.signature.unlink()
    shutil.rmtree(run.report.parent)
    seal(run)
    world.ledger.unlink()
    append(world.ledger, events.started(run, strategy="ma_crossover", data_sha256="ab" * 32))
    append(world.ledger, events.sealed(run))


def test_a_forged_run_without_signatures_does_not_pass(world: World, signed: RunDir, tmp_path: Path) -> None:
    """For `verify --all` in a project made by `keys init`, and for `--trust` over a directory and a bundle."""
    forge(world, signed)
    trust = load_trust(trust_file(world, tmp_path / "trusted_keys.toml"))
    assert trust.require_signatures
    found = {
        problem.kind for verification in verify_all(world.results, trust=trust) for problem in verification.problems
    }
    assert found == {"unsigned"}
    lax = named(world.trust)
    assert kinds(verify_path(signed.path, trust=lax).problems) == [("manifest.dsse.json", "unsigned")]
    make_bundle(signed, tmp_path / "forged.zip", ledger=world.ledger)
    assert kinds(verify_bundle(tmp_path / "forged.zip", trust=lax).problems) == [
        ("manifest.dsse.json", "unsigned"),
        ("bundle.json", "unsigned"),
    ]


def test_who_packs_and_signs_vouches_for_what_was_not_signed(world: World, tmp_path: Path) -> None:
    """An unsigned run in a bundle that a trusted key signed passes `--trust`; the same one by another key does not."""
    run = World(world.results, None).run()
    make_bundle(run, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer)
    verification = verify_bundle(tmp_path / "b.zip", trust=named(world.trust))
    assert verification.ok
    assert verification.trusted
    make_bundle(run, tmp_path / "other.zip", ledger=world.ledger, signer=new_signer())
    other = verify_bundle(tmp_path / "other.zip", trust=named(world.trust))
    assert ("bundle.dsse.json", "unknown key") in kinds(other.problems)
    assert not other.trusted


def test_a_bundle_s_own_keys_are_trusted_by_nobody(world: World, signed: RunDir, tmp_path: Path) -> None:
    """It is consistent, which `ok` says, and `trusted` does not."""
    make_bundle(signed, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer)
    assert verify_bundle(tmp_path / "b.zip", trust=world.trust).trusted
    alone = verify_bundle(tmp_path / "b.zip")
    assert alone.ok
    assert not alone.trusted


def test_after_a_signed_entry_an_unsigned_one_is_a_problem(world: World, signed: RunDir) -> None:
    """Whatever the trust file asks for: whoever signs once signs always."""
    append(world.ledger, Event("trial_counted", details={"trials": 1}))
    for trust in (world.trust, None):
        assert ("ledger.jsonl", "unsigned") in kinds(check_ledger(world.ledger, trust=trust).problems)
    before = World(world.results.parent / "later", None)
    before.run()
    assert check_ledger(before.ledger).ok
    World(before.results, world.signer).run()
    assert check_ledger(before.ledger, trust=world.trust).ok, "unsigned runs of before there was a key are none"


@pytest.mark.parametrize("who", ["nobody", "a stranger", "alice"])
def test_only_a_trusted_key_removes_a_run(world: World, signed: RunDir, who: str) -> None:
    """One unsigned line hid a run that was taken away; with a checkpoint, too."""
    other, checkpoint = world.run(), head(world.ledger)
    shutil.rmtree(signed.path)
    signer = {"nobody": None, "a stranger": new_signer(), "alice": world.signer}[who]
    append(world.ledger, Event(RUN_PRUNED, signed.run_id), signer)
    of_ledger, _ = verify_all(world.results, trust=world.trust, checkpoint=checkpoint)
    missing = (signed.run_id, "missing run") in kinds(of_ledger.problems)
    assert missing is (who != "alice")
    assert any(signed.run_id in note and "removed on purpose" in note for note in of_ledger.notes) is (who == "alice")
    assert other.path.is_dir()


def test_a_trust_file_that_was_taken_away_is_missed(world: World, signed: RunDir, tmp_path: Path) -> None:
    """Signed entries without anything to check them against are not simply fine."""
    settings = Settings(tmp_path, world.results)
    trust_file(world, settings.root / KEYS)
    assert all(verification.ok for verification in verify_all(world.results, trust=project_trust(settings)))
    (settings.root / KEYS).unlink()
    of_ledger, of_run = verify_all(world.results, trust=project_trust(settings))
    assert (KEYS, "missing") in kinds(of_ledger.problems)
    assert of_run.ok


@pytest.mark.parametrize("how", ["sealed", "adopted"])
def test_a_thinned_out_ledger_that_nobody_signed_does_not_pass(world: World, signed: RunDir, how: str) -> None:
    """Whoever can write there takes a signed run away and writes a new ledger about the others, without a key.

    `--trust` asks for a signature on the ledger, too; without it, what a key sealed has an entry by that key, or its
    adoption has a signature.
    """
    shutil.rmtree(world.run().path)
    world.ledger.unlink()
    append(world.ledger, events.started(signed, strategy="ma_crossover", data_sha256="ab" * 32))
    if how == "adopted":
        events.adopt_run(signed)
    else:
        append(world.ledger, events.sealed(signed))
    found = [problem for one in verify_all(world.results, trust=named(world.trust)) for problem in one.problems]
    assert kinds(found)[0] == ("ledger.jsonl", "unsigned")
    of_run = list(verify_all(world.results, trust=world.trust))[1]
    assert kinds(of_run.problems) == [("ledger.jsonl", "unsigned")]
    assert of_run.adopted == (1 if how == "adopted" else None)


def test_an_adopted_run_says_so(world: World, signed: RunDir) -> None:
    """Whether or not somebody signs: its entry and what that does not say are told; a trusted key's signature is asked
    for where keys are named, and can be added.
    """
    assert verify_run(signed, ledger=world.ledger).adopted is None
    world.ledger.unlink()
    assert events.adopt_run(signed) is not None
    without_keys = verify_run(signed, ledger=world.ledger)
    assert without_keys.ok
    assert without_keys.adopted == 0
    assert any(note.startswith("adopted, entry 0: ") for note in without_keys.notes)
    (problem,) = verify_run(signed, ledger=world.ledger, trust=world.trust).problems
    assert f"`evidence ledger adopt {signed.run_id}`" in problem.message
    assert events.adopt_run(signed) is None, "without a key there is nothing to add"
    assert events.adopt_run(signed, world.signer) is not None
    assert events.adopt_run(signed, world.signer) is None
    again = verify_run(signed, ledger=world.ledger, trust=world.trust)
    assert (again.problems, again.adopted) == ((), 1)


def test_a_stranger_s_signature_does_not_adopt(world: World, signed: RunDir) -> None:
    """Only a key of the trust file vouches for an adoption."""
    world.ledger.unlink()
    events.adopt_run(signed, new_signer())
    found = verify_run(signed, ledger=world.ledger, trust=world.trust)
    assert ("ledger.jsonl", "unknown key") in kinds(found.problems)


def test_the_ledger_rewritten_by_another_key_is_unknown(world: World, signed: RunDir) -> None:
    """Signing the rewritten ledger with a key of one's own is no way around."""
    lines, previous = [], "0" * 64
    for line in world.ledger.read_bytes().splitlines():
        parts = json.loads(line)["entry"]
        parts["public"]["previous"], parts["private"]["signer"] = previous, None
        lines.append(line_of(parts, []))
        previous = json.loads(lines[-1])["digest"]
    world.ledger.write_bytes(b"".join(lines))
    append(world.ledger, Event("trial_counted", details={"trials": 1}), new_signer())
    assert ("ledger.jsonl", "unknown key") in kinds(check_ledger(world.ledger, trust=world.trust).problems)
