"""The table `records` as files: a line a run, packed. Listings read them without DuckDB, whose import takes longer.

A line is run_id, state and the record, between tabs; the record is JSON, which has no tabs, nor ends of lines.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

RECORDS = "records"
COLUMNS = ("run_id", "state", "record")
SUFFIX = ".tsv.gz"
Record = tuple[str, str, str]


def pack(records: Iterable[Iterable[str]]) -> bytes:
    """Return records as the bytes of a file; the same records are the same bytes."""
    lines = "".join("\t".join(record) + "\n" for record in records)
    return gzip.compress(lines.encode(), compresslevel=3, mtime=0)


def unpack(path: Path) -> Iterator[Record]:
    """Yield the records of a file; raises OSError or ValueError for one that cannot be read."""
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except EOFError as error:
        raise ValueError(f"{path} is cut off") from error
    for line in text.split("\n")[:-1]:
        run_id, state, record = line.split("\t")
        yield run_id, state, record
