"""What the page shows twice it shows with one number, and every number is told so that it can be told apart."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import report_builder as builder
from bs4 import BeautifulSoup

from pipeline.artifacts import equity_table
from pipeline.backtest.catalogue import MONEY, PERCENT, PRICE, RATIO
from pipeline.backtest.engine import BacktestEngine, BacktestResult
from pipeline.backtest.strategies import get_strategy
from pipeline.files import read_json, write_json
from pipeline.report.blocks import Column
from pipeline.report.figures import AMOUNTS, NUMBERS, SHARES, equity_figure, yearly_figure
from pipeline.report.figures_risk import activity_figure
from pipeline.report.figures_trades import duration_figure, returns_figure
from pipeline.report.numbers import difference_kind, format_number
from pipeline.report.page import Page, build_page
from pipeline.report.scales import number_text
from pipeline.report.sections import performance
from pipeline.report.sections.trades import _cell, _packing
from pipeline.report.trade_data import packed
from pipeline.run import Run


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


@pytest.mark.slow
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


def curve(values: list[float], freq: str = "D") -> pd.DataFrame:
    index = pd.date_range("2021-01-01", periods=len(values), freq=freq, tz="UTC")
    return pd.DataFrame({"equity": values}, index=index)


def test_a_trade_stands_over_the_bars_it_was_held() -> None:
    """A trade held one bar is drawn at 1 and told as 1; a wider column tells all the lengths that it counts."""
    one = duration_figure(np.array([1.0, 1.0, 2.0, 5.0]))["data"][0]
    assert (one["x"], one["y"]) == ([1, 2, 3, 4, 5], [2, 1, 0, 0, 1])
    assert one["hovertext"][:2] == ["1 bar", "2 bars"]
    wide = duration_figure(np.array([1.0, 2.0, 3.0, 60.0]))["data"][0]
    assert (wide["x"][:2], wide["y"][:2]) == ([0.5, 2.5], [1, 2])
    assert wide["hovertext"][:2] == ["0 to 1 bars", "2 to 3 bars"]


def test_a_column_of_returns_tells_its_bounds() -> None:
    """What a column counts lies between two bounds; one rounded number would be one of its ends."""
    gains, losses = returns_figure(np.array([-0.014, 0.004, 0.006, 0.191, 0.052]))["data"]
    assert losses["hovertext"] == ["−2% to −1%", "−1% to 0%"]
    assert gains["hovertext"][0] == "0% to 1%"


@pytest.mark.parametrize(("values", "read"), [([1.0, 1.02], ",.4f"), ([90.0, 140.0], ",.2f"), ([100_000.0], ",.0f")])
def test_small_accounts_are_told_with_their_digits(values: list[float], read: str) -> None:
    """An account that begins with 1 does not read 1 everywhere."""
    assert equity_figure(curve(values))["data"][0]["hovertemplate"] == f"%{{y:{read}}}"


def test_bars_within_a_day_are_told_with_their_time() -> None:
    """Two hours of one day do not read the same; a day needs no time."""
    assert equity_figure(curve([1.0, 2.0], "h"))["layout"]["xaxis"]["hoverformat"] == "%d %b %Y %H:%M UTC"
    assert equity_figure(curve([1.0, 2.0]))["layout"]["xaxis"]["hoverformat"] == "%d %b %Y"


@pytest.mark.parametrize(
    ("value", "given", "text"),
    [(1.015, AMOUNTS, "1.015"), (50_000.0, AMOUNTS, "50,000"), (0.15, NUMBERS, "0.15"), (0.1, NUMBERS, "0.1"),
     (0.07, SHARES, "7%"), (-0.005, SHARES, "−0.5%"), (0.0, SHARES, "0%")],
)  # fmt: skip
def test_ticks_are_told_apart(value: float, given: str, text: str) -> None:
    """Ticks have the decimals that tell them apart and no others."""
    assert number_text(value, given) == text


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [(0.00001234, PRICE, "0.000012340"), (1.0834, PRICE, "1.0834"), (84.537, PRICE, "84.537"),
     (1254.2554, PRICE, "1,254.26"), (0.0, PRICE, "0.00"), (-0.00229, MONEY, "−0.0023"), (0.37, MONEY, "0.37"),
     (3.6e-12, MONEY, "0.00")],
)  # fmt: skip
def test_small_prices_and_amounts_are_not_nothing(value: float, kind: str, text: str) -> None:
    """A price of a coin or a rate of exchange keeps the digits that tell entry from exit; rounding is no amount."""
    assert format_number(value, kind) == text


def test_listed_trades_read_the_same_by_script() -> None:
    """What the script writes comes from data that has the digits the table has."""
    trades = pd.DataFrame({"entry_price": [0.00001234, 1254.2554], "net_pnl": [-0.00229, 3321.174]})
    trades["is_open"] = False
    text = packed(trades, [("entry_price", "Entry price", PRICE, False), ("net_pnl", "Net P&L", MONEY, True)])
    assert text is not None
    assert [column["data"] for column in json.loads(text)["columns"]] == [[0.00001234, 1254.26], [-0.23, 332117]]


def test_midnight_among_times_of_day_has_its_time() -> None:
    """Days are days; where one trade has a time of day, those at midnight have theirs too, also by script."""
    row = {"entry_time": "2021-03-04T00:00:00Z"}
    assert (_cell("entry_time", row, clock=False), _cell("entry_time", row, clock=True)) == (
        "2021-03-04", "2021-03-04 00:00",
    )  # fmt: skip
    assert _packing("entry_time", Column("Entry"), clock=True)[2] == "time"
    assert _packing("entry_time", Column("Entry"), clock=False)[2] == "day"


def test_amounts_have_their_unit(copied: Run) -> None:
    """Axes, columns and conventions of amounts are in the currency of the spec, else in units of the prices."""
    page = build_page(copied)
    assert "Equity (units of the prices)" in page.equity_figure()
    assert "Cash plus positions at the last close. In units of the prices." in page.metrics()
    facts = read_json(copied.dir.conventions)
    write_json(copied.dir.conventions, {**facts, "currency": {"value": "USD", "source": "given"}})
    page = build_page(Run(copied.dir))
    assert "Equity (USD)" in page.equity_figure()
    assert "Net P&amp;L (USD)" in html.unescape(page.trade_figures()) or "Net P\\u0026L (USD)" in page.trade_figures()
    assert "Cash plus positions at the last close. In USD." in page.metrics()
    assert "What costs took, in USD" in page.trade_costs()
    assert 'Fees <span class="unit">USD</span>' in page.trade_table()
    assert "units of the prices" not in page.metrics() + page.trade_table() + page.trade_costs() + page.trade_summary()


@pytest.mark.parametrize(
    ("value", "text"), [(0.0331, "3.31 pp"), (-0.2, "−20.00 pp"), (-0.00001, "0.00 pp"), (None, "–")]
)
def test_differences_of_percentages_are_points(value: float | None, text: str) -> None:
    """A difference of two percentages is in percentage points, other differences in what they are of."""
    assert format_number(value, difference_kind(PERCENT)) == text
    assert difference_kind(RATIO) == RATIO


def test_the_strategy_is_named_first_in_every_legend(finished: Run) -> None:
    """Whatever is drawn on top, a legend begins with the strategy, then has the benchmark."""
    page = finished.dir.report.read_text(encoding="utf-8")
    shown = [json.loads(data)["data"] for data in re.findall(r'class="plot-data"[^>]*>(.*?)</script>', page)]
    both = [[trace.get("name") for trace in traces] for traces in shown]
    both = [names for names in both if {"Strategy", "Buy and hold SPX"} <= set(names)]
    assert len(both) == 3
    assert all(names.index("Strategy") < names.index("Buy and hold SPX") for names in both)


def test_no_column_has_the_name_of_another(finished: Run) -> None:
    """Each table's headings are told apart; an interval stands beside what it is of."""
    page = BeautifulSoup(finished.dir.report.read_text(encoding="utf-8"), "html.parser")
    for table in page.select(".table-box:not(.intervals) table"):
        heads = [head.get_text() for head in table.select("thead th")]
        assert len(heads) == len(set(heads)), heads


def test_the_last_month_has_a_width() -> None:
    """The share of the last month is drawn as long as the month, also when it is the only one."""
    months = pd.DatetimeIndex(["2020-01-01", "2020-02-01"], tz="UTC")
    table = pd.DataFrame({"long": [0.5, 1.0], "short": [0.0, 0.0], "turnover": [1.0, 0.0]}, index=months)
    drawn = activity_figure(table)["data"][0]
    assert (drawn["x"], drawn["y"]) == (["2020-01-01", "2020-02-01", "2020-03-01"], [0.5, 1.0, 1.0])


def test_the_zone_of_times_of_day_is_told(tmp_path: Path) -> None:
    """Bars of a market in another zone are shown in UTC, and the page says so; days alone have no zone."""
    result, benchmark = builder.backtest()
    plain = page_of(tmp_path / "results", (result, benchmark))
    assert "UTC" not in plain.trade_table() + plain.monthly_returns()
    hours = pd.Timedelta(hours=-9)
    trades = result.trades.assign(**{name: result.trades[name] + hours for name in ("entry_time", "exit_time")})
    moved = replace(result, equity_curve=result.equity_curve.shift(freq=hours), trades=trades)
    page = page_of(tmp_path / "results", (moved, benchmark.shift(freq=hours)))
    assert 'Entry <span class="unit">UTC</span>' in page.trade_table()
    assert "months begin at midnight UTC" in page.monthly_returns()
