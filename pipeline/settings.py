"""Where a project keeps things: found once at the edge, then handed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.toml import parse_toml

SETTINGS_FILE = Path("config") / "settings.toml"
DATA_DIRECTORIES = "EVIDENCE_DATA_DIRECTORIES"  # separated as those of PATH are
LAKE = "EVIDENCE_LAKE"
LAKE_INGEST = "EVIDENCE_LAKE_INGEST"
LAKE_DIRECTORY = "data/lake"


@dataclass(frozen=True)
class Settings:
    """Directories of one project; all paths absolute.

    `root` is what relative paths in a run spec are relative to; `results` holds the run directories;
    `tracking_uri` is MLFLOW_TRACKING_URI when set, which a spec's own `tracking.uri` overrides. What a notebook reads
    below `data_directories` counts as an input of its run; none given is the root alone. `lake_directory` is that of
    the lake, None for the usual one; `lake_ingest` says whether a run that has ended is taken into it.
    """

    root: Path
    results: Path
    tracking_uri: str | None = None
    data_directories: tuple[Path, ...] = ()
    lake_directory: Path | None = None
    lake_ingest: bool = False

    @classmethod
    def load(cls, root: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
        """Find the project: `root`, else EVIDENCE_ROOT, else the nearest parent that looks like one."""
        chosen = root or (Path(environ["EVIDENCE_ROOT"]) if environ.get("EVIDENCE_ROOT") else None)
        if chosen is not None and not chosen.is_dir():
            raise UsageError(f"The project directory {chosen} does not exist. Give an existing one.")
        base = (chosen or find_root(Path.cwd())).resolve()
        results = (base / (environ.get("EVIDENCE_RESULTS") or "results")).resolve()
        if results.exists() and not results.is_dir():
            raise UsageError(
                f"{results} is a file, and runs are kept in a directory: move it, or set EVIDENCE_RESULTS."
            )
        given = filter(None, environ.get(DATA_DIRECTORIES, "").split(os.pathsep))
        directories = tuple((base / Path(entry).expanduser()).resolve() for entry in given)
        lake = (base / environ[LAKE]).resolve() if environ.get(LAKE) else None
        ingest = environ.get(LAKE_INGEST, "").lower() in ("1", "true", "yes", "on")
        return cls(base, results, environ.get("MLFLOW_TRACKING_URI") or None, directories, lake, ingest)

    @property
    def lake(self) -> Path:
        """Return the directory of the lake: EVIDENCE_LAKE, else `data/lake` in the project."""
        return self.lake_directory or self.root / LAKE_DIRECTORY

    @property
    def watched(self) -> tuple[Path, ...]:
        """Return the directories below which a file that is read counts as an input."""
        return self.data_directories or (self.root,)

    @property
    def default_tracking_uri(self) -> str:
        """Return MLFLOW_TRACKING_URI, else an SQLite store in the project's root, where `mlflow ui` looks."""
        return self.tracking_uri or f"sqlite:///{self.root / 'mlflow.db'}"

    def table(self, name: str) -> dict[str, Any]:
        """Return a table of the project's `config/settings.toml`, empty without one, its keys unchecked.

        Raises UsageError for a file that cannot be read, and for what is no table.
        """
        path = self.root / SETTINGS_FILE
        try:
            values = parse_toml(path.read_bytes()) if path.is_file() else {}
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}.") from None
        table = values.get(name, {})
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} is a table, written [{name}].")
        return table

    def resolve(self, path: str | Path) -> Path:
        """Return `path` as absolute, relative ones taken from the project's root."""
        return self.root / Path(path).expanduser()

    def name_of(self, path: Path) -> str:
        """Return how a spec names a file: relative to the root when it lies below it."""
        absolute = path.absolute()
        return absolute.relative_to(self.root).as_posix() if absolute.is_relative_to(self.root) else str(absolute)


def find_root(start: Path) -> Path:
    """Return the nearest directory from `start` upwards that holds a project, else `start`."""
    for directory in (start, *start.parents):
        if is_project(directory):
            return directory
    return start


def is_project(directory: Path) -> bool:
    """Say whether a directory looks like the root of a project."""
    return (directory / "_quarto.yml").is_file() or (directory / "notebooks" / "backtest.ipynb").is_file()
