"""Measure what telemetry costs a run: off, on with a collector, on with one that is away, by turns.

    python benchmarks/telemetry.py               12 rounds of the demo run
    python benchmarks/telemetry.py --bare        without tracking and report, where the same cost weighs more
    python benchmarks/telemetry.py --rounds 3

Each run is a process of its own, `evidence run --config config/demo.toml`, as a user meets it; a first one that does
not count makes the tracking store and compiles modules. `live` is a collector in this process, over HTTP or gRPC;
`refused` is an address where nobody listens; `silent` one where connections are taken and nothing is ever said. In each
round all take their turn, in an order that changes; printed are medians of seconds, of the ratio to the same round's
`off` with its quartiles, and of the seconds of processors, which other load on the machine disturbs less.
First, in this process: what a step costs with export off, without and with the log of a run.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.run_stages import environment, make_project
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from pipeline.telemetry import Labels, RunLog, step
from tests.telemetry.collector import grpc_collector, http_collector, refusing, silent

COMMAND = [str(Path(sys.executable).with_name("evidence")), "run", "--config", "config/demo.toml"]
STEPS = 20_000


def run_once(settings: Settings, extra: dict[str, str], options: list[str]) -> tuple[float, float]:
    """Execute the demo; return seconds on the clock and of processors, its kernel's included."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*COMMAND, *options],
        cwd=settings.root,
        env=environment(settings, **extra),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "elemetry" not in done.stderr
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(settings: Settings, rounds: int, options: list[str], only: list[str]) -> None:
    with ExitStack() as stack:
        http, grpc = stack.enter_context(http_collector()), stack.enter_context(grpc_collector())
        cases = {
            "off": {},
            "live, HTTP": http.environment,
            "live, gRPC": grpc.environment,
            "refused": {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(refusing())},
            "silent": {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(silent())},
        }
        chosen = ["off", *(name for name in cases if name != "off" and (not only or name in only))]
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
        run_once(settings, {}, options)
        for _ in range(rounds):
            for name in random.sample(chosen, len(chosen)):
                found[name].append(run_once(settings, dict(cases[name]), options))
        for name, collected in (("live, HTTP", http), ("live, gRPC", grpc)):
            arrived = sum(span.name == "run" for span in collected.spans)
            print(f"{name}: {arrived} of {len(found.get(name, []))} runs arrived")
    show(found)


def show(found: dict[str, list[tuple[float, float]]]) -> None:
    off = found["off"]
    print(f"{'':12} {'s':>7} {'ratio':>7} {'quartiles':>15} {'CPU s':>7}")
    for name, taken in found.items():
        ratios = sorted(one[0] / base[0] for one, base in zip(taken, off, strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        seconds, processors = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"{name:12} {seconds:7.2f} {middle:7.3f} {low:7.3f} {high:7.3f} {processors:7.2f}")


def cost_of_a_step(results: Path) -> None:
    run = RunDir.create(results, new_run_id())
    log = RunLog(run, Labels(run.run_id, "demo", "ma_crossover", "SPX"))

    def bare() -> None:
        with step("a"):
            pass

    def logged() -> None:
        with step("a", log=log):
            pass

    for name, call, count in (("export off", bare, STEPS), ("export off, in the log", logged, STEPS // 10)):
        print(f"a step, {name}: {1e6 * timed(call, count):.1f} µs")


def timed(call: Callable[[], None], count: int) -> float:
    """Return the seconds of a call, the best of five series."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - began) / count)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", action="store_true", help="without tracking and report")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", nargs="+", default=[], help="some of the cases, beside off")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as directory:
        settings = make_project(Path(directory).resolve() / "project")
        cost_of_a_step(settings.results)
        measure(settings, options.rounds, ["--tracking", "off", "--no-report"] if options.bare else [], options.only)


if __name__ == "__main__":
    main()
