"""What all recording trackers share: checks and conversions. Where it goes is the subclass's matter."""

from __future__ import annotations

import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self, cast, get_args

from pipeline.objects import flat
from pipeline.tracking import files
from pipeline.tracking.protocol import Mode, PathLike, Status, TrackingWarning
from pipeline.tracking.values import (
    MAX_PARAM,
    MAX_TAG,
    as_text,
    fingerprint,
    shorten,
    sort_metrics,
    valid_name,
    whole,
)


class RecordingTracker(ABC):
    """A tracker that turns every call into journal entries and files, and hands them to `_put…`."""

    def __init__(self, mode: Mode = "warn") -> None:
        self.mode: Mode = mode
        self.warnings: list[str] = []
        self._run_started = False
        self._run_id: str | None = None
        self._params: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._tables: list[dict[str, str]] = []
        self._lock = threading.RLock()

    # What a subclass provides.

    @abstractmethod
    def _begin(self, run_name: str | None) -> str | None:
        """Start or adopt a run and return its id."""

    @abstractmethod
    def _finish(self, status: Status) -> None:
        """End the run."""

    @abstractmethod
    def _put(self, kind: str, data: dict[str, Any]) -> None:
        """Record one entry: params, metrics, skipped or tags."""

    @abstractmethod
    def _put_file(self, path: Path, target: str) -> None:
        """Record the file at `path` under `target` (POSIX, relative to the run's artifacts)."""

    @abstractmethod
    def _put_bytes(self, content: bytes, target: str) -> None:
        """Record bytes as the file `target`."""

    # The Tracker protocol.

    @property
    def run_id(self) -> str | None:
        """The run's id; None before the first start, kept after the end."""
        return self._run_id

    def get_run_id(self) -> str | None:
        """Return `run_id`."""
        return self._run_id

    def start_run(self, run_name: str | None = None) -> str | None:
        """Start a run, or adopt the active one; ignored when this tracker's run is active already."""
        with self._lock:
            if not self._run_started:
                self._params, self._names, self._tables = {}, {}, []
                self._run_id = self._begin(run_name)
                self._run_started = True
            return self._run_id

    def end_run(self, status: Status = "FINISHED") -> None:
        """End the run when one is active. `status`: FINISHED (also None), FAILED or KILLED; any other is a failure."""
        with self._lock:
            if self._run_started:
                self._run_started = False
                self._finish(self._end_status(status))

    def _end_status(self, given: Any) -> Status:
        valid = get_args(Status)
        wanted = "FINISHED" if given is None else str(given).upper()
        if wanted not in valid:
            self._warn(f"{given!r} is not an end status (valid: {', '.join(valid)}); the run ends as FAILED.")
            wanted = "FAILED"
        return cast("Status", wanted)

    def __enter__(self) -> Self:
        self.start_run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        killed = kind is not None and not issubclass(kind, Exception)
        self.end_run("KILLED" if killed else "FAILED" if kind is not None else "FINISHED")

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record params, flattened, as text. A param never changes: another value for it is a warning."""
        with self._lock:
            if not self._active("log_params") or not self._is_mapping(params, "log_params"):
                return
            new, changed = {}, []
            for key, value in flat(params):
                name, text = self._name(key), as_text(value)
                short = self._shortened(text, MAX_PARAM, f"params/{_file_name(name)}.txt")
                if self._params.setdefault(name, short) != short:
                    changed.append(f"{name!r} stays {self._params[name]!r}, not {short!r}")
                else:
                    new[name] = short
            if changed:
                self._warn(f"Params never change: {'; '.join(changed)}.")
            if new:
                self._put("params", {"items": new})

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record finite numbers; booleans and text are refused, NaN and infinities skipped and listed."""
        with self._lock:
            if not self._active("log_metrics") or not self._is_mapping(metrics, "log_metrics"):
                return
            at = whole(step or 0)
            if at is None:
                self._warn(f"Metrics of the step {step!r}, no whole number of 64 bits, are not recorded: {metrics}.")
                return
            numbers = sort_metrics(dict(flat(metrics)))
            if numbers.refused:
                told = ", ".join(f"{name} ({kind})" for name, kind in numbers.refused.items())
                self._warn(f"Not numbers, so not recorded as metrics: {told}. Tags and params hold text.")
            if numbers.undefined:
                told = ", ".join(f"{name} = {value}" for name, value in numbers.undefined.items())
                self._warn(f"Undefined metrics are not recorded: {told}.")
                self._put("skipped", {"items": numbers.undefined, "step": None if step is None else at})
            if numbers.finite:
                items = {self._name(name): value for name, value in numbers.finite.items()}
                self._put("metrics", {"items": items, "step": None if step is None else at})

    def log_param(self, key: str, value: Any) -> None:
        """Record one param."""
        self.log_params({key: value})

    def log_metric(self, key: str, value: Any, step: int | None = None) -> None:
        """Record one metric."""
        self.log_metrics({key: value}, step)

    def set_tag(self, key: str, value: Any) -> None:
        """Set one label."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set labels; a later value replaces an earlier one."""
        with self._lock:
            if self._active("set_tags") and self._is_mapping(tags, "set_tags"):
                texts = {self._name(str(key)): as_text(value) for key, value in tags.items()}
                items = {
                    name: self._shortened(text, MAX_TAG, f"tags/{_file_name(name)}.txt") for name, text in texts.items()
                }
                if items:
                    self._put("tags", {"items": items})

    def log_artifact(self, path: PathLike, artifact_path: str | None = None) -> None:
        """Record a file below the directory `artifact_path`; a directory is recorded with all its files."""
        with self._lock:
            if not self._active("log_artifact"):
                return
            source = Path(path)
            if source.is_dir():
                self.log_artifacts(source, files.joined(artifact_path, source.name))
            elif not source.is_file():
                self._warn(f"The artifact {source} does not exist and is not recorded.")
            else:
                self._put_file(source, files.joined(artifact_path, source.name))

    def log_artifacts(self, directory: PathLike, artifact_path: str | None = None) -> None:
        """Record all files below a directory."""
        with self._lock:
            if not self._active("log_artifacts"):
                return
            root = Path(directory)
            if not root.is_dir():
                self._warn(f"The artifact directory {root} does not exist and is not recorded.")
                return
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                self._put_file(path, files.joined(artifact_path, path.relative_to(root).as_posix()))

    def log_figure(self, figure: Any, artifact_file: str, artifact_path: str | None = None) -> None:
        """Record a matplotlib or plotly figure; the format is the suffix (png, svg, pdf, html, json)."""
        with self._lock:
            if self._active("log_figure"):
                self._render(files.figure_file, figure, files.joined(artifact_path, artifact_file))

    def log_text(self, text: str, artifact_file: str) -> None:
        """Record text as a UTF-8 file."""
        with self._lock:
            if self._active("log_text"):
                self._put_bytes(str(text).encode("utf-8", "replace"), files.joined(None, artifact_file))

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Record a mapping or list as JSON, or as YAML when the file's suffix says so; NaN becomes null."""
        with self._lock:
            if self._active("log_dict"):
                self._render(files.dict_file, dictionary, files.joined(None, artifact_file))

    def log_table(self, data: Any, artifact_file: str) -> None:
        """Record a DataFrame, a mapping of columns or a list of rows as JSON (MLflow's form) or CSV."""
        with self._lock:
            if not self._active("log_table"):
                return
            target = files.joined(None, artifact_file)
            if self._render(files.table_file, data, target) and target.endswith(".json"):
                self._tables.append({"path": target, "type": "table"})
                self._put("tags", {"items": {"mlflow.loggedArtifacts": as_text(self._tables)}})

    def log_backtest(self, result: Any) -> None:
        """Record a backtest: its config, stats and artifacts."""
        from pipeline.tracking.backtest import log_backtest_artifacts, log_backtest_metadata

        log_backtest_metadata(self, result=result)
        log_backtest_artifacts(self, result=result)

    @property
    def known_params(self) -> frozenset[str]:
        """Names of the params this tracker need not be told again: none, unless the run came with some."""
        return frozenset()

    # Details.

    def _render(self, function: Any, value: Any, target: str) -> bool:
        try:
            content, name = function(value, target)
        except Exception as error:  # noqa: BLE001 - the caller's figures and data: what they raise is not the run's end
            self._warn(f"{target!r} could not be made and is not recorded: {type(error).__name__}: {error}")
            return False
        if name != target and "." in target.rpartition("/")[2]:
            self._warn(f"{target!r} could not be made in that format; {name!r} is recorded instead.")
        self._put_bytes(content, name)
        return True

    def _active(self, call: str) -> bool:
        if not self._run_started:
            self._warn(f"{call} was ignored: no run is active. Call start_run() first.", stacklevel=4)
        return self._run_started

    def _is_mapping(self, value: Any, call: str) -> bool:
        if not isinstance(value, Mapping):
            self._warn(f"{call} needs a mapping of names to values, not {type(value).__name__}; ignored.")
            return False
        return True

    def _name(self, given: str) -> str:
        name = valid_name(given)
        owner = self._names.setdefault(name, given)
        if owner != given:
            name = f"{name[:240]}~{fingerprint(given)}"
        if name != given and self._names.get(f"told {given}") is None:
            self._names[f"told {given}"] = name
            self._warn(f"MLflow does not accept the name {given!r}; it is recorded as {name!r}.")
        return name

    def _shortened(self, text: str, limit: int, kept_in: str) -> str:
        if len(text) <= limit:
            return text
        self._put_bytes(text.encode("utf-8", "replace"), kept_in)
        return shorten(text, limit, kept_in)

    def _warn(self, message: str, stacklevel: int = 3) -> None:
        self.warnings.append(message)
        warnings.warn(message, TrackingWarning, stacklevel=stacklevel)


def _file_name(name: str) -> str:
    return PurePosixPath(name.replace("/", ".").replace(":", "_")).name[:120]
