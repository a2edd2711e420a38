"""Rows of listings from the lake where it is fresh, from the run directories where it is not."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import LakeError
from pipeline.lake.index import read_index
from pipeline.lake.parts import records_of
from pipeline.lake.place import Place
from pipeline.lake.records import RECORDS, Record
from pipeline.lake.state import row_state
from pipeline.lake.stored_row import from_json
from pipeline.run import Run
from pipeline.run_row import RunRow
from pipeline.rundir import RunDir, run_ids
from pipeline.settings import Settings


def listed_rows(settings: Settings, most: int | None = None) -> tuple[list[RunRow], int]:
    """Return the rows of the runs as their directories say now, the one started last first; and how many there are.

    A row comes from the lake when nothing of its run has changed since it was taken in, else from the directory. At
    `most` so many rows are read where that spares reading.
    """
    from pipeline.run import all_runs

    kept = {record[0]: record for record in _kept(settings)}
    if not kept:
        runs = all_runs(settings=settings)
        return [RunRow.of(run) for run in runs[:most]], len(runs)
    directories = (RunDir(settings.results, run_id) for run_id in run_ids(settings.results))
    rows = [_row(run, kept.get(run.run_id)) for run in directories]
    rows.sort(key=lambda row: (row.record.started_at, row.run_id), reverse=True)
    return rows[:most], len(rows)


def _row(run: RunDir, kept: Record | None) -> RunRow:
    if kept is not None and kept[1] == row_state(run):
        try:
            return from_json(kept[2])
        except ValueError:
            pass
    return RunRow.of(Run(run))


def _kept(settings: Settings) -> Iterator[Record]:
    """Yield what the lake has of each run; nothing where there is no lake that can be read."""
    place = Place.of(settings)
    try:
        index = read_index(place)
        if index is None or index.results != settings.name_of(settings.results):
            return
        for part in index.of(RECORDS):
            yield from records_of(place, part)
    except (LakeError, OSError, ValueError):
        return  # whatever is not there is read from its directory
