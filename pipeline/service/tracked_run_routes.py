"""MLflow's runs over HTTP: what is logged to them, and what they hold."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Query

from pipeline.service.mlflow_store import MlflowStore, Point
from pipeline.service.mlflow_words import (
    VIEWS,
    Batch,
    Done,
    EndStatus,
    History,
    MetricPoint,
    MlflowRunId,
    NewRun,
    ParamItem,
    Run,
    RunBatch,
    RunEnd,
    RunMade,
    RunMetric,
    RunMetrics,
    RunParam,
    RunParams,
    Runs,
    RunSearch,
    RunUpdate,
    RunUpdateOf,
)
from pipeline.service.mlflow_words import Point as ShownPoint
from pipeline.service.routes import Route
from pipeline.service.words import Key, as_float, as_number

ENDED: tuple[EndStatus, ...] = ("FINISHED", "FAILED", "KILLED")


class TrackedRunRoutes:
    """The routes about MLflow's runs, each with the run's id in the path, and with it in the body."""

    def __init__(self, mlflow: MlflowStore) -> None:
        self._mlflow = mlflow

    def table(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("POST", "/runs/create", self.create_run, "write"),
            Route("POST", "/runs/start", self.create_run, "write", 201),
            Route("POST", "/runs/end", self.end_run, "write"),
            Route("POST", "/runs/search", self.search_runs),
            Route("POST", "/runs/log-metric", self.log_metric, "write"),
            Route("POST", "/runs/log-metrics", self.log_metrics, "write"),
            Route("POST", "/runs/log-param", self.log_param, "write"),
            Route("POST", "/runs/log-params", self.log_params, "write"),
            Route("POST", "/runs/log-batch", self.log_batch, "write"),
            Route("POST", "/runs/update", self.update_run, "write"),
            Route("GET", "/runs/{run_id}", self.run),
            Route("GET", "/runs/{run_id}/metrics", self.history),
            Route("POST", "/runs/{run_id}/log-metric", self.log_metric_of, "write"),
            Route("POST", "/runs/{run_id}/log-parameter", self.log_param_of, "write"),
            Route("POST", "/runs/{run_id}/log-batch", self.log_batch_of, "write"),
            Route("POST", "/runs/{run_id}/update", self.update_run_of, "write"),
        ]

    def create_run(self, body: NewRun) -> RunMade:
        """Make a run of an experiment, which has begun."""
        asked = (body.experiment_id, body.start_time, body.tags, body.run_name)
        info = self._mlflow.write(lambda client: client.create_run(*asked)).info
        return RunMade(
            run_id=info.run_id,
            run_uuid=info.run_id,
            run_name=info.run_name,
            experiment_id=str(info.experiment_id),
            status=info.status,
        )

    def run(self, run_id: MlflowRunId) -> Run:
        """Show a run: what it is, and what was logged to it."""
        return Run.of(self._mlflow.read(lambda client: client.get_run(run_id)))

    def search_runs(self, body: RunSearch) -> Runs:
        """List the runs of experiments that fulfil a filter, the one started last first."""
        view = VIEWS[body.run_view_type]
        asked = (body.experiment_ids, body.filter_string, view, body.max_results, body.order_by, body.page_token)
        found = self._mlflow.read(lambda client: client.search_runs(*asked))
        return Runs(runs=[Run.of(one) for one in found], next_page_token=found.token or None)

    def history(
        self,
        run_id: MlflowRunId,
        key: Annotated[Key | None, Query()] = None,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> History:
        """Show all values of a metric, or of every one; `offset` and `limit` are of each."""
        run = self._mlflow.read(lambda client: client.get_run(run_id))
        found: dict[str, list[ShownPoint]] = {}
        more = False
        for name in run.data.metrics if key is None else [key]:
            points = self._mlflow.read(lambda client, name=name: client.get_metric_history(run_id, name))  # type: ignore[misc]
            page = points[offset : offset + limit]
            more = more or len(points) > offset + limit
            found[name] = [
                ShownPoint(value=as_number(one.value), timestamp=one.timestamp, step=one.step) for one in page
            ]
        return History(run_id=run_id, metrics=found, more=more)

    def log_metric(self, body: RunMetric) -> Done:
        """Log a value of a metric."""
        return self.log_metric_of(body.run_id, body)

    def log_metric_of(self, run_id: MlflowRunId, body: MetricPoint) -> Done:
        """Log a value of a metric."""
        self._mlflow.log_batch(run_id, [_point(body)])
        return Done(run_id=run_id)

    def log_metrics(self, body: RunMetrics) -> Done:
        """Log values of metrics by name."""
        now = _now() if body.timestamp is None else body.timestamp
        self._mlflow.log_batch(
            body.run_id, [(key, as_float(value), now, body.step) for key, value in body.metrics.items()]
        )
        return Done(run_id=body.run_id)

    def log_param(self, body: RunParam) -> Done:
        """Log a param: 400 when it has another value already."""
        return self.log_param_of(body.run_id, body)

    def log_param_of(self, run_id: MlflowRunId, body: ParamItem) -> Done:
        """Log a param: 400 when it has another value already."""
        self._mlflow.log_batch(run_id, [], [(body.key, str(body.value))])
        return Done(run_id=run_id)

    def log_params(self, body: RunParams) -> Done:
        """Log params by name: 400 when one has another value already."""
        self._mlflow.log_batch(body.run_id, [], [(key, str(value)) for key, value in body.params.items()])
        return Done(run_id=body.run_id)

    def log_batch(self, body: RunBatch) -> Done:
        """Log metrics, params and tags together."""
        return self.log_batch_of(body.run_id, body)

    def log_batch_of(self, run_id: MlflowRunId, body: Batch) -> Done:
        """Log metrics, params and tags together."""
        self._mlflow.log_batch(
            run_id,
            [_point(one) for one in body.metrics],
            [(one.key, str(one.value)) for one in body.params],
            [(one.key, one.value) for one in body.tags],
        )
        return Done(run_id=run_id)

    def end_run(self, body: RunEnd) -> Done:
        """End a run."""
        return self.update_run_of(body.run_id, RunUpdate(status=body.status, end_time=body.end_time))

    def update_run(self, body: RunUpdateOf) -> Done:
        """Change a run's status or its name."""
        return self.update_run_of(body.run_id, body)

    def update_run_of(self, run_id: MlflowRunId, body: RunUpdate) -> Done:
        """Change a run's status or its name."""
        ends = body.status in ENDED
        if body.run_name is not None or not ends:
            status = None if ends else body.status
            self._mlflow.write(lambda client: client.update_run(run_id, status, body.run_name))
        if ends:
            self._mlflow.write(lambda client: client.set_terminated(run_id, body.status, body.end_time))
        return Done(run_id=run_id)


def _point(given: MetricPoint) -> Point:
    return given.key, as_float(given.value), _now() if given.timestamp is None else given.timestamp, given.step


def _now() -> int:
    return time.time_ns() // 1_000_000
