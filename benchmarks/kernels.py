"""What a kernel costs: papermill's own, a forked one, and no kernel at all (in-process), notebook by notebook.

    python benchmarks/kernels.py                       11 rounds, throughput, memory
    python benchmarks/kernels.py --quick               3 rounds
    python benchmarks/kernels.py --ploomber PYTHON     an interpreter with ploomber-engine, the in-process engine
    python benchmarks/kernels.py --many 5000           so many notebooks by two workers: failures, memory

Every candidate is a process that has executed one notebook before it is measured; they take turns, and printed are
medians and ratios. All forked kernels come from one server. "heavy" imports pandas, mlflow, matplotlib and plotly.
The in-process engine is ploomber-engine's for papermill (`--engine embedded`); without it, IPython's shell within
papermill. Neither isolates anything. "ploomber" is ploomber-engine without papermill.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import psutil
from nbformat import v4, write

from pipeline.kernels import SOCKET_VARIABLE, ForkServer

IN_A_ROW = 5  # notebooks follow each other, as in a sweep; papermill's take so long that nothing is gained
SOURCES = {
    "trivial": ["print(x)", "x + 1"],
    "heavy": [
        "import pandas as pd, mlflow, matplotlib.pyplot as plt, plotly.graph_objects as go",
        "pd.DataFrame({'x': [x]})",
    ],
}
MEMORY = """
import os
lines = dict(line.split(':') for line in open('/proc/self/smaps_rollup').readlines()[1:])
kb = {name: int(value.split()[0]) for name, value in lines.items()}
print(kb['Rss'], kb['Pss'], kb['Private_Clean'] + kb['Private_Dirty'])
"""


class Worker:
    """A process that executes the notebooks it is told to, in one way."""

    def __init__(self, kind: str, python: str, environment: dict[str, str]) -> None:
        code = {"embedded": EMBEDDED, "ploomber": PLOOMBER}.get(kind)
        command = [python, "-c", code] if code else [python, __file__, "--worker", kind]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)

    def execute(self, source: Path, output: Path) -> float:
        """Execute one notebook; return the seconds it took."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{source}\t{output}\n")
        stdin.flush()
        return float(stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


PLOOMBER_WORKER = """
import sys, time
from {module} import execute_notebook
real, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    source, output = line.strip().split('\\t')
    begin = time.perf_counter()
    execute_notebook(source, output, parameters=dict(x=41), progress_bar=False{options})
    print(time.perf_counter() - begin, file=real, flush=True)
"""
PLOOMBER = PLOOMBER_WORKER.format(module="ploomber_engine", options="")
EMBEDDED = PLOOMBER_WORKER.format(module="papermill", options=", engine_name='embedded', kernel_name='python3'")


def work(kind: str, jobs: IO[str]) -> None:
    """Be a worker: read jobs, write seconds."""
    import papermill

    engine = {"papermill": None, "forked": "forked", "in-process": "in-process"}[kind]
    if kind == "in-process":
        register_in_process()
    for line in jobs:
        source, output = line.strip().split("\t")
        begin = time.perf_counter()
        papermill.execute_notebook(
            source, output, parameters={"x": 41}, engine_name=engine, progress_bar=False, kernel_name="python3"
        )
        print(time.perf_counter() - begin, flush=True)


def register_in_process() -> None:
    """Give papermill an engine that runs the cells in this very process."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from papermill.engines import Engine, papermill_engines

    class InProcess(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, _kernel_name: str, **_: Any) -> None:
            shell = InteractiveShell()
            for index, cell in enumerate(nb_man.nb.cells):
                nb_man.cell_start(cell, index)
                with capture_output() as captured:
                    shell.run_cell(cell.source, store_history=True)
                cell.outputs = [v4.new_output("stream", text=captured.stdout)] if captured.stdout else []
                nb_man.cell_complete(cell, cell_index=index)

    papermill_engines.register("in-process", InProcess)


def notebooks(directory: Path) -> dict[str, Path]:
    """Write the notebooks; return their paths."""
    paths = {}
    for name, cells in SOURCES.items():
        for kind, more in ((name, []), (f"{name} memory", [MEMORY])):
            made = v4.new_notebook(
                metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}
            )
            made.cells = [v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})]
            made.cells += [v4.new_code_cell(cell) for cell in (*cells, *more)]
            paths[kind] = directory / f"{kind}.ipynb"
            write(made, paths[kind])
    return paths


def memory(executed: Path) -> tuple[int, int, int]:
    """Return RSS, PSS and USS in MB as the kernel saw them in its last cell."""
    cell = json.loads(executed.read_text())["cells"][-1]
    rss, pss, uss = (int(number) // 1024 for number in "".join(cell["outputs"][0]["text"]).split())
    return rss, pss, uss


def latency(workers: dict[str, Worker], paths: dict[str, Path], directory: Path, rounds: int) -> None:
    inside = "embedded" if "embedded" in workers else "in-process"
    print(
        f"\nms a notebook, one worker, medians of {rounds}\n\n| | "
        + " | ".join(workers)
        + f" | papermill / forked | forked / {inside} |"
    )
    print("|---|" + "---:|" * (len(workers) + 2))
    for name in SOURCES:
        taken: dict[str, list[float]] = {kind: [] for kind in workers}
        for _ in range(rounds):
            for kind, worker in workers.items():
                in_a_row = 1 if kind == "papermill" else IN_A_ROW
                taken[kind] += [worker.execute(paths[name], directory / f"{kind}.ipynb") for _ in range(in_a_row)]
        median = {kind: statistics.median(seconds) * 1000 for kind, seconds in taken.items()}
        ratios = f"{median['papermill'] / median['forked']:.1f} | {median['forked'] / median[inside]:.2f}"
        print(f"| {name} | " + " | ".join(f"{value:.0f}" for value in median.values()) + f" | {ratios} |", flush=True)


def throughput(pairs: dict[str, list[Worker]], paths: dict[str, Path], directory: Path, seconds: float) -> None:
    print("\nnotebooks a minute\n\n| | 1 worker | 2 workers |\n|---|---:|---:|")
    for name in SOURCES:
        for kind, workers in pairs.items():
            rates = []
            for count in (1, 2):
                begin = time.perf_counter()

                def run(number: int, begin: float = begin, kind: str = kind, workers: list[Worker] = workers) -> int:
                    done = 0
                    while time.perf_counter() - begin < seconds:
                        workers[number].execute(paths[name], directory / f"{kind}-{number}.ipynb")  # noqa: B023
                        done += 1
                    return done

                with ThreadPoolExecutor(count) as pool:
                    done = sum(pool.map(run, range(count)))
                rates.append(60 * done / (time.perf_counter() - begin))
            print(f"| {name}, {kind} | " + " | ".join(f"{rate:.0f}" for rate in rates) + " |", flush=True)


def memories(workers: dict[str, Worker], paths: dict[str, Path], directory: Path) -> None:
    print(
        "\nMB a kernel, as it sees itself after its cells\n\n"
        "| | resident | proportional (PSS) | its own (USS) |\n|---|---:|---:|---:|"
    )
    for name in SOURCES:
        for kind in ("papermill", "forked"):
            output = directory / "memory.ipynb"
            workers[kind].execute(paths[f"{name} memory"], output)
            print(f"| {name}, {kind} | " + " | ".join(map(str, memory(output))) + " |", flush=True)


def many(count: int, server: int, pair: list[Worker], paths: dict[str, Path], directory: Path) -> None:
    """Execute so many notebooks by two workers; say what failed and what grew."""
    processes = [psutil.Process(server), *(psutil.Process(worker.process.pid) for worker in pair)]
    failures, used = 0, []

    def one(number: int) -> int:
        output = directory / f"many-{number}.ipynb"
        pair[number].execute(paths["trivial"], output)
        cells = json.loads(output.read_text())["cells"]
        return 0 if "".join(cells[-1]["outputs"][0]["data"]["text/plain"]) == "42" else 1

    begin = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        for done in range(0, count, 2):
            failures += sum(pool.map(one, range(2)))
            if done in {count // 10 // 2 * 2, count // 2 * 2 - 2}:
                used.append([(p.memory_info().rss / 2**20, p.num_fds()) for p in processes])
    took = time.perf_counter() - begin
    print(f"\n{count} notebooks in {took:.0f} s ({60 * count / took:.0f} a minute), {failures} failures")
    for name, (first, first_fds), (last, last_fds) in zip(("server", "worker", "worker"), *used, strict=True):
        print(
            f"{name}: {first:.1f} MB after a tenth, {last:.1f} MB at the end; open descriptors {first_fds}, {last_fds}"
        )
    time.sleep(1)
    print(f"processes left beside the spare one: {len(psutil.Process(server).children()) - 1}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ploomber", metavar="PYTHON")
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, sys.stdin)
        return
    with tempfile.TemporaryDirectory() as name, ForkServer() as server:
        directory = Path(name)
        paths = notebooks(directory)
        ready = server.wait_ready()
        print(f"server: {len(ready['preloaded'])} modules in {ready['seconds']:.1f} s")
        environment = {**os.environ, SOCKET_VARIABLE: server.address}
        kinds = dict.fromkeys(("papermill", "forked", "in-process"), sys.executable)
        if given.ploomber:
            kinds |= dict.fromkeys(("embedded", "ploomber"), given.ploomber)
        pairs = {kind: [Worker(kind, python, environment) for _ in range(2)] for kind, python in kinds.items()}
        firsts = {kind: pair[0] for kind, pair in pairs.items()}
        for kind, pair in pairs.items():
            for worker in pair:
                for source in SOURCES:
                    worker.execute(paths[source], directory / f"{kind}.ipynb")
        try:
            if given.many:
                many(given.many, ready["pid"], pairs["forked"], paths, directory)
                return
            latency(firsts, paths, directory, 3 if given.quick else 11)
            throughput(
                {kind: pairs[kind] for kind in ("papermill", "forked")}, paths, directory, 4 if given.quick else 20
            )
            memories(firsts, paths, directory)
        finally:
            for pair in pairs.values():
                for worker in pair:
                    worker.close()


if __name__ == "__main__":
    main()
