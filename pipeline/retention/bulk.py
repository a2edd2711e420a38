"""What of a run directory is bulky: what is dropped at the level `artifacts`, and how much that is."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evidence.tombstone import ARTIFACTS, FOLDER, is_among
from pipeline.files import list_files
from pipeline.layout import REPORT_DIR
from pipeline.rundir import RunDir

PARTS = ("fills", "positions", "weights", "prices", "account", "benchmarks")


@dataclass(frozen=True)
class Measure:
    """What is removed of a run: names of files and folders (`plots/`), empty for all; files, and bytes."""

    names: tuple[str, ...]
    files: int
    bytes: int


def measure(run: RunDir, level: str) -> Measure:
    """Return what removing a run at this level removes."""
    names = bulky(run) if level == ARTIFACTS else ()
    found = [name for name in list_files(run.path) if level != ARTIFACTS or is_among(name, names)]
    return Measure(names, len(found), sum((run.path / name).lstat().st_size for name in found))


def bulky(run: RunDir) -> tuple[str, ...]:
    """Return which bulky files and folders a run has.

    The executed notebook, figures, tables of trades and of the parts of a result, files of one's own, and the report:
    what is large, and what a replay makes again. Metrics, equity, config, records and the seal stay.
    """
    folders = (run.plots, run.tables, run.own_files, run.journal_files, run.path / REPORT_DIR)
    files = [run.notebook, run.trades_parquet, run.trades_csv, run.kernel_log, run.study_journal, run.trial_returns]
    files += [run.part(name) for name in PARTS]
    found = [
        f"{path.relative_to(run.path).as_posix()}{FOLDER}"
        for path in folders
        if path.is_dir() and not path.is_symlink()
    ]
    found += [path.relative_to(run.path).as_posix() for path in files if path.is_file() and not path.is_symlink()]
    return tuple(sorted(found))
