"""What an adapter is, and which one takes an object.

Others add theirs by an entry point of the group `evidence_chain.results` that names an Adapter; the conformance tests
are pipeline.engines.conformance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.results.contract import Result

GROUP = "evidence_chain.results"


@dataclass(frozen=True, eq=False)
class Given:
    """What the notebook said beside the object, where `run.save` was given it; None is not said.

    kind          whether a series holds returns (decimal, per period) or an equity curve
    capital       what the equity starts from
    prices        a column a symbol: with them a frame of weights becomes a portfolio
    costs_bps     charged on what is traded, basis points of notional, for such a portfolio
    fill          at which price it trades: the close the weights were made at, or the next open
    opens         the open prices that `fill="next_open"` needs
    column        which one of several: a column of a frame, a portfolio of several, a strategy of a file
    symbol        the instrument, where the object does not name it
    """

    kind: Literal["returns", "equity"] | None = None
    capital: float | None = None
    prices: pd.DataFrame | None = None
    costs_bps: float | None = None
    fill: Literal["close", "next_open"] | None = None
    opens: pd.DataFrame | None = None
    column: Any = None
    symbol: str | None = None


class Adapter(Protocol):
    """Turns the objects of one engine into results."""

    @property
    def name(self) -> str:
        """What messages call the objects it takes, as "bt Result"."""

    def recognises(self, value: Any) -> bool:
        """Say whether `value` is an object of this engine, by module root and class name over its MRO."""

    def adapt(self, value: Any, given: Given) -> Result:
        """Return the result of the contract; raises ResultError saying what is missing and what to give."""
