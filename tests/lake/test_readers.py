"""Whoever reads while others write has all of one state, and no error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.lake.connection import Limits, connected
from pipeline.lake.ingest import ingest
from pipeline.lake.place import Place
from pipeline.settings import Settings
from tests.lake.worlds import make_runs

WRITER = """
import sys
from pathlib import Path
from pipeline.lake.ingest import ingest
from pipeline.settings import Settings
from tests.lake.worlds import make_runs
root = Path(sys.argv[1])
settings = Settings(root, root / "results")
for number in range(2, 20):
    make_runs(settings, 1, first=number)
    ingest(settings, compact=number % 3 == 0)
"""


@pytest.mark.slow
def test_readers_beside_a_writer_that_appends_and_compacts(tmp_path: Path) -> None:
    """Every query is answered, and the tables agree: each run with its metrics, its equity and its trades."""
    settings = Settings(tmp_path, tmp_path / "results")
    make_runs(settings, 2)
    ingest(settings)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=Path(__file__).parents[2])
    counts = []
    try:
        while writer.poll() is None:
            connection = connected(Place.of(settings), {"runs", "metrics", "equity", "trades"}, Limits(threads=1))
            counts += connection.execute(
                "SELECT (SELECT COUNT(*) FROM runs), (SELECT COUNT(*) FROM metrics), (SELECT COUNT(*) FROM equity), "
                "(SELECT COUNT(*) FROM trades)"
            ).fetchall()
            connection.close()
    finally:
        writer.kill()
        writer.wait()
    assert writer.returncode == 0
    assert counts
    assert all((metrics, equity, trades) == (3 * runs, 4 * runs, 2 * runs) for runs, metrics, equity, trades in counts)
