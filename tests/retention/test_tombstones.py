"""What the ledger says of removed runs: a tombstone excuses exactly what it names, and a forged one nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.digest import sha256_file
from pipeline.evidence.ledger import (
    RUN_PINNED,
    RUN_PRUNED,
    RUN_RESTORED,
    RUN_SEALED,
    RUN_STARTED,
    RUN_UNPINNED,
    Event,
    append,
    append_many,
)
from pipeline.evidence.ledger_check import check_ledger, trial_count
from pipeline.evidence.problem import Verification
from pipeline.evidence.tombstone import ARCHIVE, ARTIFACTS, DELETE, Tombstone
from pipeline.evidence.trial import TrialResult
from pipeline.evidence.verify import verify_run
from pipeline.evidence.verify_all import verify_all
from pipeline.files import write_atomic
from pipeline.report.trials import TrialIndex
from pipeline.run import Run
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import DATA_SHA256, World, new_signer, trust_in

RULE = "keep-last 1"
SIGNED = "the signer"
DROPPED = ("plots/", "equity.csv")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "results", new_signer())


@pytest.fixture
def run(world: World) -> RunDir:
    return world.run()


def tombstone_of(run: RunDir, level: str = DELETE, **changes: Any) -> Event:
    """Return the entry that removes a run as it is."""
    told = Tombstone(0, "", run.run_id, level, RULE, sha256_file(run.manifest), files=2, bytes=10)
    told = replace(told, dropped=DROPPED) if level == ARTIFACTS else told
    return replace(told, **changes).event(strategy="ma_crossover", data_sha256=DATA_SHA256, told=False)


def verified(world: World) -> list[Verification]:
    return list(verify_all(world.results, trust=world.trust))


def problems(world: World) -> list[str]:
    return [str(problem) for found in verified(world) for problem in found.problems]


def test_a_deleted_run_is_told_by_name(world: World, run: RunDir) -> None:
    """`verify --all` passes over a run that a signed tombstone tells of, and says when and by which rule it went."""
    append(world.ledger, tombstone_of(run), world.signer)
    assert any("added" in text and "here it is" in text for text in problems(world))  # not yet removed
    shutil.rmtree(run.path)
    assert problems(world) == []
    [note] = [note for note in verified(world)[0].notes if run.run_id in note]
    assert "deleted on 20" in note
    assert f"by {RULE}" in note


def test_dropped_files_are_not_missed_and_others_are(world: World, run: RunDir) -> None:
    """What remains of a run verifies against its manifest; a file that no tombstone names is as missing as ever."""
    append(world.ledger, tombstone_of(run, ARTIFACTS), world.signer)
    shutil.rmtree(run.plots)
    run.equity.unlink()
    assert problems(world) == []
    [own] = [found for found in verified(world) if found.run_id == run.run_id]
    assert any("artifacts dropped" in note and "plots/, equity.csv" in note for note in own.notes)
    assert [problem.kind for problem in verify_run(run).problems] == ["missing", "missing"]  # without the ledger
    run.stats.write_bytes(b"{}")
    assert problems(world) == ["stats.json: edited: 2 bytes, the seal says 16"]
    run.stats.unlink()
    assert ["stats.json: missing" in text for text in problems(world)] == [True]


def test_a_file_in_the_place_of_a_dropped_one_is_looked_at(world: World, run: RunDir) -> None:
    """Dropped names are no free places: what lies there must be what was sealed, and nothing new may lie beside."""
    append(world.ledger, tombstone_of(run, ARTIFACTS), world.signer)
    shutil.rmtree(run.plots)
    write_atomic(run.equity, b"forged")
    write_atomic(run.plots / "new.png", b"added")
    assert sorted(text.partition(": ")[0] for text in problems(world)) == ["equity.csv", "plots/new.png"]


FORGERIES = {
    "unsigned": (None, {}),
    "of a stranger": (new_signer(), {}),
    "of another manifest": (SIGNED, {"subject": "cd" * 32}),
    "of a config": (SIGNED, {"never_sealed": True}),
    "of no known level": (SIGNED, {"level": "hidden"}),
    "of a level that is none": (SIGNED, {"level": None}),
    "of dropped files at the wrong level": (SIGNED, {"dropped": DROPPED}),
    "of an archive without a digest": (SIGNED, {"level": ARCHIVE}),
    "of an archive of no digest": (SIGNED, {"level": ARCHIVE, "archive_sha256": "x"}),
    "of a negative count": (SIGNED, {"files": -1}),
    "of no rule": (SIGNED, {"rule": 7}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_tombstone_hides_nothing(world: World, run: RunDir, forgery: str) -> None:
    """Whoever cannot sign, or says what the ledger knows better, removes no run: the ledger and the run are named."""
    signer, changes = FORGERIES[forgery]
    append(world.ledger, tombstone_of(run, **changes), world.signer if signer == SIGNED else signer)
    shutil.rmtree(run.path)
    found = problems(world)
    assert f"{run.run_id}: missing run" in "\n".join(found)
    assert any(text.startswith("ledger.jsonl: ") for text in found)
    assert check_ledger(world.ledger, trust=world.trust).pruned == frozenset()


@pytest.mark.parametrize("name", ["manifest.json", "manifest.dsse.json", "../other", "/etc", "", "/", "manifest.json/"])
def test_no_tombstone_drops_the_seal_or_what_lies_elsewhere(world: World, run: RunDir, name: str) -> None:
    """Names that no run drops make a tombstone that is not followed, whoever signed it."""
    append(world.ledger, tombstone_of(run, ARTIFACTS, dropped=("equity.csv", name)), world.signer)
    run.equity.unlink()
    assert {"equity.csv: missing", "ledger.jsonl: contradiction"} == {
        ": ".join(text.split(": ")[:2]) for text in problems(world)
    }


def test_a_second_tombstone_is_a_contradiction(world: World, run: RunDir) -> None:
    """A run is removed once; after its artifacts were dropped, or it was archived, it can still be deleted."""
    first = tombstone_of(run, ARTIFACTS)
    append_many(world.ledger, [first, first], world.signer)
    assert any("contradiction" in text and "artifacts dropped before" in text for text in problems(world))
    append_many(world.ledger, [tombstone_of(run), tombstone_of(run), first], world.signer)
    assert sum("contradiction" in text for text in problems(world)) == 3
    assert check_ledger(world.ledger).removals.standing[run.run_id].level == DELETE


def test_a_run_that_no_entry_knows_is_not_removed(world: World, run: RunDir) -> None:
    """A tombstone is about a run of the ledger, and stands behind its seal."""
    other = RunDir(world.results, "11111111-1111-4111-8111-111111111111")
    append(world.ledger, replace(tombstone_of(run), run_id=other.run_id), world.signer)
    append(world.ledger, Event(RUN_STARTED, other.run_id, "ab" * 32), world.signer)
    append(world.ledger, replace(tombstone_of(run), run_id=other.run_id), world.signer)
    assert sum("contradiction" in text and "no entry before it knows" in text for text in problems(world)) == 2


def test_a_removed_run_is_not_sealed_again(world: World, run: RunDir) -> None:
    """A seal that comes after the tombstone would make another run of it."""
    digest = sha256_file(run.manifest)
    append(world.ledger, tombstone_of(run), world.signer)
    append(world.ledger, Event(RUN_SEALED, run.run_id, digest), world.signer)
    assert any("it seals the run" in text for text in problems(world))


def archived(run: RunDir) -> Event:
    """Put something in the place of the run's archive; return its tombstone."""
    write_atomic(run.archive, b"archive")
    return tombstone_of(run, ARCHIVE, archive_sha256=sha256_file(run.archive))


def test_an_archive_is_looked_at(world: World, run: RunDir) -> None:
    """The archive of an archived run must be there as it was, as long as the run is not restored or deleted."""
    told = archived(run)
    append(world.ledger, told, world.signer)
    shutil.move(run.path, world.results.parent / "aside")
    assert problems(world) == []
    run.archive.write_bytes(b"forged!")
    assert [text.startswith(f"{run.run_id}: edited") for text in problems(world)] == [True]
    run.archive.unlink()
    assert [text.startswith(f"{run.run_id}: missing run") for text in problems(world)] == [True]
    append(world.ledger, replace(told, kind=RUN_RESTORED), world.signer)
    assert [text.startswith(f"{run.run_id}: missing run") for text in problems(world)] == [True]
    shutil.move(world.results.parent / "aside", run.path)
    assert problems(world) == []


def test_restored_is_only_what_was_archived(world: World, run: RunDir) -> None:
    """An entry run_restored about a run that is whole, or that restores another one, is not followed."""
    back = replace(tombstone_of(run), kind=RUN_RESTORED)
    append(world.ledger, back, world.signer)
    append(world.ledger, archived(run), world.signer)
    append(world.ledger, replace(back, subject_sha256="cd" * 32), world.signer)
    shutil.rmtree(run.path)
    assert sum("contradiction" in text for text in problems(world)) == 2
    assert check_ledger(world.ledger).removals.standing[run.run_id].level == ARCHIVE


def test_never_sealed_is_only_what_was_never_sealed(world: World) -> None:
    """A run that was interrupted is removed with its config's digest; a seal in the ledger contradicts that."""
    run = RunDir.create(world.results, "22222222-2222-4222-8222-222222222222")
    append(world.ledger, Event(RUN_STARTED, run.run_id, "ef" * 32, "ma", "1"), world.signer)
    told = Tombstone(0, "", run.run_id, DELETE, "unsealed", "ef" * 32, never_sealed=True)
    append(world.ledger, told.event(strategy="ma", data_sha256="1", told=False), world.signer)
    run.path.rmdir()
    assert problems(world) == []
    assert trial_count(world.ledger, "ma", "1") == 1


def test_entries_from_before_stay_as_they_were(world: World, run: RunDir) -> None:
    """An entry without a level says that a run was removed on purpose, and is named by those words."""
    append(world.ledger, Event(RUN_PRUNED, run.run_id), world.signer)
    assert problems(world) == []  # the directory may still be there, as ever
    shutil.rmtree(run.path)
    assert problems(world) == []
    assert any(note.startswith("removed on purpose") and run.run_id in note for note in verified(world)[0].notes)


def test_what_was_removed_before_anybody_signed_stays_removed(world: World) -> None:
    """A tombstone from before there was a key counts, as the first signature covers it; none is put there later."""
    old = World(world.results, None)
    runs = [old.run(report=None), old.run(report=None)]
    append(old.ledger, tombstone_of(runs[0]))
    shutil.rmtree(runs[0].path)
    world.run()
    lenient = trust_in(world.signer)
    assert [p for found in verify_all(world.results, trust=lenient) for p in found.problems] == []
    assert any(
        "missing run" in text
        for text in map(str, first_problems(world, trust_in(world.signer, require_signatures=True)))
    )
    lines = world.ledger.read_bytes().splitlines(keepends=True)
    forged = World(world.results.parent / "forged", None)
    forged.results.mkdir()
    forged.ledger.write_bytes(b"".join(lines[:5]))
    append(forged.ledger, tombstone_of(runs[1]))
    world.ledger.write_bytes(forged.ledger.read_bytes() + b"".join(lines[5:]))
    assert any("there is a second entry" in str(problem) for problem in first_problems(world, lenient))


def first_problems(world: World, trust: Any) -> tuple[Any, ...]:
    return next(iter(verify_all(world.results, trust=trust))).problems


def test_pins(world: World, run: RunDir) -> None:
    """Anybody may pin, as that only keeps more; what takes a pin away must be signed where others sign."""
    append(world.ledger, Event(RUN_PINNED, run.run_id), world.signer)
    append(world.ledger, Event(RUN_UNPINNED, run.run_id), new_signer())
    assert set(check_ledger(world.ledger, trust=world.trust).removals.pinned) == {run.run_id}
    append(world.ledger, Event(RUN_UNPINNED, run.run_id), world.signer)
    assert not check_ledger(world.ledger, trust=world.trust).removals.pinned


def test_results_of_trials_outlast_their_runs(world: World, run: RunDir) -> None:
    """A tombstone tells a result that no seal told; N stays, and another result than the seal's is a contradiction."""
    told = TrialResult(0.05, 0.01, 500, -0.2, 3.5, "a" * 16)
    silent = replace(tombstone_of(run), details={**tombstone_of(run).details, "result": told.to_row()})
    old = World(world.results.parent / "old", None)
    entries = [Event(RUN_STARTED, run.run_id, "ab" * 32, "ma_crossover", DATA_SHA256)]
    entries += [Event(RUN_SEALED, run.run_id, sha256_file(run.manifest), "ma_crossover", DATA_SHA256), silent]
    old.results.mkdir()
    append_many(old.ledger, entries)
    [counted] = check_ledger(old.ledger).trials.counted
    assert (counted.trials, counted.ended, counted.results) == (1, 1, (told,))
    append(world.ledger, silent, world.signer)  # whose seal says: no result
    assert any("another result" in text for text in problems(world))
    assert trial_count(world.ledger, "ma_crossover", DATA_SHA256) == 1


def test_n_does_not_shrink(world: World) -> None:
    """Five trials, three of them removed: whichever remains is deflated by five, as the ledger has them all."""
    runs = [world.run(report=None) for _ in range(5)]
    before = TrialIndex(world.results).trials_of(Run(runs[-1]))
    for run in runs[:3]:
        append(world.ledger, tombstone_of(run), world.signer)
        shutil.rmtree(run.path)
    after = TrialIndex(world.results).trials_of(Run(runs[-1]))
    assert replace(after, there=before.there) == before
    assert (before.family, after.there) == (5, 2)
    assert problems(world) == []


def test_a_key_that_is_not_trusted_removes_nothing_even_where_nobody_must_sign(world: World, run: RunDir) -> None:
    """A trust file that asks for no signatures still says whose count."""
    append(world.ledger, tombstone_of(run), new_signer())
    shutil.rmtree(run.path)
    found = [*verify_all(world.results, trust=trust_in(world.signer, require_signatures=False))]
    assert any("missing run" in str(problem) for problem in found[0].problems)
