"""The MLflow store behind the service: the only module of it that says mlflow.

Calls that write to an SQLite store take turns, in this process and with others of this package: SQLite lets one write,
and makes the rest poll. A store that is away is found so at once, and is used again when it is back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pipeline.errors import TrackingError
from pipeline.file_lock import locked
from pipeline.masking import masked
from pipeline.service.problems import Refusal
from pipeline.service.stores import Away
from pipeline.tracking import sqlite
from pipeline.tracking.failures import reason
from pipeline.tracking.store import Store
from pipeline.tracking.uri import HTTP, absolute_uri, require_mlflow, scheme, sqlite_path

T = TypeVar("T")
STATUSES = {
    "RESOURCE_DOES_NOT_EXIST": 404,
    "NOT_FOUND": 404,
    "RESOURCE_ALREADY_EXISTS": 409,
    "RESOURCE_CONFLICT": 409,
    "ALREADY_EXISTS": 409,
    "INVALID_STATE": 409,
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
    "NOT_IMPLEMENTED": 400,
}
AWAY = ("OperationalError", "InterfaceError", "TimeoutError", "ConnectionError", "MaxRetryError")
OPENING_SECONDS = 60.0
REMOTE = ("s3", "gs", "wasb", "wasbs", "abfss", "hdfs", "dbfs", "r2", "mlflow-artifacts")
Item = tuple[str, str]
Point = tuple[str, float, int, int]


class MlflowStore:
    """One MLflow store, for many threads. Methods raise Refusal: 4xx what MLflow refuses, 503 when it is away."""

    def __init__(self, uri: str, root: Path, *, lock: Path, roots: Sequence[Path] = (), seconds: float = 5.0) -> None:
        """`root` is the project, in which (and in `roots`) artifacts may be; a write waits `seconds` for its turn.

        Services that share the file `lock` make the tables of an empty store one after the other.
        """
        require_mlflow()
        self.uri = absolute_uri(uri, root)
        self._database = sqlite_path(self.uri)
        self._roots = [path.resolve() for path in (root, *roots)]
        self._artifacts = None if self._database is None else self._database.parent / "mlartifacts"
        self._seconds, self._lock = seconds, lock
        self._away = Away("MLflow")
        self._opening, self._writing = threading.Lock(), threading.Lock()
        self._client: Any = None
        self._file: sqlite.Identity | None = None

    @property
    def shown(self) -> str:
        """The store's URI without secrets."""
        return masked(self.uri)

    def check(self) -> None:
        """Raise Refusal when the store does not answer."""
        self.read(lambda client: client.search_experiments(max_results=1))

    def read(self, call: Callable[[Any], T]) -> T:
        """Return what a call of MLflow's client returns."""
        with self._telling():
            return call(self._opened())

    def write(self, call: Callable[[Any], T]) -> T:
        """Return what a call that changes something returns."""
        with self._telling():
            client = self._opened()  # before our turn: to open a store takes one, too
            with self._turn():
                return call(client)

    def artifacts(self, run_id: str, call: Callable[[Any], T]) -> T:
        """Return what a call about a run's artifacts returns, which must be where artifacts may be."""
        place = self.read(lambda client: client.get_run(run_id)).info.artifact_uri
        self._check_place(place)
        try:
            return call(self._opened())
        except Exception as error:
            if getattr(error, "error_code", "") in STATUSES:
                raise self._told(error) from error
            what = reason(error, 300)
            if isinstance(error, ImportError):
                raise Refusal(
                    409, f"The artifacts in {masked(place)} need what is not installed here: {what}"
                ) from error
            raise Refusal(503, f"The artifacts in {masked(place)} cannot be reached: {what}") from error

    def place_for(self, experiment: str, wanted: str | None) -> str | None:
        """Return where an experiment keeps its artifacts: elsewhere as `wanted`, else here; raises Refusal."""
        if wanted is not None:
            if scheme(wanted) in REMOTE and urlsplit(wanted).netloc:
                return wanted
            raise Refusal(400, f"artifact_location must be a URL of one of: {', '.join(REMOTE)}.")
        if self._artifacts is None:
            return None
        folder = "".join(char if (char.isalnum() and char.isascii()) or char in "._-" else "_" for char in experiment)
        return (self._artifacts / (folder.strip("._")[:80] or "experiment")).as_uri()

    def log_batch(
        self, run_id: str, points: Iterable[Point], params: Iterable[Item] = (), tags: Iterable[Item] = ()
    ) -> None:
        """Log metrics (key, value, milliseconds, step), params and tags in one call."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*point) for point in points]
        texts = [Param(*item) for item in params]
        labels = [RunTag(*item) for item in tags]
        self.write(lambda client: client.log_batch(run_id, metrics=metrics, params=texts, tags=labels))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Raise what is answered for the errors of what is done inside."""
        self._away.check()
        try:
            yield
        except Exception as error:
            raise self._told(error) from error

    def _opened(self) -> Any:
        """Return a client, of the database that is there now."""
        if self._client is not None and (self._database is None or sqlite.identity(self._database) == self._file):
            return self._client
        from mlflow import MlflowClient

        remote = scheme(self.uri) in HTTP
        alone: AbstractContextManager[object] = nullcontext() if remote else locked(self._lock, seconds=OPENING_SECONDS)
        with self._opening, alone:
            Store(self.uri, artifact_root=self._artifacts).connect()
            self._file = None if self._database is None else sqlite.identity(self._database)
            self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            return self._client

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._database is None:
            yield
            return
        if not self._writing.acquire(timeout=self._seconds):
            raise Refusal(503, "MLflow's store is busy: others keep writing to it.", {"Retry-After": "1"})
        with ExitStack() as held:
            held.callback(self._writing.release)
            held.enter_context(sqlite.turn(self._database, self._seconds))
            yield

    def _check_place(self, place: str) -> None:
        if scheme(place) in REMOTE:
            return
        path = Path(unquote(urlsplit(place).path)) if scheme(place) == "file" else Path(place)
        resolved = path.resolve()
        if (scheme(place) != "file" and "://" in place) or not any(
            resolved.is_relative_to(root) for root in self._roots
        ):
            raise Refusal(
                403,
                f"This run's artifacts are in {masked(place)}, outside of the project. `artifact_roots` lists more.",
            )

    def _told(self, error: Exception) -> Exception:
        """Return what is answered for an error; one that is neither MLflow's nor a store's is left as it is."""
        if isinstance(error, Refusal):
            return error
        if isinstance(error, TrackingError):
            return self._away.note(reason(error, 300))
        status = STATUSES.get(getattr(error, "error_code", ""))
        if status is not None:
            return Refusal(status, reason(error, 1_000))
        return self._failed(error, [*_chain(error)])

    def _failed(self, error: Exception, chain: Sequence[BaseException]) -> Exception:
        """Tell a store that is away from a value that it cannot take, and from a failure of another kind."""
        if any(isinstance(one, OSError) or type(one).__name__ in AWAY for one in chain):
            return self._away.note(reason(error, 300))
        if any(isinstance(one, ValueError | TypeError) or type(one).__name__ == "DataError" for one in chain):
            return Refusal(400, f"MLflow cannot take this: {reason(error, 500)}")
        if hasattr(error, "error_code"):
            return Refusal(503, f"MLflow failed: {reason(error, 300)}", {"Retry-After": "1"})
        return error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
