"""What requests about MLflow's experiments, runs and models hold, and what is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from pipeline.masking import masked
from pipeline.service.words import Answer, Count, Int, Key, Name, Number, Request, Text, Token, Whole, as_number

ExperimentId = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9]{1,18}$")]
MlflowRunId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,64}$")]
View = Literal["active_only", "deleted_only", "all"]
Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
EndStatus = Literal["FINISHED", "FAILED", "KILLED"]
Tags = Annotated[dict[Key, Text], Field(max_length=100)]
Filter = Annotated[str, StringConstraints(strict=True, max_length=10_000, pattern=r"^[^\x00]*$")]
Orders = Annotated[list[Key], Field(max_length=20)]
Most = Annotated[Int, Field(ge=1, le=1_000)]
VIEWS: dict[View, int] = {"active_only": 1, "deleted_only": 2, "all": 3}  # as MLflow's ViewType


class NewExperiment(Request):
    """An experiment to be made. `artifact_location` is a URL of an object store, which is not reached."""

    name: Name = Field(examples=["momentum"])
    artifact_location: Text | None = Field(None, examples=["s3://bucket/momentum"])
    tags: Tags | None = None


class ExperimentSearch(Request):
    """Which experiments are asked for, in MLflow's language of filters."""

    filter_string: Filter = Field("", examples=["tags.team = 'rates'"])
    max_results: Most = 100
    order_by: Orders | None = None
    page_token: Token | None = None
    view_type: View = "active_only"


class ExperimentRef(Request):
    """An experiment by its id."""

    experiment_id: ExperimentId


class ExperimentMade(Answer):
    """The experiment that was made."""

    experiment_id: str
    name: str


class Experiment(Answer):
    """An experiment; times are milliseconds since 1970 UTC."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int | None
    last_update_time: int | None
    tags: dict[str, str]

    @classmethod
    def of(cls, found: Any) -> Experiment:
        """Return an experiment of MLflow's."""
        return cls(
            experiment_id=str(found.experiment_id),
            name=found.name,
            artifact_location=masked(found.artifact_location or ""),
            lifecycle_stage=found.lifecycle_stage,
            creation_time=found.creation_time,
            last_update_time=found.last_update_time,
            tags=dict(found.tags),
        )


class Experiments(Answer):
    """Some experiments; `next_page_token` asks for more of them."""

    experiments: list[Experiment]
    next_page_token: str | None


class NewRun(Request):
    """A run to be made; times are milliseconds since 1970 UTC, by default now."""

    experiment_id: ExperimentId
    run_name: Name | None = None
    tags: Tags | None = None
    start_time: Count | None = None


class RunRef(Request):
    """A run by its id."""

    run_id: MlflowRunId


class MetricPoint(Request):
    """One value of a metric; `timestamp` is milliseconds since 1970 UTC, by default now."""

    key: Key = Field(examples=["sharpe"])
    value: Number = Field(examples=[1.25])
    timestamp: Count | None = None
    step: Whole = 0


class RunMetric(MetricPoint):
    """One value of a metric of a run."""

    run_id: MlflowRunId


class ParamItem(Request):
    """A param; its value becomes text."""

    key: Key = Field(examples=["fast"])
    value: Text | Whole | float | bool = Field(examples=["10"])


class RunParam(ParamItem):
    """A param of a run."""

    run_id: MlflowRunId


class TagItem(Request):
    """A tag."""

    key: Key
    value: Text


class Batch(Request):
    """Metrics, params and tags that are logged together."""

    metrics: Annotated[list[MetricPoint], Field(max_length=1_000, default_factory=list)]
    params: Annotated[list[ParamItem], Field(max_length=100, default_factory=list)]
    tags: Annotated[list[TagItem], Field(max_length=100, default_factory=list)]


class RunBatch(Batch):
    """Metrics, params and tags of a run."""

    run_id: MlflowRunId


class RunMetrics(Request):
    """Metrics of a run by name."""

    run_id: MlflowRunId
    metrics: Annotated[dict[Key, Number], Field(max_length=1_000)]
    step: Whole = 0
    timestamp: Count | None = None


class RunParams(Request):
    """Params of a run by name; their values become text."""

    run_id: MlflowRunId
    params: Annotated[dict[Key, Text | Whole | float | bool], Field(max_length=100)]


class RunUpdate(Request):
    """What changes of a run. An end status ends it, at `end_time`, by default now."""

    status: Status | None = None
    run_name: Name | None = None
    end_time: Count | None = None


class RunUpdateOf(RunUpdate):
    """What changes of this run."""

    run_id: MlflowRunId


class RunEnd(Request):
    """The end of a run."""

    run_id: MlflowRunId
    status: EndStatus = "FINISHED"
    end_time: Count | None = None


class RunSearch(Request):
    """Which runs are asked for, in MLflow's language of filters (conditions joined by AND)."""

    experiment_ids: Annotated[list[ExperimentId], Field(min_length=1, max_length=100)]
    filter_string: Filter = Field("", examples=["metrics.sharpe > 1 AND params.fast = '10'"])
    max_results: Most = 100
    order_by: Orders | None = None
    page_token: Token | None = None
    run_view_type: View = "active_only"


class RunMade(Answer):
    """The run that was made."""

    run_id: str
    run_uuid: str
    run_name: str | None
    experiment_id: str
    status: str


class RunInfo(Answer):
    """What a run is; times are milliseconds since 1970 UTC."""

    run_id: str
    run_uuid: str
    run_name: str | None
    experiment_id: str
    status: str
    start_time: int | None
    end_time: int | None
    artifact_uri: str | None
    lifecycle_stage: str
    user_id: str | None


class RunData(Answer):
    """What was logged to a run: the last value of each metric, params, tags."""

    metrics: dict[str, Number]
    params: dict[str, str]
    tags: dict[str, str]


class Run(Answer):
    """A run of MLflow."""

    info: RunInfo
    data: RunData

    @classmethod
    def of(cls, found: Any) -> Run:
        """Return a run of MLflow's."""
        info, data = found.info, found.data
        return cls(
            info=RunInfo(
                run_id=info.run_id,
                run_uuid=info.run_id,
                run_name=info.run_name,
                experiment_id=str(info.experiment_id),
                status=info.status,
                start_time=info.start_time,
                end_time=info.end_time,
                artifact_uri=masked(info.artifact_uri) if info.artifact_uri else None,
                lifecycle_stage=info.lifecycle_stage,
                user_id=info.user_id,
            ),
            data=RunData(
                metrics={key: as_number(value) for key, value in data.metrics.items()},
                params=dict(data.params),
                tags=dict(data.tags),
            ),
        )


class Runs(Answer):
    """Some runs; `next_page_token` asks for more of them."""

    runs: list[Run]
    next_page_token: str | None


class Point(Answer):
    """One value of a metric."""

    value: Number
    timestamp: int
    step: int


class History(Answer):
    """All values of metrics, by name, in the order in which MLflow has them; `more` says that there are others."""

    run_id: str
    metrics: dict[str, list[Point]]
    more: bool


class Done(Answer):
    """What was asked for is done."""

    run_id: str
    status: Literal["ok"] = "ok"


class Deleted(Answer):
    """The experiment that was deleted; MLflow keeps it until it is purged there."""

    experiment_id: str
    status: Literal["deleted"] = "deleted"


class ArtifactLogged(Answer):
    """The artifact that was kept."""

    run_id: str
    path: str
    size: int


class ArtifactEntry(Answer):
    """A file of a run's artifacts; `file_size` is bytes, where the store knows them."""

    path: str
    is_dir: bool
    file_size: int | None


class NewModelVersion(Request):
    """A model in a run's artifacts that becomes a version of a registered one."""

    name: Name
    run_id: MlflowRunId
    artifact_path: Name = Field("model", examples=["model"])
    tags: Tags | None = None
    description: Text | None = None


class ModelVersion(Answer):
    """A version of a registered model."""

    name: str
    version: str
    run_id: str | None
    source: str
    status: str | None


class Model(Answer):
    """A registered model, and the versions of it."""

    name: str
    description: str | None
    tags: dict[str, str]
    creation_timestamp: int | None
    last_updated_timestamp: int | None
    versions: list[ModelVersion]


class MlflowHealth(Answer):
    """The store that answers, without secrets."""

    status: Literal["healthy"] = "healthy"
    tracking_uri: str
