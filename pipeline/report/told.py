"""What may be said of a result, as far as it is known: its costs, its unit, what its equity consists of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.report.numbers import meaning_here
from pipeline.results.identity import HOLDS, listed

if TYPE_CHECKING:
    from pipeline.report.facts import Facts

KINDS = (
    ("fees", ("fee", "commission")),
    ("slippage", ("slip", "spread")),
    ("borrowing", ("borrow", "fund", "interest")),
)
TOTAL_RETURN = "Final equity over the capital it starts from, minus 1{}."
FINAL_EQUITY = "The last value of the equity."


def charged(costs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return in words what is charged, from costs by name: `fees`, `slippage`; other names as they are."""
    named = [str(name) for name, value in costs.items() if value]
    kinds = (next((kind for kind, words in KINDS if any(word in name for word in words)), name) for name in named)
    return tuple(dict.fromkeys(kinds))


def after_costs(facts: Facts) -> str:
    """Return which costs the returns are after, for the end of a clause: `after fees and slippage`."""
    found = facts.run.result
    if not facts.foreign or found is None:
        return "after fees and slippage"
    if found.costs is None:
        return "as they were given: which costs are in them is not known"
    kinds = charged(found.costs)
    return f"after {listed(kinds)}" if kinds else "without costs, as none were charged"


def meaning_of(facts: Facts, name: str) -> str:
    """Return the convention behind a metric of this run, no more than is known of it."""
    used, found = facts.conventions, facts.run.result
    if not facts.foreign or found is None:
        return meaning_here(name, used)
    said = ""
    if name == "total_return":
        kinds = charged(found.costs or {})
        said = TOTAL_RETURN.format(f", after {listed(kinds)}" if kinds else "")
    if name == "final_equity":
        identities = () if found.reconciliation is None else found.reconciliation.identities
        held = any(each.name == "equity_positions" and each.status == HOLDS for each in identities)
        said = "" if held else FINAL_EQUITY
    return meaning_here(name, used, meaning=said, unit=facts.unit)
