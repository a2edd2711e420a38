"""The sweep spec: a run spec with three more sections, [sweep], [space] and [validation], in one TOML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.digest import canonical_json, exact_json
from pipeline.errors import SpecError, nearest, shown
from pipeline.masking import has_secret, secret_name
from pipeline.secrets import PLACE
from pipeline.spec import (
    ENGINE_SECTIONS,
    SWEEP_ONLY,
    RunSpec,
    Scalar,
    check_spec_values,
    overridden,
    refuse_secrets,
    set_dotted,
    spec_values,
    without_none,
)
from pipeline.spec_sections import Section

RUN = "run."
STRATEGY_PARAMS = "strategy.params."
ADAPTIVE = ("tpe", "nsga2")
KINDS = {"bool": "true, false", "int": "a finite number", "float": "a finite number", "str": "a text"}


class SweepSection(Section):
    """How the space is searched. Equal specs give equal studies, with any number of jobs."""

    name: str = Field("sweep", pattern=r"^[\w.+-][\w .+-]{0,99}$", description="name of the sweep, and of its study")
    mode: Literal["fast", "full"] = Field(
        "fast", description="`fast`: a trial is a backtest in process; `full`: a trial is a whole run"
    )
    objectives: list[str] = Field(["sharpe"], min_length=1, description="metrics; the first one ranks the trials")
    sampler: Literal["grid", "random", "qmc", "tpe", "nsga2"] = Field("tpe", description="how trials are proposed")
    trials: int | None = Field(None, ge=1, description="most trials; default: the whole grid, else 100")
    timeout: float | None = Field(
        None, gt=0, description="seconds after which no further batch is started; anew for a search that is resumed"
    )
    trial_timeout: float | None = Field(None, gt=0, description="seconds one trial may take")
    retries: int = Field(1, ge=0, le=10, description="how often a trial is tried again when its worker died")
    batch: int | None = Field(
        None,
        ge=1,
        description="trials proposed at once; default: 10 for tpe, nsga2 and pruners, else 256 (full: 64, timeout: 16)",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seeds the sampler")
    pruner: Literal["none", "median", "hyperband"] = Field("none", description="what stops a trial early")
    windows: int = Field(4, ge=2, le=10, description="anchored windows a pruner looks at, each twice the one before")
    best: int = Field(3, ge=0, le=100, description="with `fast`: the best trials that become whole runs")
    constraints: list[str] = Field(default_factory=list, description="rules between params, as 'fast < slow'")
    storage: str | None = Field(
        None,
        description="Optuna storage URL (sqlite, postgresql, grpc), or env:NAME for one in a variable; "
        "default: a journal in the sweep's directory",
    )

    @field_validator("storage")
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        if value is not None and has_secret(value):
            raise ValueError("a password here would be sealed and sent around: put the URL into a variable, env:NAME")
        return value

    @property
    def adaptive(self) -> bool:
        """Say whether the sampler learns from the trials before."""
        return self.sampler in ADAPTIVE

    @property
    def batch_size(self) -> int:
        """How many trials are proposed at once."""
        if self.adaptive or self.pruner != "none":
            return self.batch or 10
        return self.batch or (16 if self.timeout is not None else 64 if self.mode == "full" else 256)


def _twice(values: list[Any]) -> Any:
    """Return the first value that is in the list before; 1 and 1.0 are one number in JSON, true is none."""
    seen: set[tuple[bool, Any]] = set()
    for value in values:
        if (key := (isinstance(value, bool), value)) in seen:
            return value
        seen.add(key)
    return None


class Dimension(Section):
    """One dimension of the search space: a list of values, or a range from `low` to `high`, both inclusive."""

    values: list[Scalar] | None = Field(None, min_length=1, description="the values to try")
    low: int | float | None = Field(None, allow_inf_nan=False, description="least value")
    high: int | float | None = Field(None, allow_inf_nan=False, description="greatest value")
    step: int | float | None = Field(None, gt=0, allow_inf_nan=False, description="distance between values")
    log: bool = Field(False, description="sample on a logarithmic scale")

    @model_validator(mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return {"values": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.values is None) == (self.low is None or self.high is None):
            raise ValueError("give either a list of values, or `low` and `high`")
        if self.values is not None and (self.log or {self.low, self.high, self.step} != {None}):
            raise ValueError("`low`, `high`, `step` and `log` are for ranges, not for a list of values")
        if self.values is not None and (twice := _twice(self.values)) is not None:
            raise ValueError(f"a value is in the list twice, which numbers equal in JSON are too: {twice!r}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        if self.log and (self.step is not None or (self.low is not None and self.low <= 0)):
            raise ValueError("a logarithmic scale needs low > 0 and no step")
        return self

    @property
    def range(self) -> tuple[float, float] | None:
        """The least and the greatest value; None when they are no numbers."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        values = self.values or []
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        return (min(numbers), max(numbers)) if numbers and len(numbers) == len(values) else None


class ValidationSection(Section):
    """How the choice of the best trial is put to the test on data it was not chosen on."""

    walk_forward_windows: int = Field(6, ge=0, le=50, description="anchored windows tested in turn; 0: none")
    walk_forward_trials: int = Field(
        0,
        ge=0,
        description="trials of a search of its own before each window, on the bars before it alone (mode `fast`); "
        "0: choose between the sweep's trials",
    )
    folds: int = Field(8, ge=0, le=20, description="folds of combinatorial purged cross-validation; 0: none")
    test_folds: int = Field(2, ge=1, le=10, description="folds tested at a time")
    horizon: int = Field(1, ge=0, description="bars ahead that a bar's outcome reaches; purged around test folds")
    embargo: int = Field(5, ge=0, description="further bars dropped after a test fold")
    blocks: int = Field(16, ge=2, le=20, multiple_of=2, description="blocks of CSCV, an even number")


@dataclass(frozen=True)
class SweepSpec:
    """Everything a sweep was asked to do: the run spec all trials share, and how its params vary."""

    base: RunSpec
    sweep: SweepSection
    space: dict[str, Dimension]
    validation: ValidationSection

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: str = "the sweep spec") -> SweepSpec:
        """Validate plain values; raises SpecError naming every problem and its place."""
        check_spec_values(values, where)
        own = {name: values.get(name, {}) for name in SWEEP_ONLY}
        shared = {key: value for key, value in values.items() if key not in SWEEP_ONLY}
        base = RunSpec.from_mapping(shared, where=where)
        problems: list[str] = []
        sweep = _section(SweepSection, own["sweep"], "sweep", problems)
        validation = _section(ValidationSection, own["validation"], "validation", problems)
        problems += _contradictions(sweep, validation)
        table = own["space"] if isinstance(own["space"], dict) else {"space": own["space"]}
        space: dict[str, Dimension] = {}
        for key, value in _flat(table).items():
            short = key.removeprefix(STRATEGY_PARAMS)
            name = key if "." in short else short  # the same param, so its schema holds
            if name in space:
                problems.append(f"space.{key}: is there as {name} too")
            if name.startswith(PLACE) and secret_name(name.removeprefix(PLACE)):
                problems.append(f"space.{key}: a secret is masked, so trials could not be told apart by it")
            space[name] = _section(Dimension, value, f"space.{key}", problems)
        if not (sweep and sweep.mode == "full" and _of_a_notebook(base, space)):
            base = base.asking(ENGINE_SECTIONS)
        if problems:
            lines = "\n".join(f"  - {line}" for line in problems)
            raise SpecError(f"{where} is not a valid sweep spec:\n{lines}")
        refuse_secrets(own, where)
        named = base.model_copy(update={"run": base.run.model_copy(update={"name": sweep.name})})
        return cls(named, sweep, space, validation)

    @property
    def of_notebook(self) -> bool:
        """Whether a trial is a run of somebody's notebook, of which no strategy, data or engine is known."""
        return self.base.strategy is None

    def to_dict(self) -> dict[str, Any]:
        """Return the spec with all defaults resolved, as JSON values."""
        space = {key: dimension.model_dump(mode="json", exclude_none=True) for key, dimension in self.space.items()}
        own = {"sweep": self.sweep.model_dump(mode="json"), "validation": self.validation.model_dump(mode="json")}
        return {**self.base.to_dict(), **own, "space": space}

    def check_kept(self) -> None:
        """Raise SpecError when the spec, as its record will keep it, could not be read again."""
        values = self.to_dict()
        try:
            canonical_json(values)  # what is digested of it
            SweepSpec.from_mapping(json.loads(exact_json(values)), where="the sweep spec, as it is kept,")
        except ValueError as error:
            raise SpecError(f"The sweep spec holds what JSON cannot keep: {error}.") from None

    def to_toml(self) -> bytes:
        """Return the spec as a TOML document that reads back to an equal spec."""
        import tomli_w

        return tomli_w.dumps(without_none(self.to_dict())).encode()

    def trial_spec(
        self, params: Mapping[str, Any], *, tags: Mapping[str, str], chosen: bool, number: int | None = None
    ) -> RunSpec:
        """Return the run spec of one trial: `params` laid over the base by their dotted keys.

        Static figures and the run under other assumptions are left to trials that were `chosen`.
        """
        values = self.base.model_dump(mode="json", exclude_unset=True)
        for key, value in params.items():
            set_dotted(values, path_of(key), value)
        run = values.setdefault("run", {})
        run["name"] = self.sweep.name if number is None else f"{self.sweep.name}, trial {number}"
        run["tags"] = {**run.get("tags", {}), **tags}
        run |= {name: chosen and run.get(name, True) for name in ("figures", "robustness")}
        return RunSpec.from_mapping(values, where="the trial")


def read_sweep(path: Path, overrides: Mapping[str, Any] | None = None) -> tuple[SweepSpec, bytes]:
    """Read a sweep spec from a TOML file and lay `overrides` (dotted keys) over it; raises SpecError.

    Returns the spec and the file's bytes, unchanged.
    """
    try:
        given = path.read_bytes()
    except OSError as error:
        raise SpecError(
            f"The sweep spec {path} cannot be read: {error.strerror}. Give an existing TOML file."
        ) from None
    return parse_sweep(given, overrides, where=str(path)), given


def parse_sweep(
    given: bytes, overrides: Mapping[str, Any] | None = None, *, where: str = "the sweep spec"
) -> SweepSpec:
    """Parse TOML bytes into a sweep spec, `overrides` laid over it; raises SpecError."""
    return SweepSpec.from_mapping(spec_values(given, overrides, where), where=overridden(where, overrides))


def path_of(key: str) -> str:
    """Return the dotted key in a run spec that a dimension sets: a key without a dot is a param of the strategy."""
    return key if "." in key else f"{STRATEGY_PARAMS}{key}"


def _of_a_notebook(base: RunSpec, space: Mapping[str, Dimension]) -> bool:
    """Say whether a notebook is varied that this package's own engine is not asked for: only what `[run]` says."""
    asked = any(getattr(base, name) is not None for name in ENGINE_SECTIONS)
    return not asked and base.run.notebook != RunSpec().run.notebook and bool(space) and all(map(_of_run, space))


def _of_run(name: str) -> bool:
    return name.startswith(RUN)


def _section(model: Any, given: object, place: str, problems: list[str]) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        kinds: dict[str, list[str]] = {}
        for item in error.errors(include_url=False):
            where = ".".join([place, *map(str, item["loc"])])
            if item["type"] == "extra_forbidden":
                problems.append(f"{where}: unknown key. {nearest(str(item['loc'][-1]), model.model_fields)}")
            elif item["type"] == "model_type":
                form = "a list of values, or low and high" if model is Dimension else "a section with keys of its own"
                problems.append(f"{where}: give {form} (given: {shown(item['input'])})")
            elif item["loc"] and (kind := KINDS.get(str(item["loc"][-1]))):  # of several that it may be
                whole = where.rpartition(".")[0]
                kinds.setdefault(f"{whole}: give {{}} (given: {shown(item['input'])})", []).append(kind)
            else:
                problems.append(f"{where}: {item['msg']} (given: {shown(item['input'])})")
        problems += [line.replace("{}", " or ".join(dict.fromkeys(found)), 1) for line, found in kinds.items()]
        return None


def _contradictions(sweep: SweepSection | None, validation: ValidationSection | None) -> list[str]:
    if sweep is None or validation is None or not validation.walk_forward_trials:
        return []
    found = []
    if sweep.mode != "fast":
        found.append("validation.walk_forward_trials: needs sweep.mode = 'fast', a whole run has all bars in view")
    if not validation.walk_forward_windows:
        found.append("validation.walk_forward_trials: there are no windows, set validation.walk_forward_windows")
    return found


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the dimensions by dotted key: TOML reads `backtest.stop_pct = {...}` as a table in a table."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        nested = isinstance(value, dict) and value and all(isinstance(item, dict | list) for item in value.values())
        if nested and not set(value) & set(Dimension.model_fields):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
