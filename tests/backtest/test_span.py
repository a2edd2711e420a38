"""The first and the last bar of the data a spec names: as loading them would say, without it where possible."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.backtest import span
from pipeline.backtest.from_spec import spec_bars
from pipeline.backtest.span import UNKNOWN, data_span
from pipeline.spec_sections import DataSection

HEAD = "Date,Open,High,Low,Close\n"
ROW = ",10,11,9,10\n"


def written(path: Path, stamps: list[str], head: str = HEAD) -> Path:
    path.write_text(head + "".join(f"{stamp}{ROW}" for stamp in stamps))
    return path


@pytest.mark.parametrize(
    ("stamps", "section"),
    [
        (["2020-01-06", "2020-01-07", "2020-01-08"], {}),
        (["2020-01-06 09:30:00", "2020-01-06 09:31:00", "2020-01-06 09:32:00"], {"timezone": "America/New_York"}),
        (["2020-01-06T09:30:00+09:00", "2020-01-06T09:31:00+09:00", "2020-01-06T09:32:00+09:00"], {}),
        (["2020-01-06 00:00:00+01:00", "2020-01-07 00:00:00+01:00", "2020-01-08 00:00:00+01:00"], {}),
        (["2020-01-08", "2020-01-07", "2020-01-06"], {}),
        (["06.01.2020", "07.01.2020", "08.01.2020"], {"date_format": "%d.%m.%Y"}),
        (["1578268800", "1578355200", "1578441600"], {"date_format": "s"}),
    ],
)
def test_it_is_that_of_the_bars(tmp_path: Path, stamps: list[str], section: dict[str, str]) -> None:
    """Days, times with and without a zone, other formats and numbers."""
    data = DataSection(source=str(written(tmp_path / "d.csv", stamps)), **section)
    index = spec_bars(data, tmp_path).frame.index
    assert data_span(data, tmp_path) == tuple(f"{stamp:%Y-%m-%dT%H:%M:%SZ}" for stamp in (index[0], index[-1]))


def test_an_ordinary_csv_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the file, its two ends are read; a run without a report needs no pandas for it."""
    days = pd.bdate_range("2000-01-03", periods=5_000).strftime("%Y-%m-%d").tolist()
    source = str(written(tmp_path / "d.csv", days))
    monkeypatch.setattr(span, "_loaded", lambda *_: pytest.fail("it was loaded"))
    assert data_span(DataSection(source=source), tmp_path) == (f"{days[0]}T00:00:00Z", f"{days[-1]}T00:00:00Z")
    cut = DataSection(source=source, start="2001-05-05", end="2002-06-06")
    assert data_span(cut, tmp_path) == ("2001-05-05T00:00:00Z", "2002-06-06T23:59:59Z")


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """No file, no bars, no times: nothing is claimed, and nothing is raised."""
    assert data_span(DataSection(source="none.csv"), tmp_path) == UNKNOWN
    for name, text in (("empty.csv", ""), ("head.csv", HEAD), ("words.csv", "a,b\nc,d\n")):
        (tmp_path / name).write_text(text)
        assert data_span(DataSection(source=name), tmp_path) == UNKNOWN
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    assert data_span(DataSection(source="d.parquet"), tmp_path) == UNKNOWN
    written(tmp_path / "d.csv", ["2020-01-06", "2020-01-07"])
    assert data_span(DataSection(source="d.csv", start="2021-01-01"), tmp_path) == UNKNOWN
