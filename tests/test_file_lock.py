"""One writer at a time, with `flock` and without: nothing is lost, and a killed holder blocks nobody."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from pipeline import file_lock
from pipeline.evidence.ledger import Event as Happened
from pipeline.evidence.ledger import append
from pipeline.file_lock import locked
from pipeline.tracking.journal import JournalWriter, read_journal

CONTEXT = multiprocessing.get_context("spawn")
HAS_FLOCK = file_lock.fcntl is not None


@pytest.fixture(params=[pytest.param(True, marks=pytest.mark.skipif(not HAS_FLOCK, reason="no flock here")), False])
def has_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Say with which of the two mechanisms this process locks."""
    if not request.param:
        monkeypatch.setattr(file_lock, "fcntl", None)
    return bool(request.param)


def _log(path: Path, name: int, has_flock: bool) -> None:
    if not has_flock:
        file_lock.fcntl = None
    writer = JournalWriter(path)
    for number in range(50):
        writer.append("metrics", {"items": {f"m{name}": number}})


def _hold(path: Path, has_flock: bool, taken: Event) -> None:
    if not has_flock:
        file_lock.fcntl = None
    with locked(path):
        taken.set()
        time.sleep(600)


def _hold_as_before(path: Path, taken: Event, release: Event) -> None:
    """Hold the lock of the file as the first version of this package did."""
    import fcntl

    with path.open("r+b") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        taken.set()
        release.wait(60)


@contextmanager
def holder(path: Path, has_flock: bool) -> Iterator[multiprocessing.process.BaseProcess]:
    taken = CONTEXT.Event()
    process = CONTEXT.Process(target=_hold, args=(path, has_flock, taken))
    process.start()
    try:
        assert taken.wait(60)
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
def test_processes_share_a_journal(tmp_path: Path, has_flock: bool) -> None:
    """Three processes log at once: every entry is there, numbered without a gap."""
    path = tmp_path / "journal"
    writers = [CONTEXT.Process(target=_log, args=(path, name, has_flock)) for name in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    journal = read_journal(path)
    assert ([entry.seq for entry in journal.entries], journal.damaged) == (list(range(1, 151)), 0)


@pytest.mark.slow
def test_a_killed_holder_blocks_nobody(tmp_path: Path, has_flock: bool) -> None:
    """The system drops the lock of a process that ends without a word; before that, whoever cannot wait is told."""
    path = tmp_path / "ledger.jsonl"
    append(path, Happened("trial_counted"))
    with holder(path, has_flock) as process:
        with pytest.raises(TimeoutError), locked(path, seconds=0.05):
            pass
        process.kill()
        process.join()
        assert append(path, Happened("trial_counted")).seq == 1


def test_threads_take_turns(tmp_path: Path, has_flock: bool) -> None:
    """The lock is of one opening of the file, not of the process."""
    path, inside, most = tmp_path / "file", [], []

    def work() -> None:
        for _ in range(20):
            with locked(path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (60, 1)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_FLOCK, reason="no flock here")
def test_a_process_of_an_older_version_takes_part(tmp_path: Path) -> None:
    """It locks the ledger itself: while it writes we wait, and so the other way round."""
    path = tmp_path / "ledger.jsonl"
    append(path, Happened("trial_counted"))
    taken, release = CONTEXT.Event(), CONTEXT.Event()
    process = CONTEXT.Process(target=_hold_as_before, args=(path, taken, release))
    process.start()
    assert taken.wait(60)
    with pytest.raises(TimeoutError), locked(path, seconds=0.05):
        pass
    release.set()
    assert append(path, Happened("trial_counted")).seq == 1
    process.join()
    assert list(tmp_path.iterdir()) == [path], "nothing lies beside the ledger where there is flock"


def test_readers_share(tmp_path: Path, has_flock: bool) -> None:
    """A reader gets what is there, does not make what is not, and lets other readers read where there is flock."""
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError), locked(path, shared=True):
        pass
    path.write_bytes(b"text\r\n")
    with locked(path, shared=True) as first:
        assert os.read(first, 10) == b"text\r\n"
        if has_flock:
            with locked(path, shared=True, seconds=0.05) as second:
                assert os.read(second, 4) == b"text"
            with pytest.raises(TimeoutError), locked(path, seconds=0.05):
                pass
