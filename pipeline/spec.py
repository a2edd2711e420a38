"""The run spec: what a run was asked to do, read from TOML, frozen, unknown keys refused."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import SpecError, nearest, shortened, shown
from pipeline.masking import has_secret, mask_table, secret_name
from pipeline.toml import MOST_PARTS, check_values, parse_toml

Scalar = bool | int | float | str

# Other names of bundled strategies. A spec holds the own one: trials are counted by it.
STRATEGY_ALIASES = {"breakout": "donchian"}
SAMPLE_SYMBOLS = {"sample:sp500": "SPX"}
LARGEST_INTEGER = 2**53 - 1  # RFC 8785
SET_BY_THE_RUN = {
    "run_id": "give another with --run-id",
    "seed": "set run.seed",
    "data": "set the section [data]",
    "strategy": "set the section [strategy]",
    "backtest": "set the section [backtest]",
}
INPUT_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,99}")
SWEEP_ONLY = ("sweep", "space", "validation")  # the sections that a sweep spec has besides those of a run spec


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys and NaN refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _plain(value: Any) -> Any:
    """Return `value` with numpy's numbers as Python's; raise ValueError for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity cannot be given")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise ValueError(f"{value} is beyond 2**53 - 1, the largest integer that JSON holds exactly; give it as text")
    return value


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse a parameter that the run sets itself: the notebook would run with one value, the seal say another."""
    for name, instead in SET_BY_THE_RUN.items():
        if name in value:
            raise ValueError(f"{name} is set by the run itself; {instead}")
    return value


def _without_secret(url: str | None) -> str | None:
    """Return a URL; raise ValueError for one with a password or token, which would be sealed and sent around."""
    if url is not None and has_secret(url):
        raise ValueError(
            "a password or token here would be sealed and sent around: give the tracking store with "
            "MLFLOW_TRACKING_URI, or its user with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or with "
            "MLFLOW_TRACKING_TOKEN"
        )
    return url


def _local(inputs: dict[str, str]) -> dict[str, str]:
    """Refuse inputs whose names cannot be told apart from a path, and URLs: a digest needs a file."""
    for name, path in inputs.items():
        if not INPUT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an input: letters, digits, - and _ only")
        if "://" in path or not path:
            raise ValueError(f"{name}: {shown(path)} is no file on this machine; read it and give run.input the frame")
    return inputs


Inputs = Annotated[dict[str, str], AfterValidator(_local)]
Table = Annotated[dict[str, Any], AfterValidator(_plain)]
Parameters = Annotated[Table, AfterValidator(_parameters)]


class RunSection(Section):
    """Who the run is: its names, its notebook, its seed and limits."""

    name: str = Field("backtest", min_length=1, max_length=200, description="name of the run")
    experiment: str = Field("evidence-chain", min_length=1, max_length=200, description="MLflow experiment")
    notebook: str | None = Field(
        "notebooks/backtest.ipynb", min_length=1, description="the input notebook, or a script; none of a run by hand"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seeds `random` and `numpy.random` in the kernel")
    tags: dict[str, str] = Field(default_factory=dict, description="labels, also set on the MLflow run")
    cell_timeout: float | None = Field(None, gt=0, description="seconds one cell may take")
    timeout: float | None = Field(None, gt=0, description="seconds the whole notebook may take")
    parameters: Parameters = Field(
        default_factory=dict, description="further parameters of the notebook; secrets are masked in the evidence"
    )
    figures: bool = Field(True, description="draw static figures, in the notebook and in `plots/`")
    robustness: bool = Field(True, description="run the strategy again under other assumptions, for the report")


class DataSection(Section):
    """Which market data is used."""

    source: str = Field("sample:sp500", min_length=1, description="`sample:NAME`, or a CSV, Parquet or Feather file")
    symbol: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="name of the instrument, also which one of several in the file; default: unknown, a sample's own",
    )
    start: dt.date | None = Field(None, description="first day used, inclusive")
    end: dt.date | None = Field(None, description="last day used, inclusive")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="column names, as open = 'Open'; numbers in a file without a header; '' leaves volume or time out",
    )
    timezone: str | None = Field(None, description="zone of timestamps without one, as 'America/New_York'")
    date_format: str | None = Field(
        None,
        description="strptime format of the timestamps, s, ms, us or ns for a Unix epoch, or excel for its day numbers",
    )
    decimal: Literal[".", ","] | None = Field(None, description="decimal sign; default: found out where only one fits")
    skip_rows: int = Field(0, ge=0, description="lines above the header of a text file")
    currency: str | None = Field(
        None,
        min_length=1,
        max_length=12,
        description="currency of prices and account, as USD; default: unknown, amounts are units of the prices",
    )
    periods_per_year: float | None = Field(
        None, gt=0, description="bars a year, for annual figures; default: inferred from the whole file"
    )

    _plain_source = field_validator("source")(_without_secret)

    @model_validator(mode="before")
    @classmethod
    def _symbol_of_sample(cls, values: Any) -> Any:
        """Name a sample; what a file of the user's own holds is not known."""
        if isinstance(values, dict) and values.get("symbol") is None:
            own = SAMPLE_SYMBOLS.get(str(values.get("source", "sample:sp500")))
            return {**values, "symbol": own} if own else values
        return values

    @field_validator("start", "end", mode="before")
    @classmethod
    def _date(cls, value: object) -> object:
        """Accept TOML dates, midnight UTC of a day, and ISO text."""
        if isinstance(value, dt.datetime):
            if value.time() != dt.time() or value.utcoffset():
                raise ValueError("a whole day is needed, as 2020-01-31: a time of day would be lost")
            return value.date()
        return dt.date.fromisoformat(value) if isinstance(value, str) else value


class StrategySection(Section):
    """Which strategy trades, with which params."""

    name: str = Field("ma_crossover", min_length=1, description="a bundled strategy or `module:function`")
    params: Table = Field(default_factory=dict, description="params of the strategy's own schema")
    family: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="what trials are counted by, whatever the function is called; default: the bundled name, or the "
        "module of `module:function`",
    )

    @field_validator("name")
    @classmethod
    def _own_name(cls, value: str) -> str:
        return STRATEGY_ALIASES.get(value, value)

    @property
    def counted_as(self) -> str:
        """The family that trials of this strategy are counted in."""
        return self.family or self.name.partition(":")[0]


class BacktestSection(Section):
    """How orders are filled and what they cost."""

    initial_cash: float = Field(100_000.0, gt=0, description="cash at the start")
    fee_bps: float = Field(1.0, ge=0, lt=10_000, description="fee of each fill, basis points of notional")
    slippage_bps: float = Field(1.0, ge=0, lt=10_000, description="price moved against the trader at each fill")
    stop_pct: float | None = Field(None, gt=0, lt=100, description="stop-loss, percent from the entry price")
    execution: Literal["pipeline", "simple"] = Field(
        "pipeline", description="`pipeline`: orders fill at the next open; `simple`: at the signal's close (optimistic)"
    )
    risk_free_rate: float | None = Field(
        None,
        gt=-1,
        description="annual rate taken off the returns in Sharpe and Sortino ratios, decimal, compounded; default: 0",
    )


class BenchmarkSection(Section):
    """What the strategy is measured against; without a source, the run's own data bought and held, without costs."""

    source: str | None = Field(
        None, min_length=1, description="`sample:NAME`, or a CSV, Parquet or Feather file; default: the run's own data"
    )
    column: str | None = Field(None, min_length=1, description="its column; default: close, or the only one")
    timezone: str | None = Field(None, description="zone of its timestamps without one")
    date_format: str | None = Field(None, description="format of its timestamps, as in `[data]`")
    label: str | None = Field(None, min_length=1, max_length=60, description="what it is called in figures and tables")

    _plain_source = field_validator("source")(_without_secret)


class TrackingSection(Section):
    """Where the run is tracked."""

    mode: Literal["warn", "strict", "off"] = Field("warn", description="what a tracking failure does to the run")
    uri: str | None = Field(
        None,
        description="MLflow tracking URI, without a password; default: MLFLOW_TRACKING_URI, else SQLite in the project",
    )
    ui_url: str | None = Field(None, description="base URL of MLflow's web interface, for links")

    _plain_urls = field_validator("uri", "ui_url")(_without_secret)


class ReportSection(Section):
    """Whether and how the report is rendered after the run."""

    enabled: bool = Field(True, description="render the report when the run has been sealed")
    renderer: Literal["auto", "quarto", "embedded"] = Field("auto", description="`auto`: Quarto when found")
    template: str = Field("reports/backtest_report.qmd", min_length=1, description="source of the report")


class BundledRequest(NamedTuple):
    """What this package's own engine is asked for."""

    data: DataSection
    strategy: StrategySection
    backtest: BacktestSection


class RunSpec(Section):
    """Everything a run was asked to do. Equal specs have equal `to_dict()`.

    A section of ENGINE_SECTIONS that is None was not asked for: nothing is known of it, and no default stands for it.
    """

    run: RunSection = Field(default_factory=RunSection)
    data: DataSection | None = None
    strategy: StrategySection | None = None
    backtest: BacktestSection | None = None
    benchmark: BenchmarkSection = Field(default_factory=BenchmarkSection)
    inputs: Inputs = Field(default_factory=dict, description="a file, a folder or a pattern, relative to the project")
    tracking: TrackingSection = Field(default_factory=TrackingSection)
    report: ReportSection = Field(default_factory=ReportSection)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, where: str = "the run spec") -> RunSpec:
        """Validate plain values; raises SpecError naming every problem, its place and the nearest valid name."""
        check_spec_values(values, where)
        try:
            spec = cls.model_validate(values)
        except ValidationError as error:
            problems = "\n".join(f"  - {line}" for line in _problems(error))
            raise SpecError(f"{where} is not a valid run spec:\n{problems}") from None
        data = spec.data
        if data is not None and data.start and data.end and data.start > data.end:
            raise SpecError(f"{where}: data.start {data.start} is after data.end {data.end}.")
        return spec

    @property
    def bundled(self) -> BundledRequest:
        """What this package's own engine is asked for when it is used: the sections given, defaults for the others."""
        return BundledRequest(
            self.data or DataSection(), self.strategy or StrategySection(), self.backtest or BacktestSection()
        )

    def asking(self, sections: Iterable[str]) -> RunSpec:
        """Return the spec with those of `sections` that were left out, at their defaults."""
        left_out = [name for name in sections if getattr(self, name) is None]
        if not left_out:
            return self
        return self.model_copy(update={name: _SECTIONS[name]() for name in left_out})

    def to_dict(self) -> dict[str, Any]:
        """Return the spec with all defaults resolved, as JSON values (dates as ISO text); inputs only when declared."""
        values = self.model_dump(mode="json")
        return values if values["inputs"] else {key: value for key, value in values.items() if key != "inputs"}

    def to_toml(self) -> bytes:
        """Return the spec as a TOML document that reads back to an equal spec."""
        import tomli_w

        return tomli_w.dumps(without_none(self.to_dict())).encode()


_SECTIONS: dict[str, type[Section]] = {"data": DataSection, "strategy": StrategySection, "backtest": BacktestSection}
ENGINE_SECTIONS = tuple(_SECTIONS)  # what this package's own engine is asked for; other notebooks may leave them out


def read_spec(path: Path, overrides: Mapping[str, Any] | None = None) -> tuple[RunSpec, bytes]:
    """Read a spec from a TOML file and lay `overrides` (dotted keys) over it.

    Returns the spec and the file's bytes, unchanged. Raises SpecError.
    """
    try:
        given = path.read_bytes()
    except OSError as error:
        raise SpecError(f"The run spec {path} cannot be read: {error.strerror}. Give an existing TOML file.") from None
    return parse_spec(given, overrides, where=str(path)), given


def parse_spec(given: bytes, overrides: Mapping[str, Any] | None = None, *, where: str = "the run spec") -> RunSpec:
    """Parse TOML bytes into a spec, `overrides` laid over it. Raises SpecError."""
    return RunSpec.from_mapping(spec_values(given, overrides, where), where=overridden(where, overrides))


def spec_values(given: bytes, overrides: Mapping[str, Any] | None, where: str) -> dict[str, Any]:
    """Parse the TOML bytes of a spec, `overrides` (dotted keys) laid over them; raises SpecError."""
    try:
        values = parse_toml(given)
    except ValueError as error:
        raise SpecError(f"{where} is not valid TOML: {error}.") from None
    for key, value in (overrides or {}).items():
        set_dotted(values, key, value)
    return values


def check_spec_values(values: Mapping[str, Any], where: str) -> None:
    """Raise SpecError for values that no snapshot can keep, wherever in a spec they stand."""
    try:
        check_values(values)
    except ValueError as error:
        raise SpecError(f"{where} cannot be kept: {error}.") from None


def overridden(where: str, overrides: Mapping[str, Any] | None) -> str:
    """Return how a spec is called in messages: with what was laid over it."""
    return f"{where} with {', '.join(shortened(key, 100) for key in overrides)} as given" if overrides else where


def parse_override(text: str, plain: str = "strategy.params") -> tuple[str, Any]:
    """Parse `key=value` from the command line; the value is read as TOML, else taken as text.

    A key without a dot is one of the table `plain`: `fast=10` means `strategy.params.fast=10`.
    """
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not key:
        raise SpecError(f"The override {shortened(text, 200)!r} is not of the form key=value, as in -p fast=10.")
    try:
        parsed = parse_toml(f"value = {value}")["value"]
    except TOMLDecodeError:
        parsed = value
    except ValueError as error:
        raise SpecError(f"The value of the override {shortened(key, 100)} cannot be read: {error}.") from None
    return (key if "." in key else f"{plain}.{key}"), parsed


def json_values(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides as JSON values: TOML dates and times become ISO text."""
    return {key: _json_value(value) for key, value in overrides.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return json_values(value)
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


def set_dotted(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set the value at a dotted key of nested tables, in place; raises SpecError when a value is in the way."""
    *parents, last = dotted.split(".")
    if len(parents) >= MOST_PARTS:
        raise SpecError(f"The override {shortened(dotted, 100)} has more than {MOST_PARTS} parts.")
    table = values
    for name in parents:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise SpecError(f"The override {dotted} goes through {name!r}, which is a value, not a section.")
    table[last] = value


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            *parents, name = item["loc"]
            if place in SWEEP_ONLY:
                yield f"{place}: a section of sweep specs. `evidence sweep --config` takes those."
            else:
                yield f"{place}: unknown key. {nearest(str(name), _valid_names(parents))}"
        else:
            given, _ = mask_table(item["input"], secret=any(secret_name(str(part)) for part in item["loc"]))
            yield f"{place}: {item['msg']} (given: {shown(given)})"


def _valid_names(parents: list[int | str]) -> list[str]:
    model: Any = RunSpec
    for name in parents:
        if name == "inputs":
            return []
        model = _SECTIONS.get(str(name)) or model.model_fields[name].annotation
    return list(model.model_fields)


def without_none(value: Any) -> Any:
    """Return nested tables without the keys whose value is None, which TOML cannot say."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return value
