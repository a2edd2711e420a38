"""The book of a portfolio of weights: what is held and traded while the labels pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Book:
    """What is held while the labels pass: units and cash, and what they were at each label."""

    capital: float
    close: np.ndarray
    fill: np.ndarray
    cost: float
    at_open: bool
    units: np.ndarray
    cash: float
    done: int
    positions: np.ndarray
    cashes: np.ndarray
    equity: np.ndarray
    trades: list[tuple[int, np.ndarray, np.ndarray]]
    ruined: int | None = None

    @classmethod
    def of(cls, capital: float, close: np.ndarray, fill: np.ndarray, cost: float, *, at_open: bool) -> Book:
        """Return a book of cash alone."""
        import numpy as np

        labels = len(close)
        # a row is what is read at a time: rows in one piece
        close, fill = (np.ascontiguousarray(np.where(np.isfinite(prices), prices, 0.0)) for prices in (close, fill))
        held = np.zeros(close.shape)
        return cls(capital, close, fill, cost, at_open, np.zeros(close.shape[1]), capital, 0, held,
                   np.zeros(labels), np.zeros(labels), [])  # fmt: skip

    def hold_until(self, label: int) -> None:
        """Write down what is held at the labels before this one; a portfolio without equity is closed."""
        import numpy as np

        span = slice(self.done, label)
        equity = self.close[span] @ self.units + self.cash
        if (equity <= 0.0).any() and self.ruined is None and self.units.any():
            self.ruined = self.done + int(np.argmax(equity <= 0.0))
            self._note(self.done, self.ruined, equity[: self.ruined - self.done])
            self._trade(self.ruined, -self.units, self.close[self.ruined])
            self.done = self.ruined
            self.hold_until(label)
            return
        self._note(self.done, label, equity)
        self.done = label

    def rebalance(self, label: int, target: np.ndarray) -> None:
        """Trade to the target weights at the fill prices of this label; nothing is traded after a ruin."""
        import numpy as np

        self.hold_until(label)
        if self.ruined is not None:
            return
        price = self.fill[label]
        value = self.units * price
        equity = float(value.sum()) + self.cash
        if equity <= 0.0:  # between the close before and this open
            self.ruined = label
            self._trade(label, -self.units, price)
            return
        amount = target * equity - value
        per_unit = price * np.where(amount > 0.0, 1.0 + self.cost, 1.0 - self.cost)
        wanted = np.divide(amount, per_unit, out=np.zeros_like(amount), where=price > 0.0)
        self._trade(label, np.where(target == 0.0, -self.units, wanted), price)

    def _trade(self, label: int, units: np.ndarray, price: np.ndarray) -> None:
        import numpy as np

        self.cash -= float(units @ price + np.abs(units) @ price * self.cost)
        self.units = self.units + units
        self.trades.append((label, units, price))

    def _note(self, first: int, stop: int, equity: np.ndarray) -> None:
        self.positions[first:stop] = self.units
        self.cashes[first:stop] = self.cash
        self.equity[first:stop] = equity

    def all_trades(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return label, units and prices of all trades, a row each."""
        import numpy as np

        labels, units, prices = zip(*self.trades, strict=True)
        return np.array(labels), np.array(units), np.array(prices)
