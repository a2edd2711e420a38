"""Where the lake is, and its lock: one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import LakeError, StorageError
from pipeline.file_lock import locked
from pipeline.settings import Settings

NEEDED = "The lake needs DuckDB from 2 on: pip install 'evidence-chain[lake]'"


@dataclass(frozen=True)
class Place:
    """The directory of a lake.

    runs/current.json         the files that are the tables now; replaced in one step
    runs/<table>-<id>.parquet   a part of a table; never changed, taken away an hour after it was replaced
    ohlcv/                    market data, see pipeline.lake.market
    lake.lock                 held while something is written
    """

    path: Path

    @classmethod
    def of(cls, settings: Settings) -> Place:
        """Return the place of a project's lake."""
        return cls(settings.lake)

    @property
    def runs(self) -> Path:
        """Directory of the tables over runs."""
        return self.path / "runs"

    @property
    def current(self) -> Path:
        """The list of the files that are the tables now."""
        return self.runs / "current.json"

    @property
    def ohlcv(self) -> Path:
        """Directory of market data."""
        return self.path / "ohlcv"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of the lake; raises StorageError where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with locked(self.path / "lake.lock"):
                yield
        except OSError as error:
            raise StorageError(f"The lake {self.path} cannot be written: {error.strerror}.") from error


def check_installed() -> None:
    """Raise LakeError where DuckDB is not installed, or an older one."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("duckdb")
    except PackageNotFoundError:
        raise LakeError(f"{NEEDED}.") from None
    if int(found.partition(".")[0]) < 2:
        raise LakeError(f"{NEEDED}; {found} is installed.")
