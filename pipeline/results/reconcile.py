"""Hold the parts of a result against each other: whatever was saved twice, in other words, has to agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.results.identity import Reconciliation

if TYPE_CHECKING:
    from pipeline.results.aligned import Aligned
    from pipeline.results.contract import Result

EARLIER = "What happened between two labels counts to the earlier one."


def reconcile(result: Result) -> Reconciliation:
    """Return every identity of a result: whether it holds, does not hold, or cannot be checked and why.

    Differences of more than 1e-9 of the amounts that meet (the capital at least) count, unless numbers were written
    with so few decimals. What happened between two labels counts to the later one, or to the earlier one when more
    identities hold so.
    """
    from pipeline.results.aligned import Aligned

    aligned = Aligned(result)
    found = _identities(aligned)
    if not found.broken or not aligned.events_between:
        return found
    earlier = _identities(Aligned(result, "earlier"))
    if len(earlier.broken) >= len(found.broken):
        return found
    return Reconciliation(tuple(replace(each, note=f"{each.note} {EARLIER}".strip()) for each in earlier.identities))


def _identities(aligned: Aligned) -> Reconciliation:
    from pipeline.results.holding_identities import holding_identities
    from pipeline.results.trade_identities import trade_identities
    from pipeline.results.weight_identity import weight_identity

    return Reconciliation((*trade_identities(aligned), weight_identity(aligned), *holding_identities(aligned)))
