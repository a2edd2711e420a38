"""Read runs: load one by id, list all, compare two. The public way into `results/`."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import EvidenceError, RunNotFoundError
from pipeline.evidence.manifest import BUILDER, read_manifest
from pipeline.evidence.verify import Verification, verify_run
from pipeline.files import read_json
from pipeline.masking import mask_shown
from pipeline.notebook.quick_import import import_nbformat
from pipeline.robustness import look_ahead_of
from pipeline.rundir import RunDir, find_run, run_ids
from pipeline.running import read_state
from pipeline.settings import Settings
from pipeline.spec import ENGINE_SECTIONS

if TYPE_CHECKING:
    import pandas as pd
    from nbformat import NotebookNode

    from pipeline.backtest.conventions import Conventions
    from pipeline.results.record import ResultRecord
    from pipeline.results.what import WhatRan

LAST = "last"
READ = ("input:", "frame:", "network:")  # what a run read besides what its spec names
UNREADABLE = "UNREADABLE"


@dataclass(frozen=True)
class RunRecord:
    """What is known of one run; times are ISO-8601 UTC text, `stages` are seconds.

    `status` is RUNNING, FINISHED, FAILED or KILLED (RUNNING and KILLED are never sealed), or UNREADABLE.
    `inputs` are what it read besides
    data, benchmark and notebook, each with `uri`, `sha256`, `found` (declared or observed) and `input`, its name.
    `error` of a failed run has kind, message, cell, ename, evalue, traceback.
    """

    run_id: str
    status: str
    name: str = ""
    started_at: str = ""
    finished_at: str | None = None
    origin: str = ""
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    notebook: dict[str, Any] | None = None
    seed: int | None = None
    python: str = ""
    platform: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    benchmark: dict[str, Any] | None = None
    inputs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Artifact:
    """One sealed file: POSIX path relative to the run directory, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


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
    def record(self) -> RunRecord:
        """What is known of the run."""
        if self.manifest is None:
            return _unreadable_record(self.run_id) if _is_there(self.dir.manifest) else _unsealed_record(self)
        return _sealed_record(self.run_id, self.manifest, self.config)

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
    def result(self) -> ResultRecord | None:
        """What `result.json` says of the result; None for a run without one that can be read."""
        from pipeline.results.record import ResultRecord

        return ResultRecord.read(self.dir)

    @cached_property
    def what(self) -> WhatRan:
        """What the run was about, as far as anybody said."""
        from pipeline.results.what import what_ran

        return what_ran(self.config, self.result)

    @property
    def is_sweep(self) -> bool:
        """Say whether this is a sweep: many trials, and what they say about the best of them."""
        return "sweep" in self.config

    @cached_property
    def stats(self) -> dict[str, float | int | None]:
        """Metrics by name; undefined ones are None. Empty when they cannot be read."""
        return _object_in(self.dir.stats)

    @property
    def look_ahead(self) -> str | None:
        """What the check for look-ahead found: a status of pipeline.robustness.LOOK_AHEAD; None without a backtest."""
        if self.is_sweep or not self.stats:
            return None
        return look_ahead_of(self.dir)

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
    def tracking(self) -> dict[str, Any] | None:
        """Where the run is tracked now: URI, experiment, MLflow run id and its URL, secrets masked.

        It differs from the sealed tracking.json when the run was delivered later, or to a rebuilt store.
        """
        from pipeline.tracking.sync import current_info

        info = current_info(self.dir)
        return None if info is None else mask_shown(info.to_dict())

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
        return [] if self.manifest is None or self.status == UNREADABLE else _artifacts(self.manifest)

    def verify(self) -> Verification:
        """Compare the run directory, as it is now, with its seal."""
        return verify_run(self.dir)

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


NAMES = (("run", "name"), ("strategy", "name"), ("data", "symbol"), ("sweep", "name"))
HEADLINE = ("total_return", "cagr", "sharpe", "max_drawdown", "total_trades")


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
        runs = list_runs(settings=settings)
        if not runs:
            raise RunNotFoundError(f"There are no runs in {results}. `evidence run` makes one.")
        return runs[0]
    return Run(find_run(results, str(run)))


def list_runs(*, settings: Settings | None = None) -> list[Run]:
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
        found = read_json(path) if path.is_file() else {}  # to open a pipe is to wait for its other end
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_config(config: dict[str, Any]) -> bool:
    """Say whether a config has the form of a spec: sections, and text where a run is named by it."""
    known = (name for name, section in config.items() if section is not None or name not in ENGINE_SECTIONS)
    if not all(isinstance(config[name], dict) for name in known):
        return False
    names = [(config.get(section) or {}).get(key, "") for section, key in NAMES]
    return all(name is None or isinstance(name, str) for name in names) and isinstance(_params(config), dict)


def _params(config: dict[str, Any]) -> Any:
    return (config.get("strategy") or {}).get("params", {})


def _unsealed_record(run: Run) -> RunRecord:
    state = read_state(run.dir) or {}
    running = state.get("status") == "RUNNING" and state.get("alive") is not False
    known = {name: value for name, value in state.items() if isinstance(value, str)}
    return RunRecord(
        run_id=run.run_id,
        status="RUNNING" if running else "KILLED",
        name=run.config.get("run", {}).get("name", ""),
        started_at=known.get("started_at", ""),
        origin=known.get("origin", ""),
        error=None if running else {"kind": "killed", "message": _interrupted(known)},
    )


def _interrupted(state: dict[str, str]) -> str:
    during = f" during {state['stage']}" if state.get("stage") else ""
    reason = f": {state['reason']}" if state.get("reason") else ""
    return f"interrupted{during}; never sealed{reason}"


def _sealed_record(run_id: str, manifest: dict[str, Any], config: dict[str, Any]) -> RunRecord:
    try:
        predicate = manifest["predicate"]
        definition, details = predicate["buildDefinition"], predicate["runDetails"]
        outcome = predicate["evidence_run"]
        inputs = {item["name"]: item for item in definition["resolvedDependencies"]}
        internal = definition["internalParameters"]
        _artifacts(manifest)
        record = RunRecord(
            run_id=run_id,
            status=outcome["status"],
            name=config.get("run", {}).get("name", ""),
            started_at=details["metadata"]["startedOn"],
            finished_at=details["metadata"]["finishedOn"],
            origin=details["builder"]["id"].removeprefix(BUILDER),
            error=mask_shown(outcome["error"]),
            warnings=tuple(mask_shown(outcome["warnings"])),
            stages=outcome["stages"],
            git=_git(inputs.get("git")),
            data=_source(inputs.get("data")),
            benchmark=_source(inputs.get("benchmark")),
            notebook=_source(inputs.get("notebook")),
            seed=internal["seed"],
            python=internal["platform"]["python"],
            platform=internal["platform"]["platform"],
            packages=_named(inputs, "package:", lambda item: item["uri"].rpartition("@")[2]),
            modules=_named(inputs, "module:", lambda item: item["digest"]["sha256"]),
            locks=_named(inputs, "lock:", lambda item: item["digest"]["sha256"]),
            overrides=mask_shown(definition["externalParameters"]["overrides"]),
            inputs=tuple(_input(item) for name, item in inputs.items() if name.startswith(READ)),
        )
    except (KeyError, TypeError, AttributeError):
        return _unreadable_record(run_id)
    return record if _is_record(record) else _unreadable_record(run_id)


def _input(item: dict[str, Any]) -> dict[str, Any]:
    """Return one thing that a run read besides its data: what, its digest, how it was found, under which name."""
    told = item["annotations"]
    if not all(isinstance(text, str) for text in (item["uri"], told["found"], told.get("input", ""))):
        raise TypeError("an input is of another form")
    digest = item.get("digest", {}).get("sha256")
    return {"uri": item["uri"], "sha256": digest, "found": told["found"], "input": told.get("input")}


def _artifacts(manifest: dict[str, Any]) -> list[Artifact]:
    """Return the files that a manifest lists; raises KeyError or TypeError when it has another form."""
    found = [Artifact(s["name"], s["annotations"]["size"], s["digest"]["sha256"]) for s in manifest["subject"]]
    if not all(isinstance(file.path, str) and isinstance(file.size, int) for file in found):
        raise TypeError("a name or a size is of another type")
    return found


def _is_record(record: RunRecord) -> bool:
    """Say whether what a manifest holds is of the types that everybody who shows a run relies on."""
    texts = (record.status, record.started_at, record.origin, record.python, record.platform, *record.warnings)
    tables = (record.stages, record.packages, record.modules, record.locks, record.overrides, record.error or {})
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(record.finished_at, str | None)
        and all(isinstance(table, dict) for table in tables)
        and all(isinstance(seconds, int | float) for seconds in record.stages.values())
        and isinstance((record.error or {}).get("message", ""), str)
    )


def _unreadable_record(run_id: str) -> RunRecord:
    return RunRecord(run_id, UNREADABLE, error={"kind": "manifest", "message": "the manifest cannot be read"})


def _is_there(path: Path) -> bool:
    """Say whether there is a file of any kind, or a directory that does not let anybody see whether there is."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _git(item: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if item is None else {"commit": item["digest"]["gitCommit"], **item["annotations"]}


def _source(item: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if item is None else {"uri": mask_shown(item["uri"]), "sha256": item["digest"]["sha256"]}


def _named(inputs: dict[str, Any], prefix: str, value: Any) -> dict[str, str]:
    return {name.removeprefix(prefix): value(item) for name, item in inputs.items() if name.startswith(prefix)}


__all__ = ["Artifact", "EvidenceError", "Run", "RunRecord", "compare", "list_runs", "load_run"]
