"""Portfolios of skfolio as results: returns of fixed weights, with no capital, trades or fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.engines.adapter import Given
from pipeline.engines.objects import engine_of, gathered, is_a, one_of, relabelled, reported
from pipeline.errors import ResultError
from pipeline.results.checks import check_labels, check_series
from pipeline.results.contract import Fold, ReportedMetric, Result

if TYPE_CHECKING:
    import pandas as pd


class SkfolioAdapter:
    """Takes Portfolio, MultiPeriodPortfolio and a Population of them."""

    name = "skfolio Portfolio, MultiPeriodPortfolio or Population"

    def recognises(self, value: Any) -> bool:
        """Say whether it is one of skfolio's portfolios, or a population of them."""
        return is_a(value, "skfolio", "Portfolio", "MultiPeriodPortfolio", "Population", "FailedPortfolio")

    def adapt(self, value: Any, given: Given) -> Result:
        """Return the returns as equity of `given.capital` (default 1); windows of a walk-forward are folds."""
        portfolio = _chosen(value, given)
        if is_a(portfolio, "skfolio", "FailedPortfolio"):
            raise ResultError(f"The portfolio {_name(portfolio)} failed in skfolio, so it has no returns to save.")
        returns = relabelled(portfolio.returns_df, "the portfolio").astype(float)
        check_labels(returns.index, "the portfolio")
        check_series(returns, "the portfolio")
        capital = given.capital or 1.0
        parts = list(getattr(portfolio, "portfolios", ()))
        weights, prices = _weights(portfolio, parts or [portfolio]), _growth(parts or [portfolio])
        known = weights is not None and prices is not None
        return Result(
            equity=(capital * (1.0 + returns).cumprod()).rename("equity"),
            capital=capital,
            first_label="period",
            engine=engine_of("skfolio", "skfolio", "skfolio"),
            strategy=_name(portfolio),
            symbols=() if weights is None else tuple(weights.columns),
            costs=None if parts else _costs(portfolio),
            weights=weights if known else None,
            prices=prices if known else None,
            leverage=None if weights is None else weights.abs().sum(axis=1).rename("leverage"),
            folds=tuple(_fold(part) for part in parts),
            reported=_reported(portfolio),
            notes=_notes(portfolio, parts),
        )


ADAPTER = SkfolioAdapter()


def _chosen(value: Any, given: Given) -> Any:
    if not is_a(value, "skfolio", "Population"):
        return value
    members = list(value)
    names = [str(member.name) for member in members]
    if len(set(names)) < len(names) or any(_name(member) is None for member in members):
        names = [str(place) for place in range(len(members))]  # names that repeat, or change with each run
    return members[names.index(one_of(names, given.column, "The Population"))]


def _name(portfolio: Any) -> str | None:
    """Return its name; one that nobody gave is the object's id, which says nothing."""
    name = str(portfolio.name)
    return None if name.isdigit() else name


def _weights(portfolio: Any, parts: list[Any]) -> pd.DataFrame | None:
    """Return the weights held from each label on into the next: those of the next label's return.

    skfolio leaves out what it takes for zero, weights below 1e-5, which do earn: they are put back.
    """
    import numpy as np
    import pandas as pd

    found = getattr(portfolio, "weights_per_observation", None)
    if not isinstance(found, pd.DataFrame) or not len(found):
        return None
    fixed = [part for part in parts if not getattr(part, "weight_drift", False)]
    rows = found.reindex(
        columns=list(dict.fromkeys([*found.columns, *(name for part in fixed for name in part.assets)]))
    )
    for part in fixed:
        rows.loc[part.returns_df.index, list(part.assets)] = np.asarray(part.weights, dtype=float)
    frame = relabelled(rows.loc[:, rows.fillna(0.0).ne(0.0).any()], "the weights").fillna(0.0)
    frame.columns = pd.Index([str(name) for name in frame.columns])
    held: pd.DataFrame = frame.shift(-1).fillna(frame)
    return held


def _growth(parts: list[Any]) -> pd.DataFrame | None:
    """Return each asset's growth of one over all windows; None where a return is missing."""
    import numpy as np
    import pandas as pd

    frames = [
        pd.DataFrame(np.asarray(part.X, dtype=float), part.returns_df.index, [str(name) for name in part.assets])
        for part in parts
    ]
    assets = pd.concat(frames)
    if assets.isna().any(axis=None) or assets.index.has_duplicates:
        return None
    growth: pd.DataFrame = relabelled((1.0 + assets).cumprod(), "the assets")
    return growth


def _costs(portfolio: Any) -> dict[str, float]:
    return {"cost_per_period": float(portfolio.total_cost), "fee_per_period": float(portfolio.total_fee)}


def _fold(part: Any) -> Fold:
    import pandas as pd

    stamps = pd.DatetimeIndex(part.returns_df.index)
    return Fold(test_start=stamps[0].isoformat(), test_end=stamps[-1].isoformat(), params={"weights": _plain(part)},
                score_out=float(part.sharpe_ratio))  # fmt: skip


def _plain(part: Any) -> dict[str, float]:
    return {str(name): float(weight) for name, weight in zip(part.assets, part.weights, strict=True)}


def _notes(portfolio: Any, parts: list[Any]) -> tuple[str, ...]:
    notes = ["Weights at a label are those held from it on; prices are the growth of one of each asset."]
    drift = any(getattr(part, "weight_drift", False) for part in parts or [portfolio])
    kept = "Weights drift within a window." if drift else "Weights are restored at each label, at no cost."
    notes.append(kept)
    costs = sum(float(part.total_cost) + float(part.total_fee) for part in parts or [portfolio])
    if costs:
        notes.append("skfolio takes its transaction costs and fees off every period's return, not once.")
    if parts:
        notes.append("The train windows are not in the object; the score of a fold is the Sharpe ratio of one period.")
    return tuple(notes)


def _reported(portfolio: Any) -> tuple[ReportedMetric, ...]:
    factor = getattr(portfolio, "annualization_factor", None) or getattr(portfolio, "annualized_factor", None)
    year = f"{factor:,.6g} periods a year" if factor else ""
    curve = "of compounded returns" if portfolio.compounded else "of the sum of returns, not compounded"
    return gathered(
        (
            reported("Annualized Mean", portfolio.annualized_mean, None, f"arithmetic, {year}"),
            reported("Annualized Standard Deviation", portfolio.annualized_standard_deviation, "annual_volatility",
                     year),
            reported("Annualized Sharpe Ratio", portfolio.annualized_sharpe_ratio, "sharpe", year),
            reported("Annualized Sortino Ratio", portfolio.annualized_sortino_ratio, "sortino",
                     f"{year}, semi-deviation with ddof 1"),
            reported("MAX Drawdown", -float(portfolio.max_drawdown), "max_drawdown", f"{curve}; told as positive"),
        )
    )  # fmt: skip
