"""Walk-forward with a search of its own before each test window: it tests the way of searching, not its trials.

Each search sees the bars before its window and nothing else, with the sweep's space, sampler and objectives, and a
seed of its own. What it finds best is followed through the window. These backtests are no trials of the strategy:
none of them can become the best trial, so they neither go into the study nor count in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline.backtest.selection import walk_forward_splits
from pipeline.errors import UsageError
from pipeline.rundir import new_run_id
from pipeline.sweep.evaluate import bars_of
from pipeline.sweep.ranking import rank
from pipeline.sweep.search import Search, Standing
from pipeline.sweep.space import Params
from pipeline.sweep.study import Proposer
from pipeline.sweep.trial import Proposal, Trial

NOTHING = "walk-forward chose between the sweep's trials: {what}"


@dataclass(frozen=True, eq=False)
class Searched:
    """What the search before each window found best: its params, and its returns over all bars.

    `returns` has a row a period and a column a window; `trials` is how many each search made at the most.
    """

    params: tuple[Params, ...]
    returns: np.ndarray
    trials: int


@dataclass(frozen=True)
class ForwardSearch:
    """The searches of a sweep's walk-forward; `main` is the search over all bars."""

    main: Search

    @cached_property
    def searches(self) -> tuple[Search, ...]:
        """A search for each window; none when the bars are too few for them."""
        section = self.main.work.spec.validation
        try:
            splits = walk_forward_splits(len(bars_of(self.main.work)) - 1, section.walk_forward_windows)
        except UsageError:
            return ()
        # row 0 of the returns is that of bar 1, so the rows before a window end with the bar of its first row
        return tuple(self._search(number, int(split.test[0]) + 1) for number, split in enumerate(splits))

    def run(self) -> bool:
        """Search before one window after the other; return False when that was stopped."""
        return all(search.run() for search in self.searches)

    def found(self, notes: list[str]) -> Searched | None:
        """Return what was found best, None (and why, in `notes`) when some search found nothing."""
        best = [self._best(search) for search in self.searches]
        params = tuple(trial.params for trial in best if trial is not None)
        if len(params) < len(best):
            notes.append(NOTHING.format(what=f"no search before window {best.index(None) + 1} found anything"))
        elif params:
            proposals = [Proposal(window, new_run_id(), own) for window, own in enumerate(params)]
            answers = {proposal.number: answer for proposal, answer, _ in self.main.backtests(proposals)}
            rows = [row for window in range(len(params)) if (row := answers[window].returns) is not None]
            if len(rows) == len(params):
                return Searched(params, np.column_stack(rows), self.searches[0].limit)
            notes.append(NOTHING.format(what="what was found before a window fails on all bars"))
        return None

    def _best(self, search: Search) -> Trial | None:
        complete = {trial.number: trial for trial in search.told if trial.state == "COMPLETE"}
        ranking = rank([*complete.values()], search.work.spec.sweep.objectives[0])
        return complete[ranking[0]] if ranking else None

    def trials(self) -> Iterator[tuple[int, Trial]]:
        """Yield every trial of every search with the number of its window, from 1."""
        for number, search in enumerate(self.searches, start=1):
            for trial in search.told:
                yield number, trial

    def _search(self, window: int, bars: int) -> Search:
        main, spec = self.main, self.main.work.spec
        own = spec.sweep.model_copy(
            update={
                "trials": spec.validation.walk_forward_trials,
                "seed": (spec.sweep.seed + 1 + window) % 2**32,
                "pruner": "none",
                "timeout": None,
            }
        )
        windows = spec.validation.walk_forward_windows

        def on_trial(standing: Standing) -> None:
            main.on_trial(replace(standing, what=f"walk-forward {window + 1} of {windows}"))

        return Search(
            work=replace(main.work, spec=replace(spec, sweep=own)),
            directory=main.directory,
            executor=main.executor,
            proposer=Proposer(own, main.proposer.space),
            kept=None,
            stop=main.stop,
            on_trial=on_trial,
            bars=bars,
        )
