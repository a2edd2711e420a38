"""Optuna's studies and trials over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from pipeline.service import study_facts, study_trials
from pipeline.service.problems import Refusal
from pipeline.service.routes import Route, router
from pipeline.service.study_store import OPTIONS, PRUNER, SAMPLER, StudyStore
from pipeline.service.study_words import (
    Ask,
    Direction,
    Importances,
    Intermediate,
    NewStudy,
    NewTrial,
    OptunaHealth,
    ParamValue,
    Queued,
    State,
    Studies,
    Study,
    StudyDeleted,
    StudyHistory,
    StudyName,
    Tell,
    Trial,
    Trials,
    Verdict,
)
from pipeline.service.words import as_float

RESERVED = ("list", "create")
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Limit = Annotated[int, Query(ge=1, le=1_000)]


class StudyRoutes:
    """The routes about studies and their trials."""

    def __init__(self, studies: StudyStore) -> None:
        self._studies = studies

    def router(self) -> APIRouter:
        """Return the routes."""
        study, trial = "/studies/{name}", "/studies/{name}/trials/{number:int}"
        return router(
            "/api/optuna",
            "optuna",
            [
                Route("GET", "/health", self.optuna_health),
                Route("POST", "/studies/create", self.create_study, "write"),
                Route("GET", "/studies/list", self.list_studies),
                Route("GET", study, self.study),
                Route("DELETE", study, self.delete_study, "write"),
                Route("POST", f"{study}/trials/create", self.create_trial, "write"),
                Route("POST", f"{study}/trials/enqueue", self.enqueue_trial, "write"),
                Route("GET", f"{study}/trials/list", self.list_trials),
                Route("GET", trial, self.trial),
                Route("POST", f"{study}/suggest", self.suggest, "write"),
                Route("POST", f"{trial}/tell", self.tell, "write"),
                Route("POST", f"{trial}/intermediate", self.intermediate, "write"),
                Route("GET", f"{trial}/should-prune", self.should_prune),
                Route("GET", f"{study}/best-trial", self.best_trial),
                Route("GET", f"{study}/best-trials", self.best_trials),
                Route("GET", f"{study}/best-params", self.best_params),
                Route("GET", f"{study}/history", self.study_history),
                Route("GET", f"{study}/importance", self.importance),
            ],
        )

    def optuna_health(self) -> OptunaHealth:
        """Say which store of studies answers: 503 when it does not."""
        self._studies.check()
        return OptunaHealth(storage=self._studies.shown)

    def create_study(self, body: NewStudy) -> Study:
        """Make a study: 409 when there is one of that name, unless it may be there."""
        if body.study_name in RESERVED:
            raise Refusal(400, f"A study cannot be called {body.study_name!r}.")
        if body.direction is not None and body.directions is not None:
            raise Refusal(400, "Give one of: direction, directions.")
        directions: list[Direction] = body.directions or [body.direction or "minimize"]
        if len(directions) > 1 and body.pruner != "none":
            raise Refusal(400, "Trials with several objectives cannot be pruned: use the pruner none.")
        own = {SAMPLER: body.sampler, PRUNER: body.pruner, OPTIONS: body.pruner_options}
        attrs: dict[str, Any] = {**body.user_attrs, **own}
        self._studies.create(body.study_name, directions, attrs, load_if_exists=body.load_if_exists)
        return self.study(body.study_name)

    def list_studies(self, offset: Offset = 0, limit: Limit = 100) -> Studies:
        """List studies by name."""
        ordered = sorted(self._studies.summaries(), key=lambda one: one.study_name)
        page = [study_facts.shown_head(one) for one in ordered[offset : offset + limit]]
        return Studies(studies=page, total=len(ordered))

    def study(self, name: StudyName) -> Study:
        """Show a study: its directions, how many trials it has, the best value yet."""
        with self._studies.study(name) as study:
            return study_facts.shown_study(study)

    def delete_study(self, name: StudyName) -> StudyDeleted:
        """Delete a study and its trials, for good."""
        with self._studies.study(name) as study:
            try:
                study._storage.delete_study(study._study_id)
            except KeyError:  # another client did, meanwhile
                raise Refusal(404, f"There is no study {name!r}.") from None
        return StudyDeleted(study_name=name)

    def create_trial(self, name: StudyName, body: NewTrial) -> Trial:
        """Add a trial that was evaluated elsewhere."""
        with self._studies.study(name) as study:
            return study_trials.add_trial(study, body)

    def enqueue_trial(self, name: StudyName, body: Queued) -> Trial:
        """Add a trial whose params the next who asks is given."""
        with self._studies.study(name) as study:
            return study_trials.queue_trial(study, body.params, body.user_attrs)

    def list_trials(
        self, name: StudyName, state: State | None = None, offset: Offset = 0, limit: Limit = 100
    ) -> Trials:
        """List trials by number, of one state if it is given."""
        with self._studies.study(name) as study:
            found = study.get_trials(deepcopy=False)
        chosen = [one for one in found if state is None or study_trials.STATES[one.state.name] == state]
        page = [study_trials.shown_trial(one) for one in chosen[offset : offset + limit]]
        return Trials(trials=page, total=len(chosen))

    def trial(self, name: StudyName, number: Number) -> Trial:
        """Show a trial."""
        with self._studies.study(name) as study:
            return study_trials.shown_trial(study_trials.find_trial(study, number)[1])

    def suggest(self, name: StudyName, body: Ask) -> Trial:
        """Begin a trial: it has the params that are proposed, or fixed."""
        with self._studies.study(name) as study:
            return study_trials.ask_trial(study, body.distributions, body.fixed)

    def tell(self, name: StudyName, number: Number, body: Tell) -> Trial:
        """Say what became of a running trial: 409 when it has ended."""
        with self._studies.study(name) as study:
            return study_trials.tell_trial(study, number, body)

    def intermediate(self, name: StudyName, number: Number, body: Intermediate) -> Trial:
        """Note a value of a running trial's objective on the way: 409 when there is one of that step."""
        with self._studies.study(name) as study:
            return study_trials.report_trial(study, number, body.step, as_float(body.value))

    def should_prune(self, name: StudyName, number: Number) -> Verdict:
        """Say whether the study's pruner would stop a running trial now."""
        with self._studies.study(name) as study:
            return Verdict(number=number, should_prune=study_trials.should_prune(study, number))

    def best_trial(self, name: StudyName) -> Trial:
        """Show the best trial: 404 when none is complete, 409 for several objectives."""
        with self._studies.study(name) as study:
            return study_facts.best_trial(study)

    def best_trials(self, name: StudyName) -> Trials:
        """Show the trials that no other beats in every objective."""
        with self._studies.study(name) as study:
            found = [study_trials.shown_trial(one) for one in study.best_trials]
        return Trials(trials=found, total=len(found))

    def best_params(self, name: StudyName) -> dict[str, ParamValue | None]:
        """Show the params of the best trial, themselves: 404 when none is complete."""
        return self.best_trial(name).params

    def study_history(self, name: StudyName, offset: Offset = 0, limit: Limit = 1_000) -> StudyHistory:
        """Show the completed trials in the order in which they ended, with the best value up to each."""
        with self._studies.study(name) as study:
            found = study_facts.history_of(study)
        return StudyHistory(study_name=name, history=found[offset : offset + limit], total=len(found))

    def importance(self, name: StudyName, objective: Annotated[int, Query(ge=0, le=19)] = 0) -> Importances:
        """Show how much each param matters for an objective: 409 when there are too few trials."""
        with self._studies.study(name) as study:
            return Importances(study_name=name, importances=study_facts.importances_of(study, objective))
