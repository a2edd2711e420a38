"""The run directory: the only module that knows the names of its files.

results/<run_id>/
  config_snapshot.toml  config_snapshot.json  notebook.ipynb  stats.json  conventions.json  equity.csv
  result.json  data.json  robustness.json  trades.parquet  trades.csv  plots/*.png
  where a result has them: fills, positions, weights, prices, account, benchmarks (.parquet), folds.json, tables/*,
  files/*
  reports/trades_summary.json  reports/backtest_report.txt  tracking.json  manifest.json  manifest.dsse.json  debug/*
  report/index.html  report/statement.dsse.json (report/statement.json when nobody signs)
  of a sweep instead: trials.jsonl  returns.parquet  statistics.json  study.journal  best.toml
results/ledger.jsonl  what happened in `results/`, chained; results/anchors/* time stamps of its checkpoints
results/.unsealed/<run_id>/  what lay in the run directory and could not be sealed
results/.running/<run_id>/
  state.json      who executes the run, since when; gone once the run is sealed
  notebook.ipynb  the notebook while it is being executed
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import RunExistsError, RunNotFoundError, StorageError, UsageError
from pipeline.files import list_files

RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MANIFEST = "manifest.json"
SIGNATURE = "manifest.dsse.json"
REPORT_DIR = "report"
REPORT_STATEMENT = "statement.dsse.json"
REPORT_STATEMENT_UNSIGNED = "statement.json"
LEDGER = "ledger.jsonl"
ANCHORS_DIR = "anchors"
UNSEALED = frozenset({MANIFEST, SIGNATURE})
RUNNING_DIR = ".running"


def new_run_id() -> str:
    """Return a new UUID4 as canonical lower-case text."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Layout:
    """The names of the files below one directory: a run directory, or one laid out alike."""

    path: Path

    @property
    def config_toml(self) -> Path:
        """The config exactly as given."""
        return self.path / "config_snapshot.toml"

    @property
    def config_json(self) -> Path:
        """The config parsed, defaults resolved, canonical JSON."""
        return self.path / "config_snapshot.json"

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.path / "notebook.ipynb"

    @property
    def stats(self) -> Path:
        """Metrics, strict JSON."""
        return self.path / "stats.json"

    @property
    def conventions(self) -> Path:
        """What the metrics are annualised by; absent in runs from before it was recorded."""
        return self.path / "conventions.json"

    @property
    def result(self) -> Path:
        """What made the result, what it is of, and whether its parts agree, strict JSON; absent in earlier runs."""
        return self.path / "result.json"

    def part(self, name: str) -> Path:
        """One of the tables that a result may have: fills, positions, weights, prices, account, benchmarks."""
        return self.path / f"{name}.parquet"

    @property
    def folds(self) -> Path:
        """Train and test windows, JSON; absent when the result has none."""
        return self.path / "folds.json"

    @property
    def tables(self) -> Path:
        """Directory of tables of the user's own."""
        return self.path / "tables"

    @property
    def own_files(self) -> Path:
        """Directory of files of the user's own."""
        return self.path / "files"

    @property
    def equity(self) -> Path:
        """Equity curve: timestamp, equity, drawdown, benchmark_equity."""
        return self.path / "equity.csv"

    @property
    def robustness(self) -> Path:
        """How far the results can be trusted, strict JSON; absent when nothing was examined."""
        return self.path / "robustness.json"

    @property
    def data_facts(self) -> Path:
        """What the bars are labelled by, their gaps and leaps, strict JSON; absent when no bars were read."""
        return self.path / "data.json"

    @property
    def trades_parquet(self) -> Path:
        """One row a trade."""
        return self.path / "trades.parquet"

    @property
    def trades_csv(self) -> Path:
        """One row a trade, for people."""
        return self.path / "trades.csv"

    @property
    def plots(self) -> Path:
        """Directory of static figures."""
        return self.path / "plots"

    @property
    def equity_plot(self) -> Path:
        """Static figure of equity and drawdown."""
        return self.plots / "equity_curve.png"

    @property
    def trades_summary(self) -> Path:
        """Counts and sums over the trades, JSON."""
        return self.path / "reports" / "trades_summary.json"

    @property
    def report_text(self) -> Path:
        """The results as plain text."""
        return self.path / "reports" / "backtest_report.txt"

    @property
    def trials(self) -> Path:
        """The trials of a sweep, one a line, by number."""
        return self.path / "trials.jsonl"

    @property
    def forward_trials(self) -> Path:
        """The trials of the searches before the windows of a sweep's walk-forward, one a line."""
        return self.path / "walk_forward.jsonl"

    @property
    def trial_returns(self) -> Path:
        """Simple returns per bar of a sweep's completed trials: a row a bar, a column a trial."""
        return self.path / "returns.parquet"

    @property
    def statistics(self) -> Path:
        """What a sweep says about its best trial."""
        return self.path / "statistics.json"

    @property
    def study_journal(self) -> Path:
        """The Optuna study of a sweep, when it is kept here."""
        return self.path / "study.journal"

    @property
    def best_config(self) -> Path:
        """The run spec of a sweep's best trial."""
        return self.path / "best.toml"

    @property
    def tracking(self) -> Path:
        """Tracking URI, experiment id, MLflow run id, URL of the run."""
        return self.path / "tracking.json"

    @property
    def manifest(self) -> Path:
        """The seal."""
        return self.path / MANIFEST

    @property
    def signature(self) -> Path:
        """The manifest in a DSSE envelope; absent when nobody signed."""
        return self.path / SIGNATURE

    @property
    def report(self) -> Path:
        """The rendered report, a view."""
        return self.path / REPORT_DIR / "index.html"

    @property
    def report_statement(self) -> Path:
        """What the report was made from, in a DSSE envelope."""
        return self.path / REPORT_DIR / REPORT_STATEMENT

    @property
    def report_statement_unsigned(self) -> Path:
        """The same without a signature, when nobody signs."""
        return self.path / REPORT_DIR / REPORT_STATEMENT_UNSIGNED

    @property
    def debug(self) -> Path:
        """Directory of optional records."""
        return self.path / "debug"

    @property
    def kernel_log(self) -> Path:
        """What the kernel's process printed past the notebook; absent when it printed nothing."""
        return self.debug / "kernel.log"

    @property
    def modules(self) -> Path:
        """Digests of the project modules the kernel had imported when the notebook ended."""
        return self.debug / "modules.json"

    @property
    def inputs(self) -> Path:
        """What the kernel was seen to read, strict JSON; absent when it read nothing that counts as an input."""
        return self.debug / "inputs.json"

    @property
    def other_strategy(self) -> Path:
        """The strategy that the notebook ran in place of the spec's; absent when it ran the spec's."""
        return self.debug / "other_strategy.json"


class RunDir(Layout):
    """The files of one run below `results/<run_id>/`, and its scratch directory while it runs."""

    def __init__(self, results: Path, run_id: str) -> None:
        if not RUN_ID.fullmatch(run_id):
            raise UsageError(f"{run_id!r} is not a run_id: a UUID4 in lower case is needed.")
        super().__init__(results / run_id)

    @property
    def results(self) -> Path:
        """Return the directory that holds all run directories."""
        return self.path.parent

    @property
    def run_id(self) -> str:
        """Return the id, which is the directory's name."""
        return self.path.name

    @classmethod
    def create(cls, results: Path, run_id: str) -> RunDir:
        """Make a new, empty run directory; raises RunExistsError when there is one already."""
        run = cls(results, run_id)
        try:
            results.mkdir(parents=True, exist_ok=True)
            run.path.mkdir()
            run.scratch.mkdir(parents=True, exist_ok=True)
            run.scratch.chmod(0o700)  # the notebook in progress holds what the evidence masks
        except FileExistsError:
            raise RunExistsError(f"The run {run_id} is there already: {run.path}. Use a new run_id.") from None
        except OSError as error:
            raise StorageError(f"{run.path} cannot be made: {error.strerror}.") from error
        return run

    @property
    def scratch(self) -> Path:
        """Return the directory for what exists only while the run is executed."""
        return self.results / RUNNING_DIR / self.run_id

    @property
    def notebook_in_progress(self) -> Path:
        """The notebook while it is being executed."""
        return self.scratch / "notebook.ipynb"

    @property
    def kernel_log_in_progress(self) -> Path:
        """What the kernel's process prints while it is running."""
        return self.scratch / "kernel.log"

    @property
    def places(self) -> Path:
        """Which files count as inputs, for the kernel."""
        return self.scratch / "places.json"

    @property
    def state(self) -> Path:
        """Who executes the run; gone once the run is sealed."""
        return self.scratch / "state.json"

    def sealed_paths(self) -> list[str]:
        """Return the sorted POSIX paths, relative to the run directory, of all files the seal covers.

        Everything except the manifest itself and the views in `report/`. Symbolic links are listed
        (and refused by the seal), never followed.
        """
        found = list_files(self.path)
        return [name for name in found if name not in UNSEALED and not name.startswith(f"{REPORT_DIR}/")]

    def report_paths(self) -> list[str]:
        """Return the sorted POSIX paths, relative to the run directory, of all files in `report/`."""
        directory = self.path / REPORT_DIR
        if directory.is_symlink() or not directory.is_dir():
            return []
        return [f"{REPORT_DIR}/{name}" for name in list_files(directory)]

    @property
    def ledger(self) -> Path:
        """The ledger of the results directory."""
        return self.results / LEDGER

    def clear_scratch(self) -> None:
        """Remove the scratch directory."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def run_ids(results: Path) -> list[str]:
    """Return the ids of all run directories below `results`, unordered."""
    if not results.is_dir():
        return []
    return [entry.name for entry in os.scandir(results) if RUN_ID.fullmatch(entry.name) and entry.is_dir()]


def find_run(results: Path, wanted: str) -> RunDir:
    """Return the run with this id, or the only one whose id starts with it; raises RunNotFoundError."""
    matches = [run_id for run_id in run_ids(results) if run_id.startswith(wanted.lower())] if wanted else []
    if len(matches) == 1:
        return RunDir(results, matches[0])
    if matches:
        raise RunNotFoundError(f"{wanted!r} is the start of {len(matches)} run ids in {results}. Give more of it.")
    raise RunNotFoundError(f"There is no run {wanted!r} in {results}. `evidence list` shows what is there.")
