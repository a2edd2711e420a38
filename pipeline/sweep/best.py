"""The best trials of a fast sweep become whole runs, each held against what the fast backtest said of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace

import numpy as np

from pipeline.files import read_json, write_json
from pipeline.open_run import OpenRun
from pipeline.rundir import RunDir, new_run_id
from pipeline.sweep.dispatch import PATIENCE
from pipeline.sweep.evaluate import read_trial_run, run_best
from pipeline.sweep.search import Search
from pipeline.sweep.trial import Answer, Proposal, Trial

TOLERANCE = 1e-9


def run_best_trials(run: OpenRun, search: Search, numbers: Sequence[int]) -> tuple[str, ...]:
    """Execute the trials of these numbers as whole runs and return the run ids of those that were sealed, in order.

    What was sealed before the sweep was interrupted is not executed again. What was only begun stays as KILLED: its
    trial gets another run_id, in `search.told` too. After `search.stop` no further run is started.
    """
    chosen = _with_ids(run, search, numbers)
    answers = dict(_answers(search, chosen))
    for trial in chosen:
        answer = answers.get(trial.number)
        if isinstance(answer, Exception):
            run.warnings.append(f"Trial {trial.number} could not be made a whole run: {answer}")
        elif answer is not None and answer.error is not None:
            run.warnings.append(f"Trial {trial.number} failed as a whole run: {answer.error}")
        elif answer is not None and (text := _disagreement(trial, answer.stats)):
            run.warnings.append(text)
    return tuple(trial.run_id for trial in chosen if _sealed(search, trial))


def _answers(search: Search, chosen: Sequence[Trial]) -> Iterator[tuple[int, Answer | Exception | None]]:
    """Yield what became of each trial's run, with its number; runs that are sealed already are read."""
    proposals = [Proposal(trial.number, trial.run_id, trial.params) for trial in chosen]
    sealed = {proposal.number: read_trial_run(search.work, proposal) for proposal in proposals}
    yield from ((number, answer) for number, answer in sealed.items() if answer is not None)
    waiting = deque(proposal for proposal in proposals if sealed[proposal.number] is None)
    running: dict[Future[Answer], int] = {}
    while running or (waiting and not search.stop.is_set()):
        while waiting and len(running) < search.executor.workers and not search.stop.is_set():
            proposal = waiting.popleft()
            running[search.executor.submit(run_best, search.work, proposal)] = proposal.number
        for future in wait(running, timeout=PATIENCE, return_when=FIRST_COMPLETED).done:
            number, error = running.pop(future), future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            yield number, error or future.result()  # a lost worker leaves the sweep without this run, and it says so


def _sealed(search: Search, trial: Trial) -> bool:
    return RunDir(search.work.settings.results, trial.run_id).manifest.is_file()


def _with_ids(run: OpenRun, search: Search, numbers: Sequence[int]) -> list[Trial]:
    """Return the trials, each with a run_id that is sealed or free; which one it is outlasts a crash."""
    kept = run.dir.best_in_progress
    ids: dict[str, str] = read_json(kept) if kept.is_file() else {}
    place = {trial.number: index for index, trial in enumerate(search.told)}
    for number in numbers:
        trial = search.told[place[number]]
        directory = RunDir(run.settings.results, ids.get(str(number), trial.run_id))
        free = directory.manifest.is_file() or not directory.path.exists()
        ids[str(number)] = directory.run_id if free else new_run_id()
        search.told[place[number]] = replace(trial, run_id=ids[str(number)])
    write_json(kept, ids)
    return [search.told[place[number]] for number in numbers]


def _disagreement(trial: Trial, stats: Mapping[str, float | int | None]) -> str | None:
    for name, value in trial.stats.items():
        other = stats.get(name)
        same = value == other or (
            value is not None and other is not None and np.isclose(value, other, rtol=TOLERANCE, atol=TOLERANCE)
        )
        if not same:
            return (
                f"Trial {trial.number}: its run says {name} = {other}, the fast backtest {value}. The notebook does "
                "something else than the strategy alone; use mode = 'full'."
            )
    return None
