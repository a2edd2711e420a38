"""Which runs were made from a file: by its bytes, or by its bars, whatever file those were in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backtest.files import SUFFIXES
from pipeline.digest import sha256_file
from pipeline.errors import DataError, UsageError, shown
from pipeline.evidence.inputs import find_kept
from pipeline.run_row import RunRow

if TYPE_CHECKING:
    import datetime as dt

    from pipeline.backtest.bars import Reading

SHORTEST = 8
DIGEST = re.compile(rf"(?:sha256:)?([0-9a-f]{{{SHORTEST},64}})")
BARS = "the same bars"


class ByDigest:
    """Runs with an input of this SHA-256, or bars of it; its first digits are enough."""

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def how(self, row: RunRow) -> str | None:
        """Say which input of a run it is; None when it is none."""
        named = [name for name, sha256 in row.digests.items() if sha256 and sha256.startswith(self.digits)]
        return named[0] if named else BARS if (row.bars_sha256 or "").startswith(self.digits) else None


class ByFile:
    """Runs that read this file, its very bytes, or its bars.

    Its bars are read as the run read its own, from and until the same days. Where a run recorded no digest of its
    bars, those of its kept inputs are read.
    """

    def __init__(self, path: Path, results: Path) -> None:
        self.path, self.results = path, results
        self._read: dict[tuple[Path, Reading, tuple[dt.date | None, dt.date | None]], str | None] = {}
        self._kept: dict[str, str | None] = {}

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return sha256_file(self.path)

    def how(self, row: RunRow) -> str | None:
        """Say which input of a run it is, or that the bars are the same; None when it is none."""
        named = [name for name, sha256 in row.digests.items() if sha256 == self.sha256]
        if named:
            return named[0]
        if row.bars_sha256 is not None:
            return BARS if row.bars_sha256 in self._bars_for(row) else None
        own = self._plain(self.path)
        kept = (sha256 for name, sha256 in row.digests.items() if sha256 and name != "notebook")
        return BARS if own is not None and any(self._of_kept(sha256) == own for sha256 in kept) else None

    def _bars_for(self, row: RunRow) -> Iterator[str | None]:
        """Yield the digest of the file's bars as the run would read them, then as a plain file of the same days."""
        from pipeline.backtest.bars import Reading

        data = None if row.spec is None else row.spec.data
        if data is None:
            yield self._plain(self.path)
            return
        asked = Reading(data.columns, data.timezone, data.date_format, data.decimal, data.skip_rows, data.symbol)
        days = (data.start, data.end)
        yield self._digest(self.path, asked, days)
        yield self._digest(self.path, replace(asked, columns={}, date_format=None, decimal=None, skip_rows=0), days)
        yield self._digest(self.path, Reading(), days)

    def _of_kept(self, sha256: str) -> str | None:
        if sha256 not in self._kept:
            kept = find_kept(self.results, sha256)
            self._kept[sha256] = None if kept is None else self._plain(kept)
        return self._kept[sha256]

    def _plain(self, path: Path) -> str | None:
        from pipeline.backtest.bars import Reading

        return self._digest(path, Reading(), (None, None))

    def _digest(self, path: Path, reading: Reading, days: tuple[dt.date | None, dt.date | None]) -> str | None:
        """Return the digest of the bars in a file; None for a file that holds none to this reading."""
        from pipeline.backtest.bars import read_bars
        from pipeline.backtest.bars_digest import data_digest

        if not path.name.lower().endswith(SUFFIXES):
            return None
        key = (path, replace(reading, columns=tuple(sorted(reading.columns.items()))), days)  # type: ignore[arg-type]
        if key not in self._read:
            try:
                self._read[key] = data_digest(read_bars(path, reading, start=days[0], end=days[1]).frame)
            except DataError:
                self._read[key] = None
        return self._read[key]


def by_data(given: str | Path, results: Path) -> ByDigest | ByFile:
    """Return what tells the runs of a file, or of a SHA-256; raises UsageError for what is neither."""
    path = Path(given)
    if os.path.isfile(path):  # noqa: PTH113 - a Path raises for a name that is too long
        return ByFile(path, results)
    if found := DIGEST.fullmatch(str(given).lower()):
        return ByDigest(found[1])
    raise UsageError(
        f"{shown(str(given))} is no file, and no SHA-256 of one ({SHORTEST} to 64 hexadecimal digits): give either."
    )
