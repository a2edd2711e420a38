"""Faults and attacks, counted: every tampering is found and named, nothing untouched is ever named."""

from __future__ import annotations

import collections
import io
import os
import random
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.ledger import append_many, head
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.unbundle import verify_bundle, verify_path
from pipeline.evidence.verify import verify_run
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from tests.evidence.sealed_runs import FILES, World
from tests.evidence.tamper import SEAL, WAYS, Target


def tamper(world: World, run: RunDir, tmp_path: Path, *, rounds: int, seed: int = 0) -> collections.Counter[str]:
    """Tamper with `run` in every way, `rounds` times each; return how often each way was found and named."""
    other = world.run()
    pristine, outside = tmp_path / "pristine", tmp_path / "outside"
    shutil.copytree(run.path, pristine)
    outside.mkdir()
    target = Target(run, other, outside, random.Random(seed))
    ledger = check_ledger(world.ledger, trust=world.trust)
    found: collections.Counter[str] = collections.Counter()
    for way in WAYS:
        for _ in range(rounds):
            may = way(target)
            named = {problem.path for problem in verify_run(run, trust=world.trust, ledger=ledger).problems}
            assert named, f"{way.__name__} was not found: {may}"
            assert "manifest.json" not in may or named & SEAL, f"{way.__name__}: the manifest is not named"
            assert named <= may, f"{way.__name__} named the innocent: {named - may}"
            found[way.__name__] += 1
            shutil.rmtree(run.path)
            shutil.copytree(pristine, run.path)
    assert verify_run(run, trust=world.trust, ledger=ledger).ok
    return found


def report_counts(title: str, found: collections.Counter[str]) -> None:
    """Print the counts, for `pytest -s`."""
    print(f"\n{title}: {found.total()} of {found.total()} found and named: {dict(found)}")


def test_tampering_with_a_run_is_found_and_named(world: World, signed: RunDir, tmp_path: Path) -> None:
    """100 % found, and only what was touched is named."""
    report_counts("run", tamper(world, signed, tmp_path, rounds=6))


@pytest.mark.slow
def test_tampering_with_a_run_many_times(world: World, signed: RunDir, tmp_path: Path) -> None:
    """The same, four hundred times each way."""
    report_counts("run", tamper(world, signed, tmp_path, rounds=400, seed=1))


@pytest.mark.slow
def test_any_bit_of_any_file_of_a_run(world: World, signed: RunDir) -> None:
    """One bit of every byte of every file, manifest, signature and statements included."""
    ledger = check_ledger(world.ledger, trust=world.trust)
    found: collections.Counter[str] = collections.Counter()
    for path in sorted(path for path in signed.path.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
            assert verify_run(signed, trust=world.trust, ledger=ledger).problems, f"{path.name}, byte {place}"
            found[path.name] += 1
        path.write_bytes(whole)
    assert verify_run(signed, trust=world.trust, ledger=ledger).ok
    report_counts("bytes", found)


@pytest.mark.slow
def test_tampering_with_a_run_of_the_whole_pipeline(project: Settings, world: World, tmp_path: Path) -> None:
    """The same over the run the demo makes: executed notebook, figures, Parquet, a report of more than a megabyte."""
    from pipeline.evidence import events
    from pipeline.evidence.dsse import sign_manifest
    from pipeline.evidence.ledger import append
    from pipeline.evidence.statement import write_report_statement
    from pipeline.runner import run_backtest
    from pipeline.spec import read_spec

    spec, given = read_spec(project.root / "config" / "demo.toml", {"tracking.mode": "off"})
    made = run_backtest(spec, settings=project, given=given).run.dir
    world = World(project.results, world.signer)
    world.ledger.unlink(missing_ok=True)
    sign_manifest(made, world.signer)
    append(world.ledger, events.sealed(made), world.signer)
    if made.report.is_file():
        write_report_statement(made, world.signer)
    report_counts("demo run", tamper(world, made, tmp_path, rounds=40, seed=2))


def flips(size: int, step: int) -> range:
    """Return the places to flip a bit at: every `step`-th."""
    return range(0, size, step)


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_any_byte_of_a_ledger(world: World, signed: RunDir, step: int) -> None:
    """Flip a bit of any byte, cut at any byte (with a checkpoint kept), put a byte in anywhere: all found."""
    world.run()
    whole, checkpoint = world.ledger.read_bytes(), head(world.ledger)
    found: collections.Counter[str] = collections.Counter()
    for place in flips(len(whole), step):
        mutants = {
            "flip": whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :],
            "cut": whole[:place],
            "remove a byte": whole[:place] + whole[place + 1 :],
            "insert a byte": whole[:place] + b" " + whole[place:],
        }
        for name, data in mutants.items():
            world.ledger.write_bytes(data)
            assert check_ledger(world.ledger, checkpoint=checkpoint).problems, f"{name} at {place}"
            found[name] += 1
    world.ledger.write_bytes(whole)
    assert check_ledger(world.ledger, checkpoint=checkpoint, trust=world.trust).ok
    report_counts("ledger", found)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_line_torn_at_any_byte_is_repaired(world: World, signed: RunDir, step: int) -> None:
    """A writer killed after any number of bytes: the next append keeps the fragment and goes on; nothing else moves."""
    whole = world.ledger.read_bytes()
    line = whole.splitlines(keepends=True)[-1]
    before = whole[: -len(line)]
    for count in range(1, len(line), step):
        world.ledger.write_bytes(before + line[:count])
        append_many(world.ledger, [], world.signer)
        assert check_ledger(world.ledger, trust=world.trust).ok, f"torn after {count} bytes"
        assert world.ledger.read_bytes().startswith(before)
        aside = next(world.results.glob("ledger.jsonl.torn-*"))
        assert aside.read_bytes() == line[:count]
        aside.unlink()


@pytest.mark.parametrize("count", [40, pytest.param(4_000, marks=pytest.mark.slow)])
def test_any_byte_of_a_bundle(world: World, signed: RunDir, tmp_path: Path, count: int) -> None:
    """Flip, cut, append, remove or insert anywhere in the zip, its headers included: all found."""
    bundle = tmp_path / "bundle.zip"
    make_bundle(signed, bundle, ledger=world.ledger, signer=world.signer)
    whole, rng = bundle.read_bytes(), random.Random(3)
    found: collections.Counter[str] = collections.Counter()
    for _ in range(count):
        place = rng.randrange(len(whole))
        mutants = {
            "flip": whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :],
            "cut": whole[:place],
            "remove a byte": whole[:place] + whole[place + 1 :],
            "insert a byte": whole[:place] + b"\0" + whole[place:],
        }
        for name, data in mutants.items():
            bundle.write_bytes(data)
            assert verify_bundle(bundle).problems, f"{name} at {place}"
            found[name] += 1
    for data in (whole + b"\0", b"\0" + whole, whole + whole):
        bundle.write_bytes(data)
        assert verify_bundle(bundle).problems
    bundle.write_bytes(whole)
    assert verify_bundle(bundle).ok
    report_counts("bundle", found)


def through_zip(source: Path, target: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(source))
        archive.extractall(target)


def through_tar(source: Path, target: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        archive.add(source, ".")
    data.seek(0)
    with tarfile.open(fileobj=data) as archive:
        archive.extractall(target, filter="data")


def through_git(source: Path, target: Path) -> None:
    store = target.with_name(f"{target.name}.store")
    shutil.copytree(source, store)
    (store / ".gitattributes").write_text("* -text\n")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "core.autocrlf=true"]
    for command in (["init", "-q"], ["add", "-A", "-f"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-C", str(store), *identity, *command], check=True, capture_output=True)
    subprocess.run(["git", "clone", "-q", str(store), str(target)], check=True, capture_output=True)
    shutil.rmtree(target / ".git")
    (target / ".gitattributes").unlink()


def by_hand(source: Path, target: Path) -> None:
    rng = random.Random(source.name)
    names = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    rng.shuffle(names)
    before = os.umask(rng.choice([0o000, 0o027, 0o077]))
    try:
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((source / name).read_bytes())
            os.utime(target / name, (rng.randrange(2**31), rng.randrange(2**31)))
    finally:
        os.umask(before)


COPIES = {"zip": through_zip, "tar": through_tar, "git": through_git, "by hand": by_hand}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES.keys())
def test_a_copy_verifies(world: World, signed: RunDir, tmp_path: Path, copy: Callable[[Path, Path], None]) -> None:
    """Through zip, tar or git, in another order, with other times and modes, under another name: no false alarm."""
    target = tmp_path / "copy" / signed.run_id
    target.parent.mkdir()
    copy(signed.path, target)
    assert verify_path(target, trust=world.trust).problems == ()
    target.rename(target.with_name("sent by a friend"))
    assert verify_path(target.with_name("sent by a friend"), trust=world.trust).problems == ()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [15, pytest.param(1_500, marks=pytest.mark.slow)])
def test_untouched_runs_never_raise_an_alarm(world: World, tmp_path: Path, count: int) -> None:
    """Runs of random content, verified where they are and as copies, with and without trust file and ledger."""
    rng, alarms, total = random.Random(4), 0, 0
    names = ["stats.json", "ünï/çødé.txt", "a b/c", "日本", "debug/" + "n" * 200, ".hidden", "x" * 9, "CON", "A", "b"]
    for number in range(count):
        files = {name: rng.randbytes(rng.randrange(200)) for name in rng.sample(names, rng.randrange(1, len(names)))}
        run = world.run(files=FILES | files, report=rng.randbytes(50) if rng.random() < 0.7 else None)
        copy = tmp_path / "copies" / str(number)
        by_hand(run.path, copy)
        checked = [
            verify_run(run),
            verify_run(run, trust=world.trust),
            verify_path(copy, trust=world.trust),
        ]
        if number % 20 == 0:
            checked.append(verify_run(run, trust=world.trust, ledger=world.ledger))
        alarms += sum(not verification.ok for verification in checked)
        total += len(checked)
    print(f"\nfalse alarms: {alarms} of {total} verifications of untouched runs")
    assert alarms == 0
