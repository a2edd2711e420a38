"""The tracker that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from pipeline.tracking.protocol import PathLike, Status


class NoopTracker:
    """Takes every call and records nothing. A subclass records what it overrides; the engine calls it."""

    records_nothing = True  # a subclass may record something
    tracking_uri: str | None = None
    experiment_name: str | None = None
    run_id: str | None = None
    _run_id: str | None = None

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        cls.records_nothing = False

    def __init__(self) -> None:
        self._run_started = False

    def get_run_id(self) -> str | None:
        """Return None: there is no run."""
        return None

    def start_run(self, run_name: str | None = None) -> str | None:  # noqa: ARG002 - part of the protocol
        """Do nothing and return None."""
        self._run_started = True
        return None

    def end_run(self, status: Status = "FINISHED") -> None:  # noqa: ARG002 - part of the protocol
        """Do nothing."""
        self._run_started = False

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log_param(self, key: str, value: Any) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Do nothing."""

    def log_metric(self, key: str, value: Any, step: int | None = None) -> None:
        """Do nothing."""

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Do nothing."""

    def set_tag(self, key: str, value: Any) -> None:
        """Do nothing."""

    def log_artifact(self, path: PathLike, artifact_path: str | None = None) -> None:
        """Do nothing."""

    def log_artifacts(self, directory: PathLike, artifact_path: str | None = None) -> None:
        """Do nothing."""

    def log_figure(self, figure: Any, artifact_file: str, artifact_path: str | None = None) -> None:
        """Do nothing."""

    def log_text(self, text: str, artifact_file: str) -> None:
        """Do nothing."""

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Do nothing."""

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Do nothing."""

    def log_backtest(self, result: Any) -> None:
        """Hand a backtest to what a subclass overrides; by itself record nothing."""
        from pipeline.tracking.backtest import log_backtest_artifacts, log_backtest_metadata

        log_backtest_metadata(self, result=result)
        if type(self).log_artifact is not NoopTracker.log_artifact:
            log_backtest_artifacts(self, result)

    def __enter__(self) -> Self:
        self.start_run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_run()


NullTracker = NoopTracker
