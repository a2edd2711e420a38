"""Read one table through libraries that this project does not need, watched; print what was seen, as JSON.

python -m tests.inputs.guests ROOT    with a Python that has pandas, pyarrow, polars, duckdb, tables and h5py
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.inputs import doors, watch
from pipeline.inputs.places import Places


def readers() -> dict[str, tuple[str, Callable[[], Any]]]:
    """Import the libraries, after the watch has begun, and return what reads which file."""
    import duckdb
    import h5py
    import pandas as pd
    import polars as pl

    def connected() -> Any:
        with duckdb.connect() as connection:
            return connection.execute("select sum(a) from 't.parquet'").fetchall()

    def pending() -> Any:
        connection = duckdb.connect()
        relation = connection.sql("select * from 't.csv' order by a")
        rows = connection.execute("select a from 't.csv' order by a")
        return rows.fetchone(), rows.fetchall(), relation.fetchall()

    return {
        "polars.read_csv": ("t.csv", lambda: pl.read_csv("t.csv")),
        "polars.read_parquet": ("t.parquet", lambda: pl.read_parquet(source="t.parquet")),
        "polars.scan_parquet": ("t.parquet", lambda: pl.scan_parquet("t.par*").collect()),
        "polars.scan_csv": ("t.csv", lambda: pl.scan_csv("t.csv").select(pl.len()).collect()),
        "duckdb.sql": ("t.csv", lambda: duckdb.sql("select * from 't.csv'").fetchall()),
        "duckdb.read_parquet": ("t.parquet", lambda: duckdb.read_parquet("t.parquet").fetchall()),
        "duckdb.connect": ("t.parquet", connected),
        "duckdb, several results": ("t.csv", pending),
        "pandas.read_hdf": ("t.h5", lambda: pd.read_hdf("t.h5")),
        "h5py": ("t.h5", lambda: list(h5py.File("t.h5", "r"))),
    }


def main(root: Path) -> None:
    os.chdir(root)
    places = Places(str(root), str(root / "results"), (str(root),))
    doors.open_doors()
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0]})
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    frame.to_hdf("t.h5", key="t")
    seen: dict[str, Any] = {}
    for name, (file, read) in readers().items():
        started = watch.start(places)
        read()
        found = watch.stop(started)
        seen[name] = {"file": file, "seen": [item.path for item in found.files], "failed": found.failed}
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
