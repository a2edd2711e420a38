"""What the page shows twice it shows with one number, and every number is told so that it can be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import report_builder as builder

from pipeline.artifacts import equity_table
from pipeline.backtest.engine import BacktestEngine, BacktestResult
from pipeline.backtest.strategies import get_strategy
from pipeline.report.figures import yearly_figure
from pipeline.report.page import Page, build_page
from pipeline.report.sections import performance


def bought_at_the_first_close(*, fee_bps: float = 100.0, initial_cash: float = 100_000.0) -> tuple[BacktestResult, Any]:
    """Return buying at the first close, so that the first value of equity is below the initial cash by the fee."""
    given = builder.case()
    result = BacktestEngine(initial_cash=initial_cash, use_execution_pipeline=False).run_realistic(
        df=given.df, strategy_signal_fn=get_strategy("buy_and_hold").signal_fn, strategy_params={}, symbol="SPX",
        fee_bps=fee_bps, slippage_bps=0.0,
    )  # fmt: skip
    return result, given.df["close"] / float(given.df["close"].iloc[0]) * initial_cash


def page_of(results: Path, result: Any) -> Page:
    return build_page(builder.build_run(results, result=result))


def first_year(page: Page, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the first year of the strategy as the figure has it."""
    drawn: list[list[float]] = []

    def spy(years: list[str], strategy: list[float], *rest: Any) -> Any:
        drawn.append(strategy)
        return yearly_figure(years, strategy, *rest)

    monkeypatch.setattr(performance, "yearly_figure", spy)
    page.yearly_returns()
    return drawn[0][0]


def test_the_first_year_is_measured_from_the_initial_cash_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figure and tables give the first year one return, also when the first close has costs in it."""
    result = bought_at_the_first_close()
    page = page_of(tmp_path / "results", result)
    in_1999 = result[0].equity_curve[result[0].equity_curve.index.year == 1999]
    expected = float(in_1999.iloc[-1]) / 100_000.0 - 1.0
    assert first_year(page, monkeypatch) == pytest.approx(expected, abs=1e-12)
    assert f"{expected * 100:.2f}%" in page.by_year()
    assert f"{expected * 100:.2f}" in page.monthly_returns()


def test_drawdown_falls_from_the_initial_cash(tmp_path: Path) -> None:
    """The deepest drawdown that is drawn is the one the metrics tell: the initial cash is a peak."""
    result, benchmark = bought_at_the_first_close()
    drawn = equity_table(result, benchmark)["drawdown"]
    assert drawn.iloc[0] == pytest.approx(-1.0 / 101.0, abs=1e-9)
    assert drawn.min() == result.stats["max_drawdown"]


def test_a_notebook_that_traded_another_cash_is_measured_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine of the notebook's own may start with other cash than the spec says; returns are measured from that."""
    result = bought_at_the_first_close(initial_cash=1.0)
    page = page_of(tmp_path / "results", result)
    assert page.sharpe_evidence is not None
    assert page.sharpe_evidence.sharpe_annual == pytest.approx(result[0].stats["sharpe"], rel=1e-9)
    assert first_year(page, monkeypatch) > 0.1
    assert page.result is not None
    assert page.result.config["initial_cash"] == pytest.approx(1.0, rel=1e-12)
    assert "\u221299." not in page.monthly_returns()
