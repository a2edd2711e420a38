"""What a run held over time, by symbol: weights, exposure, concentration, contributions, turnover, correlation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.backtest.metrics import turnover

if TYPE_CHECKING:
    from pipeline.results.kept import Kept

HELD = 1e-12  # weights below this are none


@dataclass(frozen=True, eq=False)
class Holdings:
    """Weights on the labels of the equity, a column a symbol: values of positions as a share of the equity.

    `prices` are of the same form, None or NaN where they are not known; `fills` are single executions, None without.
    """

    weights: pd.DataFrame
    equity: pd.Series
    prices: pd.DataFrame | None = None
    fills: pd.DataFrame | None = None

    @cached_property
    def gross(self) -> pd.Series:
        """The sum of |weights| at each label."""
        return pd.Series(np.abs(self.weights.to_numpy()).sum(axis=1), self.weights.index)

    @cached_property
    def net(self) -> pd.Series:
        """The sum of the weights at each label."""
        return pd.Series(self.weights.to_numpy().sum(axis=1), self.weights.index)

    @cached_property
    def held(self) -> pd.Series:
        """Whether something is held at each label."""
        return self.gross > HELD

    @cached_property
    def effective(self) -> pd.Series:
        """As many equal positions as are so concentrated: (sum of |w|)^2 over sum of w^2; NaN with nothing held."""
        squares = np.square(self.weights.to_numpy()).sum(axis=1)
        held = self.held.to_numpy()
        return pd.Series(
            np.where(held, self.gross.to_numpy() ** 2 / np.where(held, squares, 1.0), np.nan), self.gross.index
        )

    @cached_property
    def order(self) -> list[str]:
        """The symbols by their mean |weight|, the largest first."""
        mean = pd.Series(np.abs(self.weights.to_numpy()).mean(axis=0), self.weights.columns)
        return list(mean.sort_values(ascending=False, kind="stable").index)

    @cached_property
    def returns(self) -> np.ndarray | None:
        """The returns of the prices, a row a label from the second on; None without prices."""
        if self.prices is None:
            return None
        prices = self.prices.to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray = prices[1:] / prices[:-1] - 1.0
        return found

    @cached_property
    def contribution(self) -> pd.Series | None:
        """Sum over time of the weight at a label times the return to the next, by symbol, before costs.

        Added over the symbols it is the sum of the returns before costs where nothing trades between two labels. NaN
        of a symbol that is held where its price is not known; None without prices.
        """
        if self.returns is None:
            return None
        before = self.weights.to_numpy()[:-1]
        parts = np.where(before == 0.0, 0.0, before * self.returns)
        return pd.Series(parts.sum(axis=0), self.weights.columns)

    @cached_property
    def turnover(self) -> pd.Series | None:
        """Value traded over the mean equity, a year, by symbol: from the fills, else from changes of value at prices.

        NaN where it cannot be told; None without fills and prices.
        """
        traded = self._traded()
        if traded is None:
            return None
        values = [turnover(float(value), self.equity) for value in traded]
        return pd.Series([np.nan if value is None else value for value in values], self.weights.columns)

    def _traded(self) -> np.ndarray | None:
        if self.fills is not None:
            money = (self.fills["price"] * self.fills["quantity"]).abs().groupby(self.fills["symbol"].astype(str)).sum()
            found: np.ndarray = money.reindex(self.weights.columns, fill_value=0.0).to_numpy(dtype=float)
            return found
        if self.returns is None:
            return None
        value = self.weights.to_numpy() * self.equity.to_numpy()[:, None]
        kept = np.where(value[:-1] == 0.0, 0.0, value[:-1] * (1.0 + self.returns))
        change: np.ndarray = np.abs(value[0]) + np.abs(value[1:] - kept).sum(axis=0)
        return change

    def correlation(self, symbols: list[str]) -> pd.DataFrame | None:
        """Return the correlation of the returns of some symbols, where both are known; None without prices."""
        if self.prices is None or len(symbols) < 2:
            return None
        returns = self.prices[symbols].pct_change(fill_method=None).iloc[1:]
        return returns.replace([np.inf, -np.inf], np.nan).corr(min_periods=2)


def read_holdings(kept: Kept, equity: pd.Series) -> Holdings | None:
    """Return the holdings of a run: its weights, else its positions at their prices; None without usable ones."""
    prices, weights = _frame(kept.part("prices"), equity), _frame(kept.part("weights"), equity)
    if weights is None:
        positions = _frame(kept.part("positions"), equity)
        if positions is None or prices is None:
            return None
        worth = prices.reindex(columns=positions.columns)
        value = np.where(positions == 0.0, 0.0, positions * worth)
        over = np.where(equity.to_numpy() == 0.0, np.nan, equity.to_numpy())
        weights = pd.DataFrame(value / over[:, None], equity.index, positions.columns)
    if not np.isfinite(weights.to_numpy()).all():
        return None
    fills = kept.part("fills")
    usable = fills is not None and {"symbol", "price", "quantity"} <= set(fills.columns)
    known = None if prices is None else prices.reindex(columns=weights.columns)
    return Holdings(weights, equity, known, fills if usable else None)


def _frame(found: pd.DataFrame | None, equity: pd.Series) -> pd.DataFrame | None:
    """Return a wide table of numbers on the labels of the equity with text as columns; None for any other table."""
    if found is None or not len(found.columns) or not isinstance(found.index, pd.DatetimeIndex):
        return None
    named = found.set_axis(found.columns.map(str), axis=1)
    if named.columns.has_duplicates or not all(pd.api.types.is_numeric_dtype(kind) for kind in named.dtypes):
        return None
    index = pd.DatetimeIndex(named.index)
    index = (index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")).as_unit("ns")
    labels = pd.DatetimeIndex(equity.index).as_unit("ns")
    if index.equals(labels):
        return named.set_axis(equity.index).astype(float)
    return named.set_axis(index).reindex(labels).set_axis(equity.index).astype(float)
