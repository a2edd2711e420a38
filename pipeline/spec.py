"""The run spec: what a run was asked to do, read from TOML, frozen, unknown keys refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from pipeline.errors import SpecError, nearest, shortened, shown
from pipeline.masking import mask_table, masked_text, secret_name
from pipeline.spec_sections import (
    BacktestSection,
    BenchmarkSection,
    DataSection,
    Inputs,
    ReportSection,
    RunSection,
    Section,
    StrategySection,
    TrackingSection,
)
from pipeline.toml import MOST_PARTS, check_values, parse_toml

Scalar = bool | int | float | str

SWEEP_ONLY = ("sweep", "space", "validation")  # the sections that a sweep spec has besides those of a run spec


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
        refuse_secrets(values, where)
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

    @property
    def counted_as(self) -> str:
        """What the ledger counts trials by: the strategy's family, else the notebook, else `by hand`."""
        if self.strategy is not None:
            return self.strategy.counted_as
        return f"notebook:{self.run.notebook}" if self.run.notebook is not None else "by hand"

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


def recorded_spec(config: Mapping[str, Any]) -> RunSpec | None:
    """Return the spec that a run kept, of whatever version; of a sweep without the search. None where it has no form.

    Keys that this version does not know are passed over; keys that it has besides did not exist, and are at their
    defaults.
    """
    shared = {name: values for name, values in config.items() if name in RunSpec.model_fields}
    try:
        known = {name: _known_keys(name, values) for name, values in shared.items()}
        return RunSpec.model_validate(known) if "name" in known["run"] else None
    except (ValidationError, KeyError, TypeError, AttributeError):
        return None


def _known_keys(section: str, values: Any) -> Any:
    names = _valid_names([section])
    return {key: value for key, value in values.items() if key in names} if names and values is not None else values


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


def refuse_secrets(values: Mapping[str, Any], where: str) -> None:
    """Raise SpecError for an address with a password or a token anywhere but in `run.parameters`, which are masked."""
    for place, text in _texts(values):
        if masked_text(text) != text and not place.startswith("run.parameters."):
            raise SpecError(
                f"{where}: {place}: the password or token in this address would be sealed and sent around. Leave it "
                "out; what a notebook needs of it goes into run.parameters, which are masked."
            )


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in nested tables and lists by its place."""
    if isinstance(value, str):
        yield place, value
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _texts(item, f"{place}.{key}" if place else str(key))


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
