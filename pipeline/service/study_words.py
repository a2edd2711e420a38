"""What requests about Optuna's studies and trials hold, and what is answered."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from pipeline.service.words import Answer, Finite, Int, Key, Number, Request, Whole, as_number

StudyName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=250, pattern=r"^[^/\x00]+$")]
Direction = Literal["minimize", "maximize"]
SamplerName = Literal["tpe", "random", "qmc", "nsgaii"]
PrunerName = Literal["none", "median", "percentile", "hyperband", "successive_halving"]
State = Literal["running", "complete", "pruned", "fail", "waiting"]
EndState = Literal["complete", "pruned", "fail"]
Flag = Annotated[bool, Field(strict=True)]
ParamText = Annotated[str, StringConstraints(strict=True, max_length=500, pattern=r"^[^\x00]*$")]
ParamValue = Flag | Whole | Finite | ParamText
Params = Annotated[dict[Key, ParamValue], Field(max_length=200)]
Values = Annotated[list[Finite], Field(min_length=1, max_length=20)]
Labels = Annotated[dict[Key, ParamValue], Field(max_length=100)]
Step = Annotated[Int, Field(ge=0, le=2**31 - 1)]
StepKey = Annotated[int, Field(ge=0, le=2**31 - 1)]  # a key of JSON is text
Options = Annotated[dict[Key, Flag | Whole | Finite | ParamText], Field(max_length=10)]


class FloatRange(Request):
    """A number between two."""

    type: Literal["float"]
    low: Finite
    high: Finite
    log: Flag = False
    step: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None


class IntRange(Request):
    """A whole number between two."""

    type: Literal["int"]
    low: Whole
    high: Whole
    log: Flag = False
    step: Annotated[Int, Field(ge=1, le=2**31 - 1)] = 1


class Choices(Request):
    """One of these."""

    type: Literal["categorical"]
    choices: Annotated[list[ParamValue], Field(min_length=1, max_length=1_000)]


Distribution = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]
Distributions = Annotated[dict[Key, Distribution], Field(max_length=200)]


class NewStudy(Request):
    """A study to be made: `direction` of one objective, or `directions` of several; minimize when neither is given."""

    study_name: StudyName = Field(examples=["sma crossover"])
    direction: Direction | None = None
    directions: Annotated[list[Direction], Field(min_length=1, max_length=20)] | None = None
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "none"
    pruner_options: Options = Field(default_factory=dict, examples=[{"n_startup_trials": 5}])
    user_attrs: Labels = Field(default_factory=dict)
    load_if_exists: Flag = False


class NewTrial(Request):
    """A trial that was evaluated elsewhere. Without `distributions` its params are taken as they are."""

    params: Params = Field(default_factory=dict, examples=[{"fast": 10, "slow": 50}])
    value: Finite | None = None
    values: Values | None = None
    state: EndState = "complete"
    distributions: Distributions = Field(default_factory=dict)
    intermediate_values: Annotated[dict[StepKey, Finite], Field(max_length=10_000)] = Field(default_factory=dict)
    user_attrs: Labels = Field(default_factory=dict)


class Queued(Request):
    """Params that the next trial is to have."""

    params: Params
    user_attrs: Labels = Field(default_factory=dict)


class Ask(Request):
    """Which params a trial is to have: proposed within their distributions, or fixed."""

    distributions: Distributions = Field(
        default_factory=dict, examples=[{"fast": {"type": "int", "low": 2, "high": 50}}]
    )
    fixed: Params = Field(default_factory=dict)


class Tell(Request):
    """What became of a trial."""

    value: Finite | None = None
    values: Values | None = None
    state: EndState | None = None


class Intermediate(Request):
    """A value of the objective on the way."""

    step: Step
    value: Number


class Trial(Answer):
    """A trial; `trial_id` is its number in the study. Times are UTC."""

    trial_id: int
    number: int
    state: State
    params: dict[str, ParamValue | None]
    value: Number | None
    values: list[Number] | None
    intermediate_values: dict[int, Number]
    user_attrs: dict[str, Any]
    datetime_start: dt.datetime | None
    datetime_complete: dt.datetime | None


class Trials(Answer):
    """Some trials by number; `total` is how many there are of the kind."""

    trials: list[Trial]
    total: int


class Study(Answer):
    """A study; `direction` is None for several objectives."""

    study_name: str
    direction: Direction | None
    directions: list[Direction]
    sampler: str
    pruner: str
    n_trials: int
    states: dict[State, int]
    best_value: Number | None
    user_attrs: dict[str, Any]


class StudyHead(Answer):
    """A study in a list."""

    study_name: str
    direction: Direction | None
    directions: list[Direction]
    n_trials: int


class Studies(Answer):
    """Some studies by name; `total` is how many there are."""

    studies: list[StudyHead]
    total: int


class StudyDeleted(Answer):
    """The study that was deleted, with its trials."""

    study_name: str
    status: Literal["deleted"] = "deleted"


class Verdict(Answer):
    """Whether the pruner would stop a trial now."""

    number: int
    should_prune: bool


class HistoryEntry(Answer):
    """A completed trial, and the best value up to it; None for several objectives."""

    number: int
    values: list[Number]
    best_value: Number | None


class StudyHistory(Answer):
    """The completed trials in the order in which they ended."""

    study_name: str
    history: list[HistoryEntry]
    total: int


class Importances(Answer):
    """How much each param matters for an objective, adding up to 1, the largest first (PED-ANOVA)."""

    study_name: str
    importances: dict[str, float]


class OptunaHealth(Answer):
    """The store of studies that answers."""

    status: Literal["healthy"] = "healthy"
    storage: str


def numbers(values: list[float] | None) -> list[Number] | None:
    """Return values as JSON can carry them."""
    return None if values is None else [as_number(value) for value in values]
