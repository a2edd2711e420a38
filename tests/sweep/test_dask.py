"""A Dask cluster executes trials: a real scheduler and real workers, killed in the middle."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.sweep.executor import open_executor
from pipeline.sweep.sweep import Hooks
from tests.sweep.sweeps import facts, search, spec

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, directory: Path, host: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        self.directory = directory
        self.environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
        self.processes: list[subprocess.Popen[bytes]] = []
        options = ("--host", host, "--port", "0", "--no-dashboard")
        log = self._start("scheduler", *options, name="scheduler", within=within)
        self.address = self._wait(log, r"tcp://[\d.]+:\d+")

    def worker(self, name: str, within: Sequence[str] = (), *, nanny: bool = False) -> subprocess.Popen[bytes]:
        options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(self.directory / name)]
        options += [] if nanny else ["--no-nanny"]
        log = self._start("worker", self.address, *options, name=name, within=within)
        self._wait(log, "Registered to")
        return self.processes[-1]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self, command: str, *arguments: str, name: str, within: Sequence[str]) -> Path:
        log = self.directory / f"{name}.log"
        with log.open("wb") as file:
            self.processes.append(
                subprocess.Popen(
                    [*within, sys.executable, "-m", "distributed.cli.dask_" + command, *arguments],
                    cwd=self.directory,
                    env=self.environment,
                    stdout=file,
                    stderr=file,
                )
            )
        return log

    def _wait(self, log: Path, pattern: str) -> str:
        deadline = time.monotonic() + 60
        while not (found := re.search(pattern, log.read_text())):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return found.group()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    directory = tmp_path / "cluster"
    directory.mkdir()
    made = Cluster(directory)
    yield made
    made.close()


@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_the_same_trials(project: Settings, cluster: Cluster) -> None:
    """Two workers of a cluster give the trials that one process gives."""
    cluster.worker("one")
    cluster.worker("two")
    wanted = spec(sweep={"sampler": "tpe", "trials": 30}, space={"fast": {"low": 2, "high": 40}, "slow": [50, 90]})
    with open_executor(cluster.address.replace("tcp://", "dask://"), 1) as executor:
        assert executor.workers == 2
        shared = search(project, wanted, executor)
    assert facts(shared.trials) == facts(search(project, wanted).trials)


@pytest.mark.filterwarnings("default")
def test_workers_that_are_killed_and_come_late(project: Settings, cluster: Cluster) -> None:
    """A worker is killed while it executes trials and another joins late: every trial is there, each once."""
    (project.root / "slow_one.py").write_text(
        "import time\n"
        "def fn(df, params):\n"
        "    time.sleep(0.2)\n"
        "    return (df['close'] > df['close'].rolling(int(params['n'])).mean()).astype(int)\n"
    )
    first = cluster.worker("first")
    cluster.worker("second")
    seen: list[int] = []

    def trial_ended(_: object) -> None:
        seen.append(1)
        if len(seen) == 5:
            first.send_signal(signal.SIGKILL)
        if len(seen) == 10:
            cluster.worker("late")

    wanted = spec(strategy={"name": "slow_one:fn"}, space={"n": list(range(5, 45))})
    with open_executor(cluster.address.replace("tcp://", "dask://"), 1) as executor:
        outcome = search(project, wanted, executor, hooks=Hooks(trial=trial_ended))
    assert [trial.params["n"] for trial in outcome.trials] == list(range(5, 45))
    assert {trial.state for trial in outcome.trials} == {"COMPLETE"}
    assert len(seen) == 40
    assert outcome.run.verify().ok


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_trial_that_hangs_is_ended(project: Settings, cluster: Cluster, workers: int) -> None:
    """A trial that never ends is given up at its limit, its worker starts anew, and all the rest is executed.

    With a single worker the rest can only be executed by that one; of two, one has no nanny that could restart it.
    """
    (project.root / "stuck.py").write_text(
        "import time\n"
        "def fn(df, params):\n"
        "    if params['n'] == 8: time.sleep(600)\n"
        "    return (df['close'] > df['close'].rolling(int(params['n'])).mean()).astype(int)\n"
    )
    cluster.worker("one", nanny=True)
    if workers == 2:
        cluster.worker("two")
    section = {"trial_timeout": 0.5, "retries": 0}
    wanted = spec(strategy={"name": "stuck:fn"}, space={"n": list(range(5, 12))}, sweep=section)
    with open_executor(cluster.address.replace("tcp://", "dask://"), 1) as executor:
        outcome = search(project, wanted, executor)
    states = {trial.params["n"]: trial.state for trial in outcome.trials}
    assert states.pop(8) == "FAIL"
    assert set(states.values()) == {"COMPLETE"}


@pytest.mark.filterwarnings("default")
def test_whole_runs_on_a_cluster(project: Settings, cluster: Cluster) -> None:
    """In full mode the workers leave sealed runs in the shared results directory, and the ledger stays whole."""
    cluster.worker("one")
    cluster.worker("two")
    wanted = spec(sweep={"mode": "full", "trials": 4})
    with open_executor(cluster.address.replace("tcp://", "dask://"), 1) as executor:
        outcome = search(project, wanted, executor)
    assert [trial.state for trial in outcome.trials] == ["COMPLETE"] * 4
    for trial in outcome.trials:
        run = Run(RunDir(project.results, trial.run_id))
        assert run.status == "FINISHED"
        assert run.verify().ok


def test_a_scheduler_that_is_not_there_is_said() -> None:
    """A wrong address is an error that says how to start a scheduler."""
    with pytest.raises(UsageError, match="There is no Dask scheduler"), open_executor("dask://127.0.0.1:9", 1):
        pass


SCRIPT = """
import sys
from pipeline.settings import Settings
from pipeline.sweep.executor import open_executor
from tests.sweep.sweeps import facts, search, spec
with open_executor(sys.argv[1], 1) as executor:
    outcome = search(Settings.load(), spec(sweep={"best": 1}), executor)
print(executor.__class__.__name__, [trial.state for trial in outcome.trials], outcome.best_runs)
"""


@pytest.fixture
def two_hosts() -> Iterator[tuple[list[str], list[str]]]:
    """Return the prefixes of commands on two hosts with a network of their own, made of network namespaces."""
    one, two = f"ev{os.getpid()}a", f"ev{os.getpid()}b"
    steps = [
        f"ip netns add {one}",
        f"ip netns add {two}",
        f"ip link add {one} netns {one} type veth peer name {two} netns {two}",
        *(
            line
            for name, host in ((one, "10.99.77.1"), (two, "10.99.77.2"))
            for line in (
                f"ip -n {name} addr add {host}/24 dev {name}",
                f"ip -n {name} link set {name} up",
                f"ip -n {name} link set lo up",
            )
        ),
    ]
    try:
        for step in steps:
            if subprocess.run(step.split(), capture_output=True, check=False).returncode:
                pytest.skip(f"no network namespaces here: {step}")
        yield ["ip", "netns", "exec", one], ["ip", "netns", "exec", two]
    finally:
        for name in (one, two):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_across_hosts(project: Settings, tmp_path: Path, two_hosts: tuple[list[str], list[str]]) -> None:
    """The command and the scheduler on one host, the worker on another: trials and whole runs come out the same."""
    here, there = two_hosts
    directory = tmp_path / "cluster"
    directory.mkdir()
    cluster = Cluster(directory, "10.99.77.1", within=here)
    try:
        cluster.worker("far", within=there)
        script = project.root / "far.py"
        script.write_text(SCRIPT)
        address = cluster.address.replace("tcp://", "dask://")
        assert "10.99.77.1" in address
        command = [*here, sys.executable, str(script), address]
        done = subprocess.run(
            command, cwd=project.root, env=cluster.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        cluster.close()
    assert done.stdout.startswith("DaskExecutor ['COMPLETE', 'COMPLETE'")
    runs = [Run(RunDir(project.results, path.parent.name)) for path in project.results.glob("*/manifest.json")]
    assert len(runs) == 2
    assert all(run.verify().ok and run.status == "FINISHED" for run in runs)
