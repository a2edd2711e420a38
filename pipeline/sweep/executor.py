"""Where trials are executed: in this process, in a pool of processes, or on a Dask cluster. One seam for all three."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Future

DASK = "dask://"
PRELOAD = (
    "pipeline.sweep.late_worker",
    "numba",
    "scipy.stats",
    "pyarrow.parquet",
    "pipeline.sweep.evaluate",
    "pipeline.backtest.data",
    "pipeline.backtest.engine",
    "pipeline.backtest.contract",
)


class Executor(Protocol):
    """Executes functions elsewhere, with the semantics of `concurrent.futures`.

    A future whose worker died raises WorkerDiedError, one that took longer than `timeout` raises TimeoutError; the
    executor itself goes on.
    """

    @property
    def workers(self) -> int:
        """How many calls run at once."""
        ...

    def submit(self, function: Callable[..., Any], /, *args: Any, timeout: float | None = None) -> Future[Any]:
        """Schedule a call; `timeout` are the seconds it may take once it has begun."""
        ...

    def close(self, *, at_once: bool) -> None:
        """Let the workers go, after what they are doing or `at_once`."""
        ...


class WorkerDiedError(Exception):
    """The process that executed a call ended: killed, crashed, out of memory."""


class InlineExecutor:
    """Executes in this process: no isolation, no limit of time, nothing to start."""

    workers = 1

    def submit(
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        timeout: float | None = None,  # noqa: ARG002
    ) -> Future[Any]:
        """Execute the call now."""
        future: Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(function(*args))
        except Exception as error:  # noqa: BLE001 - a future carries what was raised
            future.set_exception(error)
        return future

    def close(self, *, at_once: bool) -> None:
        """Nothing is left to end."""


class ProcessExecutor:
    """A pool of processes on this machine; one that dies or takes too long is replaced.

    Workers come from a clean process that has imported what a backtest needs (`forkserver`), so they inherit neither
    threads nor connections; where the platform cannot fork, each starts for itself.
    """

    def __init__(self, workers: int) -> None:
        import multiprocessing

        try:
            from pebble import ProcessPool
        except ImportError:
            raise UsageError(
                "A pool of processes needs pebble, which is not installed: pip install 'evidence-chain[sweep]'."
            ) from None
        self.workers = workers
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            context.set_forkserver_preload(list(PRELOAD))
        self._pool = ProcessPool(max_workers=workers, context=context, initializer=_begin_worker)

    def submit(self, function: Callable[..., Any], /, *args: Any, timeout: float | None = None) -> Future[Any]:
        """Schedule a call on the pool."""
        return _translated(self._pool.schedule(function, args=args, timeout=timeout))

    def close(self, *, at_once: bool) -> None:
        """End the pool's processes."""
        if at_once:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()


class DaskExecutor:
    """The workers of an existing Dask cluster, `dask://host:port`.

    They need this package, and the project's root and results as a shared directory at the same path. A call whose
    worker is lost is given to another one by the scheduler, a few times. A worker says when a call begins there; Dask
    cannot end a call that runs, so the worker of one that takes too long is restarted by its nanny. One without a nanny
    stays busy.
    """

    RESTART_SECONDS = 30

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise UsageError("Dask is not installed: pip install 'evidence-chain[dask]'.") from None
        try:
            self._client = Client(address.replace(DASK, "tcp://"), timeout="30s", set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise UsageError(
                f"There is no Dask scheduler at {address}: {error}. Start one with `dask scheduler`."
            ) from None
        self._executor = self._client.get_executor(pure=False)
        self._topic = f"evidence-{uuid.uuid4()}"
        self._limited: dict[str, _Limited] = {}
        self._client.subscribe_topic(self._topic, self._began)

    @property
    def workers(self) -> int:
        """How many threads the cluster has now; at least 1, for workers that come late."""
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def submit(self, function: Callable[..., Any], /, *args: Any, timeout: float | None = None) -> Future[Any]:
        """Schedule a call on the cluster."""
        if timeout is None:
            return _translated(self._executor.submit(function, *args))
        call = str(uuid.uuid4())
        limited = self._limited[call] = _Limited(timeout)
        limited.given = self._executor.submit(_begin, self._topic, call, function, *args)
        limited.future = _translated(limited.given)
        limited.future.add_done_callback(lambda _: self._forget(call))
        return limited.future

    def close(self, *, at_once: bool) -> None:
        """Leave the cluster."""
        for call in list(self._limited):
            self._forget(call)
        self._executor.shutdown(wait=not at_once)
        self._client.close()

    def _began(self, event: tuple[float, Mapping[str, str]]) -> None:
        """Limit the time of a call from the moment a worker began it, which may be a second one."""
        limited = self._limited.get(event[1]["call"])
        if limited is not None:
            limited.stop()
            limited.timer = threading.Timer(limited.seconds, self._late, (event[1]["call"], event[1]["worker"]))
            limited.timer.daemon = True
            limited.timer.start()

    def _late(self, call: str, worker: str) -> None:
        limited = self._limited.get(call)
        if limited is None or limited.future is None or limited.given is None:
            return
        with suppress(concurrent.futures.InvalidStateError):
            limited.future.set_exception(TimeoutError("it took too long"))
            limited.given.cancel()
            with suppress(Exception):  # no nanny, or the worker is gone
                self._client.restart_workers([worker], timeout=self.RESTART_SECONDS, raise_for_error=False)

    def _forget(self, call: str) -> None:
        limited = self._limited.pop(call, None)
        if limited is not None:
            limited.stop()


@dataclass
class _Limited:
    """A call on the cluster that may take so many seconds once it has begun."""

    seconds: float
    given: Future[Any] | None = None
    future: Future[Any] | None = None
    timer: threading.Timer | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


def _begin(topic: str, call: str, function: Callable[..., Any], *args: Any) -> Any:
    """Tell the client, from a worker, that a call begins, and make it."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, {"call": call, "worker": worker.address})
    return function(*args)


@contextmanager
def open_executor(where: str, jobs: int) -> Iterator[Executor]:
    """Open the executor named `where` (local, inline, dask://host:port) and close it at the end.

    It is closed at once when an exception passes through.
    """
    made = _make(where, jobs)
    try:
        yield made
    except BaseException:
        made.close(at_once=True)
        raise
    made.close(at_once=False)


def _make(where: str, jobs: int) -> Executor:
    if where.startswith(DASK):
        return DaskExecutor(where)
    if where == "inline":
        return InlineExecutor()
    if where == "local":
        return ProcessExecutor(jobs)
    raise UsageError(f"--executor {where}: give local, inline or dask://HOST:PORT.")


def _translated(given: Future[Any]) -> Future[Any]:
    """Return a future that raises WorkerDiedError whatever the pool calls a lost worker."""
    future: Future[Any] = concurrent.futures.Future()

    def settle(done: Future[Any]) -> None:
        with suppress(concurrent.futures.InvalidStateError):  # it was given up before
            if done.cancelled():
                future.set_exception(WorkerDiedError("the call was cancelled"))
            elif (error := done.exception()) is None:
                future.set_result(done.result())
            else:
                future.set_exception(WorkerDiedError(str(error)) if _lost(error) else error)

    given.add_done_callback(settle)
    return future


def _lost(error: BaseException) -> bool:
    return type(error).__name__ in {"ProcessExpired", "KilledWorker", "BrokenProcessPool"}


def _begin_worker() -> None:
    """Leave Ctrl-C to the process that coordinates, which decides whether running trials finish; end when it has."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_coordinator, daemon=True).start()


def _end_with_coordinator() -> None:
    import multiprocessing

    if (coordinator := multiprocessing.parent_process()) is not None:
        coordinator.join()
        os._exit(1)
