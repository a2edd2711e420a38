"""What every tracker can do. Code that tracks depends on this, never on MLflow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

Status = Literal["FINISHED", "FAILED", "KILLED"]
Mode = Literal["warn", "strict", "off"]
PathLike = str | os.PathLike[str]


class TrackingWarning(UserWarning):
    """Something was not tracked as asked; the run itself is unharmed."""


@runtime_checkable
class Tracker(Protocol):
    """Records one run: its params, metrics, tags and artifacts.

    Between `start_run` and `end_run` everything is recorded; outside, a call is ignored with a
    TrackingWarning and creates no run. No method raises for what it is given (a missing file, a NaN, a
    changed param); in mode `strict` a store that fails raises TrackingError.
    """

    @property
    def run_id(self) -> str | None:
        """The run's id; None before the first start, kept after the end."""
        ...

    def get_run_id(self) -> str | None:
        """Return `run_id`."""
        ...

    def start_run(self, run_name: str | None = None) -> str | None:
        """Start a run, or adopt the active one; a second call changes nothing. Returns the run's id."""
        ...

    def end_run(self, status: Status = "FINISHED") -> None:
        """End the run when one is active."""
        ...

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record params; nested mappings are flattened with `.`; a param never changes."""
        ...

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record finite numbers; booleans, NaN and infinities are skipped with a warning."""
        ...

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set labels; a later value replaces an earlier one."""
        ...

    def log_artifact(self, path: PathLike, artifact_path: str | None = None) -> None:
        """Record a file, below the directory `artifact_path`; a missing file is a warning."""
        ...

    def log_artifacts(self, directory: PathLike, artifact_path: str | None = None) -> None:
        """Record all files of a directory; a missing directory is a warning."""
        ...

    def log_figure(self, figure: Any, artifact_file: str, artifact_path: str | None = None) -> None:
        """Record a matplotlib or plotly figure as a file; the format is the file name's suffix."""
        ...

    def log_text(self, text: str, artifact_file: str) -> None:
        """Record text as a file."""
        ...

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Record a mapping or list as a JSON or YAML file."""
        ...

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Record a DataFrame, a mapping of columns or a list of rows as a JSON or CSV file."""
        ...

    def log_backtest(self, result: Any) -> None:
        """Record a backtest: its config, stats and artifacts."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
