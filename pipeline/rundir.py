"""The results directory: the names of its files, and of the directory of each run.

results/<run_id>/            one run, see pipeline.layout
results/ledger.jsonl         what happened in `results/`, chained; anchors/* time stamps of its checkpoints
results/.inputs/             notebooks, frames and small files that runs read, by digest
results/.outbox/<run_id>/    what of a run's journal has reached MLflow, see pipeline.tracking.outbox
results/.logs/<run_id>.jsonl the log of a run from its seal on; up to it, it is in the run directory
results/.archive/evidence-<run_id>.zip.xz  a run that was archived: its bundle, compressed
results/.pruning/            while runs are removed: which ones, and directories on their way out
results/.unsealed/<run_id>/  what lay in the run directory and could not be sealed
results/.running/<run_id>/   while a run is executed
  state.json    who executes it, since when; gone once it is sealed
  notebook.ipynb, kernel.log, places.json   the notebook in progress, what its process prints, what counts as an input
  search.json, batches/, batches-<bars>/, best.json   of a sweep: what its trials depend on, its trials, its best runs
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

from pipeline.errors import RunExistsError, RunNotFoundError, StorageError, UsageError
from pipeline.files import list_files
from pipeline.layout import REPORT_DIR, UNSEALED, Layout

RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LEDGER = "ledger.jsonl"
ANCHORS_DIR = "anchors"
INPUTS_DIR = ".inputs"
OUTBOX_DIR = ".outbox"
RUNNING_DIR = ".running"
UNSEALED_DIR = ".unsealed"
LOGS_DIR = ".logs"
ARCHIVE_DIR = ".archive"
PRUNING_DIR = ".pruning"


def new_run_id() -> str:
    """Return a new UUID4 as canonical lower-case text."""
    return str(uuid.uuid4())


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

    @property
    def begun(self) -> Path:
        """Digests of what must not change while a sweep is interrupted."""
        return self.scratch / "search.json"

    @property
    def best_in_progress(self) -> Path:
        """Under which ids the best trials of a sweep are executed, by number."""
        return self.scratch / "best.json"

    def batches(self, bars: int | None = None) -> Path:
        """Directory of a sweep's trials while it searches; of a search over the first `bars` bars, one of its own."""
        return self.scratch / ("batches" if bars is None else f"batches-{bars}")

    @property
    def outbox(self) -> Path:
        """Directory of what waits for MLflow."""
        return self.results / OUTBOX_DIR / self.run_id

    @property
    def late_log(self) -> Path:
        """What happened to the run after its seal, a JSON object a line."""
        return self.results / LOGS_DIR / f"{self.run_id}.jsonl"

    @property
    def unsealed(self) -> Path:
        """Directory of what lay in the run directory and could not be sealed."""
        return self.results / UNSEALED_DIR / self.run_id

    @property
    def archive(self) -> Path:
        """The archive of the run, once it was archived."""
        return self.results / ARCHIVE_DIR / f"evidence-{self.run_id}.zip.xz"

    @property
    def going(self) -> Path:
        """Where the run directory lies while it is removed."""
        return self.results / PRUNING_DIR / self.run_id

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
