"""Labels of bars: days stay the days they were where they come from, instants are instants, units do not change."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.backtest import BacktestEngine, data_digest, load_ohlcv, time_labels, utc_labels
from pipeline.backtest.benchmark import load_series, match_benchmark
from pipeline.backtest.metrics import monthly_returns
from pipeline.backtest.spacing import examine_spacing
from pipeline.errors import DataError, DataWarning

HEAD = "Date,Open,High,Low,Close\n"
WORKDAYS = pd.date_range("2017-02-20", "2017-04-07", freq="B")


def bars_on(index: pd.DatetimeIndex) -> pd.DataFrame:
    close = 100.0 + np.arange(len(index), dtype=float)
    frame = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame(frame, index=index.rename("timestamp"))


def written(tmp_path: Path, stamps: Any, name: str = "bars.csv") -> Path:
    path = tmp_path / name
    path.write_text(HEAD + "".join(f"{stamp},{at},{at},{at},{at}\n" for at, stamp in enumerate(stamps, start=100)))
    return path


def hold(df: pd.DataFrame, params: Any) -> pd.Series:
    return pd.Series(1, index=df.index)


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Asia/Tokyo", "America/New_York", "Europe/London", "Australia/Sydney", "UTC"]
)
@pytest.mark.parametrize("kind", ["text", "parquet", "index", "epoch"])
def test_local_midnights_are_days(tmp_path: Path, zone: str, kind: str) -> None:
    """Daily bars at midnight where they come from are the days of plain dates, also over a change of the clocks."""
    local = WORKDAYS.tz_localize(zone)
    plain = load_ohlcv(written(tmp_path, WORKDAYS.strftime("%Y-%m-%d"), "plain.csv"))
    options: dict[str, Any] = {}
    if kind == "text":
        path = written(tmp_path, local)
    elif kind == "epoch":
        path = written(tmp_path, local.as_unit("ms").asi8)
        options = {"date_format": "ms", "timezone": zone}
    else:
        frame = plain.set_axis(local.rename("Date"))
        path = tmp_path / "bars.parquet"
        (frame if kind == "index" else frame.reset_index()).to_parquet(path)
    read = load_ohlcv(path, **options)
    pd.testing.assert_frame_equal(read, plain, check_freq=False)
    assert time_labels(pd.DatetimeIndex(read.index)) == "days"
    assert len(load_ohlcv(path, start="2017-03-01", end="2017-03-31", **options)) == 23


@pytest.mark.parametrize(("zone", "start"), [("America/Sao_Paulo", "2017-10-10"), ("Africa/Cairo", "2010-04-26")])
def test_days_without_a_midnight(tmp_path: Path, zone: str, start: str) -> None:
    """Where the clocks skip midnight, the day begins at one o'clock, and the file is one of days still."""
    days = pd.date_range(start, periods=8)
    local = days.tz_localize(zone, nonexistent="shift_forward")
    assert (local.hour == 1).any()
    for path in (written(tmp_path, local), tmp_path / "bars.parquet"):
        if path.suffix == ".parquet":
            bars_on(local).to_parquet(path)
        assert load_ohlcv(path).index.strftime("%Y-%m-%d").tolist() == days.strftime("%Y-%m-%d").tolist()


def test_an_hour_of_day_stays_an_instant(tmp_path: Path) -> None:
    """Hourly bars that begin at a local midnight, and daily bars at the close, keep their instants."""
    hours = pd.date_range("2017-03-01", periods=30, freq="h", tz="Europe/Berlin")
    read = load_ohlcv(written(tmp_path, hours))
    assert read.index[0] == pd.Timestamp("2017-02-28T23:00Z")
    closes = (WORKDAYS + pd.Timedelta(hours=16)).tz_localize("America/New_York")
    read = load_ohlcv(written(tmp_path, closes))
    assert (read.index == closes.tz_convert("UTC")).all()
    assert time_labels(pd.DatetimeIndex(read.index)) == "instants"


def test_days_beside_one_instant_are_refused(tmp_path: Path) -> None:
    """Daily bars with the bar of today at the time of the download: which rows, and what to do."""
    stamps = [*WORKDAYS[:9].tz_localize("Europe/Berlin"), pd.Timestamp("2017-03-03 15:31", tz="Europe/Berlin")]
    with pytest.raises(DataError, match=r"most timestamps are midnights.*not in line 11"):
        load_ohlcv(written(tmp_path, stamps))
    with pytest.raises(DataError, match=r"not in line 11 \(2017-03-03 15:31:00\)"):
        load_ohlcv(written(tmp_path, [stamp.tz_localize(None) for stamp in stamps]))


def test_midnights_already_turned_into_utc(tmp_path: Path) -> None:
    """The evening before in UTC is told, and is read as the days it means when the zone is given."""
    local = WORKDAYS.tz_localize("Europe/Berlin").tz_convert("UTC")
    path = written(tmp_path, local.strftime("%Y-%m-%dT%H:%M:%SZ"))
    bars = load_ohlcv(path)
    assert "EVENINGS: the bars are daily, at 22:00 or 23:00 UTC" in examine_spacing(bars).sentences()[0]
    assert (load_ohlcv(path, timezone="Europe/Berlin").index == WORKDAYS.tz_localize("UTC")).all()


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "Asia/Tokyo", "UTC"])
def test_a_frame_with_a_zone_is_traded_on_its_days(zone: str | None) -> None:
    """The engine labels results by the days of the frame: equity, trades, months, digest are those of plain dates."""
    plain = bars_on(WORKDAYS.tz_localize("UTC"))
    given = bars_on(WORKDAYS.tz_localize(zone))
    expected = BacktestEngine().run_realistic(plain, hold)
    result = BacktestEngine().run_realistic(given, hold)
    pd.testing.assert_series_equal(result.equity_curve, expected.equity_curve, check_freq=False)
    pd.testing.assert_frame_equal(result.trades, expected.trades)
    pd.testing.assert_frame_equal(monthly_returns(result.equity_curve), monthly_returns(expected.equity_curve))
    assert data_digest(given) == data_digest(plain)
    assert (result.config["start"], time_labels(pd.DatetimeIndex(given.index))) == ("2017-02-20T00:00:00+00:00", "days")
    hours = pd.date_range("2017-03-01", periods=5, freq="h", tz="Asia/Tokyo")
    assert (utc_labels(hours) == hours.tz_convert("UTC")).all()


@pytest.mark.parametrize("date_format", [None, "s", "ms", "us", "ns"])
@pytest.mark.parametrize(("before", "after"), [("ms", "us"), ("s", "ms"), ("us", "ns"), ("us", "ms")])
def test_a_change_of_the_unit_is_refused(tmp_path: Path, before: str, after: str, date_format: str | None) -> None:
    """Epochs whose unit changes inside the file are told with the line, whatever unit the spec says."""
    hours = pd.date_range("2024-12-31 20:00", periods=8, freq="h")
    stamps = [*hours[:5].as_unit(before).asi8, *hours[5:].as_unit(after).asi8]
    with pytest.raises(
        DataError, match=rf"unit of the timestamps changes in line 7.*then give date_format = '{before}'"
    ):
        load_ohlcv(written(tmp_path, stamps), date_format=date_format)


def test_numbers_that_are_no_epochs(tmp_path: Path) -> None:
    """Excel's day numbers are named, read on request, and never dates in 1970; an epoch in another unit neither."""
    path = written(tmp_path, range(42738, 42744))
    with pytest.raises(DataError, match=r"day numbers of Excel.*date_format = 'excel'"):
        load_ohlcv(path)
    for unit in ("s", "ms", "us", "ns"):
        with pytest.raises(DataError, match=r"all timestamps lie in 1970.*date_format = 'excel'"):
            load_ohlcv(path, date_format=unit)
    assert load_ohlcv(path, date_format="excel").index[0] == pd.Timestamp("2017-01-03", tz="UTC")
    hourly = written(tmp_path, [42738.0 + hour / 24 for hour in range(3)])
    with pytest.raises(DataError, match="no zone"):
        load_ohlcv(hourly, date_format="excel")
    assert load_ohlcv(hourly, date_format="excel", timezone="UTC").index[1] == pd.Timestamp("2017-01-03T01:00Z")
    millis = written(tmp_path, pd.date_range("2020-01-01", periods=5).as_unit("ms").asi8)
    for unit in ("us", "ns"):
        with pytest.raises(DataError, match=r"lie in 1970.*date_format = 'ms'"):
            load_ohlcv(millis, date_format=unit)
    with pytest.raises(DataError, match=r"cannot be read with date_format 's'.*date_format = 'ms'"):
        load_ohlcv(millis, date_format="s")
    wrong = bars_on(pd.DatetimeIndex(pd.date_range("2020-01-01", periods=9).as_unit("ms").asi8))
    wrong.to_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(DataError, match="another unit than it says"):
        load_ohlcv(tmp_path / "wrong.parquet")
    years = written(tmp_path, pd.date_range("1970-01-01", "1971-06-01").as_unit("s").asi8)
    assert len(load_ohlcv(years, date_format="s")) == 517


def test_bars_that_cover_a_tenth_of_their_span_are_refused(tmp_path: Path) -> None:
    """Five days in 1990 and five in 2020 are not daily bars of thirty years."""
    days = pd.date_range("1990-01-01", periods=5).append(pd.date_range("2020-01-01", periods=5))
    path = written(tmp_path, days.strftime("%Y-%m-%d"))
    with pytest.raises(DataError, match="between 1990-01-05 and 2020-01-01 there is nothing"):
        load_ohlcv(path)
    assert len(load_ohlcv(path, start="2000-01-01")) == 5
    monthly = pd.date_range("1990-01-01", periods=300, freq="MS")
    assert len(load_ohlcv(written(tmp_path, monthly.strftime("%Y-%m-%d")))) == 300


def sentences(index: pd.DatetimeIndex, close: Any = None) -> list[str]:
    frame = bars_on(index)
    if close is not None:
        for name in frame:
            frame[name] = close
    return examine_spacing(frame).sentences()


def test_gaps_are_told_with_their_days(sp500: pd.DataFrame) -> None:
    """A hole of four months in daily bars is told with its days; weekends, holidays and closed weeks are not."""
    assert examine_spacing(sp500).sentences() == []
    holed = sp500.drop(sp500.loc["2010-03-02":"2010-06-30"].index)
    assert sentences(pd.DatetimeIndex(holed.index)) == [
        "GAPS: the bars stop once for unusually long: 122 days from 2010-03-01 to 2010-07-01."
    ]
    crypto = pd.date_range("2020-01-01", periods=2000, freq="h", tz="UTC")
    assert sentences(crypto) == []
    assert "1 day" in sentences(crypto.delete(range(100, 123)))[0]
    session = [day + pd.Timedelta(hours=15 + hour) for day in WORKDAYS for hour in range(7)]
    assert sentences(pd.DatetimeIndex(session, tz="UTC")) == []
    weekly = pd.date_range("2015-01-02", periods=200, freq="W-FRI", tz="UTC")
    assert sentences(weekly) == []
    assert "21 days from" in sentences(weekly.delete([50, 51]))[0]
    assert sentences(pd.date_range("2015-01-01", periods=90, freq="MS", tz="UTC")) == []
    assert sentences(weekly[:1]) == []
    assert sentences(weekly[:2]) == []


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (1 / 7, "-85.7%, as a 7:1 split"),
        (0.5, "-50.0%, as a 2:1 split"),
        (10.0, "+900.0%, as a 1:10 split"),
        (0.6, None),
        (1.4, None),
    ],
)
def test_leaps_are_told_with_their_day(ratio: float, said: str | None) -> None:
    """A split that prices were not adjusted for is told with its day; a bad day is not one."""
    close = np.full(len(WORKDAYS), 700.0)
    close[20:] *= ratio
    found = sentences(WORKDAYS.tz_localize("UTC"), close)
    expected = [] if said is None else [f"2017-03-20 {said}."]
    assert [text.rpartition("adjusted for: ")[2] for text in found] == expected


@pytest.mark.parametrize("zone", [None, "America/New_York", "Asia/Tokyo"])
def test_days_meet_days(tmp_path: Path, random_market: Callable[..., pd.DataFrame], zone: str | None) -> None:
    """The same series at local midnights is the same benchmark: no lag of a day, nothing to tell."""
    close = random_market(300)["close"]
    days = pd.date_range("2017-01-02", periods=300, freq="B")
    path = tmp_path / "benchmark.csv"
    close.set_axis(days.tz_localize(zone).rename("date")).to_csv(path)
    matched = match_benchmark(load_series(path), days.tz_localize("UTC"), 1.0)
    np.testing.assert_allclose(matched.equity, close / close.iloc[0])
    assert matched.note is None


def test_days_and_instants_meet_by_date_and_say_so(random_market: Callable[..., pd.DataFrame]) -> None:
    """Daily bars take the last value of their date; bars within a day know a daily value from its last bar on."""
    close = random_market(60)["close"].to_numpy()
    days = pd.date_range("2017-01-02", periods=60, freq="B", tz="UTC")
    at_close = pd.Series(close, index=days + pd.Timedelta(hours=21))
    matched = match_benchmark(at_close, days, 1.0)
    np.testing.assert_allclose(matched.equity, close / close[0])
    assert "last value of its UTC date" in str(matched.note)
    at_open = match_benchmark(at_close, days + pd.Timedelta(hours=14), 1.0)
    np.testing.assert_allclose(at_open.equity, close / close[0])
    assert "never share a time of day (14:00 and 21:00 UTC)" in str(at_open.note)
    hours = pd.DatetimeIndex([day + pd.Timedelta(hours=hour) for day in days[1:] for hour in (14, 15, 16)])
    daily = match_benchmark(pd.Series(close, index=days), hours, 1.0)
    assert (daily.equity.to_numpy()[2::3] == close[1:] / close[0]).all()
    assert (daily.equity.to_numpy()[0::3] == close[:-1] / close[0]).all()
    assert "counts from the last bar of its UTC date" in str(daily.note)


def test_existing_code_calls_the_engine_as_before() -> None:
    """Arguments by position, no symbol, an index without a zone, params of any name; bad orderings are told."""
    index = pd.date_range("2023-01-01", periods=50, freq="1h")
    bars = pd.DataFrame({"open": 100.0, "high": 105.0, "low": 95.0, "close": 100.0 + 0.5 * np.arange(50)}, index=index)
    with pytest.warns(
        DataWarning, match=r"high >= max\(open, close\). 39 rows break it: row 12 \(2023-01-01T11:00:00Z"
    ):
        result = BacktestEngine(None, use_execution_pipeline=False).run_realistic(bars, hold, {"strategy_name": "x"})
    assert str(result.equity_curve.index[0]) == "2023-01-01 00:00:00+00:00"
    assert set(result.trades["symbol"]) == {""}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BacktestEngine().run_realistic(bars.head(10), hold, None, "BTC/EUR", 10.0, 1.0)
    with pytest.raises(DataError, match="prices are above zero"):
        BacktestEngine().run_realistic(bars - 100.0, hold)


def test_rounding_does_not_break_an_ordering(tmp_path: Path) -> None:
    """Prices adjusted for dividends are rounded each on its own: one unit in the last place is no violation."""
    path = tmp_path / "bars.csv"
    path.write_text(HEAD + "2015-07-17,123.2,123.70023299999998,122.4,123.700233\n2015-07-20,2,3,2.0000000001,2.5\n")
    assert len(load_ohlcv(path)) == 2
    path.write_text(HEAD + "2015-07-17,123.2,123.7001,122.4,123.700233\n")
    with pytest.raises(DataError, match="high >= max"):
        load_ohlcv(path)
