"""Trials of somebody's notebook: whole runs, of which nothing is known but what their results say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.backtest.conventions import NOTHING_KNOWN, Conventions
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.sweep.evaluate import returns_of
from pipeline.sweep.search import Search

if TYPE_CHECKING:
    import pandas as pd


def returns_of_runs(search: Search, notes: list[str]) -> pd.DataFrame:
    """Return the simple returns of completed trials, a column a trial, at the labels that all of them have.

    A param may decide where the results begin: what is cut off for that is added to `notes`.
    """
    import pandas as pd

    columns = {number: returns_of(run) for number, run in _runs(search).items()}
    if not columns:
        return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC", name="timestamp"))
    table = pd.concat(columns, axis=1, join="inner")
    table.index = pd.DatetimeIndex(table.index).tz_convert("UTC").as_unit("ns").rename("timestamp")
    longest = max(map(len, columns.values()))
    if len(table) < longest:
        notes.append(
            f"trials have results of different labels, up to {longest:,} returns: they are compared on the "
            f"{len(table):,} that all of them have"
        )
    return table


def conventions_of_runs(search: Search) -> Conventions:
    """Return the conventions of the first completed trial: bars a year and rate, as its seal has them."""
    return next((run.conventions for run in _runs(search).values()), NOTHING_KNOWN)


def _runs(search: Search) -> dict[int, Run]:
    """Return the run of each completed trial; that of a repeated one is the first of its configuration."""
    told = {trial.number: trial for trial in search.told}
    complete = [trial for trial in search.told if trial.state == "COMPLETE"]
    owners = {trial.number: trial if trial.reused is None else told[trial.reused] for trial in complete}
    return {number: Run(RunDir(search.work.settings.results, owner.run_id)) for number, owner in owners.items()}
