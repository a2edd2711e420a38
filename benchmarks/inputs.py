"""What it costs that a kernel's reads are watched: the same work with and without the watch, by turns.

python benchmarks/inputs.py [--quick]

Each figure is the median of the ratios watched / unwatched of rounds that alternate. `call` is the time of the work
itself, `to the seal` counts the wait for the last digest too, as if the notebook ended with the read; `read, then work`
computes for as long as it has read.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.inputs import doors, watch
from pipeline.inputs.places import Places


def show(what: str, value: str, target: str = "") -> None:
    print(f"{what:64} {value:>16}  {target}".rstrip())


def timed(work: Callable[[], Any], root: Path | None) -> tuple[float, float]:
    """Return seconds of the work, and until its reads are digested; unwatched without a root."""
    started = watch.start(Places(str(root), str(root / "results"), (str(root),))) if root else None
    begin = time.perf_counter()
    work()
    called = time.perf_counter()
    if started is not None:
        watch.stop(started)
    return called - begin, time.perf_counter() - begin


def compare(what: str, work: Callable[[], Any], root: Path, rounds: int, *, target: str = "", end: bool = True) -> None:
    """Print the ratios of some work; what is read is evicted from no cache, so that the watch weighs most."""
    work()
    calls, ends = [], []
    for turn in range(rounds):
        if turn % 2:
            plain, watched = timed(work, None), timed(work, root)
        else:
            watched, plain = timed(work, root), timed(work, None)
        calls.append(watched[0] / plain[0])
        ends.append(watched[1] / plain[1])
    show(f"{what}: call", f"{statistics.median(calls):.2f}", target)
    if end:
        show(f"{what}: to the seal", f"{statistics.median(ends):.2f}")


def opens(path: Path) -> None:
    for _ in range(2_000):
        path.open("rb").close()


def loop() -> None:
    total = 0
    for number in range(1_000_000):
        total += number % 7


def working(read: Callable[[], Any]) -> Callable[[], None]:
    """Return a read that is followed by a computation of the same length."""

    def both() -> None:
        begin = time.perf_counter()
        read()
        end = 2 * time.perf_counter() - begin
        while time.perf_counter() < end:
            loop()

    return both


IMPORTS = """
import sys, time
from pathlib import Path
from pipeline.inputs import doors, watch
from pipeline.inputs.places import Places
if sys.argv[1] == "1":
    doors.open_doors()
    watch.start(Places(sys.argv[2], sys.argv[2] + "/results", (sys.argv[2],)))
begin = time.perf_counter()
import pandas, matplotlib.figure, sqlite3, email.mime.text, xml.dom.minidom
print(time.perf_counter() - begin)
"""


def imports(root: Path, rounds: int) -> None:
    """Print the ratio of importing pandas and others in a process of its own."""

    def once(flag: str) -> float:
        command = [sys.executable, "-c", IMPORTS, flag, str(root)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    once("0")
    pairs = [(once("1"), once("0")) for _ in range(rounds)]
    show("import pandas, matplotlib, …", f"{statistics.median(a / b for a, b in pairs):.2f}", "target: nothing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rows, rounds = (200_000, 7) if quick else (1_000_000, 15)
    with tempfile.TemporaryDirectory(prefix="evidence-benchmark-") as name:
        root = Path(name).resolve()
        values = np.random.default_rng(0).normal(size=(rows, 6)).cumsum(axis=0)
        frame = pd.DataFrame(values, columns=list("abcdef")).round(4)
        frame.to_csv(root / "t.csv", index=False)
        frame.to_parquet(root / "t.parquet")
        doors.open_doors()
        sizes = {path.name: path.stat().st_size / 1e6 for path in root.iterdir()}
        show("files, MB", ", ".join(f"{key} {size:.0f}" for key, size in sorted(sizes.items())))
        csv, parquet = (lambda: pd.read_csv(root / "t.csv")), (lambda: pd.read_parquet(root / "t.parquet"))
        compare("pandas.read_csv", csv, root, rounds, target="at most 1.15")
        compare("pandas.read_parquet", parquet, root, rounds, target="at most 1.15")
        compare("pandas.read_csv, then work", working(csv), root, max(3, rounds // 3))
        compare("pandas.read_parquet, then work", working(parquet), root, rounds)
        compare("a loop of a million steps", loop, root, rounds, target="nothing", end=False)
        (root / "small").write_text("x")
        outside = Path(sys.executable).resolve()
        compare("open and close, of an input, 2,000 times", lambda: opens(root / "small"), root, rounds, end=False)
        compare("open and close, of another file, 2,000 times", lambda: opens(outside), root, rounds, end=False)
        imports(root, 3 if quick else 9)


if __name__ == "__main__":
    main()
