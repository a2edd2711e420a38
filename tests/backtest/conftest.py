"""Shared by the backtest tests: small markets, made up but valid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

Market = Callable[..., pd.DataFrame]


def _random_market(n: int, seed: int = 0, volatility: float = 0.02, gap: float = 0.005) -> pd.DataFrame:
    """Return n daily bars of a random walk with overnight gaps that keep the data contract."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, volatility, n)))
    open_ = np.append(100.0, close[:-1]) * np.exp(rng.normal(0.0, gap, n))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, volatility / 2, n)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, volatility / 2, n)))
    index = pd.date_range("2020-01-01", periods=n, freq="D", tz="UTC", unit="ns", name="timestamp")
    volume = rng.integers(1, 1_000, n).astype(float)
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=index)


@pytest.fixture(scope="session")
def random_market() -> Market:
    """A function (n, seed, volatility, gap) -> valid bars."""
    return _random_market


@pytest.fixture(scope="session")
def bars() -> Market:
    """A function from rows of (open, high, low, close) to daily bars."""

    def build(rows: list[tuple[float, float, float, float]]) -> pd.DataFrame:
        index = pd.date_range("2020-01-01", periods=len(rows), freq="D", tz="UTC", unit="ns", name="timestamp")
        return pd.DataFrame(rows, index=index, columns=["open", "high", "low", "close"], dtype="float64")

    return build


@pytest.fixture(scope="session")
def sp500() -> pd.DataFrame:
    """The bundled S&P 500 sample."""
    from pipeline.backtest import load_ohlcv

    return load_ohlcv("sample:sp500")
