"""The state of a run directory: what changes when a row that was made of it is out of date."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pipeline.layout import Layout
from pipeline.run import Run
from pipeline.rundir import RunDir


def row_state(run: RunDir) -> str:
    """Return the state of all that a row is read from: sizes and times of files, of an unsealed run its status too."""
    told = [*_stats(f"{run.path}/{name}" for name in names_of_row()), *_outbox(run), *_stats([str(run.state)])]
    if told[0] == MISSING:  # the manifest
        told.append(Run(run).status)  # which changes with a process, and with no file
    return _digest(told)


def curves_state(run: RunDir) -> str:
    """Return the state of equity, trades and positions; of a run that is not sealed there are none yet."""
    return _digest(_stats(map(str, curve_files(run)))) if run.manifest.is_file() else ""


def curve_files(run: Layout) -> tuple[Path, Path, Path]:
    """Return the files of equity, trades and positions."""
    return run.equity, run.trades_parquet, run.part("positions")


MISSING = "-"


@cache
def names_of_row() -> tuple[str, ...]:
    """Return the files of a run directory that a row is read from, relative to it; the manifest first."""
    run = Layout(Path())
    files = (run.manifest, run.signature, run.config_json, run.stats, run.result, run.data_facts, run.equity)
    more = (run.conventions, run.robustness, run.tracking, run.journal, run.report)
    return tuple(path.as_posix() for path in (*files, *more))


def _outbox(run: RunDir) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(run.outbox), key=lambda entry: entry.name)
    except OSError:
        return
    yield from _stats(entry.path for entry in entries)


def _stats(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        try:
            found = os.stat(path)  # noqa: PTH116 - there are many, and a Path takes longer than the call
        except OSError:
            yield MISSING
        else:
            yield f"{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}"


def _digest(told: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]
