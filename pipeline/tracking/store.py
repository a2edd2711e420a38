"""One MLflow store: the only module that calls MlflowClient. Everything by explicit run id."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.errors import TrackingError
from pipeline.masking import masked
from pipeline.tracking import limits, sqlite
from pipeline.tracking.datasets import as_inputs
from pipeline.tracking.failures import REFUSALS, reason
from pipeline.tracking.load import Point
from pipeline.tracking.points import stored_step
from pipeline.tracking.uri import HTTP, require_mlflow, scheme, sqlite_path

T = TypeVar("T")
RUN_ID_TAG = "evidence.run_id"
MANIFEST_TAG = "evidence.manifest_sha256"
REPORT_TAG = "evidence.report_sha256"
DATA_TAG = "evidence.data_sha256"
CHECKPOINT_TAG = "evidence.ledger_checkpoint"
MAX_METRICS = 1000
MAX_PAIRS = 100
MAX_BYTES = 800_000
QUEUE_SECONDS = 60.0
Pair = tuple[str, str]
FILE_STORE = (
    "A file: tracking store is in maintenance mode in MLflow and slow. SQLite is recommended: "
    "sqlite:///mlflow.db. `mlflow migrate-filestore` moves existing runs."
)


class RejectedError(TrackingError):
    """The store is there and refuses what it was given; sending the same again would not help."""


class Store:
    """A tracking store. All methods raise TrackingError, RejectedError when sending again is pointless."""

    def __init__(self, uri: str, *, artifact_root: Path | None = None) -> None:
        """`uri` must be absolute; `artifact_root` is where new experiments of an SQL store keep artifacts.

        `notes` collects what a user should be told about the store itself.
        """
        require_mlflow()
        self.uri = uri
        self.database = sqlite_path(uri)
        self.artifact_root = self.database.parent / "mlartifacts" if self.database else artifact_root
        self.notes: list[str] = [FILE_STORE] if scheme(uri) == "file" else []
        self._client: Any = None
        self._file: sqlite.Identity | None = None

    def connect(self) -> None:
        """Reach the store and make its schema when it has none yet, safely when others do the same."""
        if self._client is not None:
            return
        if self.database is not None:
            sqlite.leave_old_file(self.uri, self.database)
        self._probe()
        if self.database is not None and not self._ready():
            with sqlite.turn(self.database, QUEUE_SECONDS):
                if not self._ready():
                    self._open_client()
                    sqlite.use_wal(self.database)
        self._open_client()
        if self.database is not None:
            self._file = sqlite.note_opened(self.uri, self.database)

    def _ready(self) -> bool:
        return self.database is not None and self._call("read", sqlite.is_ready, self.database)

    def _open_client(self) -> None:
        def opened() -> Any:
            from mlflow.tracking import MlflowClient

            client = MlflowClient(tracking_uri=self.uri)
            if self.database is None:  # that one was looked at already
                client.search_experiments(max_results=1)
            return client

        self._client = self._call("open", opened)

    def check(self) -> None:
        """Raise TrackingError at once when the store cannot take a write, instead of after MLflow's long waits.

        An SQLite database that was deleted or replaced is one that cannot: what is written to it would be lost.
        """
        if self._client is None:
            self.connect()
        elif self.database is not None and sqlite.identity(self.database) != self._file:
            self._client = None
            raise TrackingError(
                f"The tracking store {masked(self.uri)} is no longer the database it was: the file was deleted, moved "
                "or replaced. What was written to it is not in the one of that name."
            )
        else:
            self._probe()

    def _probe(self) -> None:
        if self.database is None or not self.database.exists():
            limits.probe(self.uri)
            return
        with sqlite.turn(self.database, QUEUE_SECONDS):  # else other writers of ours could look like a lock
            limits.probe(self.uri)

    def experiment(self, name: str) -> str:
        """Return the id of the experiment, made with an absolute artifact location when it is new."""
        found = self._call("look up the experiment", self._client.get_experiment_by_name, name)
        if found is None:
            try:
                create = self._client.create_experiment
                return str(self._write("create the experiment", create, name, self._place(name)))
            except TrackingError:
                found = self._call("look up the experiment", self._client.get_experiment_by_name, name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"The experiment {name!r} is deleted in {masked(self.uri)}. "
                f"Restore it (mlflow experiments restore -x {found.experiment_id}) or use another name."
            )
        return str(found.experiment_id)

    def _place(self, name: str) -> str | None:
        if self.artifact_root is None or scheme(self.uri) in (*HTTP, "file"):
            return None
        folder = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:80] or "experiment"
        return (self.artifact_root / folder).as_uri()

    def create_run(self, experiment_id: str, name: str, start: int, tags: dict[str, str]) -> Any:
        """Create a run that started at `start` (ms since 1970 UTC) and return it."""
        return self._write("create the run", self._client.create_run, experiment_id, start, tags, name)

    def find_run(self, experiment_id: str, tags: dict[str, str]) -> Any | None:
        """Return an MLflow run that carries these tags, None when there is none."""
        found = self._call("search runs", self._client.search_runs, [experiment_id], _with_tags(tags), 1, 1)
        return found[0] if found else None

    def get_run(self, mlflow_run_id: str) -> Any:
        """Return the MLflow run; RejectedError when it does not exist or was deleted."""
        run = self._call("read the run", self._client.get_run, mlflow_run_id)
        if run.info.lifecycle_stage != "active":
            raise RejectedError(
                f"The MLflow run {mlflow_run_id} is deleted in {masked(self.uri)}. "
                f"Restore it (mlflow runs restore --run-id {mlflow_run_id}) "
                "or recreate it (evidence sync RUN_ID --rebuild)."
            )
        return run

    def has_run(self, mlflow_run_id: str) -> bool:
        """Return whether the store knows a run; RejectedError when it was deleted and can be restored."""
        try:
            self.get_run(mlflow_run_id)
        except RejectedError as error:
            if getattr(error.__cause__, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def runs_with(self, experiment_id: str, tags: dict[str, str]) -> list[Any]:
        """Return all MLflow runs of an experiment that carry these tags, oldest first."""
        found: list[Any] = []
        rest = (1, 1000, ["attributes.start_time ASC"])  # active runs, a page, the order
        token = None
        while True:
            page = self._call("search runs", self._client.search_runs, [experiment_id], _with_tags(tags), *rest, token)
            found += page
            token = page.token
            if not token:
                return found

    def history(self, mlflow_run_id: str, name: str) -> list[Point]:
        """Return all points of one metric."""
        found = self._call("read a metric", self._client.get_metric_history, mlflow_run_id, name)
        return [(m.key, m.value, int(m.timestamp), stored_step(m.step)) for m in found]

    def log(self, mlflow_run_id: str, params: dict[str, str], points: Sequence[Point], tags: dict[str, str]) -> None:
        """Send params, metrics and tags in as few batches as MLflow's limits allow."""
        for batch in batches(params, points, tags):
            self._write("log a batch", self._log_batch, mlflow_run_id, *batch)

    def _log_batch(
        self, run: str, params: list[tuple[str, str]], points: list[Point], tags: list[tuple[str, str]]
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            run,
            metrics=[Metric(*point) for point in points],
            params=[Param(*pair) for pair in params],
            tags=[RunTag(*pair) for pair in tags],
        )

    def log_datasets(self, mlflow_run_id: str, items: Sequence[dict[str, Any]]) -> None:
        """Send descriptions of datasets; one that the run has already stays as it is."""
        self._write("log datasets", self._client.log_inputs, mlflow_run_id, as_inputs(items))

    def log_file(self, mlflow_run_id: str, path: Path, artifact_path: str | None) -> None:
        """Send one file to the directory `artifact_path` of the run's artifacts."""
        self._call("log an artifact", self._client.log_artifact, mlflow_run_id, str(path), artifact_path)

    def end_run(self, mlflow_run_id: str, status: str, end: int) -> None:
        """Set the run's end status and time (ms since 1970 UTC)."""
        self._write("end the run", self._client.set_terminated, mlflow_run_id, status, end)

    def delete_run(self, mlflow_run_id: str) -> None:
        """Delete the run as MLflow does: it can be restored until `mlflow gc`."""
        self._write("delete the run", self._client.delete_run, mlflow_run_id)

    def delete_tag(self, mlflow_run_id: str, name: str) -> None:
        """Take a tag off the run."""
        self._write("delete a tag", self._client.delete_tag, mlflow_run_id, name)

    def registered_runs(self) -> frozenset[str]:
        """Return the MLflow run ids that versions of registered models are of."""
        found: set[str] = set()
        token = None
        while True:
            page = self._call("list registered models", self._client.search_model_versions, "", 1000, page_token=token)
            found |= {version.run_id for version in page if version.run_id}
            token = page.token
            if not token:
                return frozenset(found)

    def artifacts_of(self, run: Any) -> Iterator[tuple[str, int]]:
        """Yield (path, bytes) of all artifacts of a run that `get_run` gave.

        A directory of this machine that nobody has made yet is not asked for: MLflow would read the whole run again.
        """
        place = self.local_artifacts(run)
        if place is None or place.is_dir():
            yield from self.artifacts(run.info.run_id)

    def local_artifacts(self, run: Any) -> Path | None:
        """Return the directory of this machine that holds a run's artifacts; None when they are elsewhere."""
        place = run.info.artifact_uri
        return Path(url2pathname(urlsplit(place).path)) if scheme(place) == "file" else None

    def artifacts(self, mlflow_run_id: str, path: str | None = None) -> Iterator[tuple[str, int]]:
        """Yield (path, bytes) of all artifacts of a run."""
        for found in self._call("list artifacts", self._client.list_artifacts, mlflow_run_id, path):
            if found.is_dir:
                yield from self.artifacts(mlflow_run_id, found.path)
            else:
                yield found.path, found.file_size or 0

    def download(self, mlflow_run_id: str, path: str, directory: Path) -> Path:
        """Copy one artifact below `directory` and return its path there."""
        copied = self._call("read an artifact", self._client.download_artifacts, mlflow_run_id, path, str(directory))
        return Path(copied)

    def _write(self, what: str, function: Callable[..., T], *arguments: Any) -> T:
        with ExitStack() as stack:
            if self.database is not None:
                stack.enter_context(sqlite.turn(self.database, QUEUE_SECONDS))
            return self._call(what, function, *arguments)

    def _call(self, what: str, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        try:
            with limits.limited(self.uri):
                return function(*arguments, **named)
        except Exception as error:  # MLflow raises its own, requests', SQLAlchemy's and the system's errors
            raise _translated(error, what, self.uri) from error


def _with_tags(tags: dict[str, str]) -> str:
    return " AND ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())


def _translated(error: Exception, what: str, uri: str) -> TrackingError:
    code = getattr(error, "error_code", "")
    text = reason(error, 500).replace(uri, masked(uri))
    kind = RejectedError if code in REFUSALS else TrackingError
    return kind(f"The tracking store {masked(uri)} failed to {what}: {text}")


def batches(
    params: dict[str, str], points: Sequence[Point], tags: dict[str, str]
) -> Iterator[tuple[list[Pair], list[Point], list[Pair]]]:
    """Yield batches within MLflow's limits: 100 params, 100 tags, 1,000 entities and a megabyte each."""
    waiting: list[tuple[int, Any, int]] = [
        *((0, pair, len(pair[0]) + 6 * len(pair[1])) for pair in params.items()),
        *((2, pair, len(pair[0]) + 6 * len(pair[1])) for pair in tags.items()),
        *((1, point, len(point[0]) + 100) for point in points),
    ]
    batch: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    size = 0
    for kind, item, weight in waiting:
        if size and (size + weight > MAX_BYTES or _full(batch, kind)):
            yield batch
            batch, size = ([], [], []), 0
        batch[kind].append(item)
        size += weight
    if size:
        yield batch


def _full(batch: tuple[list[Any], list[Any], list[Any]], kind: int) -> bool:
    if kind != 1 and len(batch[kind]) >= MAX_PAIRS:
        return True
    return sum(map(len, batch)) >= MAX_METRICS
