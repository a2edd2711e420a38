"""The ledger's leaves: what each shows is committed to, the rest is hidden, and trials are counted from all of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.digest import sha256_bytes
from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.leaf import digest_of_parts, hash_of, joined, leaf_of, new_salts, split
from pipeline.evidence.leaves import LEAVES
from pipeline.evidence.ledger import Checkpoint, Event, append, append_many, head, parse_line
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.ledger_trials import counted_event
from pipeline.evidence.luggage import Luggage
from pipeline.evidence.merkle import root_and_path
from pipeline.evidence.standalone import verify
from pipeline.evidence.strict_json import canonical
from pipeline.evidence.trial import Scope
from pipeline.evidence.unbundle import verify_bundle
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import DATA_SHA256, World, kinds, line_of_format_1
from tests.evidence.test_bundle import repack, unpack

Files = dict[str, bytes]
OURS = Scope("ma_crossover", DATA_SHA256, "ma", ("SPX",), "2010-01-01", "2015-01-01")
SECRET = Scope("secret-sauce", "cd" * 32, "sauce", ("GOLD",), None, None)
ALL = frozenset(range(10_000))


def busy(world: World) -> RunDir:
    """Fill a ledger: a batch of 20 trials of our family, one of 30 of another, runs, a replay; return the last run."""
    for scope, trials in ((OURS, 20), (SECRET, 30)):
        batch = counted_event("sweep", "ee" * 32, scope, batch=0, trials=trials)
        append_many(world.ledger, [batch, batch], world.signer)  # the second time after a crash
    append(world.ledger, Event("run_started", "s", None, "secret-sauce", "cd" * 32), world.signer)
    first = world.run()
    append(world.ledger, Event("run_started", "r", details={"origin": f"replay:{first.run_id}"}), world.signer)
    return world.run()


def packed(world: World, run: RunDir, target: Path, scopes: frozenset[int] = ALL) -> Path:
    luggage = Luggage({}, ("ledger",), scopes=scopes)
    return make_bundle(run, target, ledger=world.ledger, signer=world.signer, luggage=luggage).path


def told(bundle: Path, world: World) -> str:
    """Return what `evidence verify` says of the leaves of a bundle that verifies."""
    verification = verify_bundle(bundle, trust=world.trust)
    assert verification.problems == ()
    return next(note for note in verification.notes if "leaves" in note)


def test_all_trials_are_counted_from_the_leaves(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """20 and 30 of batches and 3 runs; a batch entered twice and a replay count once. Both programs agree."""
    bundle = packed(world, busy(world), tmp_path / "b.zip")
    assert "count 53 trials until this run, 22 of its family" in told(bundle, world)
    assert verify.main([str(bundle), "--key", world.signer.public_key.keyid]) == 0
    assert "leaves of the ledger came along: 53 trials" in capsys.readouterr().out
    assert sum(one.trials for one in check_ledger(world.ledger).trials.counted) == 53


def test_what_is_hidden_counts_and_is_not_found_out(world: World, tmp_path: Path) -> None:
    """With the scopes of the own family alone, the family's N is bounded, and no other strategy can be guessed: the
    hash of the same scope is another one in each entry.
    """
    run = busy(world)
    entries = check_ledger(world.ledger).entries
    own = frozenset(entry.seq for entry in entries if entry.event.strategy in ("ma_crossover", None))
    bundle = packed(world, run, tmp_path / "b.zip", own)
    assert "until this run, at least 22 and at most 83 of its family" in told(bundle, world)  # the batch twice
    assert b"secret" not in bundle.read_bytes()
    assert b"GOLD" not in bundle.read_bytes()
    leaves = [json.loads(line) for line in (unpack(bundle, tmp_path / "u") / LEAVES).read_bytes().splitlines()]
    hidden = [leaf["scope"] for leaf in leaves if isinstance(leaf["scope"], str)]
    assert len(set(hidden)) == len(hidden) >= 3


def relisted(files: Files, world: World, **ledger: Any) -> None:
    """Sign the list of files again, as the owner of the key can, with another proof."""
    statement = json.loads(read_envelope(files.pop("bundle.dsse.json")).payload)
    digests = {name: sha256_bytes(data) for name, data in files.items() if name != "SHA256SUMS"}
    statement["subject"] = [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)]
    statement["predicate"]["ledger"] |= ledger
    files["bundle.dsse.json"] = make_envelope(canonical(statement), STATEMENT, world.signer)


def changed(lines: list[bytes], at: int, change: Callable[[dict[str, Any]], Any]) -> list[bytes]:
    leaf = json.loads(lines[at])
    change(leaf)
    return [*lines[:at], canonical(leaf), *lines[at + 1 :]]


LIES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "fewer trials of a batch": lambda x: changed(x, 0, lambda leaf: leaf["public"]["details"].update(trials=1)),
    "a start that is a replay": lambda x: changed(x, 4, lambda leaf: leaf["public"]["details"].update(origin="sweep")),
    "another kind": lambda x: changed(x, 2, lambda leaf: leaf["public"].update(kind="anchor_added")),
    "another run": lambda x: changed(x, 4, lambda leaf: leaf["public"].update(run_id=None)),
    "another time": lambda x: changed(x, 4, lambda leaf: leaf["public"].update(time="2020-01-01T00:00:00.000000Z")),
    "another strategy": lambda x: changed(x, 0, lambda leaf: leaf["scope"].update(strategy="other")),
    "another family": lambda x: changed(x, 0, lambda leaf: leaf["scope"]["trial"].update(family="other")),
    "another salt": lambda x: changed(x, 0, lambda leaf: leaf["scope"].update(salt="0" * 32)),
    "scope and private part swapped": lambda x: changed(x, 2, lambda leaf: leaf.update(scope=leaf["private"])),
    "a public part that is not shown": lambda x: changed(x, 0, lambda leaf: leaf.update(public="ab" * 32)),
    "a field more": lambda x: changed(x, 0, lambda leaf: leaf["public"].update(x=1)),
    "an entry that is hidden as an old one": lambda x: [x[0], digest_alone(x[1]), *x[2:]],
    "a leaf left out": lambda x: x[1:],
    "the last leaf left out": lambda x: x[:-1],
    "a leaf said twice": lambda x: [x[0], *x],
    "two leaves swapped": lambda x: [x[1], x[0], *x[2:]],
    "no leaf": lambda x: [],
    "no JSON": lambda x: [b"x", *x[1:]],
}


def digest_alone(line: bytes) -> bytes:
    public, scope, private = (json.loads(line)[name] for name in ("public", "scope", "private"))
    hashes = [hash_of("public", public), hash_of("scope", scope) if isinstance(scope, dict) else scope, private]
    return canonical({"digest": verify.part("entry", None, b"".join(map(bytes.fromhex, hashes))).hex()})


@pytest.mark.parametrize(
    ("lie", "fitted"),
    [(lie, fitted) for lie in LIES for fitted in (False, True) if (lie, fitted) != ("the last leaf left out", True)],
)
def test_a_leaf_that_says_something_else_is_found(world: World, tmp_path: Path, lie: str, fitted: bool) -> None:
    """Even by who owns the key and signs the list of files again, and when he fits root, size and checkpoint to it:
    the run's own entry and the order of the leaves do not fit then. Only a ledger that ends earlier fits.
    """
    bundle = packed(world, busy(world), tmp_path / "b.zip")

    def change(files: Files) -> None:
        lines = LIES[lie](files[LEAVES].splitlines())
        files[LEAVES] = b"".join(line + b"\n" for line in lines)
        relisted(files, world, **(proof_of(lines, json.loads(files["ledger/entry.json"])["digest"]) if fitted else {}))

    forged = repack(unpack(bundle, tmp_path / "u"), tmp_path / "forged.zip", change)
    found = kinds(verify_bundle(forged, trust=world.trust).problems)
    assert {path for path, _ in found} <= {LEAVES, "ledger/entry.json"}
    assert found
    assert verify.main([str(forged), "--key", world.signer.public_key.keyid]) == 3


def proof_of(lines: list[bytes], own: str) -> dict[str, Any]:
    """Return a proof over what leaves say, as far as one can be made."""
    try:
        digests = [verify.leaf(json.loads(line))[0] for line in lines]
        index = [digest.hex() for digest in digests].index(own)
    except (ValueError, TypeError, KeyError):
        return {}
    root, path = root_and_path(digests, index)
    end = Checkpoint(len(digests) - 1, digests[-1].hex())
    facts = {"size": len(digests), "root": root.hex(), "checkpoint": str(end), "index": index}
    return {**facts, "path": [node.hex() for node in path]}


def test_a_ledger_that_was_written_anew_is_found_by_a_checkpoint(world: World, tmp_path: Path) -> None:
    """Its owner can leave out trials and chain the rest again, and all fits: but not the checkpoint given earlier."""
    busy(world)
    given = head(world.ledger)
    assert given is not None
    honest = packed(world, world.run(), tmp_path / "a.zip")
    assert verify_bundle(honest, trust=world.trust, checkpoint=given).ok
    world.ledger.unlink()
    run = World(world.results, world.signer).run()
    anew = packed(world, run, tmp_path / "b.zip")
    assert verify_bundle(anew, trust=world.trust).ok
    assert kinds(verify_bundle(anew, trust=world.trust, checkpoint=given).problems) == [(LEAVES, "edited")]
    bare = make_bundle(run, tmp_path / "c.zip", ledger=world.ledger, signer=world.signer).path
    assert kinds(verify_bundle(bare, trust=world.trust, checkpoint=given).problems) == [(LEAVES, "missing")]


def test_older_entries_are_digests_and_the_count_is_at_least(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ledger that an earlier version began verifies and goes on; what its first entries counted is not known."""
    old = [line_of_format_1(Event("trial_counted", strategy="old", details={"trials": 9}), signer=world.signer)]
    previous = json.loads(old[0])["digest"]
    old.append(line_of_format_1(Event("run_started", "x"), seq=1, previous=previous, signer=world.signer))
    world.results.mkdir()
    world.ledger.write_bytes(b"".join(old))
    run = world.run()
    assert check_ledger(world.ledger, trust=world.trust).ok
    bundle = packed(world, run, tmp_path / "b.zip")
    text = told(bundle, world)
    assert "count at least 1 trials until this run, at least 1 of its family; its 2 oldest entries are digests" in text
    assert verify.main([str(bundle), "--key", world.signer.public_key.keyid]) == 0
    assert "at least 1 trials" in capsys.readouterr().out
    assert b'"old"' not in bundle.read_bytes()


def test_no_old_entry_follows_a_new_one(world: World, signed: RunDir) -> None:
    """Formats do not go back: otherwise whoever wants to hide what an entry counts writes it in the old one."""
    last = check_ledger(world.ledger).entries[-1]
    with world.ledger.open("ab") as file:
        file.write(line_of_format_1(Event("run_started"), seq=last.seq + 1, previous=last.digest, signer=world.signer))
    assert ("ledger.jsonl", "edited") in kinds(check_ledger(world.ledger, trust=world.trust).problems)


def test_parts_are_told_apart_and_put_together_again() -> None:
    """Random events survive; no two parts, and no entry of either format, have the same digest by another reading."""
    rng = random.Random(7)
    for _ in range(200):
        some = [name for name in ("origin", "batch", "trials", "x", "trial") if rng.random() < 0.5]
        details: dict[str, Any] = {name: 1e-7 if name == "x" else rng.choice([1, "ö", "\n"]) for name in some}
        names = ("run_id", "subject_sha256", "strategy", "data_sha256", "signer")
        texts = {name: rng.choice([None, "a"]) for name in names}
        entry = {"version": 2, "seq": 1, "kind": "k", "time": "t", "previous": "p", "details": details, **texts}
        parts = split(entry, new_salts())
        assert joined(parts) == entry
        line = canonical({"digest": digest_of_parts(parts, []), "entry": parts, "signatures": []})
        digest, fields, raw = verify.whole_entry(line)
        assert (digest.hex(), raw) == (digest_of_parts(parts, []), canonical(parts))
        assert {name: fields[name] for name in ("run_id", "subject_sha256", "strategy")}.items() <= entry.items()
        for shown in (True, False):
            assert verify.leaf(json.loads(leaf_of(line, scope=shown)))[0] == digest
    assert hash_of("public", {}) != hash_of("scope", {})
    for hidden in ({"origin": "x"}, {"trial": {}}):
        with pytest.raises(ValueError, match="what does not belong there"):
            joined({**parts, "private": {**parts["private"], "details": hidden}})


def test_a_line_of_either_format_is_read(world: World, signed: RunDir) -> None:
    """What `parse_line` returns does not depend on the format."""
    event = check_ledger(world.ledger).entries[0].event
    old, new = line_of_format_1(event), world.ledger.read_bytes().splitlines()[0]
    assert parse_line(old[:-1]).event == parse_line(new).event
    assert (parse_line(old[:-1]).version, parse_line(new).version) == (1, 2)
