"""MLflow's experiments over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from pipeline.service.mlflow_store import MlflowStore
from pipeline.service.mlflow_words import (
    VIEWS,
    Deleted,
    Experiment,
    ExperimentId,
    ExperimentMade,
    ExperimentRef,
    Experiments,
    ExperimentSearch,
    MlflowHealth,
    NewExperiment,
    View,
)
from pipeline.service.problems import Refusal
from pipeline.service.routes import Route
from pipeline.service.words import Name, Token

Number = Annotated[int, Path(ge=0, lt=10**18, description="an experiment's id")]


class ExperimentRoutes:
    """The routes about experiments."""

    def __init__(self, mlflow: MlflowStore) -> None:
        self._mlflow = mlflow

    def table(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/health", self.mlflow_health),
            Route("POST", "/experiments/create", self.create_experiment, "write", 201),
            Route("GET", "/experiments/list", self.list_experiments),
            Route("GET", "/experiments/get", self.find_experiment),
            Route("GET", "/experiments/by-name/{name:path}", self.experiment_by_name),
            Route("POST", "/experiments/search", self.search_experiments),
            Route("POST", "/experiments/delete", self.delete_experiment, "write"),
            Route("GET", "/experiments/{experiment_id:int}", self.experiment),
            Route("POST", "/experiments/{experiment_id:int}/delete", self.delete_experiment_of, "write"),
        ]

    def mlflow_health(self) -> MlflowHealth:
        """Say which store answers: 503 when it does not."""
        self._mlflow.check()
        return MlflowHealth(tracking_uri=self._mlflow.shown)

    def create_experiment(self, body: NewExperiment) -> ExperimentMade:
        """Make an experiment: 409 when there is one of that name."""
        place = self._mlflow.place_for(body.name, body.artifact_location)
        made = self._mlflow.write(lambda client: client.create_experiment(body.name, place, body.tags))
        return ExperimentMade(experiment_id=str(made), name=body.name)

    def list_experiments(
        self,
        max_results: Annotated[int, Query(ge=1, le=1_000)] = 100,
        page_token: Annotated[Token | None, Query()] = None,
        view_type: View = "active_only",
    ) -> Experiments:
        """List experiments, the one made last first."""
        asked = ExperimentSearch(max_results=max_results, page_token=page_token, view_type=view_type)
        return self.search_experiments(asked)

    def search_experiments(self, body: ExperimentSearch) -> Experiments:
        """List the experiments that fulfil a filter."""
        asked = (VIEWS[body.view_type], body.max_results, body.filter_string or None, body.order_by, body.page_token)
        found = self._mlflow.read(lambda client: client.search_experiments(*asked))
        return Experiments(experiments=[Experiment.of(one) for one in found], next_page_token=found.token or None)

    def experiment(self, experiment_id: Number) -> Experiment:
        """Show an experiment."""
        return Experiment.of(self._mlflow.read(lambda client: client.get_experiment(str(experiment_id))))

    def experiment_by_name(self, name: Name) -> Experiment:
        """Show the experiment of a name."""
        found = self._mlflow.read(lambda client: client.get_experiment_by_name(name))
        if found is None:
            raise Refusal(404, f"There is no experiment {name!r}.")
        return Experiment.of(found)

    def find_experiment(
        self,
        experiment_id: Annotated[ExperimentId | None, Query()] = None,
        name: Annotated[Name | None, Query()] = None,
    ) -> Experiment:
        """Show the experiment of an id, or of a name."""
        if (experiment_id is None) == (name is None):
            raise Refusal(400, "Give one of: experiment_id, name.")
        return self.experiment_by_name(name) if name is not None else self.experiment(int(experiment_id or 0))

    def delete_experiment(self, body: ExperimentRef) -> Deleted:
        """Delete an experiment; MLflow keeps it, as deleted."""
        return self.delete_experiment_of(int(body.experiment_id))

    def delete_experiment_of(self, experiment_id: Number) -> Deleted:
        """Delete an experiment; MLflow keeps it, as deleted."""
        self._mlflow.write(lambda client: client.delete_experiment(str(experiment_id)))
        return Deleted(experiment_id=str(experiment_id))
