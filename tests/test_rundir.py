"""The run directory: created new, files whole or absent, found again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline import files
from pipeline.errors import RunExistsError, RunNotFoundError, StorageError, UsageError
from pipeline.file_names import refused_by_windows
from pipeline.files import read_json, write_atomic, write_json
from pipeline.rundir import RunDir, find_run, new_run_id, run_ids
from pipeline.running import read_state, write_state


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
    assert (state.alive, state.running, state.pid) == (True, True, os.getpid())
    write_json(run.state, {**read_json(run.state), "pid_created": 1.0})
    dead = read_state(run)
    assert dead is not None
    assert (dead.alive, dead.running) == (False, False)


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    """A name as long as the system lets names be has room for the name it has while it is being written."""
    name = "é" * 60 + "x" * 115 + ".json"
    assert write_atomic(tmp_path / name, b"1").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("windows", "refusals", "fails"), [(True, 3, False), (True, 10**9, True), (False, 1, True)])
def test_a_file_that_somebody_has_open_is_replaced_when_they_end(
    tmp_path: Path, windows: bool, refusals: int, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses meanwhile, so there we wait, not for ever; elsewhere a refusal is one.

    Excuse for the mock: the refusal is Windows' own.
    """
    real, left = Path.replace, [refusals]

    def replace(source: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(errno.EACCES, "it is open", str(target))
        return real(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files, "WINDOWS", windows)
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    if fails:
        with pytest.raises(StorageError, match="it is open"):
            write_atomic(tmp_path / "file", b"new")
        assert list(tmp_path.iterdir()) == []
    else:
        assert write_atomic(tmp_path / "file", b"new").read_bytes() == b"new"


REFUSED = ["a:b.csv", "what?.csv", "x*", "a|b", "con.csv", "plots/NUL", "aux.d/x", "ends.", "a /b", "tab\t"]
PORTABLE = [
    "b.csv",
    "plots/b.csv",
    "console.csv",
    ".hidden",
    "a..b",
    "com10.txt",
    "über.png",
    "a b.csv",
    "a-b_c+(1)",
]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_windows_refuses_is_told(name: str) -> None:
    """A run that cannot be copied to a colleague's machine says so, once, with the name; ordinary names say nothing."""
    told = list(refused_by_windows([name, *PORTABLE]))
    assert len(told) == 1
    assert repr(name) in told[0]
