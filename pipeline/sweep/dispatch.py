"""Hand trials to the workers and gather the answers; a trial whose worker dies or hangs is tried again, then marked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from pipeline.rundir import new_run_id
from pipeline.sweep.executor import Executor, WorkerDiedError
from pipeline.sweep.trial import Answer, Proposal

AHEAD = 3  # chunks a worker finds waiting, so that it never idles
LONGEST_CHUNK = 16
GRACE = 10.0  # seconds more for a worker that prepares itself, and stops a trial that is late by itself
PATIENCE = 0.5  # seconds between two looks at whether to stop


@dataclass(frozen=True)
class Chunk:
    """Some trials given to a worker together; `attempts` are the run ids of earlier tries of a trial on its own."""

    proposals: tuple[Proposal, ...]
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dispatch:
    """How trials are handed out.

    `call(proposals)` gives the function and its arguments; it returns a list of answers, one a proposal. `together`
    lets several short trials share a call. `timeout` are seconds a trial, `retries` how often a lost one is tried
    again, with a new run_id when `fresh_ids`.
    """

    executor: Executor
    call: Callable[[Sequence[Proposal]], tuple[Callable[..., list[Answer]], tuple[Any, ...]]]
    stop: Event
    together: bool = True
    timeout: float | None = None
    retries: int = 1
    fresh_ids: bool = False

    def answers(self, proposals: Sequence[Proposal]) -> Iterator[tuple[Proposal, Answer, tuple[str, ...]]]:
        """Yield each trial as it ends, with its answer and the run ids of its lost tries.

        After `stop` is set no further trial is started; those that run are waited for.
        """
        waiting = deque(self._chunks(proposals))
        running: dict[Future[list[Answer]], Chunk] = {}
        while waiting or running:
            while waiting and len(running) < self.executor.workers * AHEAD and not self.stop.is_set():
                chunk = waiting.popleft()
                running[self._submit(chunk)] = chunk
            if not running:
                return
            for future in wait(running, timeout=PATIENCE, return_when=FIRST_COMPLETED).done:
                yield from self._settle(future, running.pop(future), waiting)

    def _chunks(self, proposals: Sequence[Proposal]) -> Iterator[Chunk]:
        size = 1
        if self.together:
            size = max(1, min(LONGEST_CHUNK, len(proposals) // (self.executor.workers * AHEAD)))
        for start in range(0, len(proposals), size):
            yield Chunk(tuple(proposals[start : start + size]))

    def _submit(self, chunk: Chunk) -> Future[list[Answer]]:
        function, args = self.call(chunk.proposals)
        limit = None if self.timeout is None else self.timeout * len(chunk.proposals) + GRACE
        return self.executor.submit(function, *args, timeout=limit)

    def _settle(
        self, future: Future[list[Answer]], chunk: Chunk, waiting: deque[Chunk]
    ) -> Iterator[tuple[Proposal, Answer, tuple[str, ...]]]:
        try:
            answers = future.result()
        except (WorkerDiedError, TimeoutError) as error:
            if len(chunk.proposals) > 1:  # one of them did it: each on its own tells which
                waiting.extendleft(Chunk((proposal,)) for proposal in reversed(chunk.proposals))
                return
            yield from self._lost(chunk, error, waiting)
            return
        for proposal, answer in zip(chunk.proposals, answers, strict=True):
            yield proposal, answer, chunk.attempts

    def _lost(
        self, chunk: Chunk, error: Exception, waiting: deque[Chunk]
    ) -> Iterator[tuple[Proposal, Answer, tuple[str, ...]]]:
        (proposal,) = chunk.proposals
        if len(chunk.attempts) < self.retries:
            again = replace(proposal, run_id=new_run_id()) if self.fresh_ids else proposal
            waiting.appendleft(Chunk((again,), (*chunk.attempts, proposal.run_id)))
            return
        what = "it took too long" if isinstance(error, TimeoutError) else "its worker died"
        tried = f" (tried {len(chunk.attempts) + 1} times)" if chunk.attempts else ""
        yield proposal, Answer(error=f"{what}{tried}"), chunk.attempts
