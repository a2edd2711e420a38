"""Files as vendors and programs write them: each is read right, or its message says what to write, and it suffices."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.backtest import load_ohlcv
from pipeline.backtest.benchmark import load_series
from pipeline.errors import DataError, DataWarning

HEAD = "Date,Open,High,Low,Close\n"
ROWS = "2020-01-06,1.5,3,1,2\n2020-01-07,2,4,1.5,3.25\n"
WANTED = [[1.5, 3.0, 1.0, 2.0], [2.0, 4.0, 1.5, 3.25]]
DAYS = ["2020-01-06", "2020-01-07"]

METATRADER_5 = (
    "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    "2020.01.06\t00:00:00\t1.5\t3\t1\t2\t100\t0\t3\n2020.01.07\t00:00:00\t2\t4\t1.5\t3.25\t100\t0\t3\n"
)
METATRADER_4 = "2020.01.06,00:00,1.5,3,1,2,100\n2020.01.07,00:00,2,4,1.5,3.25,100\n"
STOOQ = (
    "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
    "A.US,D,20200106,000000,1.5,3,1,2,5,0\nA.US,D,20200107,000000,2,4,1.5,3.25,5,0\n"
)
KLINES = "1578268800000,1.5,3,1,2,5,1578355199999,5,1,1,1,0\n1578355200000,2,4,1.5,3.25,5,1578441599999,5,1,1,1,0\n"
INVESTING = (
    '"Date","Price","Open","High","Low","Vol.","Change %"\n'
    '"01/07/2020","3.25","2.00","4.00","1.50","1.23M","-1.77%"\n"01/06/2020","2.00","1.50","3.00","1.00","900K","0.31%"\n'
)
NASDAQ = "Date,Close/Last,Volume,Open,High,Low\n01/17/2020,$3.25,5,$2,$4,$1.5\n01/16/2020,$2,5,$1.50,$3,$1\n"
BLOOMBERG = (
    "Security,SPX Index\nStart Date,2020-01-01\n\nDate,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME\n"
    "2020-01-06,1.5,3,1,2,5\n2020-01-07,2,4,1.5,3.25,5\n"
)
TRADINGVIEW = "time,open,high,low,close,Volume\n1578268800,1.5,3,1,2,5\n1578355200,2,4,1.5,3.25,5\n"
GERMAN = (
    "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen\n07.01.2020;2,00;4,00;1,50;3,25;40.000\n"
    "06.01.2020;1,50;3,00;1,00;2,00;30.000\n"
)
CRYPTO_DATA = (
    "https://www.example.com\nunix,date,symbol,open,high,low,close,Volume BTC\n"
    "1578355200000,2020-01-07 00:00:00,BTC/USD,2,4,1.5,3.25,5\n1578268800000,2020-01-06 00:00:00,BTC/USD,1.5,3,1,2,5\n"
)
YFINANCE = (
    "Price,Close,High,Low,Open,Volume\nTicker,MSFT,MSFT,MSFT,MSFT,MSFT\nDate,,,,,\n"
    "2020-01-06,2,3,1,1.5,5\n2020-01-07,3.25,4,1.5,2,5\n"
)
BARCHART = "Time,Open,High,Low,Last,Change,%Chg,Volume\n2020-01-06,1.5,3,1,2,0,0%,5\n2020-01-07,2,4,1.5,3.25,0,0%,5\n"


def read(path: Path, **options: Any) -> pd.DataFrame:
    """Read bars; what is told of the reading is not the point here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_ohlcv(path, **options)


def advised(message: str) -> dict[str, Any]:
    """Return the options that a message asks for."""
    found: dict[str, Any] = {}
    for name in ("date_format", "timezone", "decimal", "symbol"):
        if hit := re.search(rf"\b{name} = '([^']+)'", message):
            found[name] = hit.group(1)
    if hit := re.search(r"data\.columns = \{ (.*) \}", message):
        found["columns"] = dict(re.findall(r"(\w+) = '([^']*)'", hit.group(1)))
    if hit := re.search(r"skip_rows = (\d+)", message):
        found["skip_rows"] = int(hit.group(1))
    return found


def read_by_advice(path: Path, **options: Any) -> pd.DataFrame:
    """Read bars, doing what each refusal says, at most three times."""
    for _ in range(3):
        try:
            return read(path, **options)
        except DataError as error:
            options |= advised(str(error))
    return read(path, **options)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ROWS,
        "\ufeff" + HEAD + ROWS,
        (HEAD + ROWS).replace("\n", "\r\n"),
        (HEAD + ROWS).replace(",", ";"),
        (HEAD + ROWS).replace(",", "\t"),
        (HEAD + ROWS).replace(",", " , "),
        (HEAD + ROWS).replace(",", ";").replace(".", ","),
        HEAD + "\n".join(reversed(ROWS.split())) + "\n",
        HEAD + ROWS.replace("\n", ",\n"),
        HEAD.replace("Date", "") + ROWS,
        HEAD.replace("Date,", "") + ROWS,
        ",Date,Open,High,Low,Close\n0,2020-01-06,1.5,3,1,2\n1,2020-01-07,2,4,1.5,3.25\n",
        "Date Open High Low Close\n2020-01-06 1.5 3 1 2\n\n2020-01-07 2 4 1.5 3.25\n",
        METATRADER_5, METATRADER_4, STOOQ, KLINES, INVESTING, BLOOMBERG, TRADINGVIEW, GERMAN,
        CRYPTO_DATA, YFINANCE, BARCHART,
        ROWS,
        "# made by me\n" + HEAD + ROWS,
        HEAD + ROWS.replace("2020-01-", "2020."),
        HEAD.replace("Date,", "Date,Time,") + ROWS.replace(",", ",00:00,", 1).replace("07,", "07,00:00,"),
        HEAD + ROWS.replace("2020-01-06", "43836").replace("2020-01-07", "43837"),
        (HEAD + ROWS).replace(",", ";").replace("2020-01-06", "43836,00").replace("2020-01-07", "43837,00"),
        HEAD + ROWS.replace("2020-01-06", "6-Jan-20").replace("2020-01-07", "7-Jan-20"),
        HEAD + ROWS.replace("2020-01-06", "20200106").replace("2020-01-07", "20200107"),
    ],
)  # fmt: skip
def test_a_file_is_read_or_its_message_leads_to_a_run(tmp_path: Path, text: str) -> None:
    """Whatever wrote the file: following what the messages say, and nothing else, ends with the right bars."""
    text = text.replace("2020.06", "2020.01.06").replace("2020.07", "2020.01.07")
    (tmp_path / "bars.csv").write_text(text, encoding="utf-8")
    bars = read_by_advice(tmp_path / "bars.csv")
    assert [f"{stamp:%Y-%m-%d}" for stamp in bars.index] in (DAYS, ["2020-07-01", "2020-06-01"][::-1])
    assert bars[["open", "high", "low", "close"]].to_numpy().tolist() == WANTED


def test_other_encodings_and_archives(tmp_path: Path) -> None:
    """UTF-16 with its mark, text and archives of one file, Feather: the same bars."""
    text = HEAD + ROWS
    (tmp_path / "wide.csv").write_text(text, encoding="utf-16")
    for name in ("bars.txt", "bars.tsv", "BARS.CSV"):
        (tmp_path / name).write_text(text)
    with zipfile.ZipFile(tmp_path / "one.csv.zip", "w") as archive:
        archive.writestr("inside.csv", text)
    read(tmp_path / "bars.txt").reset_index().to_feather(tmp_path / "bars.feather")
    for path in sorted(tmp_path.iterdir()):
        assert read(path).to_numpy().tolist() == WANTED, path.name
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", text)
    with pytest.raises(DataError, match="holds 2 files"):
        read(tmp_path / "two.csv.zip")


def test_a_volume_of_zeros_gives_way_to_another_one(tmp_path: Path) -> None:
    """MetaTrader's <VOL> is 0 for most brokers, and <TICKVOL> is what they count; a volume that is named is taken."""
    path, form = tmp_path / "EURUSD.csv", {"date_format": "%Y.%m.%d %H:%M:%S"}
    path.write_text(METATRADER_5)
    with pytest.warns(DataWarning, match=r"'<VOL>' is 0 in every row, so the volume is that of '<TICKVOL>'"):
        assert load_ohlcv(path, **form)["volume"].tolist() == [100.0, 100.0]
    assert read(path, columns={"volume": "<VOL>"}, **form)["volume"].tolist() == [0.0, 0.0]
    path.write_text(METATRADER_5.replace("100\t0", "100\t7"))
    assert read(path, **form)["volume"].tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    ("rows", "doubtful"),
    [
        ("2020-01-06;15;30;10;20;1.234\n2020-01-07;20;40;15;32;900\n", True),
        ("2020-01-06;15;30;10;20;1.234\n2020-01-07;20;40;15;32;1900\n", False),
        ("2020-01-06;15;30;10;20;0.234\n2020-01-07;20;40;15;32;1.5\n", False),
        ("2020-01-06;1.5;3;1;2;1.234\n2020-01-07;2;4;1.5;3.25;900\n", False),
        ("2020-01-06;15;30;10;20;1.234\n2020-01-07;20;40;15;32;1.2345\n", False),
    ],
)
def test_a_volume_with_two_meanings_is_told(tmp_path: Path, rows: str, doubtful: bool) -> None:
    """Thousands by points, as in German files, beside whole prices; where another number tells, nothing is said."""
    path = tmp_path / "bars.csv"
    path.write_text("Date;Open;High;Low;Close;Volume\n" + rows)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        load_ohlcv(path)
    assert any("1.234 was read as 1.234, not as 1,234" in str(item.message) for item in told) is doubtful
    if doubtful:
        assert read(path, decimal=",")["volume"].tolist() == [1234.0, 900.0]


def test_the_first_bar_of_a_file_without_header_is_kept(tmp_path: Path) -> None:
    """The first line is a bar; it is said so, and columns are named by their number."""
    (tmp_path / "bars.csv").write_text(ROWS)
    with pytest.raises(DataError, match="no header: line 1 is a row of values, 2020-01-06"):
        read(tmp_path / "bars.csv")
    named = {"timestamp": "1", "open": "2", "high": "3", "low": "4", "close": "5"}
    assert len(read(tmp_path / "bars.csv", columns=named)) == 2
    (tmp_path / "bars.csv").write_text(ROWS.replace(",3,1,2", ",0.5,1,2"))
    with pytest.raises(DataError, match=r"line 1 \(2020-01-06"):
        read(tmp_path / "bars.csv", columns=named)


BESIDE = (
    "Price,Close,Close,High,High,Low,Low,Open,Open\nTicker,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT\nDate,,,,,,,,\n"
    "2020-01-06,9,2,9,3,9,1,9,1.5\n2020-01-07,9,3.25,9,4,9,1.5,9,2\n"
)
BELOW = (
    "date,open,high,low,close,Name\n2020-01-06,9,9,9,9,AAPL\n2020-01-07,9,9,9,9,AAPL\n"
    "2020-01-06,1.5,3,1,2,MSFT\n2020-01-07,2,4,1.5,3.25,MSFT\n"
)


@pytest.mark.parametrize("text", [BESIDE, BELOW])
def test_of_several_instruments_one_is_chosen(tmp_path: Path, text: str) -> None:
    """Beside or below each other: which one is said by the symbol, and without it the file is refused.

    What is told of it is sealed, so it does not say where on this machine the file is.
    """
    (tmp_path / "bars.csv").write_text(text)
    with pytest.raises(DataError, match=r"holds 2 instruments: AAPL, MSFT.*symbol = 'AAPL'"):
        read(tmp_path / "bars.csv")
    with pytest.warns(DataWarning, match=r"^Of the 2 instruments in the file, MSFT was read\.$"):
        bars = load_ohlcv(tmp_path / "bars.csv", symbol="MSFT")
    assert bars.to_numpy().tolist() == WANTED
    wide = pd.concat({name: bars[["open", "high", "low", "close"]] for name in ("AAPL", "MSFT")}, axis=1)
    wide.rename_axis(index="Date").to_parquet(tmp_path / "wide.parquet")
    assert read(tmp_path / "wide.parquet", symbol="MSFT").to_numpy().tolist() == WANTED


@pytest.mark.parametrize(
    ("value", "decimal", "number"),
    [
        ("1,234.50", None, 1234.5), ("1.234,50", None, 1234.5), ("1234,5", None, 1234.5), ("1 234,5", None, 1234.5),
        ("1,23,400.00", None, 123400.0), ("12,34,567", None, 1234567.0),
        ("1,234,567", None, 1234567.0), ("1.234.567", None, 1234567.0), ("1'234.5", None, 1234.5),
        ("$1,234.50", None, 1234.5), ("0,123", None, 0.123), ("1.234", None, 1.234),
        ("1,234", ",", 1.234), ("1,234", ".", 1234.0), ("1.234", ",", 1234.0),
    ],
)  # fmt: skip
def test_numbers_with_thousands_and_decimal_commas(
    tmp_path: Path, value: str, decimal: str | None, number: float
) -> None:
    """A comma or a point is read as the sign it can only be; one that could be both needs data.decimal."""
    rows = "".join(f'2020-01-0{day};"{value}";"{value}";"{value}";"{value}"\n' for day in (6, 7))
    (tmp_path / "bars.csv").write_text("Date;Open;High;Low;Close\n" + rows)
    assert read(tmp_path / "bars.csv", decimal=decimal)["close"].tolist() == [number, number]
    if decimal is not None and "," in value:
        with pytest.raises(DataError, match="has two meanings"):
            read(tmp_path / "bars.csv")


def test_one_sign_counts_for_all_columns(tmp_path: Path) -> None:
    """A volume of 30.000 beside prices with decimal commas is thirty thousand."""
    (tmp_path / "bars.csv").write_text(GERMAN)
    bars = read_by_advice(tmp_path / "bars.csv", date_format="%d.%m.%Y")
    assert bars["volume"].tolist() == [30_000.0, 40_000.0]
    (tmp_path / "bars.csv").write_text(INVESTING)
    assert read(tmp_path / "bars.csv", date_format="%m/%d/%Y")["volume"].tolist() == [900_000.0, 1_230_000.0]


def test_volume_that_is_blank(tmp_path: Path) -> None:
    """Volume is optional: dashes and blanks leave it out, and that is told; a volume that was asked for is needed."""
    (tmp_path / "bars.csv").write_text("Date,Open,High,Low,Close,Volume\n2020-01-06,1,2,1,1,-\n2020-01-07,1,2,1,1,5\n")
    with pytest.warns(DataWarning, match="volume is blank in line 2, so it was left out"):
        assert "volume" not in load_ohlcv(tmp_path / "bars.csv")
    with pytest.raises(DataError, match=r"line 2.*columns\.volume = ''"):
        load_ohlcv(tmp_path / "bars.csv", columns={"volume": "Volume"})
    assert "volume" not in load_ohlcv(tmp_path / "bars.csv", columns={"volume": ""})


@pytest.mark.parametrize(("first", "second"), [("Jan 20", "Feb 20"), ("2020.01", "2020.02"), ("Jan-2020", "Feb-2020")])
def test_months_are_read(tmp_path: Path, first: str, second: str) -> None:
    """Bars of months that name no day are the first days of these months."""
    (tmp_path / "bars.csv").write_text(HEAD + ROWS.replace("2020-01-06", first).replace("2020-01-07", second))
    bars = read_by_advice(tmp_path / "bars.csv")
    assert [f"{stamp:%Y-%m-%d}" for stamp in bars.index] == ["2020-01-01", "2020-02-01"]


def test_dates_that_no_format_reads_are_to_be_written_anew(tmp_path: Path) -> None:
    """No strptime format reads weeks and quarters without a day: none is suggested."""
    for first, second in (("2020-W02", "2020-W03"), ("2020Q1", "2020Q2")):
        (tmp_path / "bars.csv").write_text(HEAD + ROWS.replace("2020-01-06", first).replace("2020-01-07", second))
        with pytest.raises(DataError, match="No usual date_format reads them: write them as 2020-04-03"):
            read(tmp_path / "bars.csv")


def test_excel_day_numbers_with_decimal_commas(tmp_path: Path) -> None:
    """A spreadsheet in a country of decimal commas writes 14:30 of a day as 43836,604166667."""
    (tmp_path / "bars.csv").write_text("Date;Open;High;Low;Close\n43836,604166667;1;1;1;1\n43836,645833333;1;1;1;1\n")
    bars = read(tmp_path / "bars.csv", date_format="excel", timezone="UTC")
    assert bars.index.tolist() == [pd.Timestamp("2020-01-06T14:30Z"), pd.Timestamp("2020-01-06T15:30Z")]


def test_a_refusal_names_the_column_that_is_meant(tmp_path: Path) -> None:
    """Names of Refinitiv are known; of others one that says date is suggested; a volume of -1 can be left out."""
    path = tmp_path / "bars.csv"
    path.write_text("#RIC,Date-Time,Price Open,Price High,Price Low,Price Close\nA,2020-01-06T14:00:00Z,1,2,1,1\n")
    assert read(path).to_numpy().tolist() == [[1.0, 2.0, 1.0, 1.0]]
    path.write_text("#RIC,Trade Date,open,high,low,close,volume\nA,2020-01-06,1,2,1,1,-1\n")
    with pytest.raises(DataError, match="as timestamp = 'Trade Date'"):
        read(path)
    with pytest.raises(DataError, match=r"columns\.volume = ''"):
        read(path, columns={"timestamp": "Trade Date"})
    assert len(read(path, columns={"timestamp": "Trade Date", "volume": ""})) == 1


def test_what_is_said_of_a_benchmark_holds_for_a_benchmark(tmp_path: Path) -> None:
    """The keys data.symbol and data.decimal do not reach its file, so they are not advised."""
    path = tmp_path / "index.csv"
    for text, said in ((BESIDE, "Give a file of one"), ("date;value\n2020-01-06;1,234\n", "with decimal points")):
        path.write_text(text)
        with pytest.raises(DataError, match=said) as raised:
            load_series(path)
        assert "data." not in str(raised.value)


def test_a_line_below_the_table_is_named(tmp_path: Path) -> None:
    """What a vendor writes below the table is no date; its line is named, not every line."""
    rows = "".join(f"01/{day:02d}/2020,1,2,1,1\n" for day in range(13, 32))
    (tmp_path / "bars.csv").write_text(f'{HEAD}{rows}"Downloaded from a vendor, 2020"\n')
    for options in ({}, {"date_format": "%m/%d/%Y"}):
        with pytest.raises(DataError, match=r"line 21.*|Take out line 21"):
            read(tmp_path / "bars.csv", **options)
    with pytest.raises(DataError, match=r"Take out line 21, 'Downloaded.*date_format = '%m/%d/%Y'"):
        read(tmp_path / "bars.csv")


def test_date_and_time_are_joined(tmp_path: Path) -> None:
    """Date and time of day in two columns are one timestamp; columns.time = '' leaves the time out."""
    path = tmp_path / "bars.csv"
    path.write_text("Date,Time,Open,High,Low,Close\n2020-01-06,00:00,1,2,1,1\n2020-01-06,01:00,1,2,1,1\n")
    with pytest.raises(DataError, match="no zone"):
        read(path)
    assert read(path, timezone="UTC").index[1] == pd.Timestamp("2020-01-06T01:00Z")
    with pytest.raises(DataError, match=r"each timestamp occurs once.*(?s:.)*columns\.time"):
        read(path, columns={"time": ""})
    path.write_text("Day,Clock,Open,High,Low,Close\n20200106,930,1,2,1,1\n20200106,1000,1,2,1,1\n")
    named = {"timestamp": "Day", "time": "Clock"}
    bars = read(path, columns=named, date_format="%Y%m%d %H%M", timezone="America/New_York")
    assert bars.index[0] == pd.Timestamp("2020-01-06T14:30Z")


def test_what_cannot_be_read_is_told_with_the_file(tmp_path: Path) -> None:
    """Whichever library finds it: the encoding, a torn archive, long numbers that a spreadsheet cut to a few digits."""
    latin = tmp_path / "latin.csv"
    latin.write_bytes(GERMAN.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv cannot be read.*Save it as UTF-8"):
        read(latin)
    for ending in ("gz", "zip", "bz2", "xz"):
        (tmp_path / f"torn.csv.{ending}").write_bytes(b"not an archive")
        with pytest.raises(DataError, match=rf"torn\.csv\.{ending} cannot be read"):
            read(tmp_path / f"torn.csv.{ending}")
    cut = tmp_path / "cut.csv"
    cut.write_text("time,open,high,low,close\n1.57784E+12,1,1,1,1\n1.57793E+12,1,1,1,1\n")
    with pytest.raises(DataError, match=r"1\.57784E\+12 in line 2, line 3 was cut to a few digits"):
        read(cut, date_format="ms")
    closes = tmp_path / "closes.csv"
    closes.write_text("DATE,SP500\n2020-01-06,3246.28\n2020-01-07,3237.18\n")
    assert read_by_advice(closes)["open"].tolist() == [3246.28, 3237.18]
