"""The adapters on hand-made objects and on files that engines wrote: conformance, and the traps of each engine."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.engines import (
    backtesting_py,
    bt,
    freqtrade,
    investing_algorithm,
    lean,
    nautilus,
    skfolio,
    vectorbt,
    zipline,
)
from pipeline.engines.adapter import Given
from pipeline.engines.conformance import AdapterConformance
from pipeline.engines.registry import as_result
from pipeline.errors import ResultError
from pipeline.results.reconcile import reconcile
from tests.engines import made

FREQTRADE = made.SAMPLES / "freqtrade_2026.9_made.zip"
LEAN = made.SAMPLES / "lean_modern_made.json"


def result_of(value: Any, **given: Any) -> Any:
    return as_result(value, Given(**given))


def told(result: Any, name: str) -> Any:
    return next(one for one in result.reported if one.name == name)


class TestVectorbt(AdapterConformance):
    adapter = vectorbt.ADAPTER
    known = (
        "trades",
        "fills",
        "positions",
        "weights",
        "prices",
        "cash",
        "leverage",
        "benchmarks",
        "symbols",
        "reported",
    )

    def value(self) -> Any:
        return made.vectorbt_portfolio()


class TestBacktesting(AdapterConformance):
    adapter = backtesting_py.ADAPTER
    given = Given(symbol="AAA")
    known = ("trades", "reported", "symbols", "strategy")

    def value(self) -> Any:
        return made.backtesting_stats()


class TestBt(AdapterConformance):
    adapter = bt.ADAPTER
    known = ("fills", "positions", "weights", "prices", "cash", "leverage", "strategy", "symbols", "tables")

    def value(self) -> Any:
        return made.bt_result()


class TestZipline(AdapterConformance):
    adapter = zipline.ADAPTER
    known = ("fills", "positions", "weights", "prices", "cash", "leverage", "benchmarks", "symbols", "reported")

    def value(self) -> Any:
        return made.zipline_perf()


class TestSkfolio(AdapterConformance):
    adapter = skfolio.ADAPTER
    known = ("weights", "prices", "strategy", "symbols", "costs", "reported")

    def value(self) -> Any:
        return made.skfolio_portfolio()


class TestNautilus(AdapterConformance):
    adapter = nautilus.ADAPTER
    given = Given(prices=made.nautilus_reports()[1])
    known = ("trades", "fills", "positions", "weights", "prices", "cash", "currency", "symbols")

    def value(self) -> Any:
        return made.nautilus_reports()[0]


class TestFreqtrade(AdapterConformance):
    adapter = freqtrade.ADAPTER
    known = ("trades", "benchmarks", "strategy", "symbols", "currency", "costs", "reported")

    def value(self) -> Any:
        return FREQTRADE


class TestLean(AdapterConformance):
    adapter = lean.ADAPTER
    known = ("trades", "benchmarks", "params", "strategy", "currency", "leverage", "symbols", "reported")

    def value(self) -> Any:
        return str(LEAN)


class TestInvestingAlgorithm(AdapterConformance):
    adapter = investing_algorithm.ADAPTER
    known = ("trades", "fills", "cash", "currency", "symbols")

    def value(self) -> Any:
        return json.loads((made.SAMPLES / "iaf_run.json").read_text())


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (made.vectorbt_portfolio(), {}),
        (made.bt_result(), {}),
        (made.zipline_perf(), {}),
        (made.skfolio_portfolio(), {}),
        (made.nautilus_reports()[0], {"prices": made.nautilus_reports()[1]}),
        (FREQTRADE, {}),
        (LEAN, {}),
        (made.SAMPLES / "iaf_run.json", {}),
    ],
    ids=["vectorbt", "bt", "zipline", "skfolio", "nautilus", "freqtrade", "lean", "iaf"],
)
def test_the_parts_of_a_result_agree(value: Any, given: dict[str, Any]) -> None:
    """What an adapter says twice, in other words, is the same: all identities that can be checked hold."""
    found = reconcile(result_of(value, **given))
    assert not found.broken
    assert found.mark == "RECONCILED"


def test_vectorbt_counts_the_first_bar() -> None:
    """Its first value is after the fees of the first bar: the return from the initial cash is one."""
    result = result_of(made.vectorbt_portfolio())
    assert (result.capital, result.equity.iloc[0], result.first_label) == (1000.0, 999.0, "period")
    assert result.returns.iloc[0] == pytest.approx(-0.001)
    assert result.trades["net_pnl"].sum() == pytest.approx(result.equity.iloc[-1] - result.capital)


def test_vectorbt_without_a_frequency_reports_what_it_can() -> None:
    """Annual figures raise there; the rest is taken."""
    assert [one.name for one in result_of(made.vectorbt_portfolio()).reported] == ["Total Return"]


def test_vectorbt_of_several_columns_asks_which() -> None:
    """Columns may be instruments or params: one is chosen, and the message lists them."""
    one = made.vectorbt_portfolio()
    columns = pd.DataFrame({(10, "A"): one.value(), (20, "A"): one.value()})
    several = made.of("vectorbt.portfolio.base", "Portfolio", value=lambda: columns)
    type(several).__getitem__ = lambda self, name: one  # type: ignore[attr-defined]
    with pytest.raises(ResultError, match=r"2 results: \(10, 'A'\), \(20, 'A'\)"):
        result_of(several)
    assert result_of(several, column=(20, "A")).capital == 1000.0
    assert result_of(several, column="(20, 'A')").capital == 1000.0


def test_vectorbt_groups_without_sharing_add_their_cash_and_keep_their_instruments() -> None:
    """`value()` is one series then, everything else is per instrument; the initial cash adds up."""
    one = made.vectorbt_portfolio()
    twice = {name: pd.DataFrame({"A": getattr(one, name)(), "B": getattr(one, name)()}) for name in ("assets", "cash")}
    group = made.vectorbt_portfolio(
        value=lambda: (one.value() * 2.0).rename("group"),
        init_cash=pd.Series({"A": 1000.0, "B": 1000.0}),
        close=pd.DataFrame({"A": one.close, "B": one.close}),
        assets=lambda: twice["assets"],
        asset_value=lambda group_by=None: twice["assets"].mul(one.close, axis=0),
        cash=lambda: (one.cash() * 2.0).rename("group"),
    )
    result = result_of(group)
    assert (result.capital, result.symbols) == (2000.0, ("A", "B"))
    worth = (result.positions * result.prices).sum(axis=1) + result.cash
    assert worth.tolist() == result.equity.tolist()


def test_backtesting_takes_copies_and_the_pair_of_optimize() -> None:
    """A copy of the stats is a plain Series; the heatmap is a table of trials."""
    index = pd.MultiIndex.from_tuples([(5, 20), (6, 20)], names=["n1", "n2"])
    result = result_of((made.backtesting_stats(), pd.Series([1.0, 2.0], index, name="SQN")))
    assert result.tables["optimize"]["n1"].tolist() == [5, 6]
    assert result.strategy == "S"


def test_backtesting_says_what_trades_leave_out() -> None:
    """A trade open at the end is in the equity only: by how much stands in the notes."""
    result = result_of(made.backtesting_stats())
    assert "+470.69" in result.notes[-1]
    assert told(result, "Max. Drawdown [%]").value == pytest.approx(-0.18708177)
    assert told(result, "Sharpe Ratio").metric == "sharpe"
    assert result.trades["symbol"].unique().tolist() == ["unnamed"]
    assert result.symbols == ()


def test_backtesting_before_0_6_has_no_commission_column() -> None:
    """It is inside of the entry price then: fees are unknown, not zero."""
    old = made.backtesting_stats()
    old["_trades"] = old["_trades"].drop(columns=["Commission", "SL", "TP"])
    assert "fees" not in result_of(old).trades


def test_backtesting_over_numbered_bars_is_refused() -> None:
    """A RangeIndex holds no time."""
    stats = made.backtesting_stats()
    stats["_equity_curve"] = stats["_equity_curve"].reset_index(drop=True)
    with pytest.raises(ResultError, match="RangeIndex"):
        result_of(stats)


def test_bt_begins_a_day_before_the_data() -> None:
    """The first row is the capital; the first bar's fee is a return."""
    result = result_of(made.bt_result())
    assert (result.capital, result.equity.iloc[0], len(result.returns)) == (100.0, 100.0, 5)
    assert result.equity.index[0] == pd.Timestamp("2022-01-02", tz="UTC")
    assert result.fills[["quantity", "price"]].to_numpy().tolist() == [[5.0, 10.0]]


def test_bt_takes_growth_where_money_came_in() -> None:
    """Its values jump with a flow, its prices do not."""
    result = result_of(made.bt_result(flows=1000.0))
    assert result.equity.iloc[-1] < 200.0
    assert result.cash is None
    assert any("paid in or out" in note for note in result.notes)


def test_bt_of_several_backtests_asks_which() -> None:
    """Each has its own period; one is saved."""
    with pytest.raises(ResultError, match="'a', 'b'"):
        result_of(made.bt_result(names=("a", "b")))
    assert result_of(made.bt_result(names=("a", "b")), column="b").strategy == "b"


def test_zipline_labels_are_sessions() -> None:
    """An index of closes in UTC becomes days, also where a session begins on the day before in UTC."""
    perf = made.zipline_perf()
    result = result_of(perf)
    assert (result.equity.index == result.equity.index.normalize()).all()
    assert result.equity.index[0] == pd.Timestamp("2022-01-03", tz="UTC")
    opens = pd.DatetimeIndex(["2022-01-02 21:00"], tz="UTC")
    auckland = perf.iloc[:1].set_axis(pd.DatetimeIndex(["2022-01-03 03:45"], tz="UTC")).assign(period_open=opens)
    assert zipline._sessions(auckland)[0] == pd.Timestamp("2022-01-03", tz="UTC")
    always = perf.iloc[:1].set_axis(pd.DatetimeIndex(["2022-01-04"], tz="UTC"))
    always = always.assign(period_open=pd.DatetimeIndex(["2022-01-03"], tz="UTC"))
    assert zipline._sessions(always)[0] == pd.Timestamp("2022-01-03", tz="UTC")


def test_zipline_cash_positions_and_fees_are_the_equity() -> None:
    """Commissions are in the orders, which repeat: each counts once."""
    perf = made.zipline_perf()
    result = result_of(perf)
    worth = (result.positions * result.prices.fillna(0.0)).sum(axis=1) + result.cash
    np.testing.assert_allclose(worth, result.equity, rtol=1e-9)
    paid = (result.fills["quantity"] * result.fills["price"] + result.fills["fee"]).sum()
    assert perf["capital_used"].sum() == pytest.approx(-paid)


def test_zipline_figures_are_of_the_last_row() -> None:
    """Sharpe and drawdown are running values."""
    assert told(result_of(made.zipline_perf()), "max_drawdown").value == made.zipline_perf()["max_drawdown"].iloc[-1]


def test_skfolio_weights_and_returns_fit() -> None:
    """The return of a label is that of the weights held before it, less the cost of each period."""
    result = result_of(made.skfolio_portfolio(), capital=100.0)
    moves = (result.weights.shift(1) * result.prices.pct_change()).sum(axis=1)
    np.testing.assert_allclose(result.returns[1:], moves[1:] - 0.0001, atol=1e-15)
    assert result.costs == {"cost_per_period": 0.0001, "fee_per_period": 0.0}
    assert told(result, "MAX Drawdown").value == -0.02
    assert "sum of returns" in told(result, "MAX Drawdown").convention


def test_skfolio_population_asks_which_and_knows_no_random_name() -> None:
    """Names that are ids say nothing: members are counted then."""
    members = [made.skfolio_portfolio("a"), made.skfolio_portfolio("b")]
    population = made.kind("skfolio.population._population", "Population", list)(members)
    with pytest.raises(ResultError, match="'a', 'b'"):
        result_of(population)
    assert result_of(population, column="b").strategy == "b"
    members[0].name = 140236771220304
    unnamed = type(population)(members)
    assert result_of(unnamed, column=0).strategy is None


def test_skfolio_windows_are_folds_and_failures_are_refused() -> None:
    """A walk-forward's parts are test windows; of train windows nothing is known."""
    first = made.skfolio_portfolio("x")
    later = made.skfolio_portfolio("x", returns_df=first.returns_df.set_axis(made.DAYS + pd.Timedelta(days=7)))
    both = pd.concat([first.returns_df, later.returns_df])
    walked = made.skfolio_portfolio("w", "MultiPeriodPortfolio", portfolios=[first, later], returns_df=both)
    del walked.weights_per_observation
    result = result_of(walked)
    assert [fold.test_start[:10] for fold in result.folds] == ["2022-01-03", "2022-01-10"]
    assert result.folds[0].train_start is None
    assert result.weights is None
    with pytest.raises(ResultError, match="failed in skfolio"):
        result_of(made.skfolio_portfolio("no", "FailedPortfolio"))


def test_skfolio_of_an_array_is_refused() -> None:
    """Its labels are numbers."""
    numbered = made.skfolio_portfolio(returns_df=pd.Series([0.01, 0.02]))
    with pytest.raises(ResultError, match="not by dates"):
        result_of(numbered)


def test_nautilus_counts_what_a_cash_account_holds() -> None:
    """The account's total falls by a tenth when stock is bought; the equity does not."""
    reports, prices = made.nautilus_reports()
    result = result_of(reports, prices=prices)
    assert result.equity.tolist() == [10_000.0, 9_999.0, 10_099.0, 10_197.5, 10_197.5]
    assert result.trades["net_pnl"].tolist() == [197.5]
    assert result.currency == "USD"
    with pytest.raises(ResultError, match="hold no prices"):
        result_of(reports)
    with pytest.raises(ResultError, match=r"no prices of AAA\.X"):
        result_of(reports, prices=prices.rename(columns={"AAA.X": "B"}))
    reports["fills"]["commission"] = "1.00 EUR"
    with pytest.raises(ResultError, match="Fills are in EUR"):
        result_of(reports, prices=prices)


def test_freqtrade_is_its_wallet_and_its_final_balance() -> None:
    """Trades add up to the final balance; what the forced exits took at the end stands in the notes."""
    result = result_of(FREQTRADE)
    assert result.equity.iloc[-1] == pytest.approx(879.85208382)
    assert result.trades["net_pnl"].sum() == pytest.approx(result.equity.iloc[-1] - result.capital)
    gross = (result.trades["exit_price"] - result.trades["entry_price"]) * result.trades["quantity"]
    np.testing.assert_allclose(result.trades["gross_pnl"], gross, atol=1e-6)
    assert "-1.22" in result.notes[0]
    assert [str(result.equity.index[place].date()) for place in (0, -1)] == ["2022-01-25", "2023-01-01"]
    assert result.costs == {"fee_bps": pytest.approx(10.0)}
    assert told(result, "sharpe").convention.startswith("of the profits of trades")


def test_freqtrade_without_a_wallet_is_realised_only(tmp_path: Path) -> None:
    """Files of before 2026 hold none: the equity is the realised balance, which the notes say."""
    with zipfile.ZipFile(FREQTRADE) as archive:
        name = next(one for one in archive.namelist() if one.endswith("28.json"))
        content = json.loads(archive.read(name))
    for value in (content, tmp_path / "old.json", tmp_path):
        (tmp_path / "old.json").write_text(json.dumps(content))
        (tmp_path / ".last_result.json").write_text(json.dumps({"latest_backtest": "old.json"}))
        result = result_of(value)
        assert result.equity.iloc[-1] == pytest.approx(879.85208382)
        assert "realised balance" in result.notes[0]


def test_freqtrade_of_several_strategies_asks_which() -> None:
    """One file may hold more than one."""
    with zipfile.ZipFile(FREQTRADE) as archive:
        content = json.loads(archive.read(next(one for one in archive.namelist() if one.endswith("28.json"))))
    content["strategy"]["Other"] = content["strategy"]["St"]
    with pytest.raises(ResultError, match="'St', 'Other'"):
        result_of(content)
    assert result_of(content, column="Other").strategy == "Other"


def test_lean_trades_are_net_of_fees_and_days_are_days() -> None:
    """Profit is gross there; candles give their close; percent text becomes a decimal."""
    result = result_of(LEAN)
    assert (result.capital, result.equity.iloc[-1]) == (100_000.0, 100_298.0)
    assert result.trades[["net_pnl", "gross_pnl", "fees"]].to_numpy().tolist() == [[298.0, 300.0, 2.0]]
    assert told(result, "Net Profit").value == pytest.approx(0.00298)
    assert result.params == {"fast": "5"}
    assert result.fills is None


def test_lean_of_before_reads_the_same() -> None:
    """PascalCase and {x, y} points; a sample at midnight in New York ends the day before; trades are unknown."""
    result = result_of(made.SAMPLES / "lean_test_report_data.json")
    assert (result.capital, result.trades) == (1_000_000.0, None)
    assert [str(day.date()) for day in result.equity.index] == ["2021-01-03", "2021-01-04"]


def test_lean_fills_are_in_the_file_beside(tmp_path: Path) -> None:
    """`<id>-order-events.json` holds fills and fees."""
    shutil.copy(LEAN, tmp_path / "a.json")
    event = {"time": 1704315600, "symbolValue": "SPY", "fillQuantity": 100.0, "fillPrice": 472.0, "orderFeeAmount": 1.0}
    (tmp_path / "a-order-events.json").write_text(json.dumps([event, event | {"fillQuantity": 0.0}]))
    fills = result_of(tmp_path / "a.json").fills
    assert fills[["quantity", "price", "fee"]].to_numpy().tolist() == [[100.0, 472.0, 1.0]]


def test_iaf_trades_add_up() -> None:
    """The first snapshot is there twice; net gains are the change of the equity."""
    result = result_of(made.SAMPLES / "iaf_run.json")
    assert result.trades["net_pnl"].sum() == pytest.approx(result.equity.iloc[-1] - result.capital)


def test_an_object_of_a_version_that_is_not_known_is_no_traceback() -> None:
    """What an adapter cannot read is named, with the lines that help."""
    with pytest.raises(ResultError, match=r"'freqtrade.*failed on a dict: KeyError: 'starting_balance'"):
        result_of({"strategy": {"S": {"trades": []}}})
    with pytest.raises(ResultError, match=r"failed on a __main__\.Mine: AttributeError.*give its equity as a Series"):
        result_of(made.of("vectorbt.portfolio.base", "Portfolio"))


def test_a_broken_file_says_so(tmp_path: Path) -> None:
    """It is named with what is wrong."""
    (tmp_path / "x.zip").write_bytes(b"no zip")
    (tmp_path / "x.json").write_text("{")
    for name in ("x.zip", "x.json"):
        with pytest.raises(ResultError, match=name):
            result_of(tmp_path / name)
    with pytest.raises(ResultError, match="There is no file"):
        result_of(str(tmp_path / "none.zip"))
