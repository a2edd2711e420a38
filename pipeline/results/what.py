"""What a run was about: what its result says of itself, else what was asked for; unknown is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.results.contract import Engine
    from pipeline.results.record import ResultRecord


@dataclass(frozen=True)
class WhatRan:
    """Strategy, params, instruments, source of the data and engine of a run; empty or None where nobody said.

    `params` are those of the strategy, or of the notebook where no strategy is known. `capital` is what the equity
    starts from.
    """

    strategy: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    source: str = ""
    notebook: str = ""
    engine: Engine | None = None
    capital: float | None = None

    @property
    def symbol(self) -> str:
        """The instruments for people: one, a few, or how many."""
        if len(self.symbols) > 3:
            return f"{len(self.symbols)} symbols"
        return ", ".join(self.symbols)

    @property
    def parts(self) -> tuple[str, ...]:
        """What ran, and on what where that is known."""
        what, where = self.strategy or self.notebook or "unknown", self.symbol or self.source
        return (what, where) if where else (what,)


def what_ran(config: Mapping[str, Any], record: ResultRecord | None) -> WhatRan:
    """Return what a run was about, from its resolved spec and from the record of its result."""
    run, data, strategy, rules = (_section(config, name) for name in ("run", "data", "strategy", "backtest"))
    asked = (str(data["symbol"]),) if data.get("symbol") else ()
    cash = rules.get("initial_cash")
    known = WhatRan(
        strategy=str(strategy.get("name") or ""),
        params=_section(strategy, "params") or _section(run, "parameters"),
        symbols=asked,
        source=str(data.get("source") or ""),
        notebook=str(run.get("notebook") or ""),
        capital=float(cash) if isinstance(cash, int | float) else None,
    )
    if record is None:
        return known
    return WhatRan(
        strategy=record.strategy or known.strategy,
        params=known.params if record.params is None else record.params,
        symbols=record.symbols or asked,
        source=known.source,
        notebook=known.notebook,
        engine=record.engine,
        capital=known.capital if record.capital is None else record.capital,
    )


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
