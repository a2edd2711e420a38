"""The ledger: parallel writers lose nothing, killed ones leave whole entries, every tampering is found."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import file_lock
from pipeline.errors import StorageError, UsageError, VerificationError
from pipeline.evidence import ledger as module
from pipeline.evidence.ledger import Checkpoint, Event, append, append_many, head, repair
from pipeline.evidence.ledger_check import check_ledger, trial_count
from tests.evidence.sealed_runs import World, kinds, new_signer, trust_in
from tests.tiers import mostly_slow


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Return an unsigned ledger of ten entries."""
    ledger = tmp_path / "ledger.jsonl"
    append_many(ledger, [Event("trial_counted", strategy=f"s{i}") for i in range(10)])
    return ledger


def found(ledger: Path, **given: Any) -> list[str]:
    return [kind for _, kind in kinds(check_ledger(ledger, **given).problems)]


def test_entries_are_chained_and_the_head_is_the_checkpoint(tmp_path: Path) -> None:
    """Each entry holds the digest of the one before; the head is read without reading the rest."""
    ledger = tmp_path / "deep" / "ledger.jsonl"
    assert head(ledger) is None
    first, second = append(ledger, Event("run_started")), append(ledger, Event("run_sealed", details={"x": 1.5}))
    assert (first.seq, second.seq, second.previous) == (0, 1, first.digest)
    check = check_ledger(ledger)
    assert check.ok
    assert check.head == head(ledger) == second.checkpoint == Checkpoint.parse(f" {second.checkpoint}\n")


EDITS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "an edited entry": (lambda x: [*x[:4], x[4].replace(b"s4", b"s5"), *x[5:]], "edited"),
    "an entry edited with its digest made to fit": (lambda x: [*x[:4], redigest(x[4], b"s4", b"s5"), *x[5:]], "edited"),
    "a deleted entry": (lambda x: [*x[:4], *x[5:]], "missing"),
    "a deleted first entry": (lambda x: x[1:], "missing"),
    "an entry copied in": (lambda x: [*x[:4], x[2], *x[4:]], "added"),
    "two entries swapped": (lambda x: [*x[:4], x[5], x[4], *x[6:]], "reordered"),
    "reversed": (lambda x: x[::-1], "reordered"),
    "an empty line": (lambda x: [*x[:4], b"\n", *x[4:]], "edited"),
    "white space": (lambda x: [*x[:4], x[4].replace(b'":', b'": ', 1), *x[5:]], "edited"),
    "a duplicate key": (lambda x: [*x[:4], x[4].replace(b"{", b'{"digest":"x",', 1), *x[5:]], "edited"),
    "a last line cut": (lambda x: [*x[:9], x[9][:-20]], "torn"),
    "a last line without its break": (lambda x: [*x[:9], x[9][:-1]], "torn"),
    "garbage at the end": (lambda x: [*x, b"\0" * 40], "torn"),
    "not a ledger": (lambda x: [b"[1]\n"], "edited"),
}


def redigest(line: bytes, old: bytes, new: bytes) -> bytes:
    body = line.rstrip(b"\n").replace(old, new)[len(b'{"digest":"",') + 64 :]
    return b'{"digest":"%s",%s\n' % (module.sha256_bytes(b"{" + body).encode(), body)


@pytest.mark.parametrize(("edit", "kind"), EDITS.values(), ids=EDITS.keys())
def test_every_tampering_has_a_name(chain: Path, edit: Any, kind: str) -> None:
    """Edits, deletions, insertions, reordering and cuts inside the chain are found without any checkpoint."""
    chain.write_bytes(b"".join(edit(chain.read_bytes().splitlines(keepends=True))))
    assert kind in found(chain)


def test_a_roll_back_shows_with_a_checkpoint(chain: Path) -> None:
    """Cut at an entry, a ledger looks whole; the checkpoint kept elsewhere tells, also when it grows again."""
    kept = head(chain)
    lines = chain.read_bytes().splitlines(keepends=True)
    chain.write_bytes(b"".join(lines[:7]))
    assert found(chain) == []
    assert found(chain, checkpoint=kept) == ["rolled back"]
    append_many(chain, [Event("run_started")] * 5)
    assert found(chain, checkpoint=kept) == ["rolled back"]
    chain.unlink()
    assert found(chain) == []
    assert found(chain, checkpoint=kept) == ["rolled back"]


def test_an_older_checkpoint_stays_good(chain: Path) -> None:
    """Growing is not tampering: any checkpoint of the past fits."""
    kept = [check_ledger(chain).entries[i].checkpoint for i in (0, 4, 9)]
    append(chain, Event("run_started"))
    assert [found(chain, checkpoint=checkpoint) for checkpoint in kept] == [[], [], []]


def test_signatures_in_the_chain(tmp_path: Path) -> None:
    """Each entry is checked against the trust file: unknown, wrong and removed signatures are named."""
    alice, ledger = new_signer(), tmp_path / "ledger.jsonl"
    for number in range(3):
        append(ledger, Event("run_started", strategy=f"s{number}"), alice)
    assert found(ledger, trust=trust_in(alice)) == []
    assert found(ledger, trust=trust_in(alice), signatures=False) == []
    assert found(ledger, trust=trust_in(new_signer())) == ["unknown key"] * 3
    line = json.loads(ledger.read_bytes().splitlines()[-1])
    line["entry"]["scope"]["strategy"] = "better"
    forged = module.line_of(line["entry"], line["signatures"])
    ledger.write_bytes(b"".join([*ledger.read_bytes().splitlines(keepends=True)[:2], forged]))
    assert found(ledger, trust=trust_in(alice)) == ["bad signature"]
    append(ledger, Event("run_started"))
    strict = dataclasses.replace(trust_in(alice), require_signatures=True)
    assert found(ledger, trust=strict) == ["bad signature", "unsigned"]


def test_a_torn_tail_is_moved_aside_and_told(chain: Path) -> None:
    """What a killed writer left is never guessed: it is kept beside, an entry says so, and the chain goes on."""
    whole = chain.read_bytes()
    for torn in (b'{"digest":"abc', b"x", b"\0" * 70_000):
        with chain.open("ab") as file:
            file.write(torn)
        assert found(chain)[-1] == "torn"
        entry = append(chain, Event("run_started"))
        check = check_ledger(chain)
        assert check.ok
        told = check.entries[entry.seq - 1].event
        assert told.kind == "ledger_repaired"
        assert (chain.parent / told.details["file"]).read_bytes() == torn
    assert chain.read_bytes().startswith(whole)


def test_repair_does_what_the_next_append_would(chain: Path) -> None:
    """A torn tail can be repaired by itself; a whole ledger stays as it is."""
    assert repair(chain) is None
    with chain.open("ab") as file:
        file.write(b"{")
    entry = repair(chain)
    assert entry is not None
    assert entry.event.kind == "ledger_repaired"
    assert check_ledger(chain).ok


def test_nothing_is_added_after_a_damaged_entry(chain: Path) -> None:
    """A chain is not continued from an entry that does not hold."""
    data = bytearray(chain.read_bytes())
    data[-30] ^= 1
    chain.write_bytes(data)
    with pytest.raises(VerificationError, match="ledger check"):
        append(chain, Event("run_started"))
    chain.write_bytes(b"x" * 400_000)
    with pytest.raises(VerificationError, match="not made of entries"):
        append(chain, Event("run_started"))


def test_appending_reads_only_the_tail(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the ledger, an append reads its last block."""
    append_many(chain, [Event("run_started", details={"pad": "x" * 200})] * 2_000)
    read: list[int] = []
    original = os.read
    monkeypatch.setattr(module.os, "read", lambda fd, size: read.append(size) or original(fd, size))
    append(chain, Event("run_started"))
    assert sum(read) <= module.BLOCK


def test_trials_count_every_run_that_was_started(tmp_path: Path) -> None:
    """Failed, killed and sealed runs count once each, trials of a sweep too; replays and other strategies do not."""
    ledger = tmp_path / "ledger.jsonl"
    for run, kind in (("a", "run_sealed"), ("b", "run_failed"), ("c", "run_killed"), ("d", None)):
        append(ledger, Event("run_started", run, strategy="ma", data_sha256="1"))
        if kind:
            append(ledger, Event(kind, run, strategy="ma", data_sha256="1"))
    append(ledger, Event("trial_counted", strategy="ma", data_sha256="1", details={"trials": 20}))
    append(ledger, Event("run_started", "r", strategy="ma", data_sha256="1", details={"origin": "replay:a"}))
    append(ledger, Event("run_sealed", "r", strategy="ma", data_sha256="1"))
    append(ledger, Event("run_started", "e", strategy="rsi", data_sha256="1"))
    append(ledger, Event("run_started", "f", strategy="ma", data_sha256="2"))
    assert trial_count(ledger, "ma", "1") == 24
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(VerificationError, match="missing"):
        trial_count(ledger, "ma", "1")


def test_what_is_not_an_entry_is_refused(chain: Path) -> None:
    """An unknown kind, an entry that is too long and NaN never reach the file."""
    before = chain.read_bytes()
    with pytest.raises(UsageError, match="not a kind"):
        append(chain, Event("run_celebrated"))
    with pytest.raises(UsageError, match="too long"):
        append(chain, Event("run_started", details={"x": "y" * 70_000}))
    with pytest.raises(ValueError, match=r"NaN|nan|float"):
        append(chain, Event("run_started", details={"x": float("nan")}))
    with pytest.raises(UsageError, match="SEQ:SHA256"):
        Checkpoint.parse("12:34")
    assert chain.read_bytes() == before


def _write(ledger: Path, writer: int, count: int, has_flock: bool) -> None:
    if not has_flock:
        file_lock.fcntl = None
    for number in range(count):
        append(ledger, Event("run_started", f"{writer}-{number}"))


@pytest.mark.parametrize(("count", "has_flock"), mostly_slow([(2, True), (4, True), (4, False)]))
def test_parallel_writers_lose_nothing(
    tmp_path: Path, count: int, has_flock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes append at once: every entry is there, in one chain, in each writer's own order."""
    monkeypatch.setattr(file_lock, "fcntl", file_lock.fcntl if has_flock else None)
    ledger = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(ledger, writer, 40, has_flock)) for writer in range(count)]
    for process in writers:
        process.start()
    while any(process.is_alive() for process in writers):
        assert check_ledger(ledger).ok, "a reader never sees half an entry"
    assert [process.exitcode for process in writers] == [0] * count
    check = check_ledger(ledger)
    assert check.ok
    written = [entry.event.run_id for entry in check.entries]
    assert len(written) == len(set(written)) == 40 * count
    for writer in range(count):
        assert [name for name in written if name and name.startswith(f"{writer}-")] == [
            f"{writer}-{number}" for number in range(40)
        ]


def test_a_full_disk_leaves_the_ledger_whole(full_disk: Path) -> None:
    """No space for an entry: an error that says so, nothing half written, and the chain goes on afterwards."""
    ledger = full_disk / "ledger.jsonl"
    append(ledger, Event("run_started"))
    filler = full_disk / "filler"
    free = os.statvfs(full_disk)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_bsize))
    with pytest.raises(StorageError, match="cannot be written"):
        append_many(ledger, [Event("run_started", details={"pad": "x" * 1000})] * 100)
    assert check_ledger(ledger).ok
    filler.unlink()
    append(ledger, Event("run_started"))
    assert check_ledger(ledger).ok


def test_a_run_started_and_killed_still_counts(world: World) -> None:
    """The entry written when a run is opened is enough to be counted."""
    run = world.run()
    event = check_ledger(world.ledger).runs[run.run_id][0].event
    append(world.ledger, dataclasses.replace(event, run_id="killed"), world.signer)
    assert trial_count(world.ledger, "ma_crossover", event.data_sha256 or "") == 2
