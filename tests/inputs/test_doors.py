"""Doors: readers that open files in native code are seen, and read what they read without the watch."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet
import pytest

from pipeline.digest import sha256_file
from pipeline.inputs import doors
from tests.inputs.watching import files_read, watched

FRAME = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=3), "close": [1.0, 2.0, 3.0]})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with the same table in many formats."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    FRAME.to_parquet("t.parquet")
    FRAME.to_feather("t.feather")
    FRAME.to_csv("t.csv", index=False)
    FRAME.to_json("t.json", orient="records", lines=True, date_format="iso")
    FRAME.to_pickle("t.pkl")
    FRAME.assign(year=[2023, 2024, 2024]).to_parquet("parts", partition_cols=["year"])
    return root


READERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "pandas.read_parquet": ("t.parquet", lambda: pd.read_parquet("t.parquet")),
    "pandas.read_feather": ("t.feather", lambda: pd.read_feather("t.feather")),
    "pandas.read_csv": ("t.csv", lambda: pd.read_csv("t.csv")),
    "pandas.read_csv, pyarrow": ("t.csv", lambda: pd.read_csv("t.csv", engine="pyarrow")),
    "pandas.read_json": ("t.json", lambda: pd.read_json("t.json", lines=True)),
    "pandas.read_pickle": ("t.pkl", lambda: pd.read_pickle("t.pkl")),
    "parquet.read_table": ("t.parquet", lambda: pa.parquet.read_table(Path("t.parquet"))),
    "parquet.read_pandas": ("t.parquet", lambda: pa.parquet.read_pandas("t.parquet")),
    "parquet.ParquetFile": ("t.parquet", lambda: pa.parquet.ParquetFile("t.parquet").read()),
    "parquet.ParquetFile, named": ("t.parquet", lambda: pa.parquet.ParquetFile(source="t.parquet").read()),
    "dataset": ("t.parquet", lambda: pa.dataset.dataset("t.parquet").to_table()),
    "csv.read_csv": ("t.csv", lambda: pa.csv.read_csv("t.csv")),
    "csv.read_csv, named": ("t.csv", lambda: pa.csv.read_csv(input_file="t.csv")),
    "feather.read_table": ("t.feather", lambda: pa.feather.read_table("t.feather")),
    "feather.read_feather": ("t.feather", lambda: pa.feather.read_feather("t.feather")),
    "OSFile": ("t.feather", lambda: pa.ipc.open_file(pa.OSFile("t.feather")).read_all()),
    "input_stream": (
        "t.feather",
        lambda: pa.ipc.open_file(pa.BufferReader(pa.input_stream("t.feather").read())).read_all(),
    ),
    "memory_map": ("t.feather", lambda: pa.ipc.open_file(pa.memory_map("t.feather")).read_all()),
}


@pytest.mark.parametrize("reader", READERS)
def test_the_file_is_seen_and_the_table_is_the_same(root: Path, reader: str) -> None:
    """One file with its digest, and what the reader returns is what it returns unwatched."""
    name, read = READERS[reader]
    tables: list[Any] = []
    seen = files_read(root, lambda: tables.append(read()))
    assert {path: file.sha256 for path, file in seen.items()} == {name: sha256_file(root / name)}
    assert tables[0].equals(read())


@pytest.mark.parametrize(
    "read", [lambda: pd.read_parquet("parts"), lambda: pa.dataset.dataset("parts", partitioning="hive").to_table()]
)
def test_each_file_of_a_folder_is_seen(root: Path, read: Callable[[], Any]) -> None:
    """A folder of Parquet files is as many inputs."""
    seen = files_read(root, read)
    assert sorted(seen) == sorted(path.relative_to(root).as_posix() for path in root.glob("parts/*/*"))
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("made.parquet", FRAME.to_parquet, pd.read_parquet),
        ("made.parquet", lambda path: pa.parquet.write_table(pa.table({"a": [1]}), path), pa.parquet.read_table),
        ("made.feather", lambda path: pa.feather.write_feather(FRAME, path), pd.read_feather),
    ],
)
def test_what_the_run_wrote_natively_is_not_its_input(
    root: Path, name: str, write: Callable[[str], Any], read: Callable[[str], Any]
) -> None:
    """Writers have doors, too."""
    assert files_read(root, lambda: (write(name), read(name))) == {}


def test_bytes_in_memory_are_no_file(root: Path) -> None:
    """A table read from a buffer, also as a part of a dataset, is read as ever and names no input."""
    content = (root / "t.parquet").read_bytes()

    def read() -> None:
        assert pa.parquet.read_table(io.BytesIO(content)).num_rows == 3
        assert pd.read_parquet(io.BytesIO(content)).shape == (3, 2)
        assert pa.parquet.ParquetFile(pa.BufferReader(content)).read().num_rows == 3
        fragment = pa.dataset.ParquetFileFormat().make_fragment(pa.BufferReader(content))
        schema = fragment.physical_schema
        single = pa.dataset.FileSystemDataset([fragment], schema, pa.dataset.ParquetFileFormat())
        assert pa.dataset.dataset([single, pa.dataset.dataset(pa.table({"close": [1.0]}))]) is not None

    assert files_read(root, read) == {}


def test_a_door_raises_what_the_reader_raises(root: Path) -> None:
    """A file that is not there, or no table, is the reader's error, not the door's."""
    (root / "no.parquet").write_text("no table")
    with pytest.raises(FileNotFoundError):
        files_read(root, lambda: pd.read_parquet("none.parquet"))
    with pytest.raises(pa.ArrowInvalid):
        files_read(root, lambda: pa.parquet.read_table("no.parquet"))


def test_a_host_counts_once_it_has_answered(root: Path) -> None:
    """A reader that is given a URL is called first; only what it returned was read."""
    module = SimpleNamespace(read=lambda source: source, fail=lambda source: 1 / 0)
    for name in ("read", "fail"):
        doors._set(module, name, "x", given=doors._argument("source"))
    with watched(root) as seen:
        module.read("https://u:p@a.example/x?token=1")
        module.read(source="s3://bucket/t.parquet")
        with pytest.raises(ZeroDivisionError):
            module.fail("https://b.example/x")
    assert [host.name for host in seen[0].hosts] == ["a.example", "bucket"]
    assert seen[0].files == ()


def test_a_reader_looks_as_it_did(root: Path) -> None:
    """Name, documentation and what `help` shows are the library's own."""
    assert pa.csv.read_csv.__name__ == "read_csv"
    assert "Parameters" in (pa.csv.read_csv.__doc__ or "")
    assert isinstance(pa.parquet.ParquetFile("t.parquet"), pa.parquet.ParquetFile)
    assert isinstance(pa.input_stream("t.parquet"), pa.OSFile)
    assert repr(pa.OSFile("t.parquet")).startswith("<pyarrow.OSFile")
    assert not isinstance(pa.BufferReader(b""), pa.OSFile)
