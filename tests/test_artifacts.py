"""The artifacts a backtest leaves, byte by byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import equity_table, iso_timestamps, write_backtest_artifacts
from pipeline.backtest import BacktestEngine, get_strategy, load_ohlcv


@pytest.mark.parametrize("benchmark", [False, True])
def test_equity_csv_is_what_pandas_writes(tmp_path: Path, *, benchmark: bool) -> None:
    """The curve's file has the bytes of `to_csv`: every digit a float needs, nothing for what is missing."""
    bars = load_ohlcv("sample:sp500", start="2008-01-01", end="2009-03-09")
    fast = get_strategy("ma_crossover").signal_fn
    result = BacktestEngine().run_realistic(df=bars, strategy_signal_fn=fast, symbol="SPX", fee_bps=3, slippage_bps=1)
    given = (bars["close"] * 1e-9).iloc[7:] if benchmark else None
    write_backtest_artifacts(result, tmp_path, benchmark=given, figure=False)
    expected = equity_table(result, given).to_csv(index=False, lineterminator="\n")
    assert (tmp_path / "equity.csv").read_text() == expected
    assert expected.splitlines()[1].endswith(",")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_are_iso_in_utc(unit: str) -> None:
    """Whole seconds are written without a fraction, others with theirs; other zones are brought to UTC."""
    days = pd.DatetimeIndex(["1999-12-31", "2000-02-29 23:59:59"], tz="UTC").as_unit(unit)
    assert iso_timestamps(days) == ["1999-12-31T00:00:00Z", "2000-02-29T23:59:59Z"]
    assert iso_timestamps(days.tz_localize(None)) == iso_timestamps(days.tz_convert("Asia/Tokyo"))
    assert iso_timestamps(days.append(pd.DatetimeIndex([pd.NaT], tz="UTC"))) == [*iso_timestamps(days), ""]
    if unit != "s":
        assert iso_timestamps(days + np.timedelta64(5, unit))[0].rstrip("0Z").endswith("5")
        assert iso_timestamps(days + np.timedelta64(5, "ms")) == [
            "1999-12-31T00:00:00.005000Z",
            "2000-02-29T23:59:59.005000Z",
        ]
