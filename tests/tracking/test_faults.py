"""Nothing lost, nothing twice: a failure at every call to the store, then `sync`, then MLflow equals the journal.

Counted cases: the fast tier fails one call that changes something; the slow tier all calls of a delivery, in SQLite and
in a file store, and kills the whole process at random moments. The faults over HTTP are in test_faults_http.py.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from test_run_tracking import execute, notebook, seal
from tracking_checks import assert_mlflow_equals_journal, recorded

from pipeline.errors import TrackingError
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.tracking import RunTracking, open_tracking, pending, sync_run
from pipeline.tracking.delivery import deliver
from pipeline.tracking.journal import JournalWriter
from pipeline.tracking.journal_tracker import JournalTracker
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import Store
from tests.conftest import small_file_system
from tests.tiers import mostly_slow

Opener = Callable[..., tuple[RunDir, RunTracking]]


class SuddenEndError(BaseException):
    """Nothing catches it, as nothing catches kill -9."""


class FaultyStore(Store):
    """A real store whose `fail_at`-th call fails: before it is made, or after, when the answer gets lost."""

    def __init__(self, uri: str, fail_at: int, when: str, error: BaseException) -> None:
        super().__init__(uri)
        self.fail_at, self.when, self.error = fail_at, when, error
        self.calls = 0
        self.made: list[str] = []

    def _call(self, what: str, function: Any, *arguments: Any) -> Any:
        self.calls += 1
        self.made.append(what)
        if self.calls == self.fail_at and self.when == "before":
            raise self.error
        result = super()._call(what, function, *arguments)
        if self.calls == self.fail_at:
            raise self.error
        return result


def journalled_run(results: Path) -> Home:
    """Return a finished run, in an experiment of its own, of which nothing has been delivered yet."""
    home = Home.of_run(RunDir.create(results, new_run_id()))
    JournalWriter(home.journal).append("start", {"name": "faulty", "experiment": home.run_id, "tags": {"k": "v"}})
    tracker = JournalTracker(home)
    tracker.start_run()
    tracker.log_params({f"p{number}": number for number in range(220)})
    for step in range(3):
        tracker.log_metrics({"a": step / 3, "b": 1.0}, step=step)
    tracker.log_metrics({f"m{number}": number for number in range(8)})
    tracker.log_text("one", "notes/one.txt")
    tracker.log_text("two", "two.txt")
    tracker.set_tags({"t": "first"})
    tracker.set_tags({"t": "second", "u": "x"})
    late = JournalWriter(home.late)
    late.append("tags", {"items": {"evidence.manifest_sha256": "ab"}})
    late.append("end", {"status": "FINISHED"})
    return home


def calls_of_a_delivery(uri: str, results: Path) -> list[str]:
    store = FaultyStore(uri, 0, "", SuddenEndError())
    deliver(journalled_run(results), store, exact=True)
    return store.made


def try_all_faults(uri: str, results: Path, wanted: Sequence[str]) -> int:
    """Fail each call (`wanted`: the first of these, never caught) before and after its effect; count the cases."""
    made = calls_of_a_delivery(uri, results)
    places = [made.index(what) + 1 for what in wanted] or list(range(1, len(made) + 1))
    cases = 0
    for fail_at in places:
        for when in ("before", "after"):
            for error in (SuddenEndError("fault"),) if wanted else (SuddenEndError("fault"), TrackingError("fault")):
                home = journalled_run(results)
                store = FaultyStore(uri, fail_at, when, error)
                with suppress(TrackingError, SuddenEndError):  # a lost answer may be made good at once
                    deliver(home, store, exact=True)
                assert store.calls >= fail_at
                deliver(home, Store(uri))
                assert_mlflow_equals_journal(home, Store(uri), results / "read")
                assert home.pending() == 0
                cases += 1
    print(f"\n{cases} faults: MLflow equals the journal after each")  # for `pytest -s`
    return cases


@pytest.fixture
def file_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


KEY_CALLS = ("create the run", "log a batch", "log an artifact", "end the run")


@pytest.mark.parametrize("wanted", mostly_slow([["log a batch"], list(KEY_CALLS), []]), ids=["one", "key calls", "all"])
def test_a_fault_at_every_call_sqlite(sqlite_uri: str, settings: Settings, wanted: Sequence[str]) -> None:
    """Whatever call fails, before or after it took effect, caught or not: delivered exactly once in the end."""
    assert try_all_faults(sqlite_uri, settings.results, wanted) >= (2 * len(wanted) or 40)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [KEY_CALLS, pytest.param((), marks=pytest.mark.slow)], ids=["key calls", "all"])
def test_a_fault_at_every_call_file_store(file_uri: str, settings: Settings, wanted: Sequence[str]) -> None:
    """A file store appends points blindly, so here a point sent twice would be there twice."""
    assert try_all_faults(file_uri, settings.results, wanted) >= (8 if wanted else 40)


@pytest.mark.slow
def test_fault_after_fault(sqlite_uri: str, settings: Settings) -> None:
    """Several attempts in a row fail at random places before one gets through."""
    chance = random.Random(7)
    for _ in range(25):
        home = journalled_run(settings.results)
        for _ in range(chance.randint(2, 5)):
            store = FaultyStore(sqlite_uri, chance.randint(1, 12), chance.choice(["before", "after"]), SuddenEndError())
            with suppress(SuddenEndError):
                deliver(home, store, exact=home.load().mlflow_run_id is None and not home.state_file.exists())
        deliver(home, Store(sqlite_uri))
        assert_mlflow_equals_journal(home, Store(sqlite_uri), settings.results / "read")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["open", "deliver", "finish", "report"])
def test_a_locked_database_at_every_stage(
    open_run: Opener, sqlite_uri: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: str
) -> None:
    """Another program holds the SQLite lock: the run waits its limit, goes on, and sync delivers the rest."""
    monkeypatch.setenv("EVIDENCE_TRACKING_TIMEOUT", "0.2")
    with closing(sqlite3.connect(sqlite_uri.removeprefix("sqlite:///"), isolation_level=None)) as other:

        def lock(now: str) -> None:
            if stage == now:
                other.execute("BEGIN EXCLUSIVE")

        began = time.monotonic()
        lock("open")
        run, tracking = open_run(sqlite_uri)
        notebook(run)
        lock("deliver")
        tracking.deliver()
        files = seal(run)
        lock("finish")
        tracking.finish("FINISHED", artifacts=files)
        lock("report")
        tracking.attach_report(Path("stats.json"), {"evidence.report_sha256": "cd"})
        assert time.monotonic() - began < 3
        assert pending(run) > 0
        assert "database is locked" in tracking.warnings[0]
        other.execute("ROLLBACK")
    assert sync_run(run, settings).error is None
    assert_mlflow_equals_journal(Home.of_run(run), Store(sqlite_uri), tmp_path / "read")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    yield from small_file_system(tmp_path / "small", "4m")


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 4, 40, 200])
def test_a_full_disk_under_the_store(
    open_run: Opener, template_database: Path, small_disk: Path, settings: Settings, tmp_path: Path, room: int
) -> None:
    """The store's disk is full but for `room` kB: the run goes on; with space again sync delivers everything."""
    shutil.copyfile(template_database, small_disk / "mlflow.db")
    uri = f"sqlite:///{small_disk / 'mlflow.db'}"
    Store(uri).connect()
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "ballast").write_bytes(b"x" * (free - room * 1024))
    run, tracking = open_run(uri)
    (run.path / "large.bin").write_bytes(os.urandom(300_000))
    execute(run, tracking)
    assert pending(run) > 0
    assert tracking.warnings
    (small_disk / "ballast").unlink()
    assert sync_run(run, settings).error is None
    assert_mlflow_equals_journal(Home.of_run(run), Store(uri), tmp_path / "read")


def _work(uri: str, root: Path, run_id: str) -> None:
    """One whole run, as the runner and the notebook do it."""
    settings = Settings(root, root / "results")
    spec = RunSpec.from_mapping({"tracking": {"uri": uri}})
    run = RunDir.create(settings.results, run_id)
    execute(run, open_tracking(spec.tracking, run=run, spec=spec, settings=settings, tags={"k": "v"}))


def _in_child(work: Callable[[], None], *, kill_after: float | None = None) -> int:
    """Run `work` in a forked process, killed after some seconds; return its exit status, negative when killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - told here, counted by the exit status
            traceback.print_exc()
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes it kills")
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("backend", ["sqlite", "file"])
def test_kill_9_at_random_moments(
    sqlite_uri: str, file_uri: str, tmp_path: Path, settings: Settings, backend: str
) -> None:
    """60 runs killed at random moments of their life: after sync MLflow equals the journal, run by run.

    A file store writes its files in place, so a kill inside one of those writes leaves an empty file which
    MLflow then takes for the value. Such runs are passed over: no client can repair them.
    The environment variable TEST_SEED tries other moments.
    """
    uri = sqlite_uri if backend == "sqlite" else file_uri
    chance = random.Random(int(os.environ.get("TEST_SEED", "11")))
    longest = _duration(uri, tmp_path)
    killed = empty = 0
    for _ in range(60):
        run_id = new_run_id()
        after = chance.uniform(0, longest)
        killed += _in_child(lambda run_id=run_id: _work(uri, tmp_path, run_id), kill_after=after) == -signal.SIGKILL
        run = RunDir(settings.results, run_id)
        home = Home.of_run(run)
        if not home.journal.is_file() or not home.read()[0].of("start"):
            empty += 1
            continue
        if backend == "file" and _torn(tmp_path / "mlruns"):
            continue

        def recover(run: RunDir = run, home: Home = home) -> None:
            result = sync_run(run, settings, uri=uri)
            assert result.error is None, result
            assert_mlflow_equals_journal(home, Store(uri), tmp_path / "read")

        assert _in_child(recover) == 0, run_id
    print(f"\nkilled {killed} of 60 runs, {empty} before anything was logged")
    assert killed - empty >= 10, (killed, empty)


def _torn(store: Path) -> bool:
    """Return whether MLflow's file store holds a file whose writing was cut short, and remove its run."""
    empty = [path for path in store.rglob("*") if path.is_file() and path.stat().st_size == 0]
    torn = [path for path in empty if path.parent.name in ("params", "tags", "metrics") or path.suffix == ".yaml"]
    for path in torn:
        shutil.rmtree(path.parent if path.suffix == ".yaml" else path.parent.parent, ignore_errors=True)
    return bool(torn)


def _duration(uri: str, root: Path) -> float:
    for _ in range(2):
        began = time.monotonic()
        assert _in_child(lambda: _work(uri, root, new_run_id())) == 0
    return time.monotonic() - began


@pytest.mark.slow
def test_two_deliver_at_once(open_run: Opener, sqlite_uri: str, settings: Settings, tmp_path: Path) -> None:
    """`evidence sync` beside a run that is finishing, or another sync: a lock makes them take turns."""
    import threading

    run, tracking = open_run(sqlite_uri)
    notebook(run)
    seal(run)
    others = [threading.Thread(target=sync_run, args=(run, settings)) for _ in range(4)]
    for other in others:
        other.start()
    tracking.finish("FINISHED", artifacts=[Path("stats.json")], tags={"a": "b"})
    for other in others:
        other.join()
    assert sync_run(run, settings).pending == 0
    found = recorded(Store(sqlite_uri), run.run_id, tmp_path / "read")
    assert len(found.points) == len(set(found.points))
    assert found.status == "FINISHED"
