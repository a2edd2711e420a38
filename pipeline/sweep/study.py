"""The Optuna side of a sweep: where trials are proposed, and where the study is kept for others to read.

Trials are proposed by an in-memory study and added whole, once they ended, to the storage: a crash leaves no trial
half told, a storage that many read is written once a trial, and the proposals do not depend on how many workers there
are. The sampler is seeded anew for each batch, so a sweep that is resumed goes on as it would have.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import EvidenceError, InputChangedError, SpecError
from pipeline.masking import masked
from pipeline.sweep.objectives import directions
from pipeline.sweep.space import Params, SearchSpace
from pipeline.sweep.spec import SweepSection
from pipeline.sweep.trial import Proposal, Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as Asked

RUN_ID, STATS, ERROR, SECONDS = "run_id", "stats", "error", "seconds"
VARIABLE = "env:"
MOST_INFEASIBLE = 10_000
PROXY_SECONDS = 30  # until an Optuna proxy must answer


class Proposer:
    """Proposes trials in batches, and learns from what became of them."""

    def __init__(self, section: SweepSection, space: SearchSpace) -> None:
        self.section = section
        self.space = space
        self._distributions = space.distributions()
        self._grid = space.grid() if section.sampler == "grid" else None
        with quiet():
            import optuna

            # Hyperband deals trials to its brackets by the study's name.
            self.study: Study = optuna.create_study(
                study_name=section.name, directions=directions(section.objectives), pruner=_pruner(section)
            )
        self._asked: dict[int, Asked] = {}
        self._count = 0

    def propose(self, batch: int, count: int) -> list[tuple[int, Params]]:
        """Return up to `count` feasible trials as (number, params); fewer when the grid is used up.

        Raises SpecError when nothing feasible is found.
        """
        with quiet():
            if self._grid is not None:
                points = [point for _, point in zip(range(count), self._grid, strict=False)]
                return [self._remember(self._enqueue(point)) for point in points]
            self.study.sampler = _sampler(self.section, batch)
            return [self._remember(self._feasible()) for _ in range(count)]

    def propose_again(self, batch: int, proposals: Sequence[Proposal]) -> None:
        """Propose what was proposed before the sweep was interrupted, so that it goes on as it would have.

        Raises InputChangedError when other trials are proposed now.
        """
        if self.propose(batch, len(proposals)) != [(proposal.number, proposal.params) for proposal in proposals]:
            raise InputChangedError(
                "Other trials are proposed than when the sweep began: Optuna or the strategy's schema has changed. "
                "Start anew with --new."
            )

    def should_prune(self, number: int, step: int, value: float | None) -> bool:
        """Report the first objective after a window, and say whether the trial is to be stopped."""
        trial = self._asked[number]
        with quiet():
            trial.report(float("nan") if value is None else value, step)
            return bool(trial.should_prune())

    def tell(self, trial: Trial) -> None:
        """Learn from a trial that has ended."""
        from optuna.trial import TrialState

        asked = self._asked.pop(trial.number)
        with quiet():
            if trial.state == "COMPLETE":
                self.study.tell(asked, list(trial.values))
            else:
                self.study.tell(asked, state=TrialState[trial.state])

    def frozen(self, trial: Trial) -> FrozenTrial:
        """Return a trial as Optuna keeps it."""
        from optuna.trial import TrialState, create_trial

        told = {RUN_ID: trial.run_id, STATS: trial.stats, SECONDS: trial.seconds}
        return create_trial(
            state=TrialState[trial.state],
            params=trial.params,
            distributions=self._distributions,
            values=list(trial.values) if trial.state == "COMPLETE" else None,
            intermediate_values={
                step: float("nan") if value is None else value for step, value in enumerate(trial.intermediate)
            },
            user_attrs=told | ({ERROR: trial.error} if trial.error else {}),
        )

    def _remember(self, asked: Asked) -> tuple[int, Params]:
        number = self._count
        self._asked[number] = asked
        self._count += 1
        return number, dict(asked.params)

    def _enqueue(self, point: Params) -> Asked:
        self.study.enqueue_trial(point)
        return self.study.ask(self._distributions)

    def _feasible(self) -> Asked:
        """Ask until a trial keeps the rules; one that does not was never a trial, and is not shown to anybody."""
        from optuna.trial import TrialState

        for _ in range(MOST_INFEASIBLE):
            asked = self.study.ask(self._distributions)
            if self.space.feasible(asked.params):
                return asked
            self.study.tell(asked, state=TrialState.FAIL)
        raise SpecError(
            f"{MOST_INFEASIBLE:,} proposals in a row break the constraints. Make [space] and sweep.constraints agree."
        )


def open_storage(section: SweepSection, journal: Path) -> BaseStorage:
    """Open the study's storage: `sweep.storage`, else a journal file; raises SpecError when that fails."""
    import optuna.storages as kinds

    from pipeline.sweep.journal import GatheringBackend

    url = _url(section.storage)
    with quiet():
        if url is None:
            return kinds.JournalStorage(GatheringBackend(journal))
        try:
            if url.startswith("grpc://"):
                host, _, port = url.removeprefix("grpc://").partition(":")
                proxy = kinds.GrpcStorageProxy(host=host, port=int(port or 13000))
                proxy.wait_server_ready(timeout=PROXY_SECONDS)
                return proxy
            wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
            return kinds.RDBStorage(url, engine_kwargs=wait)
        except Exception as error:  # noqa: BLE001 - every driver raises its own
            raise SpecError(f"sweep.storage: {masked(url)} cannot be opened: {error}") from None


class KeptStudy:
    """The study in its storage: trials are added when they have ended, each once."""

    def __init__(self, storage: BaseStorage, section: SweepSection, *, name: str) -> None:
        import optuna

        wanted = directions(section.objectives)
        with quiet():
            self.study = optuna.create_study(storage=storage, study_name=name, directions=wanted, load_if_exists=True)
        if [direction.name.lower() for direction in self.study.directions] != wanted:
            raise SpecError(f"The study {name!r} is there already, with other objectives. Use another sweep.name.")
        with quiet():
            self.study.set_metric_names(section.objectives)
        self._known = {trial.user_attrs.get(RUN_ID) for trial in self.study.get_trials(deepcopy=False)}

    def check(self, space: SearchSpace) -> None:
        """Raise SpecError when the study holds trials of a space that does not go with this one."""
        from optuna.distributions import check_distribution_compatibility

        wanted = space.distributions()
        for trial in self.study.get_trials(deepcopy=False):
            for name in trial.distributions.keys() & wanted.keys():
                try:
                    check_distribution_compatibility(trial.distributions[name], wanted[name])
                except ValueError as error:
                    raise SpecError(
                        f"The study {self.study.study_name!r} is there already, with another space ({name}: {error}). "
                        "Use another sweep.name."
                    ) from None

    def add(self, trials: Sequence[tuple[Trial, FrozenTrial]]) -> None:
        """Add the trials that are not there yet."""
        new = [frozen for trial, frozen in trials if trial.run_id not in self._known]
        with quiet(), gathered(self.study):
            self.study.add_trials(new)
        self._known |= {trial.run_id for trial, _ in trials}


def _url(storage: str | None) -> str | None:
    """Return the URL, read from the environment when `storage` names a variable; raises SpecError."""
    if storage is None or not storage.startswith(VARIABLE):
        return storage
    name = storage.removeprefix(VARIABLE)
    if not os.environ.get(name):
        raise SpecError(f"sweep.storage: the variable {name} is not set. Set it to the storage's URL.")
    return os.environ[name]


def study_name(section: SweepSection, sweep_id: str) -> str:
    """Return the study's name: the sweep's own in a storage that is shared, else with the sweep's id."""
    return section.name if section.storage else f"{section.name} {sweep_id[:8]}"


def load_study(storage: BaseStorage, name: str) -> Study:
    """Open a study for reading; raises EvidenceError when it is not there."""
    import optuna

    try:
        with quiet():
            return optuna.load_study(storage=storage, study_name=name)
    except KeyError:
        raise EvidenceError(f"There is no study {name!r} in its storage.") from None


@contextmanager
def gathered(study: Study) -> Iterator[None]:
    """Let what is written to a journal of our own reach the disk in one piece."""
    backend: Any = getattr(study._storage, "_backend", None)
    with backend.gather() if hasattr(backend, "gather") else nullcontext():
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's progress lines and its notes about experimental parts out of the terminal."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from Python 3.12 on Optuna's warnings name our module, not its own
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _sampler(section: SweepSection, batch: int) -> BaseSampler:
    from optuna import samplers

    seed = (section.seed + 0x9E3779B1 * batch) % 2**32
    kinds: dict[str, Any] = {
        "random": lambda: samplers.RandomSampler(seed=seed),
        "qmc": lambda: samplers.QMCSampler(seed=section.seed, scramble=True, warn_independent_sampling=False),
        "tpe": lambda: samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True, group=False),
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed),
    }
    made: BaseSampler = kinds[section.sampler]()
    return made


def _pruner(section: SweepSection) -> BasePruner:
    from optuna import pruners

    if section.pruner != "none" and len(section.objectives) > 1:
        raise SpecError("sweep.pruner: trials with several objectives cannot be pruned. Use pruner = 'none'.")
    if section.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=5)
    if section.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=section.windows, reduction_factor=2)
    return pruners.NopPruner()
