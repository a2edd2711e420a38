"""The search itself: propose a batch, count it in the ledger, execute it, learn from it, go on.

Trials are proposed here and told here, in the order of their numbers, batch by batch. Workers only execute. So the
same spec gives the same trials with any number of workers, and a search that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.rundir import RunDir, new_run_id
from pipeline.sweep.batches import Batch, batches
from pipeline.sweep.counting import Account
from pipeline.sweep.dispatch import Dispatch
from pipeline.sweep.evaluate import (
    Work,
    backtest_bars,
    backtest_trials,
    backtest_window,
    read_trial_run,
    run_again,
    run_trials,
)
from pipeline.sweep.executor import Executor
from pipeline.sweep.objectives import better
from pipeline.sweep.repeats import Ended, Repeats, params_key
from pipeline.sweep.study import KeptStudy, Proposer
from pipeline.sweep.trial import Answer, Proposal, Trial
from pipeline.telemetry import tell_trial

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

DEFAULT_TRIALS = 100
ENDED = "ended"  # beside the batches


@dataclass(frozen=True)
class Standing:
    """How far a search has come; `seconds` and `ended_here` are those of this process, `what` names the search."""

    ended: int
    failed: int
    pruned: int
    total: int
    best: Trial | None
    seconds: float
    ended_here: int
    what: str = "trials"


OnTrial = Callable[[Standing], None]


class Tally:
    """Counts the trials as they end."""

    def __init__(self, metric: str, total: int) -> None:
        self._metric = metric
        self._total = total
        self._states: Counter[str] = Counter()
        self._best: Trial | None = None
        self._here = 0
        self._began = time.monotonic()

    def add(self, trial: Trial, *, here: bool) -> None:
        """Count a trial; `here` says that this process saw it end."""
        self._states[trial.state] += 1
        self._here += here
        best = self._best
        if trial.values and (best is None or better(self._metric, trial.values[0], best.values[0])):
            self._best = trial

    def standing(self) -> Standing:
        """Return how far the search has come."""
        return Standing(
            self._states.total(),
            self._states["FAIL"],
            self._states["PRUNED"],
            self._total,
            self._best,
            time.monotonic() - self._began,
            self._here,
        )


@dataclass
class Search:
    """One search over a sweep's space. `stop` ends it after the trials that run; `told` has what ended, by number.

    With `bars` it sees so many of the first bars only, as walk-forward does before a window; it is then kept in no
    study, and its backtests do not count as trials in the ledger.
    """

    work: Work
    directory: RunDir
    executor: Executor
    proposer: Proposer
    kept: KeptStudy | None
    stop: Event
    signer: Signer | None = None
    on_trial: OnTrial = lambda _: None
    bars: int | None = None
    told: list[Trial] = field(default_factory=list)
    returns: dict[int, np.ndarray] = field(default_factory=dict)
    tally: Tally = field(init=False)
    _began: float = field(init=False)

    @property
    def batches(self) -> Path:
        """Where the batches are kept while the sweep is in progress."""
        return self.directory.batches(self.bars)

    @cached_property
    def limit(self) -> int:
        """The most trials."""
        section = self.work.spec.sweep
        if section.sampler != "grid":
            return section.trials or DEFAULT_TRIALS
        size = sum(1 for _ in self.proposer.space.grid())
        return min(section.trials or size, size)

    @cached_property
    def account(self) -> Account | None:
        """What the ledger is told through; None for a search whose backtests are no trials."""
        if self.bars is not None:
            return None
        return Account(self.work, self.directory, self.proposer.space, self.signer)

    @cached_property
    def repeats(self) -> Repeats:
        """What was executed already."""
        return Repeats(self.batches, self._again)

    def run(self) -> bool:
        """Execute trials until the budget is used up; return False when it was stopped before.

        Once used up it stays so, also when the sweep is interrupted later.
        """
        finished = self._run()
        if finished:
            self.batches.mkdir(parents=True, exist_ok=True)
            (self.batches / ENDED).touch()
        return finished

    def _run(self) -> bool:
        self._began = time.monotonic()
        self.tally = Tally(self.work.spec.sweep.objectives[0], self.limit)
        earlier = list(batches(self.batches))
        for batch in earlier:
            self.proposer.propose_again(batch.number, batch.proposals())
            if not self._finish(batch):
                return False
        number = len(earlier)
        while not self._used_up():
            proposed = self._propose(number)
            if proposed is None:
                return True
            if not self._finish(proposed):
                return False
            number += 1
        return not self.stop.is_set()

    def _used_up(self) -> bool:
        limit, timeout = self.limit, self.work.spec.sweep.timeout
        late = timeout is not None and time.monotonic() - self._began >= timeout
        return self.stop.is_set() or late or len(self.told) >= limit or (self.batches / ENDED).exists()

    def _propose(self, number: int) -> Batch | None:
        """Propose the next batch and write it down; None when nothing is left to try."""
        size = self.work.spec.sweep.batch_size
        proposed = self.proposer.propose(number, min(size, self.limit - len(self.told)))
        if not proposed:
            return None
        batch = Batch(self.batches, number)
        batch.plan([Proposal(trial, new_run_id(), params) for trial, params in proposed])
        return batch

    def _finish(self, batch: Batch) -> bool:
        """Execute what is not yet done of a batch and learn from all of it; False when stopped in the middle."""
        proposals, earlier = batch.proposals(), batch.ended()
        done = {trial.number: trial for trial, _ in earlier}
        for trial in done.values():
            self.tally.add(trial, here=False)
        self.repeats.learn(earlier)
        left = [proposal for proposal in proposals if proposal.number not in done]
        if left and self.account is not None:
            self.account.count(batch, proposals)
        self._execute(batch, left, done)
        ended = batch.ended()
        if len(ended) < len(proposals):
            return False
        if self.account is not None:
            self.account.end(batch, [trial for trial, _ in ended])
        self._learn(ended)
        return True

    def _execute(self, batch: Batch, proposals: Sequence[Proposal], done: Mapping[int, Trial]) -> None:
        """Execute trials; those that repeat a configuration come last, when its result may be there to take over."""
        seen: dict[int, list[float | None]] = {proposal.number: [] for proposal in proposals}
        alive = list(proposals)
        if self.work.spec.sweep.pruner != "none":
            alive = self._prune(batch, alive, seen, done)
        first = {params_key(proposal.params): proposal.number for proposal in reversed(alive)}
        fresh = {number for key, number in first.items() if key not in self.repeats.known}
        self._run_whole(batch, [proposal for proposal in alive if proposal.number in fresh], seen)
        if len(fresh) == len(alive) or self.stop.is_set():
            return
        self.repeats.learn(batch.ended())
        again = [proposal for proposal in alive if proposal.number not in fresh]
        reusable = self.repeats.reusable(again)
        for proposal in again:
            if proposal.number in reusable:
                earlier, returns = reusable[proposal.number]
                answer = Answer(earlier.stats, returns)
                self._record(batch, proposal, answer, (), seen[proposal.number], reused=earlier.number)
        self._run_whole(batch, [proposal for proposal in again if proposal.number not in reusable], seen)

    def _run_whole(self, batch: Batch, proposals: Sequence[Proposal], seen: Mapping[int, list[float | None]]) -> None:
        """Execute trials over all bars."""
        left = list(proposals)
        if self.work.spec.sweep.mode == "full":
            left = [fresh for proposal in left if (fresh := self._to_run(batch, proposal, seen[proposal.number]))]
        for proposal, answer, attempts in self._dispatch("whole").answers(left):
            self._record(batch, proposal, answer, attempts, seen[proposal.number])

    def _again(self, trial: Trial) -> Answer | None:
        """Execute a trial once more, which counts as none; None when the search is stopped before it could be."""
        call = None if self.work.spec.sweep.mode == "fast" else run_again
        dispatch = self._dispatch("whole", call)
        proposal = Proposal(trial.number, trial.run_id, trial.params)
        return next((answer for _, answer, _ in dispatch.answers([proposal])), None)

    def _prune(
        self, batch: Batch, alive: list[Proposal], seen: dict[int, list[float | None]], done: Mapping[int, Trial]
    ) -> list[Proposal]:
        """Evaluate the windows one after the other, all trials on each, and drop what the pruner gives up.

        The pruner hears of the trials in the order of their numbers, so it does not matter which worker was faster,
        nor which of them were `done` before the sweep was interrupted.
        """
        reusable = self.repeats.reusable(alive)
        for step in range(self.work.spec.sweep.windows):
            found = self._window(alive, step, reusable)
            waiting = {proposal.number: proposal for proposal in alive}
            left = []
            for number in sorted({*done, *found}):
                if number in done:
                    if step < len(done[number].intermediate):
                        self.proposer.should_prune(number, step, done[number].intermediate[step])
                    continue
                proposal, (answer, attempts) = waiting[number], found[number]
                intermediate = seen[proposal.number]
                intermediate.append(self._objectives(answer)[0])
                if answer.error is not None:
                    self._record(batch, proposal, answer, attempts, intermediate[:-1])
                elif self.proposer.should_prune(proposal.number, step, intermediate[-1]):
                    self._record(batch, proposal, answer, attempts, intermediate, pruned=True)
                else:
                    left.append(proposal)
            alive = left
        return alive

    def _window(
        self, alive: Sequence[Proposal], step: int, reusable: Mapping[int, Ended]
    ) -> dict[int, tuple[Answer, tuple[str, ...]]]:
        """Return what window `step` says of trials, by number; when stopped, of the first ones only."""
        fresh = [proposal for proposal in alive if proposal.number not in reusable]
        found = {p.number: (answer, tried) for p, answer, tried in self._dispatch(step).answers(fresh)}
        missing = min((p.number for p in fresh if p.number not in found), default=None)
        metric = self.work.spec.sweep.objectives[0]
        for proposal in alive:
            if proposal.number in reusable and (missing is None or proposal.number < missing):
                first, _ = reusable[proposal.number]
                found[proposal.number] = Answer({metric: first.intermediate[step]}), ()
        return found

    def backtests(self, proposals: Sequence[Proposal]) -> Iterator[tuple[Proposal, Answer, tuple[str, ...]]]:
        """Yield each proposal as it ends, with its backtest over all bars and the tries that were lost."""
        return replace(self._dispatch("whole"), stop=Event()).answers(proposals)

    def _dispatch(self, what: int | str, function: Callable[..., list[Answer]] | None = None) -> Dispatch:
        """Return how a window, or `whole` backtests or runs are handed out; `function` executes them instead."""
        section, work = self.work.spec.sweep, self.work
        whole_run = what == "whole" and section.mode == "full"

        def call(proposals: Sequence[Proposal]) -> tuple[Callable[..., list[Answer]], tuple[Any, ...]]:
            if function is not None:
                return function, (work, list(proposals))
            if isinstance(what, int):
                return backtest_window, (work, list(proposals), what)
            if self.bars is not None:
                return backtest_bars, (work, list(proposals), self.bars)
            return (run_trials if whole_run else backtest_trials), (work, list(proposals))

        return Dispatch(
            self.executor,
            call,
            self.stop,
            together=not whole_run,
            timeout=section.trial_timeout,
            retries=section.retries,
            fresh_ids=whole_run,
        )

    def _to_run(self, batch: Batch, proposal: Proposal, intermediate: list[float | None]) -> Proposal | None:
        """Return what is left to run of a trial after the sweep was killed.

        None when its run was sealed before; another run_id when it was begun: that run stays as KILLED.
        """
        answer = read_trial_run(self.work, proposal)
        if answer is not None:
            self._record(batch, proposal, answer, (), intermediate)
            return None
        begun = RunDir(self.work.settings.results, proposal.run_id).path.exists()
        return replace(proposal, run_id=new_run_id()) if begun else proposal

    def _record(
        self,
        batch: Batch,
        proposal: Proposal,
        answer: Answer,
        attempts: tuple[str, ...],
        intermediate: Sequence[float | None],
        *,
        pruned: bool = False,
        reused: int | None = None,
    ) -> None:
        values = self._objectives(answer)
        missing = [name for name, value in zip(self.work.spec.sweep.objectives, values, strict=True) if value is None]
        error = answer.error or (f"undefined: {', '.join(missing)}" if missing and not pruned else None)
        complete = error is None and not pruned
        trial = Trial(
            proposal.number,
            proposal.run_id,
            proposal.params,
            "PRUNED" if pruned else "COMPLETE" if complete else "FAIL",
            tuple(value for value in values if value is not None) if complete else (),
            {} if pruned else answer.stats,
            tuple(intermediate),
            round(answer.seconds, 6),
            error,
            attempts,
            None if pruned else reused,
        )
        batch.record(trial, answer.returns if complete else None)
        if self.work.spec.sweep.mode == "fast":
            tell_trial(trial.number, trial.run_id, trial.state, trial.seconds, trial.error)
        self.tally.add(trial, here=True)
        self.on_trial(self.tally.standing())

    def _objectives(self, answer: Answer) -> list[float | None]:
        found = [answer.stats.get(name) for name in self.work.spec.sweep.objectives]
        return [None if value is None or not np.isfinite(value) else float(value) for value in found]

    def _learn(self, ended: Sequence[tuple[Trial, np.ndarray | None]]) -> None:
        for trial, returns in ended:
            self.proposer.tell(trial)
            self.told.append(trial)
            if returns is not None:
                self.returns[trial.number] = returns
        self.repeats.learn(ended)
        if self.kept is not None:
            self.kept.add([(trial, self.proposer.frozen(trial)) for trial, _ in ended])
