"""The engine's core loop: one pure function over arrays, run as plain Python or compiled by numba.

Both ways give the same bits: only + - * / and comparisons on float64, no fastmath. Plain Python runs over
lists (faster there than numpy scalars), the compiled function over arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SIGNAL, STOP, LIQUIDATION = 0, 1, 2
REASONS = ("signal", "stop", "liquidation")

# Loading the compiled loop costs about as much time as plain Python needs for this many bars (benchmarks/engine.py
# prints both). So a process switches once it has looped over so many bars, in one backtest or in a sweep.
COMPILE_AFTER_BARS = 2_000_000

# What happens in a bar, in order; the simple mode starts with the stop. The third one is the stop.
_CLOSE, _OPEN = 0, 1
_ONE_LESS = 1.0 - 2.0**-52
# What is left of the cash by a fill that closes, as a share of the cash before it, when only rounding is left.
_ROUNDING = 2.0**-44
_compiled: list[Callable[..., Any]] = []
_plain_bars = [0]  # bars looped over in plain Python so far: decides on speed, never on results

Bars = tuple[np.ndarray, ...]
Account = tuple[float, float, float, float]
_KINDS = (np.float64, np.float64, np.int64, np.int64, *[np.float64] * 6)


def simulate(  # noqa: C901, PLR0912, PLR0915 - one function, so that numba compiles it as it stands
    bars: Any, signal: Any, account: tuple[float, float, float, float], next_open: Any, out: Any
) -> tuple[int, int]:
    """Trade `signal` bar by bar and write what happened into `out`.

    bars     open, high, low, close
    account  initial cash, then fee, slippage and stop as fractions (stop 0 = none)
    out      equity, position (one value a bar); then for each fill its bar, reason, signed quantity, price
             before slippage, price, fee, cash and position after it

    With `next_open` a change of the signal at bar t fills at the open of t + 1, otherwise at the close of t.
    Cash that is zero but for rounding once a position is closed is zero. Returns the number of fills and the bar at
    which the account was ruined, or -1.
    """
    open_, high, low, close = bars
    initial_cash, fee, slippage, stop = account
    equity, position, f_bar, f_reason, f_quantity, f_raw, f_price, f_fee, f_cash, f_position = out
    cash, held, entry_price = initial_cash, 0.0, 0.0
    n_fills, ruined, target = 0, -1, 0
    lag = 1 if next_open else 0
    for t in range(len(close)):
        before = target
        target = signal[t - lag] if t >= lag else 0
        changed = target != before
        if changed or (held != 0.0 and (stop > 0.0 or held < 0.0)):
            for step in range(3):
                action = step if next_open else (step + 2) % 3
                raw = open_[t] if next_open else close[t]
                reason = SIGNAL
                quantity = -held
                if action == _CLOSE:
                    if not changed or held == 0.0:
                        continue
                elif action == _OPEN:
                    if not changed or target == 0 or ruined >= 0 or cash <= 0.0:
                        continue
                    entry_price = raw * (1.0 + target * slippage)
                    size = cash / (entry_price * (1.0 + fee))
                    while cash - size * entry_price - size * entry_price * fee < 0.0:
                        size *= _ONE_LESS
                    quantity = target * size
                elif held > 0.0:
                    level = entry_price * (1.0 - stop)
                    if stop <= 0.0 or low[t] > level:
                        continue
                    reason = STOP
                    raw = min(open_[t], level)
                elif held < 0.0:
                    level = entry_price * (1.0 + stop) if stop > 0.0 else math.inf
                    ruin = cash / (-held * (1.0 + slippage) * (1.0 + fee))
                    reason = STOP if level <= ruin else LIQUIDATION
                    level = min(level, ruin)
                    if high[t] < level:
                        continue
                    raw = max(open_[t], level)
                else:
                    continue
                price = raw * (1.0 + slippage) if quantity > 0.0 else raw * (1.0 - slippage)
                charge = abs(quantity) * price * fee
                owned = cash
                cash = cash - quantity * price - charge
                held = held + quantity
                if held == 0.0 and abs(cash) <= owned * _ROUNDING:
                    cash = 0.0
                if held == 0.0 and ruined < 0 and (reason == LIQUIDATION or cash <= 0.0):
                    ruined = t
                f_bar[n_fills], f_reason[n_fills] = t, reason
                f_quantity[n_fills], f_raw[n_fills], f_price[n_fills] = quantity, raw, price
                f_fee[n_fills], f_cash[n_fills], f_position[n_fills] = charge, cash, held
                n_fills += 1
        equity[t], position[t] = cash + held * close[t], held
    return n_fills, ruined


@dataclass(frozen=True)
class Simulation:
    """What the loop wrote, as arrays: equity and position (n bars), fills (m), `ruined` bar or -1."""

    equity: np.ndarray
    position: np.ndarray
    bar: np.ndarray
    reason: np.ndarray
    quantity: np.ndarray
    raw: np.ndarray
    price: np.ndarray
    fee: np.ndarray
    cash: np.ndarray
    holding: np.ndarray
    ruined: int


def run_kernel(
    bars: Bars,
    signal: np.ndarray,
    *,
    initial_cash: float,
    fee: float,
    slippage: float,
    stop: float,
    next_open: bool,
    compiled: bool | None = None,
) -> Simulation:
    """Run the loop over float64 arrays (open, high, low, close) and an int8 signal of the same length n.

    `compiled` forces one way; by default a process starts in plain Python and switches when that pays
    (COMPILE_AFTER_BARS). Both ways give the same bits.
    """
    if compiled is None:
        _plain_bars[0] += len(signal)
        compiled = bool(_compiled) or (_plain_bars[0] >= COMPILE_AFTER_BARS and numba_installed())
    account = (float(initial_cash), float(fee), float(slippage), float(stop))
    most = 2 * int(np.count_nonzero(np.diff(signal, prepend=np.int8(0))))  # each change opens one trade at most
    run = _run_compiled if compiled else _run_plain
    return run(bars, signal, account, most, next_open=bool(next_open))


def numba_installed() -> bool:
    """Say whether numba can be imported, without importing it."""
    import importlib.util

    return importlib.util.find_spec("numba") is not None


def _run_plain(bars: Bars, signal: np.ndarray, account: Account, most: int, *, next_open: bool) -> Simulation:
    n = len(signal)
    out: list[list[Any]] = [[0.0] * n, [0.0] * n, [0] * most, [0] * most, *([0.0] * most for _ in range(6))]
    m, ruined = simulate([array.tolist() for array in bars], signal.tolist(), account, next_open, out)
    return _simulation([np.array(values, kind) for values, kind in zip(out, _KINDS, strict=True)], m, ruined)


def _run_compiled(bars: Bars, signal: np.ndarray, account: Account, most: int, *, next_open: bool) -> Simulation:
    n = len(signal)
    out = tuple(np.zeros(n if place < 2 else most, kind) for place, kind in enumerate(_KINDS))
    inputs = tuple(np.ascontiguousarray(array, dtype=np.float64) for array in bars)
    m, ruined = _compiled_loop()(inputs, np.ascontiguousarray(signal, np.int8), account, next_open, out)
    return _simulation(out, int(m), int(ruined))


def _simulation(out: Sequence[np.ndarray], m: int, ruined: int) -> Simulation:
    equity, position, *fills = out
    bar, reason, quantity, raw, price, fee, cash, holding = (array[:m] for array in fills)
    return Simulation(equity, position, bar, reason, quantity, raw, price, fee, cash, holding, ruined)


def _compiled_loop() -> Callable[..., Any]:
    """Compile the loop once in a process; the machine code is cached on disk where that is possible."""
    if not _compiled:
        import numba

        try:
            loop = numba.njit(cache=True)(simulate)
        except RuntimeError:  # no writable place for the cache
            loop = numba.njit(simulate)
        _compiled.append(loop)
    return _compiled[0]
