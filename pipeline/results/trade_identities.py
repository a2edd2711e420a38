"""Identities of trades: against the equity, their own prices, the fees of the fills, and the positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.results.aligned import Aligned, Trades, iso
from pipeline.results.comparing import MOST, RELATIVE, Kind, half_unit, of_sum
from pipeline.results.identity import DIFFERS, HOLDS, Identity

TOTAL = Kind("equity_trades", "Equity change = net P&L of all trades, open ones marked", ties_equity=True)
FLAT = Kind(
    "equity_flat", "Equity while nothing is held = capital + net P&L of the trades closed by then", ties_equity=True
)
OWN = Kind("trade_pnl", "Net P&L of a trade = quantity x (exit price - entry price) - fees")
FEES = Kind("fees", "Fees of fills = fees of trades")
HELD = Kind("exposure", "Positions are held when trades are open, and are no larger", unit="units")
MULTIPLIED = "Units of some symbols count more than one each, the same in all of their trades."
FROM_THE_START = "It differs from the first label on: the capital is another one than the equity starts from."
LATE = "It holds with the equity of the label after: the equity is a label late."
EARLY = "It holds with the equity of the label before: the equity is a label early."
FEWEST = 3  # trades that have to agree before a multiplier is one
MOVED = "The equity moves while, by the trades, nothing is held: a position is not among them, or money came or went."


def trade_identities(aligned: Aligned) -> tuple[Identity, ...]:
    """Return the identities that need trades."""
    trades = aligned.trades
    if trades is None:
        fees = ("trades",) if aligned.fills is not None else ("trades", "fills")
        held = ("trades",) if aligned.positions is not None else ("trades", "positions")
        return tuple(
            kind.unchecked(*missing)
            for kind, missing in (
                (TOTAL, ("trades",)),
                (FLAT, ("trades",)),
                (OWN, ("trades",)),
                (FEES, fees),
                (HELD, held),
            )
        )
    flat, total = _against_equity(aligned, trades)
    return (total, flat, _own_prices(aligned, trades), _fees(aligned, trades), _held(aligned, trades))


def _against_equity(aligned: Aligned, trades: Trades) -> tuple[Identity, Identity]:
    """Return whether the equity agrees with the trades at every label without an open one, and at the end."""
    if trades.net_pnl is None:
        lacking = "the net P&L of every trade"
        return FLAT.unchecked(lacking), TOTAL.unchecked(lacking)
    equity, capital = aligned.equity, aligned.result.capital
    allowed = RELATIVE * max(capital, float(np.abs(equity).max()))
    half = half_unit(trades.net_pnl, MOST * capital)
    flat = _at_flat_labels(aligned, trades, trades.net_pnl, allowed, half)
    end = np.array([equity[-1] - capital - trades.net_pnl.sum()])

    def place(_: tuple[int, ...]) -> tuple[str, str | None]:
        return (flat.where, flat.first) if flat.status == DIFFERS else ("", aligned.time(-1))

    total = TOTAL.compare(end, allowed, place, rounding=of_sum(half, len(trades.net_pnl)))
    if total.status == DIFFERS and flat.status == DIFFERS:
        total = replace(total, note=flat.note)
    return flat, total


def _at_flat_labels(aligned: Aligned, trades: Trades, pnl: np.ndarray, allowed: float, half: float) -> Identity:
    n, closed = len(aligned.labels), ~trades.is_open
    realised = aligned.result.capital + np.cumsum(aligned.per_label(trades.exits[closed], pnl[closed]))
    opened = np.cumsum(np.bincount(trades.enters, minlength=n + 1)[:n])
    shut = np.cumsum(np.bincount(trades.exits, minlength=n + 1)[:n])
    gap = np.where(opened == shut, aligned.equity - realised, np.nan)
    if not trades.ends_known:
        gap[-1] = np.nan  # the last label may stand for an end that is not known
    rounding = of_sum(half, np.maximum(shut, 1))

    def place(at: tuple[int, ...]) -> tuple[str, str | None]:
        return trades.at(_closed_since(trades, gap, at[0])), aligned.time(at[0])

    found = FLAT.compare(gap, allowed, place, rounding=rounding, missing="a label at which no trade is open")
    if found.status == DIFFERS:
        return _explained(found, gap, shut, allowed + rounding, aligned.equity)
    if found.status == HOLDS and not ((shut > 0) & ~np.isnan(gap)).any():
        return FLAT.unchecked("a label after a trade at which none is open")
    return found


def _explained(found: Identity, gap: np.ndarray, shut: np.ndarray, allowed: np.ndarray, equity: np.ndarray) -> Identity:
    """Say of a difference at flat labels that it is one of the capital, of time, or of something held that is no trade.

    Of the last one the equity moves from one flat label to the next though no trade closed between.
    """
    for by, note in ((1, LATE), (-1, EARLY)):
        there = gap + np.roll(equity, -by) - equity  # the last one, or the first, is not known
        there[-1 if by > 0 else 0] = np.nan
        if not (np.abs(np.nan_to_num(there)) > allowed).any():
            return replace(found, note=note)
    first = int((np.abs(np.nan_to_num(gap)) > allowed).argmax())
    still = shut[1:] == shut[:-1]
    moved = np.flatnonzero(still & (np.abs(np.nan_to_num(np.diff(gap))) > allowed[1:])) + 1
    if len(moved) and moved[0] <= first + 1:
        return replace(found, where="", note=MOVED)
    return found if shut[first] else replace(found, note=FROM_THE_START)


def _closed_since(trades: Trades, gap: np.ndarray, row: int) -> np.ndarray:
    """Return the trades closed at label `row`, or before it since the last label that was compared."""
    earlier = np.flatnonzero(~np.isnan(gap[:row]))
    since = int(earlier[-1]) if len(earlier) else -1
    rows: np.ndarray = np.flatnonzero((trades.exits > since) & (trades.exits <= row))
    return rows


def _own_prices(aligned: Aligned, trades: Trades) -> Identity:
    """Return whether each net P&L is what its trade's prices give, less its fees."""
    if trades.net_pnl is None:
        return OWN.unchecked("the net P&L of every trade")
    gross = trades.direction * trades.quantity * (trades.exit_price - trades.entry_price)
    notional = np.abs(trades.quantity) * (np.abs(trades.exit_price) + np.abs(trades.entry_price))
    allowed, fees = RELATIVE * notional, np.zeros(len(gross)) if trades.fees is None else trades.fees

    def place(at: tuple[int, ...]) -> tuple[str, str | None]:
        return trades.at(np.array(at)), iso(trades.exited[at[0]])

    gap = trades.net_pnl + fees - gross
    if trades.fees is None and bool((gap < -allowed).any()) and not bool((gap > allowed).any()):
        return OWN.unchecked("the fees of every trade")
    most = MOST * aligned.result.capital
    rounding = half_unit(trades.net_pnl, most) + half_unit(trades.fees, most)
    found = OWN.compare(gap, allowed, place, rounding=rounding, missing="a trade with its prices")
    if found.status != DIFFERS or trades.fees is None:
        return found
    units = _multipliers(trades, gross, trades.net_pnl + fees)
    gap = trades.net_pnl + fees - units * gross
    again = OWN.compare(gap, allowed * np.maximum(1.0, units), place, rounding=rounding, note=MULTIPLIED)
    return again if again.status == HOLDS else found


def _multipliers(trades: Trades, gross: np.ndarray, earned: np.ndarray) -> np.ndarray:
    """Return for each trade what a unit of its symbol counts, 1 where fewer than 3 trades tell it."""
    units = np.ones(len(gross))
    for column in np.unique(trades.column):
        rows = np.flatnonzero((trades.column == column) & (gross != 0.0))
        if len(rows) >= FEWEST:
            units[trades.column == column] = max(float(np.median(earned[rows] / gross[rows])), 0.0) or 1.0
    return units


def _fees(aligned: Aligned, trades: Trades) -> Identity:
    """Return whether each symbol's fees are the same in its fills and its trades."""
    fills = aligned.fills
    lacking = ["fills"] if fills is None else ["the fee of every fill"] if fills.fee is None else []
    lacking += ["the fees of every trade"] if trades.fees is None else []
    if lacking or fills is None or fills.fee is None or trades.fees is None:
        return FEES.unchecked(*lacking)
    k = len(aligned.symbols)
    of_fills = np.bincount(fills.column, weights=fills.fee, minlength=k)
    of_trades = np.bincount(trades.column, weights=trades.fees, minlength=k)
    paid = np.concatenate([fills.column, trades.column])
    gap = np.where(np.isin(np.arange(k), paid), of_fills - of_trades, np.nan)
    scale = np.bincount(fills.column, weights=np.abs(fills.fee), minlength=k) + np.abs(of_trades)
    most = MOST * aligned.result.capital
    rounding = sum(of_sum(half_unit(fees, most), len(fees)) for fees in (fills.fee, trades.fees))

    def place(at: tuple[int, ...]) -> tuple[str, str | None]:
        return _first_fee(aligned, trades, at[0], RELATIVE * scale[at[0]])

    return FEES.compare(gap, RELATIVE * scale, place, rounding=rounding, missing="a fill or a trade")


def _first_fee(aligned: Aligned, trades: Trades, column: int, allowed: float) -> tuple[str, str | None]:
    """Name the trades of a symbol from which on its fees differ: where it is flat, both sides have paid the same."""
    symbol = str(aligned.symbols[column])
    fills = aligned.fills
    if fills is None or fills.fee is None or trades.fees is None:
        return symbol, None
    own = np.flatnonzero((trades.column == column) & ~trades.is_open)
    own = own[np.argsort(trades.exited[own], kind="stable")]
    ends, entries = trades.exited[own], np.sort(trades.entered[trades.column == column])
    flat = np.searchsorted(entries, ends, side="right") == np.searchsorted(ends, ends, side="right")
    theirs = np.flatnonzero(fills.column == column)
    theirs = theirs[np.argsort(fills.times[theirs], kind="stable")]
    paid = np.append(0.0, np.cumsum(fills.fee[theirs]))[np.searchsorted(fills.times[theirs], ends, side="right")]
    booked = np.append(0.0, np.cumsum(trades.fees[own]))[np.searchsorted(ends, ends, side="right")]
    off = np.flatnonzero(flat & (np.abs(paid - booked) > allowed))
    if not len(off):
        return symbol, None
    good = np.flatnonzero(flat[: off[0]])
    since = ends[good[-1]] if len(good) else np.iinfo(np.int64).min
    return trades.at(own[(ends > since) & (ends <= ends[off[0]])]), iso(ends[off[0]])


def _held(aligned: Aligned, trades: Trades) -> Identity:
    """Return whether positions are those of the open trades: of their side, held then only, and no larger."""
    positions = aligned.positions
    if positions is None:
        return HELD.unchecked("positions")
    long, short = (_open_units(aligned, trades, trades.direction == side) for side in (1.0, -1.0))
    allowed = RELATIVE * np.maximum(np.nan_to_num(np.abs(positions)).max(axis=0), (long + short).max(axis=0))
    gap = positions - np.clip(positions, -short - allowed, long + allowed)
    one_sided = ((long > allowed) != (short > allowed)) & (np.abs(positions) <= allowed)
    gap = np.where(one_sided, short - long, gap)
    gap = np.where(np.isnan(positions), np.nan, gap)
    if not trades.ends_known:
        gap[-1] = np.nan
    note = ""
    if bool((np.abs(positions - (long - short)) > allowed).any()):
        note = "At some labels less is held than the quantity of the open trades: they were opened or closed in parts."

    def place(at: tuple[int, ...]) -> tuple[str, str | None]:
        return str(aligned.symbols[at[1]]), aligned.time(at[0])

    return HELD.compare(gap, allowed, place, note=note)


def _open_units(aligned: Aligned, trades: Trades, chosen: np.ndarray) -> np.ndarray:
    """Return the quantity of the chosen trades that are open at each label, a column a symbol."""
    quantity, column = np.abs(trades.quantity[chosen]), trades.column[chosen]
    change = aligned.per_cell(trades.enters[chosen], column, quantity)
    change = change - aligned.per_cell(trades.exits[chosen], column, quantity)
    held = np.cumsum(change, axis=0)
    top = np.abs(held).max(axis=0, initial=0.0)
    return np.where(held > RELATIVE * top, held, 0.0)
