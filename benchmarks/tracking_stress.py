"""Many processes, one store: are runs lost, mixed up or refused?

Usage: python benchmarks/tracking_stress.py [PROCESSES] [RUNS_EACH] [sqlite|server|postgres|both|all]. `server` is an
MLflow server on SQLite, `postgres` one on PostgreSQL, started here with its durable defaults; `both` are the first two.
Every process tracks its runs in mode `strict`, so that any failure counts; afterwards MLflow's own client counts and
compares all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow

from pipeline.tracking import MLflowTracker
from pipeline.tracking.store import Store

EXPERIMENT = "stress"


def work(uri: str, worker: int, runs: int, queue: Any) -> None:
    """Track some runs and report what failed."""
    warnings.simplefilter("ignore")
    failed = []
    for number in range(runs):
        try:
            with MLflowTracker(uri, EXPERIMENT, run_name=f"{worker}-{number}", mode="strict") as tracker:
                tracker.log_params({"worker": worker, "number": number, "nested": {"both": f"{worker}-{number}"}})
                tracker.log_metrics({"value": worker * 1000 + number, "other": number / 7})
                for step in range(3):
                    tracker.log_metrics({"loss": number + step}, step=step)
                tracker.set_tags({"who": f"{worker}-{number}"})
                tracker.log_text(f"{worker}-{number}", "who.txt")
        except Exception as error:  # noqa: BLE001 - every kind of failure counts
            failed.append(f"{type(error).__name__}: {error}")
    queue.put(failed)


def stress(uri: str, processes: int, runs: int) -> tuple[list[str], float]:
    """Let all processes work at once; return the failures and the seconds it took."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    began = time.perf_counter()
    workers = [context.Process(target=work, args=(uri, number, runs, queue)) for number in range(processes)]
    for worker in workers:
        worker.start()
    failed = [problem for _ in workers for problem in queue.get()]
    for worker in workers:
        worker.join()
    return failed, time.perf_counter() - began


def check(uri: str, processes: int, runs: int) -> tuple[int, int]:
    """Return (lost, mixed): runs that are not there, and runs whose parts do not belong together."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    found, token = [], None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    names = Counter(run.info.run_name for run in found)
    wanted = {f"{worker}-{number}" for worker in range(processes) for number in range(runs)}
    lost = len(wanted - set(names)) + sum(count - 1 for count in names.values())
    return lost, sum(not whole(client, run) for run in found)


def whole(client: Any, run: Any) -> bool:
    """Return whether everything in a run is its own."""
    name = run.info.run_name
    worker, number = (int(part) for part in name.split("-"))
    same = run.data.params == {"worker": str(worker), "number": str(number), "nested.both": name}
    same &= run.data.metrics == {"value": worker * 1000.0 + number, "other": number / 7, "loss": number + 2.0}
    same &= run.data.tags.get("who") == name and run.info.status == "FINISHED"
    steps = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")]
    same &= sorted(steps) == [(step, number + step) for step in range(3)]
    place = run.info.artifact_uri
    if place.startswith("file:"):
        file = Path(place.removeprefix("file://")) / "who.txt"
        same &= file.is_file() and file.read_text() == name
    return bool(same)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(directory: Path, backend: str) -> Iterator[str]:
    """Run an MLflow server on a fresh back end and yield its address."""
    directory.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--workers", "1"]
    command += ["--artifacts-destination", str(directory / "artifacts"), "--port", str(port)]
    log = (directory / "log.txt").open("wb")
    process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                yield address
                return
        raise RuntimeError((directory / "log.txt").read_text()[-2000:])
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server of Debian's package `postgresql` and yield the URI of an empty database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="pg-") as place:
        shutil.chown(place, user)
        data, port = f"{place}/data", free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place}"

        def run(name: str, *arguments: str) -> None:
            owner = {"user": user} if os.geteuid() == 0 else {}
            command = [str(programs[-1].with_name(name)), *arguments]
            subprocess.run(command, check=True, cwd=place, stdout=subprocess.DEVNULL, **owner)

        run("initdb", "-D", data, "-U", "mlflow", "--auth=trust", "-E", "UTF8")
        run("pg_ctl", "-D", data, "-o", options, "-l", f"{place}/log", "-w", "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow")
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def report(name: str, uri: str, processes: int, runs: int) -> bool:
    """Stress one store and print a line."""
    failed, took = stress(uri, processes, runs)
    for problem, count in Counter(failed).most_common(5):
        print(f"  {count} x {problem[:300]}", flush=True)
    lost, mixed = check(uri, processes, runs)
    locked = sum("locked" in problem for problem in failed)
    total = processes * runs
    print(
        f"{name:<8} {processes} x {runs} = {total} runs in {took:.1f} s ({took / total * 1e3:.1f} ms a run): "
        f"{lost} lost, {mixed} mixed, {locked} locked, {len(failed)} failed",
        flush=True,
    )
    return not (lost or mixed or failed)


def main(processes: int, runs: int, which: str) -> int:
    wanted = {"both": ("sqlite", "server"), "all": ("sqlite", "server", "postgres")}.get(which, (which,))
    good = True
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        if "sqlite" in wanted:
            good &= report("sqlite", f"sqlite:///{directory / 'mlflow.db'}", processes, runs)
        if "server" in wanted:
            database = f"sqlite:///{directory / 'server.db'}"
            Store(database).connect()
            with server(directory / "on-sqlite", database) as address:
                good &= report("server", address, processes, runs)
        if "postgres" in wanted:
            with postgres() as database, server(directory / "on-postgres", database) as address:
                good &= report("postgres", address, processes, runs)
    return 0 if good else 1


if __name__ == "__main__":
    given = sys.argv[1:]
    counts = [int(value) for value in given[:2]]
    sys.exit(main(*(counts + [16, 200][len(counts) :]), given[2] if len(given) > 2 else "both"))
