"""Read runs: load one by id, list all, compare two. The public way into `results/`."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import HEADLINE
from pipeline.errors import RunNotFoundError
from pipeline.evidence.manifest import read_manifest
from pipeline.evidence.verify import Verification, verify_run
from pipeline.files import read_json
from pipeline.masking import mask_shown
from pipeline.notebook.quick_import import import_nbformat
from pipeline.objects import read_object
from pipeline.robustness_record import Robustness
from pipeline.run_record import UNREADABLE, Artifact, RunError, RunRecord, sealed_files, sealed_record
from pipeline.rundir import RunDir, find_run, run_ids
from pipeline.running import NOBODY, Execution, read_state
from pipeline.settings import Settings
from pipeline.spec import RunSpec, recorded_spec

if TYPE_CHECKING:
    import pandas as pd
    from nbformat import NotebookNode

    from pipeline.backtest.conventions import Conventions
    from pipeline.backtest.spacing import DataFacts
    from pipeline.evidence.tombstone import Tombstone
    from pipeline.results.record import ResultRecord
    from pipeline.results.what import WhatRan
    from pipeline.tracking.run_tracking import TrackingInfo

LAST = "last"


class Run:
    """One run in `results/`, read lazily. Missing artifacts (failed runs) are empty or None, never an error."""

    def __init__(self, directory: RunDir) -> None:
        self.dir = directory
        self.run_id = directory.run_id

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """The seal as written, unchecked; None for a run that was not sealed."""
        try:
            return read_manifest(self.dir) if self.dir.manifest.is_file() else None
        except (OSError, ValueError):
            return None

    @cached_property
    def manifest_digest(self) -> str | None:
        """SHA-256 of the manifest's bytes; None for a run that was not sealed, or whose manifest cannot be read."""
        from pipeline.digest import sha256_file

        try:
            return sha256_file(self.dir.manifest) if self.dir.manifest.is_file() else None
        except OSError:
            return None

    @cached_property
    def spec_digest(self) -> str | None:
        """SHA-256 of the spec as the run kept it; None without one that can be read."""
        from pipeline.digest import sha256_file

        try:
            return sha256_file(self.dir.config_json) if self.dir.config_json.is_file() else None
        except OSError:
            return None

    @cached_property
    def record(self) -> RunRecord:
        """What is known of the run."""
        if self.manifest is None:
            return RunRecord.unreadable(self.run_id) if _is_there(self.dir.manifest) else _unsealed_record(self)
        return sealed_record(self.run_id, self.name, self.manifest)

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED, KILLED or UNREADABLE."""
        return self.record.status

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run spec with all defaults resolved: sections of keys, secrets masked; empty when it cannot be read."""
        config = _object_in(self.dir.config_json)
        return mask_shown(config) if _is_config(config) else {}

    @cached_property
    def spec(self) -> RunSpec | None:
        """What the run was asked to do, of a sweep without the search; None when it cannot be read as a spec."""
        return recorded_spec(self.config)

    @property
    def name(self) -> str:
        """The run's name; empty when it is not known."""
        return "" if self.spec is None else self.spec.run.name

    @cached_property
    def result(self) -> ResultRecord | None:
        """What `result.json` says of the result; None for a run without one that can be read."""
        from pipeline.results.record import ResultRecord

        return ResultRecord.read(self.dir)

    @cached_property
    def what(self) -> WhatRan:
        """What the run was about, as far as anybody said."""
        from pipeline.results.what import what_ran

        return what_ran(self.spec, self.result)

    @property
    def is_sweep(self) -> bool:
        """Say whether this is a sweep: many trials, and what they say about the best of them."""
        return self.config.get("sweep") is not None

    @cached_property
    def stats(self) -> dict[str, float | int | None]:
        """Metrics by name; undefined ones are None. Empty when they cannot be read."""
        return _object_in(self.dir.stats)

    @property
    def look_ahead(self) -> str | None:
        """What the check for look-ahead found: a status of LOOK_AHEAD; None without a backtest."""
        if self.is_sweep or not self.stats:
            return None
        return Robustness.read(self.dir).leak_status

    @cached_property
    def conventions(self) -> Conventions:
        """Bars a year and risk-free rate of the run's figures, as `conventions.json` records them.

        A run from before that file tells bars a year in its metrics, and no risk-free rate.
        """
        from pipeline.backtest.conventions import Conventions

        found = Conventions.from_dict(_object_in(self.dir.conventions))
        if found.periods_per_year is not None:
            return found
        return replace(found, inferred_periods=Conventions.from_config(self.stats).periods_per_year)

    @cached_property
    def data_facts(self) -> DataFacts | None:
        """What the run recorded of its bars; None for a run without `data.json`, or one that cannot be read."""
        from pipeline.backtest.spacing import DataFacts

        try:
            return DataFacts.from_dict(read_json(self.dir.data_facts))
        except (OSError, ValueError):
            return None

    @cached_property
    def tracking(self) -> TrackingInfo | None:
        """Where the run is tracked now: URI, experiment, MLflow run id and its URL, secrets masked.

        It differs from the sealed tracking.json when the run was delivered later, or to a rebuilt store.
        """
        from pipeline.tracking.run_tracking import TrackingInfo
        from pipeline.tracking.sync import current_info

        info = current_info(self.dir)
        return None if info is None else TrackingInfo(**mask_shown(info.to_dict()))

    @property
    def pending(self) -> int:
        """How many entries of the journal have not reached MLflow."""
        from pipeline.tracking.sync import pending

        return pending(self.dir)

    @cached_property
    def equity(self) -> pd.DataFrame:
        """Equity, drawdown (≤ 0) and benchmark_equity, indexed by UTC timestamp."""
        import pandas as pd

        if not self.dir.equity.is_file():
            return pd.DataFrame(columns=["equity", "drawdown", "benchmark_equity"], dtype=float)
        table = pd.read_csv(self.dir.equity)
        table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True, format="ISO8601")
        return table.set_index("timestamp")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row a trade."""
        import pandas as pd

        return pd.read_parquet(self.dir.trades_parquet) if self.dir.trades_parquet.is_file() else pd.DataFrame()

    @cached_property
    def notebook(self) -> NotebookNode | None:
        """The executed notebook; None for an interactive run."""
        if not self.dir.notebook.is_file():
            return None
        return import_nbformat().read(self.dir.notebook, as_version=4)

    @cached_property
    def artifacts(self) -> list[Artifact]:
        """The sealed files; empty for a run that was not sealed, or whose manifest cannot be read."""
        return [] if self.manifest is None or self.status == UNREADABLE else sealed_files(self.manifest)

    @cached_property
    def tombstone(self) -> Tombstone | None:
        """What the ledger says was dropped of the run; None for a run that has all its sealed files, or lost some."""
        from pipeline.evidence.ledger_check import check_ledger

        if all((self.dir.path / artifact.path).exists() for artifact in self.artifacts):
            return None
        return check_ledger(self.dir.ledger).tombstone_of(self.run_id)

    def verify(self) -> Verification:
        """Compare the run directory, as it is now, with its seal; what the ledger says was dropped is not missed."""
        return verify_run(self.dir, tombstone=self.tombstone)

    def __repr__(self) -> str:
        return f"<Run {self.run_id} {self.record.name!r} {self.status}>"

    def _repr_html_(self) -> str:
        rows = [("status", self.status), ("started", self.record.started_at), ("directory", str(self.dir.path))]
        rows += [(name, format_stat(self.stats.get(name))) for name in HEADLINE if name in self.stats]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows
        )
        title = html.escape(f"{self.record.name} · {self.run_id}")
        return f"<table><caption style='text-align:left'><b>{title}</b></caption>{cells}</table>"


def format_stat(value: object) -> str:
    """Return a metric for people: four significant digits, a dash for undefined; what is no number as it is."""
    if value is None:
        return "–"
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def load_run(run: str | Path = LAST, *, settings: Settings | None = None) -> Run:
    """Load a run by its id, the start of its id, or `last` for the one started last.

    Raises RunNotFoundError.
    """
    results = (settings or Settings.load()).results
    if str(run) == LAST:
        runs = all_runs(settings=settings)
        if not runs:
            raise RunNotFoundError(f"There are no runs in {results}. `evidence run` makes one.")
        return runs[0]
    return Run(find_run(results, str(run)))


def all_runs(*, settings: Settings | None = None) -> list[Run]:
    """Return all runs, the one started last first."""
    results = (settings or Settings.load()).results
    runs = [Run(RunDir(results, run_id)) for run_id in run_ids(results)]
    return sorted(runs, key=lambda run: (run.record.started_at, run.run_id), reverse=True)


def compare(runs: Iterable[Run | str], *, settings: Settings | None = None) -> pd.DataFrame:
    """Return a table with one row a metric and one column a run, in the order given.

    Where runs differ in their risk-free rate it is a row, too: their Sharpe and Sortino ratios are then not about the
    same thing.
    """
    import pandas as pd

    loaded = [run if isinstance(run, Run) else load_run(run, settings=settings) for run in runs]
    table = pd.DataFrame([run.stats for run in loaded]).T
    rates = [run.conventions.risk_free_rate for run in loaded]
    if len({rate or 0.0 for rate in rates}) > 1:
        table.loc["risk_free_rate"] = rates
    table.columns = pd.Index([f"{run.record.name} {run.run_id[:8]}" for run in loaded])
    return table


def _object_in(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty when there is no file, or anything else in it."""
    try:
        return read_object(path) if path.is_file() else {}  # to open a pipe is to wait for its other end
    except (OSError, ValueError):
        return {}


def _is_config(config: dict[str, Any]) -> bool:
    """Say whether a config has the form of a spec: sections, which may be null where nobody asked for them."""
    return all(section is None or isinstance(section, dict) for section in config.values())


def _unsealed_record(run: Run) -> RunRecord:
    state = read_state(run.dir) or NOBODY
    return RunRecord(
        run_id=run.run_id,
        status="RUNNING" if state.running else "KILLED",
        name=run.name,
        started_at=state.started_at,
        origin=state.origin,
        error=None if state.running else RunError("killed", _interrupted(state)),
    )


def _interrupted(state: Execution) -> str:
    during = f" during {state.stage}" if state.stage else ""
    reason = f": {state.reason}" if state.reason else ""
    return f"interrupted{during}; never sealed{reason}"


def _is_there(path: Path) -> bool:
    """Say whether there is a file of any kind, or a directory that does not let anybody see whether there is."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
