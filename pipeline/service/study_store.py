"""The store of Optuna studies behind the service: the only module of it that says optuna.

By default a journal file, which many threads and processes write in turns; or an SQL store by its URL. What a request
changes is one step of the store, so parallel requests and services of one store do not get in each other's way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pipeline.file_lock import locked
from pipeline.masking import masked
from pipeline.service.problems import Refusal
from pipeline.service.stores import Away
from pipeline.tracking.failures import reason
from pipeline.tracking.uri import absolute_uri, scheme

PARAMS, SAMPLER, PRUNER, OPTIONS = "evidence:params", "evidence:sampler", "evidence:pruner", "evidence:pruner_options"
FIXED = "fixed_params"  # Optuna's own word for params that a trial was queued with
OWN = frozenset({PARAMS, SAMPLER, PRUNER, OPTIONS})
POOL = 60
AWAY = ("OperationalError", "InterfaceError", "StorageInternalError", "TimeoutError")


class JournalTurn:
    """The lock of a journal file: the system's, which ends with the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.Lock()
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Wait for our turn."""
        self._thread.acquire()
        try:
            self._held.enter_context(locked(self._path))
        except BaseException:
            self._thread.release()
            raise
        return True

    def release(self) -> None:
        """End our turn."""
        try:
            self._held.close()
        finally:
            self._thread.release()


class StudyStore:
    """The studies of a service, for many threads. Methods raise Refusal."""

    def __init__(self, url: str | None, journal: Path, root: Path, *, seconds: float = 5.0) -> None:
        """`url` is an SQL store; None is the journal file."""
        self._url = None if url is None else absolute_uri(url, root)
        self._journal, self._seconds = journal, seconds
        self._lock = threading.Lock()
        self._away = Away("The store of studies")
        self._storage: Any = None

    @property
    def shown(self) -> str:
        """Where the studies are, without secrets."""
        return str(self._journal) if self._url is None else masked(self._url)

    def check(self) -> None:
        """Raise Refusal when the store does not answer."""
        with self.storage() as storage:
            storage.get_all_studies()

    @contextmanager
    def storage(self) -> Iterator[Any]:
        """Yield the storage; what it raises inside is told as a Refusal."""
        self._away.check()
        try:
            yield self._opened()
        except Exception as error:
            raise self._told(error) from error

    @contextmanager
    def study(self, name: str) -> Iterator[Any]:
        """Yield a study with the sampler and the pruner that it was made with; raises Refusal, 404 for none."""
        with self.storage() as storage:
            yield self._study(storage, name)

    def summaries(self) -> list[Any]:
        """Return what Optuna says of each study in short."""
        import optuna

        with self.storage() as storage:
            return list(optuna.get_all_study_summaries(storage, include_best_trial=False))

    def create(self, name: str, directions: Sequence[str], attrs: Mapping[str, Any], *, load_if_exists: bool) -> None:
        """Make a study; raises Refusal, 409 when there is one of the name (with other directions, if it may be)."""
        import optuna

        pruner_of(str(attrs[PRUNER]), attrs[OPTIONS])
        with self.storage() as storage:
            try:
                made = optuna.create_study(storage=storage, study_name=name, directions=list(directions))
            except optuna.exceptions.DuplicatedStudyError:
                there = optuna.load_study(storage=storage, study_name=name)
                if load_if_exists and [one.name.lower() for one in there.directions] == list(directions):
                    return
                raise Refusal(409, f"There is a study {name!r} already.") from None
            for key, value in attrs.items():
                made.set_user_attr(key, value)

    def _study(self, storage: Any, name: str) -> Any:
        import optuna

        try:
            attrs = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
            return optuna.load_study(
                storage=storage,
                study_name=name,
                sampler=sampler_of(str(attrs.get(SAMPLER, "tpe"))),
                pruner=pruner_of(str(attrs.get(PRUNER, "none")), attrs.get(OPTIONS, {})),
            )
        except KeyError:
            raise Refusal(404, f"There is no study {name!r}.") from None

    def _opened(self) -> Any:
        with self._lock:
            if self._storage is None:
                import optuna

                optuna.logging.set_verbosity(optuna.logging.WARNING)
                # Processes that make the tables at the same time fail: here one at a time looks for them.
                with locked(self._journal.with_name("studies.lock"), seconds=60.0):
                    self._storage = self._open()
            return self._storage

    def _open(self) -> Any:
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        if self._url is None:
            turn = JournalTurn(self._journal.with_name("studies.journal.lock"))
            return JournalStorage(JournalFileBackend(str(self._journal), lock_obj=turn))
        waits = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": max(1, round(self._seconds))}}
        connect = waits.get(scheme(self._url), {})
        options = {"pool_pre_ping": True, "pool_size": POOL, "connect_args": connect}
        return RDBStorage(self._url, engine_kwargs=options)

    def _told(self, error: Exception) -> Exception:
        if isinstance(error, Refusal):
            return error
        names = {kind.__name__ for kind in type(error).__mro__}
        causes = {type(cause).__name__ for cause in (error.__cause__, error.__context__) if cause is not None}
        if (names | causes) & {*AWAY} or isinstance(error, OSError):
            return self._away.note(reason(error, 300))
        if "UpdateFinishedTrialError" in names:
            return Refusal(409, "The trial has ended already.")
        return error


def sampler_of(name: str) -> Any:
    """Return the sampler of a name; one that this service does not know is TPE."""
    from optuna import samplers

    kinds = {
        "random": samplers.RandomSampler,
        "qmc": lambda: samplers.QMCSampler(scramble=True, warn_independent_sampling=False),
        "nsgaii": samplers.NSGAIISampler,
    }
    return kinds.get(name, lambda: samplers.TPESampler(constant_liar=True))()


def pruner_of(name: str, options: Mapping[str, Any]) -> Any:
    """Return the pruner of a name; raises Refusal for options that it does not take."""
    from optuna import pruners

    kinds: dict[str, Any] = {
        "median": pruners.MedianPruner,
        "percentile": pruners.PercentilePruner,
        "hyperband": pruners.HyperbandPruner,
        "successive_halving": pruners.SuccessiveHalvingPruner,
    }
    given = {"percentile": 50.0, **options} if name == "percentile" else dict(options)
    try:
        return kinds.get(name, pruners.NopPruner)(**given)
    except (TypeError, ValueError) as error:
        raise Refusal(400, f"The pruner {name!r} does not take these options: {reason(error, 300)}") from None
