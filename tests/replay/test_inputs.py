"""Kept inputs: one copy for each content, never a wrong one, never in the way of a run."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.evidence.inputs import find_by_digest, find_kept, keep_inputs
from pipeline.rundir import INPUTS_DIR


def write(path: Path, data: bytes) -> tuple[Path, str]:
    path.write_bytes(data)
    return path, sha256_bytes(data)


def names(results: Path) -> list[str]:
    return sorted(path.name for path in (results / INPUTS_DIR).glob("*"))


def test_one_copy_for_each_content(tmp_path: Path) -> None:
    """The name is the digest and the ending; the same content is kept once."""
    data, notebook = write(tmp_path / "b.SPX.CSV.gz", b"data"), write(tmp_path / "n.ipynb", b"{}")
    results = tmp_path / "results"
    for _ in range(2):
        assert keep_inputs(results, {"data": data, "notebook": notebook}) == []
    assert names(results) == sorted([f"{data[1]}.csv.gz", f"{notebook[1]}.ipynb"])
    kept = find_kept(results, data[1])
    assert kept is not None
    assert kept.read_bytes() == b"data"


def test_large_data_is_not_kept_and_notebooks_always_are(tmp_path: Path) -> None:
    """The limit is for everything but the notebook."""
    data, notebook = write(tmp_path / "d.csv", b"12345"), write(tmp_path / "n.ipynb", b"12345678")
    assert keep_inputs(tmp_path / "results", {"data": data, "notebook": notebook}, data_limit=4) == []
    assert names(tmp_path / "results") == [f"{notebook[1]}.ipynb"]
    assert keep_inputs(tmp_path / "results", {"data": data}, data_limit=5) == []
    assert find_kept(tmp_path / "results", data[1]) is not None


def test_a_file_that_changed_since_its_digest_is_not_kept(tmp_path: Path) -> None:
    """The copy is digested while it is written; what is not the recorded content is thrown away."""
    path, digest = write(tmp_path / "d.csv", b"before")
    path.write_bytes(b"after!")
    assert keep_inputs(tmp_path / "results", {"data": (path, digest)}) == []
    assert names(tmp_path / "results") == []


def test_a_copy_that_was_changed_is_not_found(tmp_path: Path) -> None:
    """A kept file counts only while its bytes have its name's digest; one of another size is replaced."""
    data = write(tmp_path / "d.csv", b"data")
    keep_inputs(tmp_path / "results", {"data": data})
    kept = find_kept(tmp_path / "results", data[1])
    assert kept is not None
    kept.write_bytes(b"tampered")
    assert find_kept(tmp_path / "results", data[1]) is None
    keep_inputs(tmp_path / "results", {"data": data})
    assert find_kept(tmp_path / "results", data[1]) == kept


def test_many_writers(tmp_path: Path) -> None:
    """Runs that are opened at the same time keep the same content once, whole."""
    data = write(tmp_path / "d.csv", b"x" * 3_000_000)
    threads = [threading.Thread(target=keep_inputs, args=(tmp_path / "results", {"data": data})) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path / "results") == [f"{data[1]}.csv"]
    assert find_kept(tmp_path / "results", data[1]) is not None


def test_a_full_disk_is_a_warning(full_disk: Path, tmp_path: Path) -> None:
    """A run does not fail because its inputs cannot be kept; no partial file stays behind."""
    data = write(tmp_path / "d.csv", b"x" * 2_000_000)
    (warning,) = keep_inputs(full_disk, {"data": data})
    assert warning == "The input d.csv was not kept for replays: No space left on device."
    assert names(full_disk) == []


def test_files_are_found_by_their_digest(tmp_path: Path) -> None:
    """Below a directory, under any name with the ending."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    path, digest = write(tmp_path / "a" / "b" / "x.csv", b"data")
    assert find_by_digest(tmp_path, digest, suffix=".csv") == path
    assert find_by_digest(tmp_path, digest, suffix=".parquet") is None
    assert find_by_digest(tmp_path, sha256_file(path)[::-1]) is None
