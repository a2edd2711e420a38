"""Measure what it costs to start: `evidence --help` and `import pipeline`, beside bare Python and `import pandas`.

    python benchmarks/startup.py              15 rounds
    python benchmarks/startup.py --quick      5 rounds

Every candidate is a new process with its modules compiled by a first one that does not count; they take turns, and
printed are medians and the ratio to bare Python.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

CANDIDATES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import pipeline": [sys.executable, "-c", "import pipeline"],
    "evidence --help": [sys.executable, "-c", "from pipeline.cli import main; main()", "--help"],
    "import pandas": [sys.executable, "-c", "import pandas"],
}


def seconds(command: list[str]) -> float:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=kept)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    rounds = 5 if parser.parse_args().quick else 15
    for command in CANDIDATES.values():
        seconds(command)
    taken: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for _ in range(rounds):
        for name, command in CANDIDATES.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    bare = medians["python -c pass"]
    print(f"Start-up, medians of {rounds}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| | seconds | times bare Python |\n|---|---:|---:|")
    for name, value in medians.items():
        print(f"| `{name}` | {value:.3f} | {value / bare:.1f} |")
    print(f"\nAgain: python benchmarks/startup.py{' --quick' if rounds == 5 else ''}")


if __name__ == "__main__":
    main()
