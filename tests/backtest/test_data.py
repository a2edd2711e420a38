"""Market data: sources, reading, the contract, bars a year, digest."""

from __future__ import annotations

import datetime as dt
import gzip
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backtest import data_digest, load_ohlcv, periods_per_year, sample_names, source_path
from pipeline.backtest.contract import check_frame, checked, ohlcv_schema
from pipeline.errors import DataError

GOOD = """Date,Open,High,Low,Close,Adj Close,Volume
2020-01-02,10,12,9,11,5.5,100
2020-01-03,11,13,10,12,6,200
2020-01-06,12,14,11,13,6.5,0
"""


def write(tmp_path: Path, text: str, name: str = "bars.csv") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def replaced(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_sample_equals_its_origin(sp500: pd.DataFrame) -> None:
    """The bundled sample holds exactly the S&P 500 bars that the arch package ships."""
    arch = pytest.importorskip("arch.data.sp500").load()
    assert len(sp500) == len(arch) == 5031
    assert (sp500.index == arch.index.tz_localize("UTC")).all()
    for name in ("Open", "High", "Low", "Close", "Volume"):
        np.testing.assert_array_equal(sp500[name.lower()], arch[name].astype(float))
    assert (arch["Adj Close"] == arch["Close"]).all()  # why the sample has no adj_close


def test_sample_comes_with_licence_and_origin(sp500: pd.DataFrame) -> None:
    """Licence and origin lie beside the sample, and the origin page quotes its digest."""
    folder = source_path("sample:sp500").parent
    assert "Kevin Sheppard" in (folder / "LICENSE-arch.txt").read_text()
    assert data_digest(sp500) in (folder / "README.md").read_text()
    assert sample_names() == ("sp500",)


def test_loaded_form(tmp_path: Path) -> None:
    """Bars have one form: UTC nanosecond index `timestamp`, float64 columns, unadjusted close."""
    df = load_ohlcv(write(tmp_path, GOOD))
    assert list(df.columns) == ["open", "high", "low", "close", "volume"]
    assert (df.dtypes == "float64").all()
    assert str(df.index.dtype) == "datetime64[ns, UTC]"
    assert df.index.name == "timestamp"
    assert df["close"].tolist() == [11.0, 12.0, 13.0]


def test_csv_gz_and_parquet_give_the_same_bars(tmp_path: Path) -> None:
    """The file format does not change the bars."""
    df = load_ohlcv(write(tmp_path, GOOD))
    (tmp_path / "bars.csv.gz").write_bytes(gzip.compress(GOOD.encode()))
    df.to_parquet(tmp_path / "indexed.parquet")
    df.reset_index().to_parquet(tmp_path / "flat.parquet")
    for name in ("bars.csv.gz", "indexed.parquet", "flat.parquet"):
        pd.testing.assert_frame_equal(load_ohlcv(tmp_path / name), df, check_freq=False)


def test_numbers_are_read_as_they_are_written(tmp_path: Path, random_market: Callable[..., pd.DataFrame]) -> None:
    """Bars written to CSV with all their digits have the digest of the same bars in Parquet, with any pandas."""
    bars = random_market(2_000)
    bars.to_csv(tmp_path / "bars.csv")
    bars.to_parquet(tmp_path / "bars.parquet")
    assert data_digest(load_ohlcv(tmp_path / "bars.csv")) == data_digest(load_ohlcv(tmp_path / "bars.parquet"))


def test_volume_may_be_absent(tmp_path: Path) -> None:
    """Volume is optional; without it the frame has no such column."""
    text = "timestamp,o,h,l,c\n2020-01-02,10,12,9,11\n2020-01-03,11,13,10,12\n"
    assert list(load_ohlcv(write(tmp_path, text)).columns) == ["open", "high", "low", "close"]


def test_columns_can_be_mapped(tmp_path: Path) -> None:
    """A mapping wins over aliases; a wrong mapping names the nearest column."""
    path = write(tmp_path, GOOD)
    adjusted = tmp_path / "adjusted.csv"
    adjusted.write_text(GOOD.replace("5.5", "11.5").replace(",6,", ",12.5,").replace("6.5", "13.5"))
    df = load_ohlcv(adjusted, columns={"close": "Adj Close"})
    assert df["close"].tolist() == [11.5, 12.5, 13.5]
    with pytest.raises(DataError, match=r"'Opn', which is not in the file\. Did you mean 'Open'\?"):
        load_ohlcv(path, columns={"open": "Opn"})
    with pytest.raises(DataError, match=r"'opn' is not one of our columns\. Did you mean 'open'\?"):
        load_ohlcv(path, columns={"opn": "Open"})
    twice = tmp_path / "twice.csv"
    twice.write_text("Date,Open,High,Low,Close,Close\n2020-01-02,1,2,1,1,900\n")
    with pytest.raises(DataError, match=r"two columns named 'Close'"):
        load_ohlcv(twice)
    utf16 = tmp_path / "utf16.csv"
    utf16.write_bytes(GOOD.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"utf16\.csv cannot be read.*Save it as UTF-8\."):
        load_ohlcv(utf16)
    with pytest.raises(DataError, match="no column for high"):
        load_ohlcv(write(tmp_path, replaced("High", "Top")))


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ("12,9,11,5.5", ",9,11,5.5", "every value is a number", "line 2 "),
        ("12,9,11,5.5", "inf,9,11,5.5", "every value is a number", "line 2 "),
        ("12,9,11,5.5", "n/k,9,11,5.5", "every value is a number", "high n/k"),
        ("2020-01-03", "2020-01-02", "each timestamp occurs once", "line 3 "),
        ("2020-01-03", "2020-01-01", "timestamps increase from row to row", "line 3 "),
        ("10,12,9", "-10,12,-11", "prices are above zero", "line 2 "),
        ("12,9,11,5.5", "10.5,9,11,5.5", r"high >= max\(open, close\)", "line 2 "),
        ("13,10,12", "13,11.5,12", r"low <= min\(open, close\)", "line 3 "),
        ("6,200", "6,-200", "volume is not negative", "line 3 "),
        ("6,200", "6,n/k", "every value is a number", "volume n/k"),
    ],
)
def test_contract_names_file_row_and_rule(tmp_path: Path, old: str, new: str, rule: str, line: str) -> None:
    """A broken rule is a DataError that names the file, the line of the file and the rule."""
    with pytest.raises(DataError, match=rf"(?s)bars\.csv breaks the data contract.*rule: {rule}.*{line}"):
        load_ohlcv(write(tmp_path, replaced(old, new)))


def test_contract_lists_all_broken_rules_at_once(tmp_path: Path) -> None:
    """Every broken rule is told in one message, rows after the third are counted."""
    rows = [f"2020-01-{day:02d},10,9,9.5,-1,100\n" for day in range(1, 11)]
    with pytest.raises(DataError) as caught:
        load_ohlcv(write(tmp_path, "date,open,high,low,close,volume\n" + "".join(rows)))
    message = str(caught.value)
    for rule in ("prices are above zero", "high >= max(open, close)", "low <= min(open, close)"):
        assert rule in message
    assert "10 rows break it: line 2 (2020-01-01T00:00:00Z" in message
    assert "and 7 more" in message


def test_swapped_columns_are_found(tmp_path: Path) -> None:
    """High and low swapped in the header break the contract, and the message says so."""
    text = GOOD.replace("High,Low", "Low,High")
    with pytest.raises(DataError, match="high is below low: the two columns look swapped"):
        load_ohlcv(write(tmp_path, text))


def test_blank_lines_do_not_shift_line_numbers(tmp_path: Path) -> None:
    """Blank lines are skipped and messages still count the lines of the file."""
    load_ohlcv(write(tmp_path, GOOD + "\n\n"))
    with pytest.raises(DataError, match="line 5 "):
        load_ohlcv(write(tmp_path, replaced("2020-01-06,12", "\n2020-01-06,-12")))


def test_missing_file_names_the_full_path(tmp_path: Path) -> None:
    """A missing file is told with the path tried and the nearest file or sample."""
    write(tmp_path, GOOD)
    with pytest.raises(DataError, match=r"(?s)bar\.csv does not exist.*Did you mean 'bars\.csv'"):
        source_path("bar.csv", tmp_path)
    with pytest.raises(DataError, match=str(tmp_path / "bar.csv")):
        source_path("bar.csv", tmp_path)
    with pytest.raises(DataError, match="sample:sp500"):
        source_path("sp500", tmp_path)
    with pytest.raises(DataError, match=r"'sp50'. Did you mean 'sp500'"):
        source_path("sample:sp50")
    with pytest.raises(DataError, match="is a directory"):
        source_path(".", tmp_path)


def test_unreadable_files_are_data_errors(tmp_path: Path) -> None:
    """Other suffixes, empty, binary and header-only files are refused with the path."""
    with pytest.raises(DataError, match=r"ends with \.csv"):
        source_path(write(tmp_path, GOOD, "bars.xlsx"))
    with pytest.raises(DataError, match=r"empty\.csv cannot be read"):
        load_ohlcv(write(tmp_path, "", "empty.csv"))
    with pytest.raises(DataError, match="has no rows"):
        load_ohlcv(write(tmp_path, GOOD.partition("\n")[0] + "\n"))
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"torn\.parquet cannot be read"):
        load_ohlcv(tmp_path / "torn.parquet")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match=r"binary\.csv"):
        load_ohlcv(tmp_path / "binary.csv")


def test_rows_longer_than_the_header_are_refused(tmp_path: Path) -> None:
    """Decimal commas between commas would move every value into the next column, in the first row or in the last."""
    head, fine = "date,open,high,low,close\n", "".join(f"2020-01-{day:02d},1,3,0.5,2\n" for day in range(3, 30))
    with pytest.raises(DataError, match="more values in a row than names"):
        load_ohlcv(write(tmp_path, f"{head}2020-01-02,1,5,3,0,0,5,2,0\n{fine}"))
    with pytest.raises(DataError, match="Expected 5 fields in line 110, saw 6"):
        load_ohlcv(write(tmp_path, f"{head}{fine * 4}2020-02-02,1,3,0.5,2,9\n"))


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    """Which of Close and close is the close would be a guess; data.columns says it."""
    path = write(tmp_path, "Date,Open,High,Low,Close,close\n2020-01-02,1,3,0.5,2,1\n")
    with pytest.raises(DataError, match="'Close' and 'close' could both be close"):
        load_ohlcv(path)
    assert load_ohlcv(path, columns={"close": "close"})["close"].iloc[0] == 1.0


@pytest.mark.parametrize("kind", ["filtered", "put together", "by symbol", "index and column"])
def test_parquet_with_any_index(tmp_path: Path, kind: str) -> None:
    """Row numbers that a filter or a concatenation left are no timestamps; levels of an index are columns."""
    n, dates = 6, pd.date_range("2020-01-01", periods=6)
    frame = pd.DataFrame({"timestamp": dates, "open": 1.0, "high": 3.0, "low": 0.5, "close": 2.0, "volume": range(n)})
    made = {
        "filtered": frame[frame["volume"].isin([0, 1, 3, 4])],
        "put together": frame.set_index(pd.Index([0, 1, 2, 0, 1, 2])),
        "by symbol": frame.assign(symbol="X").set_index(["symbol", "timestamp"]),
        "index and column": frame.set_index("timestamp", drop=False),
    }[kind]
    made.to_parquet(tmp_path / "bars.parquet")
    assert load_ohlcv(tmp_path / "bars.parquet").index[0] == pd.Timestamp("2020-01-01", tz="UTC")


def test_date_range_is_inclusive(tmp_path: Path) -> None:
    """Start and end are inclusive; an end date includes its whole day."""
    df = load_ohlcv("sample:sp500", start=dt.date(2010, 1, 4), end="2010-01-06")
    assert [f"{stamp:%m-%d}" for stamp in df.index] == ["01-04", "01-05", "01-06"]
    hourly = "time,o,h,l,c\n" + "".join(f"2020-01-0{d}T1{h}:00:00Z,1,1,1,1\n" for d in (1, 2) for h in (0, 5))
    assert len(load_ohlcv(write(tmp_path, hourly), end="2020-01-01")) == 2


def test_empty_range_names_both_ranges() -> None:
    """An empty range is an error that tells the range asked for and the range there is."""
    with pytest.raises(
        DataError, match=r"no bars from 2030-01-01 to the end: it holds 5,031 bars from 1999-01-04.*to 2018-12-31"
    ):
        load_ohlcv("sample:sp500", start="2030-01-01")
    with pytest.raises(DataError, match="'soon' is not a date"):
        load_ohlcv("sample:sp500", start="soon")


def test_ambiguous_dates_are_refused(tmp_path: Path) -> None:
    """03/04/2020 has two meanings: it is read only with a date_format."""
    text = (
        GOOD.replace("2020-01-02", "03/04/2020").replace("2020-01-03", "04/04/2020").replace("2020-01-06", "05/04/2020")
    )
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=r"'03/04/2020' in line 2, line 3, line 4 is not ISO-8601.*date_format"):
        load_ohlcv(path)
    assert load_ohlcv(path, date_format="%d/%m/%Y").index[0] == pd.Timestamp("2020-04-03", tz="UTC")
    with pytest.raises(DataError, match="cannot be read with date_format"):
        load_ohlcv(path, date_format="%Y/%m/%d")


def test_intraday_needs_a_zone(tmp_path: Path) -> None:
    """Times of day without a zone are refused until timezone says which clock they are on."""
    path = write(
        tmp_path,
        GOOD.replace("2020-01-02", "2020-01-02 09:30:00")
        .replace("2020-01-03", "2020-01-03 09:30")
        .replace("2020-01-06", "2020-01-06T09:30:00"),
    )
    with pytest.raises(DataError, match="no zone"):
        load_ohlcv(path)
    assert load_ohlcv(path, timezone="America/New_York").index[0] == pd.Timestamp("2020-01-02T14:30Z")
    for unknown in ("Mars/Olympus", "America", "../etc/passwd", ""):
        with pytest.raises(DataError, match="not a time zone"):
            load_ohlcv(path, timezone=unknown)


def test_hours_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    """A local time inside a clock change has no single instant."""
    path = write(tmp_path, "time,o,h,l,c\n2020-03-08 02:30:00,1,1,1,1\n2020-03-08 04:00:00,1,1,1,1\n")
    with pytest.raises(DataError, match="2020-03-08 02:30:00 has no single meaning in America/New_York"):
        load_ohlcv(path, timezone="America/New_York")


def test_offsets_are_honoured_and_not_mixed(tmp_path: Path) -> None:
    """Timestamps with offsets become UTC; a file that has them only in some rows is refused."""
    text = GOOD.replace("2020-01-02", "2020-01-02T09:30:00-05:00").replace("2020-01-03", "2020-01-03T09:30:00-05:00")
    with pytest.raises(DataError, match="line 4 do not"):
        load_ohlcv(write(tmp_path, text))
    whole = text.replace("2020-01-06", "2020-01-06T14:30:00Z")
    assert load_ohlcv(write(tmp_path, whole)).index[0] == pd.Timestamp("2020-01-02T14:30Z")


def test_numbers_need_an_epoch_unit(tmp_path: Path) -> None:
    """Integers are dates only when date_format says which."""
    path = write(tmp_path, "time,o,h,l,c\n1577836800000,1,1,1,1\n1577840400000,1,1,1,1\n")
    with pytest.raises(DataError, match=r"milliseconds|'ms'"):
        load_ohlcv(path)
    assert load_ohlcv(path, date_format="ms").index[1] == pd.Timestamp("2020-01-01T01:00Z")
    with pytest.raises(DataError, match="the timestamp is missing in line 3"):
        load_ohlcv(write(tmp_path, "time,o,h,l,c\n2020-01-01,1,1,1,1\n,1,1,1,1\n"))


def test_an_epoch_in_another_unit_is_refused(tmp_path: Path) -> None:
    """Milliseconds read as seconds lie in the year 51972, which is told and does not fall through."""
    path = write(tmp_path, "time,open,high,low,close\n1577923200000,1,3,0.5,2\n")
    with pytest.raises(DataError, match="cannot be read with date_format 's'"):
        load_ohlcv(path, date_format="s")


@pytest.mark.parametrize(
    ("freq", "periods", "expected"),
    [
        ("B", 500, 252.0), ("D", 500, 365.0), ("h", 500, 8760.0), ("min", 20_000, 525_600.0),
        ("W-FRI", 100, 52.0), ("ME", 40, 12.0), ("QE", 12, 4.0), ("YE", 5, 1.0), ("B", 3, 252.0),
        ("3D", 200, 365.0 / 3.0), ("2B", 200, 126.0), ("36h", 200, 365.0 / 1.5), ("2W", 50, 26.0),
        ("2MS", 30, 6.0), ("6MS", 12, 2.0), ("10D", 50, 36.525),
    ],
)  # fmt: skip
def test_bars_a_year_come_from_the_spacing(freq: str, periods: int, expected: float) -> None:
    """252 is never assumed: the number of bars a year follows from the bars."""
    assert periods_per_year(pd.date_range("2020-01-03", periods=periods, freq=freq, tz="UTC")) == expected


@pytest.mark.parametrize(("freq", "bars_a_day"), [("60min", 7), ("1min", 390), ("5min", 78)])
def test_bars_a_year_of_a_stock_session(freq: str, bars_a_day: int) -> None:
    """Intraday bars of a stock count as bars a session times 252."""
    days = pd.date_range("2020-01-06 14:30", periods=15, freq="B", tz="UTC")
    stamps = [day + pd.Timedelta(freq) * i for day in days for i in range(bars_a_day)]
    assert periods_per_year(pd.DatetimeIndex(stamps)) == bars_a_day * 252.0


def test_bars_a_year_needs_two_bars(sp500: pd.DataFrame) -> None:
    """One bar has no spacing; the sample is daily."""
    assert periods_per_year(sp500.index) == 252.0
    with pytest.raises(DataError, match="at least 2 bars"):
        periods_per_year(sp500.index[:1])


def test_digest_is_of_the_content(sp500: pd.DataFrame) -> None:
    """Equal bars have equal digests whatever the resolution, column order or zero's sign; any change shows."""
    digest = data_digest(sp500)
    assert data_digest(sp500[["volume", "low", "close", "high", "open"]]) == digest
    assert data_digest(sp500.set_axis(sp500.index.as_unit("us"), axis=0)) == digest
    assert data_digest(sp500.set_axis(sp500.index.tz_convert("Asia/Tokyo"), axis=0)) == digest
    changed = sp500.copy()
    changed.iloc[17, 2] = np.nextafter(changed.iloc[17, 2], 0.0)
    assert data_digest(changed) != digest
    assert data_digest(sp500.iloc[1:]) != digest
    assert data_digest(sp500.drop(columns="volume")) != digest


def test_check_frame_uses_the_same_contract(sp500: pd.DataFrame) -> None:
    """A frame made by hand is held to the same rules, rows named by position and time."""
    check_frame(sp500)
    check_frame(sp500.astype("float32").astype("float64"))
    broken = sp500.copy()
    broken.iloc[3, 1] = 1.0
    with pytest.raises(DataError, match=r"high >= max\(open, close\). 1 row breaks it: row 4 \(1999-01-07"):
        check_frame(broken)
    with pytest.raises(DataError, match="DatetimeIndex in UTC"):
        check_frame(sp500.reset_index(drop=True))
    with pytest.raises(DataError, match="missing: close"):
        check_frame(sp500.drop(columns="close"))


def test_import_is_cheap() -> None:
    """Finding a source and checking a strategy's params loads neither pandas nor numpy nor pandera."""
    code = (
        "import sys, pipeline.backtest as b; b.source_path('sample:sp500');"
        "b.resolve_params(b.get_strategy('macd'), {'fast': 5});"
        "print([m for m in ('numpy', 'pandas', 'pandera', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_accepted_at_a_glance_keeps_the_contract(data: st.DataObject, sp500: pd.DataFrame) -> None:
    """The comparisons that spare pandera its work accept what pandera accepts, and nothing else."""
    odd = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1.0, 1e9])
    frame = sp500.iloc[:5].copy()
    for _ in range(data.draw(st.integers(0, 3))):
        frame.iat[data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))] = data.draw(odd)
    order = data.draw(st.sampled_from([[0, 1, 2, 3, 4], [0, 2, 1, 3, 4], [0, 1, 1, 3, 4]]))
    stamps = pd.DatetimeIndex(frame.index[order])
    schema = ohlcv_schema(volume=True)
    try:
        schema.validate(frame.set_axis(pd.RangeIndex(5)).assign(timestamp=stamps), lazy=True)
    except pandera.errors.SchemaErrors:
        with pytest.raises(DataError, match="breaks the data contract"):
            checked(frame, stamps, list("abcde"), where="it")
    else:
        assert checked(frame, stamps, list("abcde"), where="it").equals(frame.set_axis(stamps))


def test_a_file_that_is_cut_or_damaged_is_refused(tmp_path: Path) -> None:
    """Packed text cut anywhere, Parquet and Feather with damage at its end, where its description is."""
    text = source_path("sample:sp500").read_bytes()[:4000]
    frame = load_ohlcv("sample:sp500").iloc[:50].reset_index()
    frame.to_parquet(tmp_path / "whole.parquet")
    frame.to_feather(tmp_path / "whole.feather")
    packed = gzip.compress(text)
    damaged = {f"{cut}.csv.gz": packed[:cut] for cut in (0, 1, 10, 18, len(packed) // 2, len(packed) - 1)}
    for name in ("whole.parquet", "whole.feather"):
        data = (tmp_path / name).read_bytes()
        end = len(data) - 300
        damaged |= {f"{at}{name}": data[:at] + b"\xff" * 8 + data[at + 8 :] for at in range(end, len(data), 37)}
    refused = set()
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
        try:
            load_ohlcv(tmp_path / name)
        except DataError:
            refused.add(name.rpartition(".")[2])
            continue
        assert not name.endswith(".gz")  # the columnar ones describe what nobody reads, too
    assert refused == {"gz", "parquet", "feather"}


def test_an_archive_that_unpacks_to_far_more_than_a_table_is_refused(tmp_path: Path) -> None:
    """A hundred megabytes of nothing in a hundred kilobytes: it is not unpacked to its end."""
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(bytes(100_000_000)))
    with pytest.raises(DataError, match="unpacks to more than 200 times"):
        load_ohlcv(tmp_path / "bomb.csv.gz")


@pytest.mark.parametrize("day", [dt.date.max, "9999-12-31", "9999-12-31T23:59:59-05:00", dt.date(2262, 4, 12)])
def test_a_range_may_end_when_it_likes(day: dt.date | str) -> None:
    """The last day that can be written is later than all bars, and the first one is earlier."""
    whole = load_ohlcv("sample:sp500")
    assert len(load_ohlcv("sample:sp500", end=day)) == len(whole)
    assert len(load_ohlcv("sample:sp500", start=dt.date.min, end=day)) == len(whole)
    with pytest.raises(DataError, match="has no bars from"):
        load_ohlcv("sample:sp500", start=day)
    with pytest.raises(DataError, match="has no bars from"):
        load_ohlcv("sample:sp500", end="0001-01-01")


@pytest.mark.parametrize("date_format", ["%", "%Y%", "%Q"])
def test_what_is_no_format_is_said(date_format: str) -> None:
    """Pandas refuses the format itself, not the values."""
    with pytest.raises(DataError, match="cannot be read with date_format"):
        load_ohlcv("sample:sp500", date_format=date_format)
