"""The sections of a run spec: their keys, defaults and bounds; frozen, unknown keys refused."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.errors import shown
from pipeline.masking import has_secret

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

    source: str = Field(
        "sample:sp500", min_length=1, description="`sample:NAME`, `lake`, or a CSV, Parquet or Feather file"
    )
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
