"""Read sweeps: one by its name or id, or all that are in `results/`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.errors import EvidenceError, RunNotFoundError, UsageError
from pipeline.files import read_json
from pipeline.run import LAST, Run, all_runs
from pipeline.run_record import UNREADABLE
from pipeline.settings import Settings
from pipeline.sweep.repeats import leading
from pipeline.sweep.spec import SweepSpec
from pipeline.sweep.statistics import SweepStatistics
from pipeline.sweep.trial import Trial

if TYPE_CHECKING:
    import pandas as pd
    from optuna import Study


@dataclass(frozen=True)
class Sweep:
    """One sweep in `results/`, read lazily. One that was interrupted has no trials here yet: resume it."""

    run: Run

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return str(self.run.config["sweep"].get("name", ""))

    @cached_property
    def problem(self) -> str | None:
        """Why the sweep cannot be read, as a sentence; None when it can."""
        try:
            self.spec, self.trials, self.statistics  # noqa: B018 - read, once and for all
        except EvidenceError as error:
            return f"The sweep {self.run.run_id} cannot be read: {error}"
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            return f"The sweep {self.run.run_id} cannot be read ({what}). `evidence verify` with its id checks it."
        return None

    @property
    def status(self) -> str:
        """The status of its run, UNREADABLE when there is a problem."""
        return self.run.status if self.problem is None else UNREADABLE

    @cached_property
    def spec(self) -> SweepSpec:
        """What the sweep was asked to do."""
        return SweepSpec.from_mapping(self.run.config)

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """The trials by number."""
        if not self.run.dir.trials.is_file():
            return ()
        lines = self.run.dir.trials.read_text(encoding="utf-8").splitlines()
        return tuple(Trial.from_dict(json.loads(line)) for line in lines)

    @cached_property
    def statistics(self) -> SweepStatistics | None:
        """What the sweep says about its best trial; None until it has ended."""
        values = self._statistics
        return None if values is None else SweepStatistics.from_dict(values)

    @cached_property
    def best_runs(self) -> tuple[str, ...]:
        """The run ids of the best trials that became whole runs, the best first."""
        if self.spec.sweep.mode == "full" and self.statistics is not None:
            ids = {trial.number: trial.run_id for trial in self.trials}
            chosen = leading(self.trials, self.statistics.ranking, self.spec.sweep.best)
            return tuple(ids[number] for number in chosen)
        return tuple((self._best or {}).get("best_runs", ()))

    def run_of(self, trial: Trial) -> str | None:
        """Return the run_id of a trial that is a run in `results/`; None for any other, a repeat too."""
        executed = self.spec.sweep.mode == "full" and trial.reused is None
        return trial.run_id if executed or trial.run_id in self.best_runs else None

    @cached_property
    def returns(self) -> pd.DataFrame:
        """Simple returns per bar of the completed trials, a column a trial, by its number."""
        import pandas as pd

        if not self.run.dir.trial_returns.is_file():
            return pd.DataFrame()
        return pd.read_parquet(self.run.dir.trial_returns).rename(columns=int)

    def study(self) -> Study:
        """Open the Optuna study for reading; raises EvidenceError when it is not there."""
        from pipeline.sweep.study import load_study, open_storage, study_name

        storage = open_storage(self.spec.sweep, self.run.dir.study_journal)
        return load_study(storage, study_name(self.spec.sweep, self.run.run_id))

    @cached_property
    def _best(self) -> dict[str, Any] | None:
        path = self.run.dir.statistics
        return read_json(path) if path.is_file() else None

    @cached_property
    def _statistics(self) -> dict[str, Any] | None:
        if self._best is None:
            return None
        return {name: value for name, value in self._best.items() if name != "best_runs"}


def is_sweep(run: Run) -> bool:
    """Say whether a run is a sweep."""
    return run.is_sweep


def list_sweeps(settings: Settings | None = None) -> list[Sweep]:
    """Return all sweeps, the one started last first."""
    return [Sweep(run) for run in all_runs(settings=settings) if is_sweep(run)]


def load_sweep(wanted: str = LAST, *, settings: Settings | None = None) -> Sweep:
    """Load a sweep by its id, the start of one, its name, or `last`.

    Of several sweeps of one name the one started last is meant. Raises RunNotFoundError, and EvidenceError for a
    sweep that cannot be read.
    """
    found = _find_sweep(wanted, settings)
    if found.problem is not None:
        raise EvidenceError(found.problem)
    return found


def _find_sweep(wanted: str, settings: Settings | None) -> Sweep:
    sweeps = list_sweeps(settings)
    if not sweeps:
        raise RunNotFoundError("There are no sweeps. `evidence sweep --config config/sweep.toml` makes one.")
    if wanted == LAST:
        return sweeps[0]
    named = [sweep for sweep in sweeps if sweep.name == wanted]
    started = [sweep for sweep in sweeps if sweep.run.run_id.startswith(wanted.lower())]
    if named:
        return named[0]
    if len(started) == 1:
        return started[0]
    if started:
        raise RunNotFoundError(f"{wanted!r} is the start of {len(started)} sweeps. Give more of it.")
    names = ", ".join(dict.fromkeys(sweep.name for sweep in sweeps))
    raise RunNotFoundError(f"There is no sweep {wanted!r}. There are: {names}.")


def trials_frame(sweep: Sweep) -> pd.DataFrame:
    """Return the trials as a table: number, state, ids, params, metrics, error; raises EvidenceError without any.

    `run_id` is empty for a trial that is no run of its own; `trial_id` is what the ledger knows each by.
    """
    import pandas as pd

    if not sweep.trials:
        raise EvidenceError(f"The sweep {sweep.name!r} has no trials to export yet.")
    rows = []
    for trial in sweep.trials:
        values = zip(sweep.spec.sweep.objectives, trial.values, strict=False)
        ids = {"run_id": sweep.run_of(trial), "trial_id": trial.run_id}
        facts = {"number": trial.number, "state": trial.state, **ids, "seconds": trial.seconds}
        params = {f"param.{name}": value for name, value in trial.params.items()}
        goals = {f"objective.{name}": value for name, value in values}
        metrics = {f"metric.{name}": value for name, value in trial.stats.items()}
        rows.append({**facts, **params, **goals, **metrics, "error": trial.error})
    return pd.DataFrame(rows)


def table_bytes(frame: pd.DataFrame, suffix: str) -> bytes:
    """Return a table as the bytes of a .csv, .json or .parquet file.

    Raises UsageError for another ending, and for a table that Parquet cannot hold.
    """
    if suffix == ".csv":
        return frame.to_csv(index=False, lineterminator="\n").encode()
    if suffix == ".json":
        return frame.to_json(orient="records", indent=1).encode()
    if suffix != ".parquet":
        raise UsageError(
            f"A table is written as .csv, .json or .parquet, which the file's name must end with: {suffix!r}."
        )
    import pyarrow as pa

    from pipeline.artifacts import parquet_bytes

    try:
        return parquet_bytes(frame, index=False)
    except pa.ArrowException as error:
        raise UsageError(f"A .parquet file cannot hold these trials, a .csv or .json file can: {error}") from None
