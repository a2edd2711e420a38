"""The report of results of any engine: it says what is there, what was checked, and nothing about what is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import report_builder as builder
from bs4 import BeautifulSoup

from pipeline.engines.saving import result_of
from pipeline.report.figures_portfolio import STACKED
from pipeline.report.page import Page, build_page
from pipeline.report.render import render_run
from pipeline.results.contract import Fold, OwnMetric, ReportedMetric
from pipeline.run import Run
from pipeline.settings import Settings
from pipeline.site.options import SiteOptions
from pipeline.site.public_report import PublicPage
from pipeline.site.redaction import RedactedRun, make_redactor

DAYS = pd.bdate_range("2018-01-01", periods=600)
SYMBOLS = ("AAA", "BBB", "CCC")
ABOUT_TRADES = ("trade", "slippage", "Exposure", "Turnover", "position")


def prices(symbols: tuple[str, ...] = SYMBOLS) -> pd.DataFrame:
    moves = np.random.default_rng(5).normal(0.0004, 0.01, (len(DAYS), len(symbols)))
    return pd.DataFrame(100.0 * np.cumprod(1.0 + moves, axis=0), DAYS, list(symbols))


def weights(frame: pd.DataFrame) -> pd.DataFrame:
    rows = frame.index[::21]
    shares = np.random.default_rng(6).dirichlet(np.ones(len(frame.columns)), len(rows))
    out = pd.DataFrame(shares, rows, frame.columns)
    out.iloc[:, 0] *= -0.5
    return out


def page_of(tmp_path: Path, value: Any, **given: Any) -> Page:
    run = builder.build_run(tmp_path / "results", spec={"run": {"name": "any"}}, saved=result_of(value, given))
    return build_page(run)


def text_of(markup: str) -> str:
    return " ".join(BeautifulSoup(markup, "html.parser").get_text(" ").split())


@pytest.fixture(scope="module")
def returns_only(tmp_path_factory: pytest.TempPathFactory) -> Page:
    values = prices().pct_change().dropna().mean(axis=1)
    return page_of(tmp_path_factory.mktemp("returns"), values, kind="returns")


@pytest.fixture(scope="module")
def portfolio(tmp_path_factory: pytest.TempPathFactory) -> Page:
    frame = prices()
    folds = [
        Fold("2019-01-01", "2019-06-30", "2018-01-01", "2018-12-31", {"k": 1}, 1.5, 0.4),
        Fold("2019-10-01", "2019-12-31", "2018-06-01", "2019-06-30", {"k": 2}, 1.1, 0.2),
    ]
    return page_of(
        tmp_path_factory.mktemp("portfolio"), weights(frame), prices=frame, costs_bps=5, folds=folds,
        benchmarks={"AAA": frame["AAA"], "BBB <b>": frame["BBB"]}, strategy="tilt",
        metrics=[OwnMetric("tail", 1.25, "x", "what it means")],
        reported=[ReportedMetric("Their Sharpe", 9.0, "sharpe", "365 days a year")],
        tables={"universe": pd.DataFrame({"class": ["equity"]}, index=["AAA"])},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["returns", "equity", "weights"])
def test_the_report_has_the_returns_of_the_metrics(tmp_path: Path, kind: str) -> None:
    """Sharpe ratio and volatility of the page are those of stats.json to 1e-12, the first return included."""
    frame = prices()
    first = frame.pct_change().dropna().mean(axis=1)
    page = {
        "returns": lambda: page_of(tmp_path, first, kind="returns"),
        "equity": lambda: page_of(tmp_path, (1.0 + first).cumprod(), kind="equity"),
        "weights": lambda: page_of(tmp_path, weights(frame), prices=frame, costs_bps=5),
    }[kind]()
    found = page.sharpe_evidence
    assert found is not None
    assert found.moments.n == len(page.returns) == {"returns": 599, "equity": 598, "weights": 600}[kind]
    assert found.sharpe_annual == pytest.approx(page.stats["sharpe"], rel=1e-12)
    deviation = page.returns.std(ddof=1) * page.conventions.periods_per_year**0.5
    assert deviation == pytest.approx(page.stats["annual_volatility"], rel=1e-12)
    assert page.intervals is not None
    assert page.intervals.ranges["sharpe"].estimate == pytest.approx(page.stats["sharpe"], rel=1e-12)
    assert float((1.0 + page.returns).prod() - 1.0) == pytest.approx(page.stats["total_return"], rel=1e-9)


def test_years_count_the_first_return(returns_only: Page) -> None:
    """The returns by year compound to the total return, with the first one, which no curve shows."""
    cells = BeautifulSoup(returns_only.by_year(), "html.parser").select("tbody tr")
    years = [float(row.select("td")[0].get_text().rstrip("%").replace("\u2212", "-")) / 100.0 for row in cells]
    assert np.prod(1.0 + np.array(years)) - 1.0 == pytest.approx(returns_only.stats["total_return"], abs=2e-4)


def test_nothing_is_said_of_what_is_not_there(returns_only: Page) -> None:
    """Of returns alone the page says nothing of trades and positions; what would be needed is one line."""
    page = returns_only
    said = text_of(page.header() + page.metrics() + page.by_year() + page.distribution() + page.equity_figure())
    assert not [word for word in ABOUT_TRADES if word in said]
    assert "which costs are in them is not known" in said
    assert "The last value of the equity. In units of the capital." in said
    assert "Calmar ratio" in text_of(page.header())
    assert "that needs a result of `run.backtest`" in page.look_ahead()
    empty = (
        "sensitivity_tables", "activity", "trade_summary", "trade_costs", "trade_figures", "trade_table", "data",
        "weights", "holdings_table", "correlation", "folds", "benchmarks", "own_metrics", "own_tables",
    )  # fmt: skip
    assert {name: getattr(page, name)().strip() for name in empty} == dict.fromkeys(empty, "")


def test_what_was_checked_of_returns_alone(returns_only: Page) -> None:
    """Nothing could be held against the equity: the sentence says so, and one line what would be needed."""
    said = text_of(returns_only.what_was_checked())
    assert "NOT RECONCILABLE: nothing was saved to hold the equity against." in said
    assert "that needs trades, weights with prices, or positions with prices and cash" in said
    assert "cannot be checked" not in said
    for heading in ("Checked here", "Taken as given", "Not modelled or not examined"):
        assert heading in said


def test_what_was_checked_of_a_portfolio(portfolio: Page) -> None:
    """Identities and what they found, the engine's own number beside ours with its reason, the sealed boundary."""
    page = portfolio
    tree = BeautifulSoup(page.what_was_checked(), "html.parser")
    status = {row.th.get_text(): row.td.get_text() for row in tree.select(".identities tbody tr")}
    assert status["Equity = positions x prices + cash"] == "holds"
    assert status["Fees of fills = fees of trades"] == "cannot be checked"
    beside = [cell.get_text() for cell in tree.select(".metrics tbody tr td")]
    assert beside[0] == "9"
    assert beside[-1] == "Sharpe ratio: 365 days a year"
    sealed = page.run.manifest["predicate"]["evidence_run"]["boundary"]  # type: ignore[index]
    shown = [item.get_text() for item in tree.select(".boundary li")]
    assert shown == [" ".join(text.split()) for texts in sealed.values() for text in texts]
    assert "tail 1.25 x what it means" in text_of(page.own_metrics())


def test_a_difference_says_where_and_how_much(tmp_path: Path) -> None:
    """An identity that does not hold names the amount and the first time."""
    frame = prices()
    whole = result_of(weights(frame), {"prices": frame})
    cash = whole.cash.copy()  # type: ignore[union-attr]
    cash.iloc[100] += 0.5
    page = page_of(tmp_path, weights(frame), prices=frame, cash=cash)
    said = text_of(page.what_was_checked())
    assert f"by 0.50, first at {cash.index[100]:%Y-%m-%d}" in said
    assert "does not hold" in said


def test_naive_days_reconcile(portfolio: Page) -> None:
    """Prices with plain dates are held against the equity: they are the same labels."""
    assert portfolio.run.result is not None
    assert portfolio.run.result.reconciliation is not None
    assert portfolio.run.result.reconciliation.mark == "RECONCILED"


def test_the_parts_of_a_portfolio(portfolio: Page) -> None:
    """Contributions add up to the return before costs; weights, exposure, correlation and benchmarks are shown."""
    page, held = portfolio, portfolio.holdings
    assert held is not None
    assert held.contribution is not None
    assert held.turnover is not None
    spent = float((page.kept.part("fills")["fee"] / 1.0).sum())  # type: ignore[index]
    assert held.contribution.sum() - spent == pytest.approx(float(page.returns.sum()), abs=spent)
    assert float(held.gross.mean()) == pytest.approx(page.stats["avg_gross_exposure"], rel=1e-9)
    assert float(held.turnover.sum()) == pytest.approx(page.stats["turnover"], rel=5e-3)
    assert held.correlation(list(SYMBOLS)).loc["AAA", "AAA"] == pytest.approx(1.0)  # type: ignore[union-attr]
    assert "Returns are simple and per bar, after fees." in page.metrics()
    assert "Cash plus positions at the last close." in page.metrics()
    for name in ("weights", "exposure", "contributions"):
        assert f'id="plot-{name}"' in page.weights() + page.holdings_table()
    heads = BeautifulSoup(page.benchmarks(), "html.parser").select("thead th")
    assert [head.get_text() for head in heads] == ["Metric", "Strategy", "AAA", "BBB <b>"]
    assert page.benchmark_name == "AAA"
    assert "universe" in page.own_tables()


def test_trades_with_little_known(tmp_path: Path) -> None:
    """Trades that have only what the contract needs are summed up as far as they tell, without made-up numbers."""
    equity = pd.Series(1000.0 + np.arange(len(DAYS)), DAYS)
    trades = pd.DataFrame({
        "symbol": ["AAA", "BBB"], "side": ["long", "short"], "entry_time": DAYS[[3, 5]].tz_localize("UTC"),
        "exit_time": [DAYS[9].tz_localize("UTC"), pd.NaT], "quantity": [1.0, 2.0], "entry_price": [10.0, 20.0],
        "exit_price": [11.0, np.nan], "net_pnl": [1.0, np.nan],
    })  # fmt: skip
    page = page_of(tmp_path, equity, kind="equity", capital=1000.0, trades=trades)
    said = text_of(page.trade_summary())
    assert "Closed trades 1 1 0" in said
    assert "Net P&L 1.00 1.00" in said
    assert "excursion" not in said
    assert page.trade_costs() == page.trade_figures() == ""
    assert "2 trades" in page.trade_table()
    assert page.held is not None
    assert page.held.sum() == len(DAYS) - 3


def test_folds_are_scored_here(portfolio: Page) -> None:
    """Returns inside the test windows make the folds' numbers and the stitched curve; the windows are shaded."""
    page = portfolio
    rows = BeautifulSoup(page.folds(), "html.parser").select("tbody tr")
    inside = page.returns["2019-01-01":"2019-06-30"]
    assert rows[0].select("td")[-2].get_text() == f"{((1.0 + inside).prod() - 1.0) * 100:.2f}%".replace("-", "\u2212")
    assert 'id="plot-stitched"' in page.folds()
    assert page.equity_figure().count('"name":"window"') == 2


def test_many_symbols_are_the_first_and_the_rest(tmp_path: Path) -> None:
    """Of many symbols the weights figure has those held most and all others as one; the areas end at the net weight."""
    frame = prices(tuple(f"S{number:02d}" for number in range(30)))
    page = page_of(tmp_path, weights(frame).clip(lower=0.0), prices=frame)
    text = page.weights()
    assert f"{30 - STACKED} others, net" in text
    assert re.search(r"\b9 others", page.holdings_table())
    assert "1 of 30 were never held" in page.holdings_table()


def test_a_public_page_redacts_the_result(portfolio: Page, tmp_path: Path) -> None:
    """Words to hide are out of symbols, boundary, strategy and benchmarks; own tables stay away unless listed."""
    redactor = make_redactor(SiteOptions(hide=("AAA", "tilt")), Settings(root=tmp_path, results=tmp_path))
    page = PublicPage(RedactedRun(portfolio.run, redactor), redactor=redactor)
    parts = ("header", "what_was_checked", "weights", "holdings_table", "correlation", "benchmarks", "folds",
             "own_metrics", "own_tables", "own_figures", "metrics")  # fmt: skip
    shown = "".join(getattr(page, name)() for name in parts)
    assert "AAA" not in shown
    assert "tilt" not in shown
    assert "equity</td>" not in shown
    assert "BBB" in shown


@pytest.mark.slow
@pytest.mark.parametrize("static", [False, True])
def test_whole_pages(returns_only: Page, portfolio: Page, static: bool) -> None:
    """Both kinds render, interactive and static; sections about nothing are left out."""
    heads = {}
    for name, page in (("returns", returns_only), ("portfolio", portfolio)):
        run = Run(page.run.dir)
        render_run(run, renderer="embedded", template=builder.TEMPLATE, static=static)
        tree = BeautifulSoup(run.dir.report.read_text(encoding="utf-8"), "html.parser")
        heads[name] = {head.get_text() for head in tree.main.find_all("h2")}
    assert heads["portfolio"] - heads["returns"] == {"Portfolio", "Folds", "Figures and tables of the run’s own"}
    assert "What was checked" in heads["returns"]
    assert {"Trades", "Data"}.isdisjoint(heads["returns"])
