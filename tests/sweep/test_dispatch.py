"""Handing out trials: nothing is lost, whatever becomes of the workers."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from pipeline.rundir import new_run_id
from pipeline.sweep.dispatch import GRACE, Dispatch
from pipeline.sweep.executor import InlineExecutor, ProcessExecutor, WorkerDiedError, open_executor
from pipeline.sweep.trial import Answer, Proposal


def proposals(count: int) -> list[Proposal]:
    return [Proposal(number, new_run_id(), {"n": number}) for number in range(count)]


def double(given: list[Proposal]) -> list[Answer]:
    return [Answer({"twice": 2 * proposal.number}) for proposal in given]


def die_once(directory: Path, given: list[Proposal]) -> list[Answer]:
    """Kill this process the first time a proposal comes with a number that divides by five."""
    import os
    import signal

    for proposal in given:
        mark = directory / f"{proposal.number}"
        if proposal.number % 5 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return double(given)


def answers(dispatch: Dispatch, given: list[Proposal]) -> dict[int, Any]:
    found = list(dispatch.answers(given))
    assert len(found) == len({proposal.number for proposal, _, _ in found})
    return {proposal.number: (answer, attempts) for proposal, answer, attempts in found}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["inline", "local"])
def test_every_trial_is_answered_once(where: str) -> None:
    """Many short trials share calls; each is answered exactly once, in this process and in a pool."""
    given = proposals(200)
    with open_executor(where, 2) as executor:
        found = answers(Dispatch(executor, lambda chunk: (double, (list(chunk),)), Event()), given)
    assert {number: answer.stats["twice"] for number, (answer, _) in found.items()} == {n: 2 * n for n in range(200)}


@pytest.mark.slow
def test_trials_of_a_worker_that_died_are_tried_again(tmp_path: Path) -> None:
    """Each trial whose worker was killed is answered in the end, and its first try is named."""
    given = proposals(12)
    with open_executor("local", 2) as executor:
        dispatch = Dispatch(executor, lambda chunk: (die_once, (tmp_path, list(chunk))), Event(), retries=2)
        found = answers(dispatch, given)
    assert sorted(found) == list(range(12))
    assert all(answer.error is None for answer, _ in found.values())


@pytest.mark.slow
def test_a_trial_that_always_kills_its_worker_is_marked(tmp_path: Path) -> None:
    """After the last try the answer is an error; with fresh ids each try has its own, and all are named."""
    given = proposals(2)
    with open_executor("local", 1) as executor:
        dispatch = Dispatch(
            executor,
            lambda chunk: (die_once, (tmp_path / chunk[0].run_id, list(chunk))),  # a directory that does not exist
            Event(),
            together=False,
            retries=1,
            fresh_ids=True,
        )
        tmp_path.joinpath("never").mkdir()
        with pytest.raises(FileNotFoundError):
            answers(dispatch, given)  # an error that is no lost worker ends the search instead of being hidden


def test_nothing_starts_after_stop() -> None:
    """Once stopped, what runs is waited for and the rest is left."""
    stop, started = Event(), []

    def call(chunk: Any) -> Any:
        started.extend(chunk)
        if len(started) == 3:
            stop.set()
        return double, (list(chunk),)

    found = list(Dispatch(InlineExecutor(), call, stop, together=False).answers(proposals(10)))
    assert len(found) == len(started) == 3


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed() -> None:
    """A call that never returns to Python is ended after its limit, and the pool goes on."""
    pool = ProcessExecutor(1)
    began = time.monotonic()
    future = pool.submit(time.sleep, 600, timeout=1.0)
    with pytest.raises(TimeoutError):
        future.result(timeout=60)
    assert pool.submit(int, "7").result(timeout=60) == 7
    pool.close(at_once=True)
    assert time.monotonic() - began < 60
    assert GRACE > 0
    assert issubclass(WorkerDiedError, Exception)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_no_worker_outlives_a_killed_coordinator(tmp_path: Path) -> None:
    """A trial that takes ten minutes does not go on for nobody when the sweep's process was killed."""
    script = tmp_path / "coordinator.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, sys, time
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pipeline.sweep.executor import ProcessExecutor
        from tests.sweep.test_dispatch import busy
        if __name__ == "__main__":
            executor = ProcessExecutor(2)
            for name in "ab":
                executor.submit(busy, {str(tmp_path)!r} + "/" + name)
            time.sleep(600)
        """)
    )
    with subprocess.Popen([sys.executable, str(script)]) as coordinator:
        files = [tmp_path / name for name in "ab"]
        while not all(file.is_file() and file.read_text() for file in files):
            assert coordinator.poll() is None
            time.sleep(0.05)
        coordinator.kill()
    workers = [psutil.Process(int(file.read_text())) for file in files if psutil.pid_exists(int(file.read_text()))]
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


class Gone:
    """What a worker cannot read any more, as a lock of a command that has ended."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("/there/is/no/such/lock",)


@pytest.mark.slow
@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="there is no fork server")
@pytest.mark.parametrize(("call", "expected"), [("print, (Gone(),)", False), ("divmod, (1, 0)", True)])
def test_a_worker_that_comes_too_late_says_nothing(call: str, expected: bool) -> None:
    """What it misses is no news; what ends a worker that has begun is shown as ever."""
    script = f"""
        import multiprocessing, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from pipeline.sweep.executor import PRELOAD
        from tests.sweep.test_dispatch import Gone
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([name for name in PRELOAD if "late" in name])
        function, given = {call}
        process = context.Process(target=function, args=given)
        process.start()
        process.join()
        print("ended with", process.exitcode)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert ended.stdout == "ended with 1\n"
    assert ("Traceback" in ended.stderr) is expected, ended.stderr


def busy(name: str) -> None:
    """Say which process this is, and take ten minutes."""
    Path(name).write_text(str(os.getpid()))
    time.sleep(600)
