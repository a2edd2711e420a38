"""Measure the evidence: verify beside `sha256sum`, a thousand small runs, seal + sign + append, a long ledger.

    python benchmarks/evidence.py            64 MB of files, 1,000 runs, 100,000 ledger entries
    python benchmarks/evidence.py --quick    16 MB, 200 runs, 10,000 entries
    python benchmarks/evidence.py --model-signing PYTHON

The last one also signs and verifies the same files with the package `model-signing`, by the Python of an environment
that has it and `pyopenssl` (they need not be installed here).

Everything is measured in one process on warm files; what is compared runs in turn, round after round, and medians
are printed. `fsync` is what the same number of plain files costs to write durably here: no seal can be faster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.evidence import events
from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.dsse import sign_manifest
from pipeline.evidence.ledger import Event, append, append_many
from pipeline.evidence.ledger_check import check_ledger, trial_count
from pipeline.evidence.unbundle import verify_bundle
from pipeline.evidence.verify import verify_run
from pipeline.files import write_atomic
from pipeline.rundir import RunDir, new_run_id
from tests.evidence.sealed_runs import FILES, World, new_signer, seal


def seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def show(what: str, value: str, target: str = "") -> None:
    print(f"{what:<58}{value:>16}  {target}")


def throughput(results: Path, megabytes: int, rounds: int) -> None:
    """Verify one run of sixteen large files, beside `sha256sum` on the same files."""
    world = World(results, new_signer())
    files = {f"debug/{i}.bin": os.urandom(megabytes * 1_000_000 // 16) for i in range(16)}
    run = world.run(files=FILES | files, report=None)
    names = [str(run.path / name) for name in run.sealed_paths()]
    trust, ledger = world.trust, check_ledger(world.ledger)
    programs = [command for command in (["sha256sum"], ["openssl", "dgst", "-sha256"]) if shutil.which(command[0])]
    ours: list[float] = []
    theirs: dict[str, list[float]] = {command[0]: [] for command in programs}
    for _ in range(rounds):
        ours.append(seconds(lambda: verify_run(run, trust=trust, ledger=ledger)))
        for command in programs:
            call = [*command, *names]
            theirs[command[0]].append(seconds(lambda: subprocess.run(call, capture_output=True, check=True)))  # noqa: B023
    show(f"verify {megabytes} MB", f"{megabytes / statistics.median(ours):,.0f} MB/s")
    for name, times in theirs.items():
        show(f"{name} on the same files", f"{megabytes / statistics.median(times):,.0f} MB/s")
        ratio = statistics.median(b / a for a, b in zip(ours, times, strict=True))
        show(f"verify / {name}, median of the rounds", f"{ratio:.2f} x", "target >= 0.8" if name == "sha256sum" else "")


MODEL_SIGNING = """
import sys, time
from pathlib import Path
from model_signing import hashing, signing, verifying
directory, signature, private, public = sys.argv[1:]
ignored = hashing.Config().set_ignored_paths(paths=[Path(directory) / "manifest.json"])
begin = time.perf_counter()
signing.Config().set_hashing_config(ignored).use_elliptic_key_signer(private_key=private).sign(directory, signature)
middle = time.perf_counter()
verifying.Config().set_hashing_config(ignored).use_elliptic_key_verifier(public_key=public).verify(directory, signature)
print(middle - begin, time.perf_counter() - middle)
"""


def beside_model_signing(results: Path, megabytes: int, rounds: int, python: str) -> None:
    """Sign and verify a directory, beside model-signing (elliptic curve key) on the same directory, in turn."""
    world = World(results, new_signer())
    run = world.run(
        files=FILES | {f"debug/{i}.bin": os.urandom(megabytes * 1_000_000 // 16) for i in range(16)}, report=None
    )
    private, public, signature = (results / name for name in ("ec.pem", "ec.pub", "model.sig"))
    openssl = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(private)]
    subprocess.run(openssl, check=True, capture_output=True)
    subprocess.run(
        ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(public)], check=True, capture_output=True
    )
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for _ in range(rounds):
        sealing = seconds(lambda: (seal(run), sign_manifest(run, world.signer)))
        ours.append((sealing, seconds(lambda: verify_run(run, trust=world.trust, report=False))))
        command = [python, "-c", MODEL_SIGNING, *map(str, (run.path, signature, private, public))]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        theirs.append((float(told[0]), float(told[1])))
    for index, what in enumerate(("sign", "verify")):
        mine, other = (statistics.median(pair[index] for pair in pairs) for pairs in (ours, theirs))
        show(f"{what} {megabytes} MB: ours / model-signing", f"{mine * 1e3:.0f} / {other * 1e3:.0f} ms")
        show(f"{what}: model-signing / ours", f"{other / mine:.2f} x")


def small_runs(results: Path, count: int, rounds: int) -> None:
    """Make small runs as the pipeline does, then verify them all, in one process."""
    world = World(results, new_signer())
    world.run(report=None)
    sealing, runs = [], []
    for _ in range(count):
        run = RunDir.create(results, new_run_id())
        for name, data in FILES.items():
            (run.path / name).parent.mkdir(exist_ok=True)
            (run.path / name).write_bytes(data)
        run.clear_scratch()
        sealing.append(seconds(lambda run=run: _seal(world, run)))  # type: ignore[misc]
        runs.append(run)
    plain = [
        seconds(lambda i=i: [write_atomic(results / ".x" / f"{i}-{n}", b"x" * 2000) for n in range(3)])
        for i in range(count)
    ]  # type: ignore[misc]
    show("seal + sign + append, a run", f"{statistics.median(sealing) * 1e3:.2f} ms", "target <= 15")
    show("  of that: three durable writes (fsync), beside", f"{statistics.median(plain) * 1e3:.2f} ms")
    trust, ledger = world.trust, check_ledger(world.ledger, trust=world.trust)
    both = [seconds(lambda: [verify_run(run) for run in runs]) for _ in range(rounds)]
    show(
        f"verify, files only, each of {count:,} small runs",
        f"{statistics.median(both) / count * 1e3:.2f} ms",
        "target <= 3",
    )
    both = [seconds(lambda: [verify_run(run, trust=trust, ledger=ledger) for run in runs]) for _ in range(rounds)]
    show("verify, with signature and ledger, each", f"{statistics.median(both) / count * 1e3:.2f} ms", "target <= 3")


def _seal(world: World, run: RunDir) -> None:
    seal(run)
    sign_manifest(run, world.signer)
    append(world.ledger, events.sealed(run), world.signer)


def long_ledger(results: Path, count: int) -> None:
    """Write a long ledger, append to its end, check it, count in it."""
    world = World(results, new_signer())
    path = results / "ledger.jsonl"
    batch = [Event("run_started", new_run_id(), "a" * 64, f"s{i % 50}", "b" * 64) for i in range(1000)]
    writing = seconds(lambda: [append_many(path, batch, world.signer) for _ in range(count // 1000)])
    show(f"ledger: write {count:,} signed entries, batches of 1,000", f"{count / writing:,.0f} /s")
    early = [seconds(lambda: append(results / "short.jsonl", batch[0], world.signer)) for _ in range(100)]
    late = [seconds(lambda: append(path, batch[0], world.signer)) for _ in range(100)]
    show("ledger: append one, new ledger", f"{statistics.median(early) * 1e3:.2f} ms")
    show(f"ledger: append one, after {count:,} entries", f"{statistics.median(late) * 1e3:.2f} ms", "the same")
    show(f"ledger: check the chain of {count:,}", f"{seconds(lambda: check_ledger(path)):.2f} s", "a few seconds")
    quick = seconds(lambda: check_ledger(path, trust=world.trust, signatures=False))
    show("ledger: check the chain and its last signature", f"{quick:.2f} s")
    show(
        "ledger: check the chain and every signature", f"{seconds(lambda: check_ledger(path, trust=world.trust)):.2f} s"
    )
    show("ledger: count the trials of a strategy", f"{seconds(lambda: trial_count(path, 's1', 'b' * 64)):.2f} s")
    run = world.run()
    target = results / "bundle.zip"
    made = seconds(lambda: make_bundle(run, target, ledger=path, signer=world.signer))
    show("bundle with a proof out of that ledger", f"{made:.2f} s, {target.stat().st_size:,} bytes")
    show("verify that bundle", f"{seconds(lambda: verify_bundle(target)) * 1e3:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model-signing", metavar="PYTHON", help="a Python that has model-signing and pyopenssl")
    arguments = parser.parse_args()
    quick = arguments.quick
    with tempfile.TemporaryDirectory(prefix="evidence-benchmark-") as name:
        throughput(Path(name) / "a", 16 if quick else 64, 5 if quick else 15)
        if arguments.model_signing:
            beside_model_signing(Path(name) / "m", 16 if quick else 64, 3 if quick else 7, arguments.model_signing)
        small_runs(Path(name) / "b", 200 if quick else 1_000, 3 if quick else 5)
        long_ledger(Path(name) / "c", 10_000 if quick else 100_000)


if __name__ == "__main__":
    main()
