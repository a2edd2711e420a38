"""What `result.json` says of a run's result: what made it, what it is of, which parts it has, and what was checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.results.beside import Beside
from pipeline.results.boundary import Boundary
from pipeline.results.contract import Engine, OwnMetric
from pipeline.results.identity import Reconciliation

if TYPE_CHECKING:
    from pipeline.results.contract import Result

SCHEMA_VERSION = 1
PARTS = ("trades", "fills", "positions", "weights", "prices", "cash", "leverage")


@dataclass(frozen=True)
class ResultRecord:
    """What is known of a result without its tables; None is unknown.

    `first_label` is "start" or "period", as Result has it, None of a record from before; `benchmarks` are their names.
    `parts` are the tables that were saved beside the equity, `metrics` the user's own, `beside` those of the engine
    with the ones computed here.
    """

    engine: Engine | None = None
    strategy: str | None = None
    params: Mapping[str, Any] | None = None
    symbols: tuple[str, ...] = ()
    currency: str | None = None
    capital: float | None = None
    first_label: str | None = None
    benchmarks: tuple[str, ...] = ()
    costs: Mapping[str, Any] | None = None
    parts: tuple[str, ...] = ()
    metrics: tuple[OwnMetric, ...] = ()
    beside: tuple[Beside, ...] = ()
    reconciliation: Reconciliation | None = None
    boundary: Boundary | None = None
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        result: Result,
        reconciliation: Reconciliation | None = None,
        beside: tuple[Beside, ...] = (),
        boundary: Boundary | None = None,
    ) -> Self:
        """Return the record of a result, with what was found out about it."""
        return cls(
            engine=result.engine,
            strategy=result.strategy,
            params=None if result.params is None else as_json(result.params),
            symbols=result.instruments,
            currency=result.currency,
            capital=result.capital,
            first_label="period" if result.first_counts else "start",
            benchmarks=tuple(result.benchmarks),
            costs=None if result.costs is None else as_json(result.costs),
            parts=tuple(name for name in PARTS if getattr(result, name) is not None),
            metrics=result.metrics,
            beside=beside,
            reconciliation=reconciliation,
            boundary=boundary,
            notes=result.notes,
        )

    @classmethod
    def read(cls, files: Layout) -> Self | None:
        """Read the record below a run directory; None when there is none, or none that can be read."""
        try:
            return cls.from_dict(read_json(files.result)) if files.result.is_file() else None
        except (OSError, ValueError, TypeError):
            return None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of result.json as JSON values."""
        values = {**asdict(self), "symbols": list(self.symbols), "parts": list(self.parts), "notes": list(self.notes)}
        values["benchmarks"] = list(self.benchmarks)
        values["metrics"] = [asdict(metric) for metric in self.metrics]
        values["beside"] = [each.to_dict() for each in self.beside]
        values["reconciliation"] = None if self.reconciliation is None else self.reconciliation.to_dict()
        values["boundary"] = None if self.boundary is None else self.boundary.to_dict()
        return {"schema_version": SCHEMA_VERSION, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, now or in a later version; raises ValueError for anything else."""
        try:
            engine, found, limits = values["engine"], values["reconciliation"], values["boundary"]
            record = cls(
                engine=None if engine is None else Engine(engine["name"], engine.get("version")),
                strategy=values["strategy"],
                params=values["params"],
                symbols=tuple(values["symbols"]),
                currency=values["currency"],
                capital=values["capital"],
                first_label=values.get("first_label"),
                benchmarks=tuple(values.get("benchmarks", ())),
                costs=values["costs"],
                parts=tuple(values["parts"]),
                metrics=tuple(OwnMetric(**metric) for metric in values["metrics"]),
                beside=tuple(Beside.from_dict(each) for each in values["beside"]),
                reconciliation=None if found is None else Reconciliation.from_dict(found),
                boundary=None if limits is None else Boundary.from_dict(limits),
                notes=tuple(values["notes"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"result.json has another form ({error!r})") from None
        if not record._is_typed():
            raise ValueError("result.json holds a value of another type")
        return record

    def _is_typed(self) -> bool:
        texts = (
            self.strategy,
            self.currency,
            self.first_label,
            *self.symbols,
            *self.benchmarks,
            *self.parts,
            *self.notes,
        )
        return (
            all(text is None or isinstance(text, str) for text in texts)
            and all(table is None or isinstance(table, dict) for table in (self.params, self.costs))
            and (self.engine is None or isinstance(self.engine.name, str))
        )


def as_json(value: Any) -> Any:
    """Return what an engine told as JSON values: numbers of numpy as Python's; what JSON does not have is text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if getattr(value, "shape", None) == () and getattr(getattr(value, "dtype", None), "kind", "") in tuple("biuf"):
        value = value.item()
    known = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)
