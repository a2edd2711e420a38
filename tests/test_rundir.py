"""The run directory: created new, files whole or absent, found again."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline.errors import RunExistsError, RunNotFoundError, StorageError, UsageError
from pipeline.rundir import RunDir, find_run, new_run_id, read_state, run_ids, write_atomic, write_state


def test_an_existing_run_is_refused(tmp_path: Path) -> None:
    """A run directory is created new: the same run_id twice is an error and leaves the first untouched."""
    run = RunDir.create(tmp_path, new_run_id())
    run.config_toml.write_text("kept")
    with pytest.raises(RunExistsError, match=run.run_id):
        RunDir.create(tmp_path, run.run_id)
    assert run.config_toml.read_text() == "kept"


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        "..",
        "last",
        "../../etc",
        "ABCDEFAB-1234-4234-8234-1234567890AB",
        "abcdefab-1234-1234-8234-1234567890ab",
        "abcdefab-1234-4234-8234-1234567890ab\n",
    ],
)
def test_only_a_canonical_uuid4_is_a_run_id(tmp_path: Path, run_id: str) -> None:
    """Nothing but a lower-case UUID4 becomes a directory name."""
    with pytest.raises(UsageError, match="UUID4"):
        RunDir(tmp_path, run_id)


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    """A write that fails leaves neither a half file under the final name nor a partial one beside it."""
    target = tmp_path / "stats.json"
    write_atomic(target, b"old")
    (tmp_path / "blocked").write_bytes(b"a file where a directory is needed")
    with pytest.raises(StorageError, match=r"stats\.json"):
        write_atomic(tmp_path / "blocked" / "stats.json", b"new")
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocked", "stats.json"]


def test_a_full_disk_is_said_so(full_disk: Path) -> None:
    """On a full disk the error says so, and no partial file stays behind."""
    with pytest.raises(StorageError, match="No space left on device") as caught:
        write_atomic(full_disk / "big.bin", b"x" * 4_000_000)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list(full_disk.iterdir()) == []


def test_a_run_is_found_by_the_start_of_its_id(tmp_path: Path) -> None:
    """A unique prefix is enough; an ambiguous or unknown one is an error that says so."""
    first = RunDir.create(tmp_path, "aaaaaaaa-0000-4000-8000-000000000000")
    RunDir.create(tmp_path, "aabbbbbb-0000-4000-8000-000000000000")
    (tmp_path / "not-a-run").mkdir()
    assert find_run(tmp_path, "AAA") == first
    assert sorted(run_ids(tmp_path))[0] == first.run_id
    with pytest.raises(RunNotFoundError, match="2 run ids"):
        find_run(tmp_path, "aa")
    with pytest.raises(RunNotFoundError, match="no run 'zz'"):
        find_run(tmp_path, "zz")
    with pytest.raises(RunNotFoundError):
        find_run(tmp_path, "")


def test_the_state_tells_a_running_run_from_a_dead_one(tmp_path: Path) -> None:
    """The state names its process; once that is gone, or its number was given to another, the run is not alive."""
    run = RunDir.create(tmp_path, new_run_id())
    write_state(run, status="RUNNING")
    state = read_state(run)
    assert state is not None
    assert state["alive"] is True
    text = run.state.read_text()
    run.state.write_text(text.replace(f'"pid_created": {state["pid_created"]}', '"pid_created": 1.0'))
    dead = read_state(run)
    assert dead is not None
    assert dead["alive"] is False
