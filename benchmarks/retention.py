"""Measure the removal of old runs: 1,000 of 10,000, at each level; and what verification of the ledger costs then.

    python benchmarks/retention.py                    1,000 of 10,000 runs
    python benchmarks/retention.py --runs 2000 --go 200
    python benchmarks/retention.py --levels artifacts,delete

The runs are real, sealed, signed run directories in a signed ledger, of ten files and some 60 kB, each with a kept
input of its own and one that all share. Every level has runs of its own. Nothing is tracked, and there is no site.
Seconds of the processor stand beside those of the clock: a machine may have other work.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.trust import project_trust
from pipeline.retention.prune import prune
from pipeline.retention.restore import restore
from pipeline.retention.rules import Rules
from pipeline.rundir import run_ids
from tests.evidence.sealed_runs import new_signer
from tests.retention.worlds import BULK, LATER, World

FILES = {**BULK, "notebook.ipynb": b'{"cells": []}\n' * 2_000, "trades.csv": b"2020-01-01,long,1.0\n" * 500}


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def show(what: str, begin: tuple[float, float], end: tuple[float, float], each: int) -> None:
    wall, cpu = (after - before for before, after in zip(begin, end, strict=True))
    print(f"{what:<52}{wall:>9.2f} s{cpu:>9.2f} s CPU{1000 * cpu / each:>9.2f} ms CPU each", flush=True)


def measure(level: str, runs: int, go: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World.at(Path(directory), new_signer())
        for number in range(runs):
            world.run(number, bars=250, report=False, files=FILES)
        rules = Rules(keep_last=runs - go)
        begin = now()
        dry = prune(world.settings, rules, level, dry_run=True, now=LATER)
        planned = now()
        done = prune(world.settings, rules, level, signer=world.signer, now=LATER)
        ended = now()
        check = check_ledger(world.ledger, trust=project_trust(world.settings))
        checked = now()
        assert len(dry.plan.going) == len(done.plan.going) == go
        assert check.ok
        assert len(check.removals.standing) == go
        assert len(run_ids(world.results)) == (runs if level == "artifacts" else runs - go)
        print(f"\n{go:,} of {runs:,} runs, {level}: {done.plan.files:,} files, {done.plan.bytes / 1e6:.0f} MB")
        show("decide (--dry-run): read all, verify those that go", begin, planned, go)
        show("decide and remove", planned, ended, go)
        show("check the ledger, all signatures and tombstones", ended, checked, len(check.entries))
        if level == "archive":
            packed = sum(path.stat().st_size for path in (world.results / ".archive").iterdir())
            print(f"archives: {packed / 1e6:.0f} MB, {packed / done.plan.bytes:.2f} of what they hold")
            begin = now()
            restore(world.settings, "last", signer=world.signer)
            show("restore one", begin, now(), 1)
        assert not world.unfinished()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--go", type=int, default=1_000)
    parser.add_argument("--levels", default="artifacts,archive,delete")
    given = parser.parse_args()
    for level in given.levels.split(","):
        measure(level, given.runs, given.go)


if __name__ == "__main__":
    main()
