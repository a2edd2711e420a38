"""Pandas objects as results: a Series or one column of a frame as returns or equity, a frame as weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pipeline.engines.adapter import Given
from pipeline.engines.objects import labels_of, one_of
from pipeline.errors import ResultError
from pipeline.results.checks import check_labels, check_series
from pipeline.results.contract import Result

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST = 5.0  # a return above 500 % in one period is percent or a price
LIVELY = 5.0  # and so is an annual volatility above 500 %
LOW, HIGH = 0.2, 0.5  # values that are all positive: below LOW they may be returns, from HIGH on they are a curve
SMOOTH = 0.9  # each value is nearly the one before: a curve, not returns


class SeriesAdapter:
    """Takes every Series and frame of pandas."""

    name = "pandas Series or one-column frame (returns or equity), frame of weights with prices"

    def recognises(self, value: Any) -> bool:
        """Say whether it is a Series or frame of pandas."""
        return _is_pandas(value)

    def adapt(self, value: Any, given: Given) -> Result:
        """Return returns as equity of `given.capital` (default 1), or an equity curve with what it starts from.

        With `given.prices` the frame holds weights, see pipeline.engines.weights.
        """
        import pandas as pd

        if given.prices is not None:
            from pipeline.engines.weights import portfolio

            return portfolio(value, given)
        series = _column(value, given)
        series = _as_float(series, "the series")
        start = len(series) > 1 and bool(series.isna().iloc[0]) and not bool(series.isna().iloc[1])
        check_labels(series.index, "the series")
        check_series(series.iloc[1:] if start else series, "the series")
        values = series.to_numpy()[1:] if start else series.to_numpy()
        kind = told_apart(values) if given.kind is None else given.kind
        if kind == "equity":
            return _from_equity(series.iloc[1:] if start else series, given.capital)
        check_returns(values, pd.DatetimeIndex(series.index))
        return _from_returns(series, given.capital or 1.0, start=start)


ADAPTER = SeriesAdapter()


def _is_pandas(value: Any) -> bool:
    import sys

    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.Series | pandas.DataFrame)


def _column(value: Any, given: Given) -> Any:
    import pandas as pd

    if isinstance(value, pd.Series):
        return value
    if not len(value.columns):
        raise ResultError("The frame has no columns. Give a Series of returns or equity.")
    if len(value.columns) > 1 and given.column is None:
        raise ResultError(
            f"The frame has {len(value.columns)} columns: {', '.join(map(str, value.columns[:8]))}. "
            "When they are weights, give the prices: run.save(weights, prices=prices). "
            f"For one of them, say which: run.save(frame, column={value.columns[0]!r})."
        )
    place = list(value.columns).index(one_of(list(value.columns), given.column, "The frame"))
    return value.iloc[:, place]


def _as_float(series: pd.Series, what: str) -> pd.Series:
    """Return it with UTC labels and float values; text, booleans and objects are left for the check to refuse."""
    import pandas as pd

    labels = labels_of(series.index, what)
    if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype):
        return pd.Series(series.to_numpy(dtype=float, na_value=float("nan")), index=labels)
    return pd.Series(series.to_numpy(dtype=object), index=labels)


def told_apart(values: np.ndarray) -> Literal["returns", "equity"]:
    """Say whether finite values are returns or an equity curve; raises ResultError where it would be a guess."""
    import numpy as np

    low, high = float(values.min()), float(values.max())
    if low > 0.0 and high >= HIGH:
        if low < LOW and not _smooth(values):
            raise _ask("all of it is positive, and it leaps")
        return "equity"
    if low > 0.0:
        raise _ask(f"all of it lies between {low:.4g} and {high:.4g}")
    if np.abs(values).max() > MOST and _smooth(values):
        raise ResultError(
            f"The series runs from {values[0]:,.6g} to {values[-1]:,.6g} and is zero or below at times: it looks like "
            'profit and loss added up. Give the equity, run.save(capital + pnl, kind="equity", capital=capital).'
        )
    if len(values) >= 20 and _smooth(values):
        raise ResultError(
            "The series looks like a cumulative return: each value is close to the one before. Give the equity, "
            'run.save(1 + series, kind="equity"), or say kind="returns" when each value is the return of one period.'
        )
    return "returns"


def _ask(why: str) -> ResultError:
    return ResultError(
        f"The series may be returns or an equity curve: {why}. "
        'Say which: run.save(series, kind="returns") or run.save(series, kind="equity").'
    )


def _smooth(values: np.ndarray) -> bool:
    """Say whether each value is nearly the one before."""
    import numpy as np

    if len(values) < 3 or np.ptp(values) == 0.0:
        return bool(np.ptp(values) == 0.0 and values[0] >= HIGH)
    steps = np.diff(values)
    return float(1.0 - (steps @ steps) / (2.0 * len(steps) * np.var(values))) > SMOOTH


def check_returns(values: np.ndarray, index: pd.DatetimeIndex) -> None:
    """Raise ResultError for returns that are percent, prices, or lose more than everything."""
    import numpy as np

    from pipeline.backtest.periods import periods_per_year

    index = index[-len(values) :]
    if values.min() > 0.0 and np.median(values) >= HIGH and (len(values) < 3 or _smooth(values)):
        raise ResultError(
            f"The returns are all positive, {values.min():,.6g} to {values.max():,.6g}: they look like prices or an "
            'equity curve. Give returns, prices.pct_change().dropna(), or say kind="equity".'
        )
    annual = float(np.std(values)) * periods_per_year(index) ** 0.5 if len(values) > 2 else 0.0
    if values.max() > MOST or annual > LIVELY:
        place = int(np.argmax(np.abs(values)))
        raise ResultError(
            f"The returns look like percent or prices: {values[place]:.6g} at {index[place]} would be "
            f"{values[place]:+,.0%} in one period. Needed are decimals, 0.01 for one percent: divide percent by 100, "
            "make returns of prices with .pct_change()."
        )
    if values.min() < -1.0:
        place = int(np.argmin(values))
        raise ResultError(
            f"A return of {values[place]:.6g} at {index[place]} loses more than everything. Needed are decimals, -0.01 "
            'for minus one percent: divide percent by 100; profit and loss is given as equity, kind="equity".'
        )


def _from_returns(series: pd.Series, capital: float, *, start: bool) -> Result:
    equity = capital * (1.0 + series.fillna(0.0) if start else 1.0 + series).cumprod()
    return Result(
        equity=equity.rename("equity"),
        capital=capital,
        first_label="start" if start else "period",
        notes=(f"The equity is the returns compounded from {capital:,.6g}.",),
    )


def _from_equity(series: pd.Series, capital: float | None) -> Result:
    import numpy as np

    values = series.to_numpy()
    if values.min() < 0.0 and np.abs(values).max() <= 1.0:
        raise ResultError(
            f"The equity lies between {values.min():.4g} and {values.max():.4g}: it looks like returns. "
            'Say kind="returns", or give the curve itself.'
        )
    if capital is None:
        if values[0] <= 0.0:
            raise ResultError(
                f"The equity begins at {values[0]:,.6g}. Give the capital it starts from, as capital=1.0."
            )
        return Result(equity=series.rename("equity"), capital=float(values[0]), first_label="start")
    return Result(equity=series.rename("equity"), capital=float(capital))
