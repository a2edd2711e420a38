"""Identities of what is held at each label: fills, positions, prices, weights, cash and the equity."""

from __future__ import annotations

import numpy as np

from pipeline.results.aligned import Aligned
from pipeline.results.comparing import MOST, MOST_SHARE, RELATIVE, Kind, Place, half_unit
from pipeline.results.identity import Identity

EQUITY = Kind("equity_positions", "Equity = positions x prices + cash", ties_equity=True)
CASH = Kind("cash", "Change of cash = - value of the fills - their fees")
UNITS = Kind("positions_fills", "Positions = fills added up", unit="units")
SHARES = Kind("weights_positions", "Weights = positions x prices / equity", unit="share")
WHOLE = Kind("weights_cash", "Sum of weights + cash / equity = 1", unit="share")
LEVERAGE = Kind("leverage", "Leverage = sum of absolute weights", unit="share")


def holding_identities(aligned: Aligned) -> tuple[Identity, ...]:
    """Return the identities of holdings at each label."""
    return (
        _equity(aligned),
        _cash(aligned),
        _units(aligned),
        _shares(aligned),
        _whole(aligned),
        _leverage(aligned),
    )


def absent(aligned: Aligned, *names: str) -> list[str]:
    """Return which of these parts a result does not have."""
    return [name for name in names if getattr(aligned.result, name) is None]


def at_label(aligned: Aligned) -> Place:
    """Return what names the place of a difference: its label, and its symbol where there is a column for each."""

    def place(at: tuple[int, ...]) -> tuple[str, str | None]:
        return str(aligned.symbols[at[1]]) if len(at) > 1 else "", aligned.time(at[0])

    return place


def cash_of_fills(aligned: Aligned) -> np.ndarray | None:
    """Return the cash that the fills leave of the capital; None without fills and their fees."""
    fills = aligned.fills
    if fills is None or fills.fee is None:
        return None
    spent = aligned.per_label(fills.place, fills.quantity * fills.price + fills.fee)
    return aligned.result.capital - np.cumsum(spent)


def weights_of(aligned: Aligned) -> np.ndarray | None:
    """Return the weights, or else positions x prices / equity; None without both. NaN where there is no equity."""
    if aligned.weights is not None or aligned.values is None:
        return aligned.weights
    over = np.where(aligned.equity == 0.0, np.nan, aligned.equity)
    shares: np.ndarray = aligned.values / over[:, None]
    return shares


def _equity(aligned: Aligned) -> Identity:
    cash, values = aligned.cash, aligned.values
    note = ""
    if cash is None:
        cash = cash_of_fills(aligned)
        note = "Cash is the capital less what the fills spent." if cash is not None else ""
    if values is None or cash is None:
        return EQUITY.unchecked(*absent(aligned, "positions", "prices"), *(["cash"] if cash is None else []))
    gap = aligned.equity - values.sum(axis=1) - cash
    gross = np.abs(values).sum(axis=1)
    most = MOST * aligned.result.capital
    rounding = half_unit(aligned.equity, most) + half_unit(cash, most)
    return EQUITY.compare(gap, _scaled(aligned, gross, cash), at_label(aligned), rounding=rounding, note=note)


def _cash(aligned: Aligned) -> Identity:
    cash, fills = aligned.cash, aligned.fills
    if cash is None or fills is None:
        return CASH.unchecked(*absent(aligned, "cash", "fills"))
    fee = np.zeros(len(fills.price)) if fills.fee is None else fills.fee
    spent = aligned.per_label(fills.place, fills.quantity * fills.price + fee)
    change = np.diff(cash, prepend=aligned.result.capital)
    traded = aligned.per_label(fills.place, np.abs(fills.quantity * fills.price))
    allowed = _scaled(aligned, traded, cash)
    gap = change + spent
    if fills.fee is None and bool((np.nan_to_num(gap) < -allowed).any()):
        return CASH.unchecked("the fee of every fill")
    most = MOST * aligned.result.capital
    rounding = 2.0 * half_unit(cash, most) + half_unit(fills.fee, most) * aligned.per_label(
        fills.place, np.ones(len(fee))
    )
    return CASH.compare(gap, allowed, at_label(aligned), rounding=rounding)


def _units(aligned: Aligned) -> Identity:
    positions, fills = aligned.positions, aligned.fills
    if positions is None or fills is None:
        return UNITS.unchecked(*absent(aligned, "positions", "fills"))
    held = np.cumsum(aligned.per_cell(fills.place, fills.column, fills.quantity), axis=0)
    traded = np.bincount(fills.column, weights=np.abs(fills.quantity), minlength=len(aligned.symbols))
    allowed = RELATIVE * np.maximum(np.nan_to_num(np.abs(positions)).max(axis=0), traded)
    return UNITS.compare(positions - held, allowed, at_label(aligned))


def _shares(aligned: Aligned) -> Identity:
    values, weights = aligned.values, aligned.weights
    if values is None or weights is None:
        return SHARES.unchecked(*absent(aligned, "weights", "positions", "prices"))
    equity = aligned.equity[:, None]
    allowed = RELATIVE * np.maximum(np.maximum(aligned.result.capital, np.abs(equity)), np.abs(np.nan_to_num(values)))
    over = np.where(equity == 0.0, np.nan, equity)
    gap = weights - values / over
    return SHARES.compare(gap, allowed / np.abs(over), at_label(aligned), rounding=half_unit(weights, MOST_SHARE))


def _whole(aligned: Aligned) -> Identity:
    weights, cash = aligned.weights, aligned.cash
    if weights is None or cash is None:
        return WHOLE.unchecked(*absent(aligned, "weights", "cash"))
    over = np.where(aligned.equity == 0.0, np.nan, aligned.equity)
    gap = weights.sum(axis=1) + cash / over - 1.0
    allowed = _scaled(aligned, np.abs(weights).sum(axis=1) * np.abs(aligned.equity), cash) / np.abs(over)
    half = half_unit(weights, MOST_SHARE)
    return WHOLE.compare(gap, allowed, at_label(aligned), rounding=half * weights.shape[1])


def _leverage(aligned: Aligned) -> Identity:
    leverage = aligned.leverage
    shares = weights_of(aligned)
    if leverage is None or shares is None:
        return LEVERAGE.unchecked(*absent(aligned, "leverage", "weights"))
    gross = np.abs(shares).sum(axis=1)
    note = "" if aligned.weights is not None else "Weights are positions x prices / equity."
    allowed = RELATIVE * np.maximum(1.0, np.nan_to_num(np.abs(leverage)))
    return LEVERAGE.compare(
        leverage - gross, allowed, at_label(aligned), rounding=half_unit(leverage, MOST_SHARE), note=note
    )


def _scaled(aligned: Aligned, *sizes: np.ndarray) -> np.ndarray:
    """Return what arithmetic may leave at each label, from the largest of the amounts that meet there."""
    top: np.ndarray = np.maximum(aligned.result.capital, np.abs(aligned.equity))
    for size in sizes:
        top = np.maximum(top, np.abs(np.nan_to_num(size)))
    allowed: np.ndarray = RELATIVE * top
    return allowed
