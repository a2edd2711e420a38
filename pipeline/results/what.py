"""What a run was about: what its result says of itself, else what was asked for; unknown is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.results.contract import Engine
    from pipeline.results.record import ResultRecord
    from pipeline.spec import RunSpec


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


def what_ran(spec: RunSpec | None, record: ResultRecord | None) -> WhatRan:
    """Return what a run was about, from what it was asked to do and from the record of its result."""
    known = WhatRan() if spec is None else _asked(spec)
    if record is None:
        return known
    return replace(
        known,
        strategy=record.strategy or known.strategy,
        params=known.params if record.params is None else record.params,
        symbols=record.symbols or known.symbols,
        engine=record.engine,
        capital=known.capital if record.capital is None else record.capital,
    )


def _asked(spec: RunSpec) -> WhatRan:
    data, strategy = spec.data, spec.strategy
    return WhatRan(
        strategy="" if strategy is None else strategy.name,
        params=(strategy.params if strategy is not None else None) or spec.run.parameters,
        symbols=(data.symbol,) if data is not None and data.symbol else (),
        source="" if data is None else data.source,
        notebook=spec.run.notebook or "",
        capital=None if spec.backtest is None else spec.backtest.initial_cash,
    )
