"""What the journal knows of a run, in MLflow's own terms, for code that asks while the store is away."""

from __future__ import annotations

import posixpath
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.tracking.children import children_of, start_of
from pipeline.tracking.journal import JournalEntry, read_journal
from pipeline.tracking.load import Load, load_of
from pipeline.tracking.outbox import Home


@dataclass(frozen=True)
class KnownRun:
    """A run as the journal in `home` has it; `key` names a nested run, None the run itself."""

    home: Home
    run_id: str
    key: str | None
    experiment_id: str

    def entity(self) -> Any:
        """Return the run as MLflow's Run."""
        from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag

        entries = self._entries()
        start, load = start_of(entries), load_of(entries)
        status, end = load.end or ("RUNNING", None)
        tags = {"mlflow.runName": start["name"], **start["tags"], **load.tags}
        info = RunInfo(
            self.run_id,
            self.experiment_id,
            tags.get("mlflow.user", ""),
            status,
            start["time"],
            end,
            "active",
            artifact_uri=None,
            run_name=tags["mlflow.runName"],
        )
        last = {point[0]: point for point in sorted(load.points, key=lambda point: (point[3], point[2], point[1]))}
        params = [Param(*pair) for pair in load.params.items()]
        return Run(
            info, RunData([Metric(*point) for point in last.values()], params, [RunTag(*p) for p in tags.items()])
        )

    def artifacts(self, directory: str | None) -> list[Any]:
        """Return the files directly below a directory as MLflow's FileInfo."""
        from mlflow.entities import FileInfo

        files = self._load().files.items()
        wanted = [(target, source) for target, source in files if posixpath.dirname(target) == (directory or "")]
        return [FileInfo(target, False, (self.home.base / source).stat().st_size) for target, source in wanted]

    def copy(self, target: str, directory: str | None) -> str:
        """Copy an artifact into a directory, a new one by default, and return its path; raises FileNotFoundError."""
        source = self._load().files.get(target)
        if source is None:
            raise FileNotFoundError(f"The tracking store is away, and the journal has no artifact {target!r}.")
        place = Path(directory or tempfile.mkdtemp(), target)
        place.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copyfile(self.home.base / source, place))

    def experiment(self, name: str) -> Any:
        """Return the run's experiment as MLflow's Experiment, under the name it was asked for."""
        from mlflow.entities import Experiment

        return Experiment(self.experiment_id, name, "", "active")

    def _load(self) -> Load:
        return load_of(self._entries())

    def _entries(self) -> list[JournalEntry]:
        entries = read_journal(self.home.journal).entries
        return entries if self.key is None else children_of(entries).get(self.key, [])
