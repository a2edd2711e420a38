"""Measure the demo run: seconds a stage, and the whole run beside its notebook executed bare.

    python benchmarks/run_stages.py              5 rounds
    python benchmarks/run_stages.py --quick      2 rounds

Both are timed as a user meets them: a new process each time, in a project of its own with a git commit; a first run
that does not count makes the tracking store and compiles modules. `run` is `evidence run --config config/demo.toml`.
`bare` is papermill.execute_notebook on the same notebook with the same parameters and a plain kernel: it computes and
writes the same artifacts, but has no tracking store, no seal and no report. They take turns; printed are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.opening import open_run
from pipeline.runner import ORIGIN, plan_run
from pipeline.settings import Settings
from pipeline.spec import read_spec

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("config", "notebooks", "reports", "requirements")
BARE = """
import json, sys
import papermill
source, target, parameters, directory = sys.argv[1:]
papermill.execute_notebook(
    source, target, json.loads(parameters), kernel_name="python3", cwd=directory, progress_bar=False
)
"""


def make_project(root: Path) -> Settings:
    """Copy what a run needs and commit it, as in a clone."""
    for folder in FOLDERS:
        shutil.copytree(REPOSITORY / folder, root / folder)
    (root / ".gitignore").write_text("/results/\n/mlflow.db*\n/mlartifacts/\n")
    git = ["git", "-C", str(root), "-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "benchmark"]):
        subprocess.run([*git, *arguments], check=True)
    return Settings(root, root / "results")


def environment(settings: Settings, **extra: str) -> dict[str, str]:
    """Return this process's environment without what points at other projects or keeps compiled modules from disk."""
    dropped = ("MLFLOW_", "EVIDENCE_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "EVIDENCE_ROOT": str(settings.root), **extra}


def timed_run(settings: Settings) -> dict[str, float]:
    """Run the demo in a new process; return seconds a stage, `start-up and end`, and `run`, the whole."""
    code = "from pipeline.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "--config", "config/demo.toml", "--json"]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=settings.root, env=environment(settings), capture_output=True, check=True)
    whole = time.perf_counter() - begin
    stages: dict[str, float] = json.loads(done.stdout)["stages"]
    return {**stages, "process start and end": whole - sum(stages.values()), "run": whole}


def timed_bare(settings: Settings) -> float:
    """Execute the notebook of the demo with papermill alone in a new process; return the seconds.

    The run directory the notebook writes to is made before the clock starts.
    """
    spec, given = read_spec(settings.root / "config" / "demo.toml")
    plan = plan_run(spec, settings)
    opened = open_run(plan.spec, settings, origin=ORIGIN, inputs=plan.inputs, given=given)
    parameters = {"run_id": opened.dir.run_id, **plan.parameters}
    target = settings.root / "bare.ipynb"
    own = environment(settings, EVIDENCE_RUN_ID=opened.dir.run_id, EVIDENCE_TRACKING_MODE="off")
    command = [sys.executable, "-W", "ignore", "-c", BARE, str(plan.notebook.path), str(target), json.dumps(parameters)]
    begin = time.perf_counter()
    subprocess.run([*command, str(settings.root)], cwd=settings.root, env=own, capture_output=True, check=True)
    seconds = time.perf_counter() - begin
    if not opened.dir.stats.is_file():
        raise SystemExit("The bare notebook left no artifacts, so it is no comparison.")
    shutil.rmtree(opened.dir.path)
    opened.dir.clear_scratch()
    return seconds


def measure(rounds: int) -> tuple[dict[str, float], float, float]:
    """Return the medians of a run's stages, of the bare notebook, and the seconds of the first run."""
    with tempfile.TemporaryDirectory(prefix="evidence-bench-") as directory:
        settings = make_project(Path(directory))
        first = timed_run(settings)["run"]
        timed_bare(settings)
        runs, bare = [], []
        for _ in range(rounds):
            runs.append(timed_run(settings))
            bare.append(timed_bare(settings))
    medians = {name: statistics.median(one.get(name, 0.0) for one in runs) for name in runs[0]}
    return medians, statistics.median(bare), first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    stages, bare, first = measure(rounds)
    whole = stages.pop("run")
    print(f"The demo run, medians of {rounds}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| stage | seconds | share of the run |\n|---|---:|---:|")
    for name, seconds in stages.items():
        print(f"| {name.replace('_', ' ')} | {seconds:.2f} | {seconds / whole:.0%} |")
    print(f"| **whole run** | **{whole:.2f}** | |")
    print(
        f"\nbare notebook {bare:.2f} s; the whole run takes {whole / bare:.2f} times as long ({whole - bare:+.2f} s)."
    )
    print(f"The first run of a project, which makes the tracking store: {first:.2f} s.")
    print(f"Again: python benchmarks/run_stages.py --rounds {rounds}")


if __name__ == "__main__":
    main()
