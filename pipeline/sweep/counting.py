"""What a sweep tells the ledger: trials before they run, and what came of them, by what they are trials of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.backtest.strategies import resolve_params
from pipeline.digest import sha256_file
from pipeline.errors import NotebookError
from pipeline.evidence.inputs import NOTEBOOK
from pipeline.evidence.ledger import append_many
from pipeline.evidence.ledger_trials import counted_event, ended_events
from pipeline.evidence.trial import Scope, TrialResult, configuration, counted_as, rate_of, scope_of
from pipeline.rundir import RunDir
from pipeline.spec import RunSpec, set_dotted
from pipeline.sweep.batches import Batch
from pipeline.sweep.evaluate import Work
from pipeline.sweep.space import VARIED_IN_FAST, SearchSpace
from pipeline.sweep.spec import path_of
from pipeline.sweep.trial import Proposal, Trial
from pipeline.template_files import template_path

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

PARAMETERS = ("run.parameters.", "run.seed")
Tried = TypeVar("Tried", Proposal, Trial)


@dataclass(frozen=True)
class Account:
    """A sweep's account with the ledger."""

    work: Work
    directory: RunDir
    space: SearchSpace
    signer: Signer | None = None

    def count(self, batch: Batch, proposals: Sequence[Proposal]) -> None:
        """Enter a batch before its first trial starts; the same batch twice counts once."""
        events = [
            counted_event(self.directory.run_id, batch.digest, scope, batch=batch.number, trials=len(some))
            for scope, some in self._by_scope(proposals).items()
        ]
        append_many(self.directory.ledger, events, self.signer)

    def end(self, batch: Batch, trials: Sequence[Trial]) -> None:
        """Enter what came of a batch, once: what later statistics need of a trial outlasts the sweep's directory."""
        if batch.entered:
            return
        events = []
        for scope, some in self._by_scope(trials).items():
            results = [self._result(trial, scope) for trial in some if trial.reused is None]
            events += ended_events(
                self.directory.run_id, batch.digest, scope, batch=batch.number, results=results,
                repeats=len(some) - len(results),
            )  # fmt: skip
        append_many(self.directory.ledger, events, self.signer)
        batch.mark_entered()

    def _result(self, trial: Trial, scope: Scope) -> TrialResult | None:
        if trial.state != "COMPLETE":
            return None
        spec = self._resolved(trial.params)
        return TrialResult.of_stats(trial.stats, rate_of(spec), configuration(spec, scope.data_sha256))

    def _resolved(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the spec of a trial as a run of it has it, with the defaults of the strategy's schema."""
        values = self.work.spec.base.to_dict()
        for key, value in params.items():
            set_dotted(values, path_of(key), value)
        if self.space.strategy is not None:
            values["strategy"]["params"] = resolve_params(self.space.strategy, values["strategy"]["params"])
        return values

    def _by_scope(self, trials: Sequence[Tried]) -> dict[Scope, list[Tried]]:
        """Return trials by what they are trials of: one thing, unless data, strategy or notebook vary."""
        same = VARIED_IN_FAST if self.space.strategy is not None else PARAMETERS
        if all(path_of(name).startswith(same) for name in self.space.dimensions):
            return {self._scope: list(trials)} if trials else {}
        found: dict[Scope, list[Tried]] = {}
        for trial in trials:
            found.setdefault(self._scope_of(trial.params), []).append(trial)
        return found

    @cached_property
    def _scope(self) -> Scope:
        if self.work.spec.of_notebook:
            return self._of_notebook(self.work.spec.base)
        return scope_of(self.work.spec.base, {"data": self.work.data_sha256}, self.work.settings.root)

    def _of_notebook(self, spec: RunSpec) -> Scope:
        """Return what a trial of somebody's notebook is a trial of; on which instruments, only its result knows."""
        settings, name = self.work.settings, str(spec.run.notebook)
        digests = {NOTEBOOK: sha256_file(template_path(settings, name, error=NotebookError))}
        return scope_of(spec, digests, settings.root, notebook=counted_as(name))

    def _scope_of(self, params: Mapping[str, Any]) -> Scope:
        from pipeline.backtest.data import source_path

        root = self.work.settings.root
        spec = self.work.spec.trial_spec(params, tags={}, chosen=False)
        if self.work.spec.of_notebook:
            return self._of_notebook(spec)
        return scope_of(spec, {"data": sha256_file(source_path(spec.bundled.data.source, root))}, root)
