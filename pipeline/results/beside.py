"""The engine's own numbers beside those computed here, and why they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.backtest.metrics import Stat
    from pipeline.results.contract import Result

RELATIVE = 1e-9


@dataclass(frozen=True)
class Beside:
    """A number of the engine, and ours.

    `equal` to 1e-9; None where there is nothing to compare. `reason` says what the engine does differently: `found`
    when computing it so gave the engine's number to 1e-9, else in the words of the adapter, or empty.
    """

    name: str
    reported: float
    metric: str | None = None
    ours: float | None = None
    equal: bool | None = None
    reason: str = ""
    found: bool = False

    @property
    def off_by(self) -> float | None:
        """The engine's number less ours."""
        return None if self.ours is None else self.reported - self.ours

    def to_dict(self) -> dict[str, Any]:
        """Return both numbers and the reason as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Beside:
        """Read what `to_dict` wrote."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})


def beside(result: Result, stats: Mapping[str, Stat]) -> tuple[Beside, ...]:
    """Return every number that the engine of a result reported with ours of `stats`, in its order."""
    found = []
    for each in result.reported:
        ours = stats.get(each.metric) if each.metric is not None else None
        equal = None if ours is None else math.isclose(each.value, ours, rel_tol=RELATIVE, abs_tol=1e-12)
        reason = each.convention if equal is False else ""
        found.append(Beside(each.name, each.value, each.metric, None if ours is None else float(ours), equal, reason))
    return tuple(found)
