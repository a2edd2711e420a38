"""The adapters against the real libraries: what the engine says of itself is what the result says, to 1e-9.

Where it is not, the difference is a convention that the adapter names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engines.environments import told_by

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1200)]


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def reconciled(*found: dict[str, Any]) -> None:
    """Its parts agree with each other."""
    for ours in found:
        assert not ours["broken"]
        assert ours["mark"] == "RECONCILED"


def same(ours: dict[str, Any], own: dict[str, Any], *names: str) -> None:
    for name in names:
        assert ours[name] == near(own[name]), name
    if "equity" in own:
        np.testing.assert_allclose(ours["equity"], own["equity"], rtol=1e-9)


@pytest.mark.parametrize("version", ["bt-1.4.1", "bt-1.1.2"])
def test_bt(version: str, tmp_path: Path) -> None:
    """All figures of bt are those of its result, and weights at prices are computed here as bt computes them."""
    told = told_by(version, "bt_weights", tmp_path)
    ours, own = told["ours"], told["own"]
    same(ours, own, "total_return", "max_drawdown", "annual_volatility", "sharpe")
    assert ours["equity"][0] == ours["capital"] == 1e6
    assert ours["fills"] == own["transactions"]
    assert ours["worth_gap"] < 1e-6
    assert max(told["same"].values()) < 1e-9
    reconciled(ours)


@pytest.mark.parametrize("version", ["vectorbt-1.2.0", "vectorbt-0.28"])
def test_vectorbt(version: str, tmp_path: Path) -> None:
    """Its figures at 365 periods; its drawdown forgets the initial cash, which the adapter says."""
    told = told_by(version, "vectorbt_signals", tmp_path)
    for ours, own in ((told["ours"], told["own"]), (told["shared"]["ours"], told["shared"]["own"])):
        same(ours, own, "total_return", "annual_volatility", "sharpe")
        assert ours["max_drawdown"] <= own["max_drawdown"] + 1e-12
        curve = np.array(own["equity"])
        assert own["max_drawdown"] == near(float((curve / np.maximum.accumulate(curve) - 1.0).min()))
        assert "initial cash" in ours["reported"]["Max Drawdown"][2]
        assert "365" in ours["reported"]["Sharpe Ratio"][2]
        assert ours["fees"] == near(ours["fill_fees"]) == near(own["fees"])
        assert ours["net_pnl"] == near(ours["equity"][-1] - ours["capital"])
        assert ours["worth_gap"] < 1e-6
    assert told["shared"]["ours"]["capital"] == 10_000.0
    assert "column='AAA'" in told["refused"]
    reconciled(told["ours"], told["shared"]["ours"])


@pytest.mark.parametrize("version", ["backtesting-0.6.6", "backtesting-0.5.0"])
def test_backtesting(version: str, tmp_path: Path) -> None:
    """Return and drawdown are its own, Sharpe is its geometric one; trades with the open ones are the equity."""
    told = told_by(version, "backtesting_signals", tmp_path)
    ours, own = told["ours"], told["own"]
    same(ours, own, "total_return", "max_drawdown")
    returns = np.diff(own["equity"]) / own["equity"][:-1]
    days = len(returns) + (version == "backtesting-0.5.0")  # before 0.6.6 the first day counts, without a return
    growth = np.exp(np.log1p(returns).sum() / days)
    spread = np.sqrt((np.var(returns, ddof=1) + growth**2) ** 252 - growth**504)
    assert own["annual_volatility"] == near(float(spread))
    assert own["sharpe"] == near(own["annual_return"] / own["annual_volatility"])
    assert "geometric" in ours["reported"]["Sharpe Ratio"][2]
    assert ours["trades"] - ours["open"] == own["trades"]
    assert ours["net_pnl"] == near(ours["equity"][-1] - ours["capital"])
    assert told["copied"]["equity"] == ours["equity"]
    assert set(told["best"]["params"]) == {"fast", "slow"}
    reconciled(ours, told["copied"], told["best"])


@pytest.mark.parametrize("version", ["skfolio-1.12.2", "skfolio-0.5.0"])
def test_skfolio(version: str, tmp_path: Path) -> None:
    """Deviation and Sharpe are its own; so is the drawdown where it compounds, else the adapter says that it adds."""
    told = told_by(version, "skfolio_portfolios", tmp_path)
    same(told["ours"], told["own"], "annual_volatility", "sharpe", "max_drawdown")
    returns = np.array(told["own"]["returns"])
    np.testing.assert_allclose(told["ours"]["equity"], np.cumprod(1.0 + returns), rtol=1e-12)
    for one in (told["walked"], told["added"]):
        same(one["ours"], one["own"], "annual_volatility", "sharpe")
        assert "sum of returns" in one["ours"]["reported"]["MAX Drawdown"][2]
        path = np.cumsum(one["own"]["returns"])
        assert one["own"]["max_drawdown"] == near(float((path - np.maximum.accumulate(np.append(0.0, path))[1:]).min()))
    assert told["walked"]["ours"]["folds"] == 4
    assert told["walked"]["ours"]["strategy"] is None
    reconciled(told["ours"], told["walked"]["ours"], told["added"]["ours"])


def test_backtrader(tmp_path: Path) -> None:
    """Equity and drawdown are its own, with the observer and with the analyzer alone; trades and fees add up."""
    told = told_by("backtrader-1.9.78", "backtrader_cross", tmp_path)
    ours, own = told["ours"], told["own"]
    same(ours, own, "max_drawdown")
    assert ours["equity"][-1] == near(own["final"])
    np.testing.assert_allclose(told["alone"]["equity"], own["equity"], rtol=1e-9)
    assert ours["net_pnl"] == near(ours["equity"][-1] - ours["capital"])
    assert ours["fees"] == near(ours["fill_fees"])
    assert ours["worth_gap"] < 1e-6
    assert ours["params"] == {"fast": "4", "slow": "20"}
    reconciled(ours, told["alone"])


@pytest.mark.parametrize("version", ["zipline-3.2.1", "zipline-3.0.4"])
def test_zipline(version: str, tmp_path: Path) -> None:
    """All figures of zipline are those of its result; labels are sessions; fills and fees are the capital used."""
    told = told_by(version, "zipline_orders", tmp_path)
    ours, own = told["ours"], told["own"]
    same(ours, own, "total_return", "max_drawdown", "annual_volatility", "sharpe")
    assert [label[:10] for label in ours["labels"]] == own["sessions"]
    assert ours["worth_gap"] < 1e-6
    assert ours["fill_fees"] > 0.0
    reconciled(ours)


@pytest.mark.parametrize("version", ["nautilus-1.231.0", "nautilus-1.211.0"])
def test_nautilus(version: str, tmp_path: Path) -> None:
    """A margin account's end is ours; a cash account's total leaves out what is held, ours does not."""
    told = told_by(version, "nautilus_cross", tmp_path)
    for name in ("margin", "cash"):
        ours, own = told[name]["ours"], told[name]["own"]
        assert ours["fills"] == own["fills"]
        assert ours["net_pnl"] == near(ours["equity"][-1] - ours["capital"])
        assert ours["equity"] == pytest.approx(told[name]["by_reports"]["equity"], rel=1e-12)
    margin, cash = told["margin"], told["cash"]
    reconciled(margin["ours"], cash["ours"])
    closed = margin["ours"]["open"] == 0
    assert not closed or margin["ours"]["equity"][-1] == near(margin["own"]["total_end"])
    assert cash["own"]["lowest_total"] < 0.95 * 100_000.0 < min(cash["ours"]["equity"])


def test_backtesting_made_again(tmp_path: Path) -> None:
    """What fills at the next open and knew its close is not called clean; a stop inside of the bar looks the same."""
    told = told_by("backtesting-0.6.6", "backtesting_rerun", tmp_path)
    assert told["waits"][:3] == ["clean", None, 8]
    assert told["knows"][:2] == told["stopped"][:2] == ["unjudged", "inside"]


def test_skfolio_made_again(tmp_path: Path) -> None:
    """A walk-forward is clean although its last window is dropped; a model fitted on all returns leaks."""
    told = told_by("skfolio-1.12.2", "skfolio_rerun", tmp_path)
    assert told["walked"][0] == "clean"
    assert told["walked"][2] > 0
    assert told["fitted_on_all"][0] == "leak"
