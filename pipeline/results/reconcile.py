"""Hold the parts of a result against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.results.identity import DIFFERS, HOLDS, UNCHECKED, Identity, Reconciliation

if TYPE_CHECKING:
    from pipeline.results.contract import Result

RELATIVE = 1e-9


def reconcile(result: Result) -> Reconciliation:
    """Return every identity of a result: whether it holds, does not hold, or cannot be checked and why."""
    return Reconciliation((_equity_trades(result),))


def _equity_trades(result: Result) -> Identity:
    name, says = "equity_trades", "Equity change = net P&L of trades"
    if result.trades is None:
        return Identity(name, says, UNCHECKED, ties_equity=True, missing=("trades",))
    gap = float(result.equity.iloc[-1]) - result.capital - float(result.trades["net_pnl"].sum())
    close = abs(gap) <= RELATIVE * max(result.capital, float(result.equity.abs().max()))
    return Identity(
        name, says, HOLDS if close else DIFFERS, ties_equity=True, compared=1, failed=int(not close), off_by=gap
    )
