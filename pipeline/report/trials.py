"""How many trials the run shown was chosen from, as the ledger counts them, and what is known of their results.

The ledger is read once for many reports, and again when it has grown. What an entry that is older than results in
the ledger does not tell is read from the run's directory, as long as that is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_bytes
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.ledger_trials import Counted
from pipeline.evidence.trial import Scope, TrialResult, rate_of
from pipeline.files import read_json
from pipeline.rundir import LEDGER, RunDir, run_ids

if TYPE_CHECKING:
    from pipeline.run import Run

KEPT = 20_000


@dataclass(frozen=True)
class Trials:
    """The trial shown and the earlier ones of its family, whatever became of them; deflation takes this number.

    `exact` are those of the same strategy name on the same data, `ledger` all trials of the ledger until then.
    `sharpes` holds one ratio per bar for each different result, all at the risk-free rate of the trial shown: a trial
    that repeats one says nothing new about the spread. `without` ended without one, of `unknown` ones nobody knows it;
    the directories of `there` are still in `results/`. `problem` says why the ledger cannot be counted; then all
    numbers are too small, perhaps.
    """

    family: int
    exact: int
    ledger: int
    sharpes: tuple[float, ...] = ()
    without: int = 0
    unknown: int = 0
    there: int = 0
    scope: Scope = field(default_factory=lambda: Scope(None, None))
    problem: str = ""

    @property
    def count(self) -> int:
        """The number that deflates: that of the family."""
        return self.family

    @property
    def applicable(self) -> bool:
        """Say whether there was something to choose from: two different results at least, all trials counted."""
        return self.family > 1 and len(self.sharpes) > 1 and not self.problem

    @property
    def sha256(self) -> str:
        """Return one digest over all of it: a page made with other trials says something else."""
        return sha256_bytes(json.dumps({**vars(self), "scope": vars(self.scope)}, sort_keys=True).encode())


class TrialIndex:
    """The trials of one `results/` by family and by what exactly they tried, for many reports."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._ledger = _read_ledger(results / LEDGER)
        self._there = set(run_ids(results))
        self._left: dict[str, tuple[TrialResult | None, ...]] = {}

    def trials_of(self, run: Run) -> Trials:
        """Return the trials up to and including `run`.

        Those of a sweep are counted up to its last batch, for itself and for the runs of its trials; a replay has
        those of the run it repeats. A run that the ledger does not know is alone, and `problem` says so.
        """
        ledger = self._ledger
        run_id = run.run_id
        while run_id in ledger.stands_for:
            run_id = ledger.stands_for[run_id]
        own = ledger.own.get(run_id)
        if own is None:
            text = ledger.problem or "the ledger does not know this run (`evidence ledger adopt` enters it)"
            return Trials(1, 1, 1, problem=text)
        found = self._with_directories(ledger.family_of(own))
        exact = [one for one in found if one.scope.exact == own[0].scope.exact]
        rate = run.conventions.rate_per_period
        results = [result.at_rate(rate) for one in found for result in one.results]
        different = {result.key: result.sharpe for result in results if result is not None}
        return Trials(
            family=_sum(found),
            exact=_sum(exact),
            ledger=_sum(_until(ledger.counted, own[-1].seq)),
            sharpes=tuple(different.values()),
            without=sum(one.without for one in found) + results.count(None),
            unknown=sum(one.trials - one.ended for one in found),
            there=_sum(one for one in found if one.run_id in self._there),
            scope=own[0].scope,
            problem=ledger.problem,
        )

    def family_of(self, run: Run) -> list[Counted]:
        """Return what is counted of the run's family, as `trials_of` does; empty when the ledger does not know it."""
        run_id = run.run_id
        while run_id in self._ledger.stands_for:
            run_id = self._ledger.stands_for[run_id]
        own = self._ledger.own.get(run_id)
        return [] if own is None else self._ledger.family_of(own)

    def _with_directories(self, found: list[Counted]) -> list[Counted]:
        """Return counted trials with what directories say of results that the ledger does not know."""
        silent: dict[str, list[int]] = {}
        for place, one in enumerate(found):
            if not one.ended and one.run_id in self._there:
                silent.setdefault(str(one.run_id), []).append(place)
        known = list(found)
        for run_id, places in silent.items():
            most = sum(found[place].trials for place in places)
            told = self._left_by(run_id)[:most]
            results = tuple(result for result in told if result is not None)
            without = len(told) - len(results)
            known[places[0]] = replace(found[places[0]], ended=len(told), without=without, results=results)
        return known

    def _left_by(self, run_id: str) -> tuple[TrialResult | None, ...]:
        if run_id not in self._left:
            written = _written(RunDir(self._results, run_id).manifest)
            self._left[run_id] = _of_directory(self._results, run_id, written)
        return self._left[run_id]


def count_trials(run: Run) -> Trials:
    """Return the trials of one run, as its ledger is now."""
    return TrialIndex(run.dir.results).trials_of(run)


@dataclass(frozen=True, eq=False)
class _Ledger:
    """What is counted in a ledger, in order; `own` by run, `families` by family and instrument, `exact` by search."""

    counted: tuple[Counted, ...]
    stands_for: dict[str, str]
    problem: str
    own: dict[str, list[Counted]] = field(default_factory=dict)
    families: dict[object, list[Counted]] = field(default_factory=dict)
    exact: dict[object, list[Counted]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.counted:
            for name in one.scope.families:
                self.families.setdefault(name, []).append(one)
            if one.scope.exact is not None:
                self.exact.setdefault(one.scope.exact, []).append(one)
            if one.run_id is not None:
                self.own.setdefault(one.run_id, []).append(one)

    def family_of(self, own: list[Counted]) -> list[Counted]:
        """Return all of a family until the last of `own`, in order.

        What tried exactly the same is always of it, and so is the family of that. So an entry that is older than
        families belongs where its strategy and data are, and neither another family declared for them nor another
        label of the instrument begins a new count.
        """
        until = own[-1].seq
        same = self._exactly(own, until)
        times: dict[object, list[Scope]] = {}
        for one in same:
            for name in one.scope.akin:
                times.setdefault(name, []).append(one.scope)
        akin = [one for name, scopes in times.items() for one in self._overlapping(name, scopes, until)]
        found = {id(one): one for one in (*same, *self._exactly(akin, until))}
        return sorted(found.values(), key=lambda one: one.seq)

    def _exactly(self, some: list[Counted], until: int) -> list[Counted]:
        """Return `some` with all that tried exactly what one of them tried."""
        searches = {one.scope.exact for one in some} - {None}
        return [*some, *(one for search in searches for one in _until(self.exact[search], until))]

    def _overlapping(self, name: object, scopes: list[Scope], until: int) -> Iterator[Counted]:
        """Yield what is in a family at a time between the first and the last of `scopes`."""
        first, last = [scope.first for scope in scopes], [scope.last for scope in scopes]
        span = replace(
            scopes[0],
            first=None if None in first else min(map(str, first)),
            last=None if None in last else max(map(str, last)),
        )
        return (one for one in _until(self.families.get(name, ()), until) if one.scope.overlaps(span))


def _read_ledger(path: Path) -> _Ledger:
    try:
        found = path.stat()
    except OSError:
        return _Ledger((), {}, "there is no ledger")
    return _ledger_of(path, (found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=4)
def _ledger_of(path: Path, _stamp: tuple[int, int]) -> _Ledger:
    """Read a ledger; `_stamp` is when it was written, and its length."""
    found = check_ledger(path)
    return _Ledger(found.trials.counted, found.trials.stands_for, str(found.damage[0]) if found.damage else "")


@lru_cache(maxsize=KEPT)
def _of_directory(results: Path, run_id: str, _stamp: int | None) -> tuple[TrialResult | None, ...]:
    """Read the results a sealed run or sweep left, one a trial; `_stamp` is when its manifest was written."""
    directory = RunDir(results, run_id)
    if _stamp is None:
        return ()
    try:
        rate = rate_of(read_json(directory.config_json))
        if not directory.trials.is_file():
            return (TrialResult.of_stats(read_json(directory.stats), rate),)
        lines = directory.trials.read_bytes().splitlines()
        return tuple(TrialResult.of_stats(json.loads(line)["stats"], rate) for line in lines)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def _until(counted: Iterable[Counted], seq: int) -> Iterator[Counted]:
    """Return those up to an entry, of some in order."""
    return takewhile(lambda one: one.seq <= seq, counted)


def _written(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _sum(counted: Iterable[Counted]) -> int:
    return sum(one.trials for one in counted)
