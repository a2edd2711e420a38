"""Readers of libraries that this project does not need: tried where a Python has them, never installed here."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GUESTS = os.environ.get("EVIDENCE_TEST_READERS")  # a Python with pandas, pyarrow, polars, duckdb, tables, h5py


@pytest.mark.slow
@pytest.mark.skipif(GUESTS is None, reason="EVIDENCE_TEST_READERS names no Python with polars, duckdb, tables, h5py")
def test_native_readers_are_seen(tmp_path: Path) -> None:
    """Polars, DuckDB and HDF5 name the file they read, imported before or after the watch; nothing goes wrong."""
    command = [str(GUESTS), "-m", "tests.inputs.guests", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert len(found) == 10
    assert {name: entry["seen"] for name, entry in found.items()} == {
        name: [entry["file"]] for name, entry in found.items()
    }
    assert not any(entry["failed"] for entry in found.values())
