"""Market data in the lake: imported once, corrected in a new version, asked in SQL."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.backtest.bars_digest import data_digest
from pipeline.backtest.data import load_ohlcv
from pipeline.cli.edge import run_command
from pipeline.errors import DataError, UsageError
from pipeline.lake import connect
from pipeline.lake.market import import_bars, served
from pipeline.lake.market_index import read_market
from pipeline.lake.place import Place
from pipeline.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, tmp_path / "results")


def bars(first: str, count: int, *, freq: str = "D", start: float = 100.0, volume: bool = True) -> pd.DataFrame:
    index = pd.date_range(first, periods=count, freq=freq, name="timestamp", tz=None if freq == "D" else "UTC")
    close = [start + number for number in range(count)]
    prices = {"open": close, "high": [c + 1 for c in close], "low": [c - 1 for c in close], "close": close}
    return pd.DataFrame({**prices, **({"volume": 7.0} if volume else {})}, index=index)


def written(settings: Settings, frame: pd.DataFrame, name: str = "prices.csv") -> str:
    frame.to_csv(settings.root / name)
    return name


def files(settings: Settings) -> set[str]:
    place = settings.lake / "ohlcv"
    return {path.relative_to(place).as_posix() for path in place.rglob("*.parquet")}


def test_bars_come_back_as_the_file_has_them(settings: Settings) -> None:
    """The digest of the series is that of the file's bars; years are files of their own."""
    source = written(settings, bars("2023-12-30", 5))
    done = import_bars(settings, [source], "BTC/USDT", "1d")
    assert (done.added, done.corrected, done.unchanged, done.rows) == (5, 0, 0, 5)
    assert done.bars_sha256 == data_digest(load_ohlcv(settings.root / source))
    pd.testing.assert_frame_equal(served(settings, done.bars_sha256[:12]), load_ohlcv(settings.root / source))
    assert {path.rpartition("/")[0] for path in files(settings)} == {
        "symbol=BTC%2FUSDT/year=2023", "symbol=BTC%2FUSDT/year=2024",
    }  # fmt: skip


def test_what_is_there_changes_nothing(settings: Settings) -> None:
    """The same file again, and as Parquet: no new version, no new file."""
    frame = bars("2024-01-01", 4)
    source = written(settings, frame)
    import_bars(settings, [source], "A", "1d")
    before, versions = files(settings), read_market(Place.of(settings))
    frame.to_parquet(settings.root / "prices.parquet")
    done = import_bars(settings, [source, "prices.parquet"], "A", "1d")
    assert (done.added, done.corrected, done.unchanged) == (0, 0, 4)
    assert files(settings) == before
    assert read_market(Place.of(settings)) == versions


def test_corrections_are_a_new_version_and_the_earlier_one_is_kept(settings: Settings) -> None:
    """An old digest is served for ever; only the year that changed is written again."""
    first = bars("2023-12-30", 4)
    old = import_bars(settings, [written(settings, first)], "A", "1d")
    changed = first.copy()
    changed.loc["2024-01-02", "close"] = changed.loc["2024-01-02", "high"]
    new = import_bars(settings, [written(settings, changed.iloc[2:], "late.csv")], "A", "1d")
    assert (new.added, new.corrected, new.unchanged, new.rows) == (0, 1, 1, 4)
    assert data_digest(served(settings, old.bars_sha256)) == old.bars_sha256
    assert data_digest(served(settings, new.bars_sha256)) == new.bars_sha256 != old.bars_sha256
    assert len(files(settings)) == 3
    more = import_bars(settings, [written(settings, bars("2024-01-03", 3), "more.csv")], "A", "1d")
    assert (more.added, more.corrected, more.rows) == (3, 0, 7)


def test_the_examples_of_the_runbook(settings: Settings) -> None:
    """As they are written there; several symbols, several frequencies, digits and NULL as names of symbols."""
    import_bars(settings, [written(settings, bars("2024-01-01", 9))], "BTCUSDT", "1d")
    import_bars(settings, [written(settings, bars("2024-01-01", 24, freq="h"))], "007", "1h")
    import_bars(settings, [written(settings, bars("2024-01-01", 3, volume=False))], "NULL", "1d")
    with connect(settings) as lake:
        assert lake.sql("SELECT COUNT(*) AS n FROM ohlcv").fetchall() == [(36,)]
        counts = lake.sql("SELECT symbol, COUNT(*) AS n FROM ohlcv GROUP BY symbol ORDER BY symbol").fetchall()
        assert counts == [("007", 24), ("BTCUSDT", 9), ("NULL", 3)]
        found = lake.sql("SELECT * FROM ohlcv WHERE symbol='BTCUSDT' LIMIT 5")
        assert found.columns == ["symbol", "freq", "timestamp", "open", "high", "low", "close", "volume"]
        assert len(found.fetchall()) == 5
        assert lake.sql("SELECT COUNT(*) FROM runs").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("frame", "freq", "error", "said"),
    [
        (bars("2024-01-01", 5), "1h", DataError, "mostly 86400 s apart"),
        (bars("2024-01-01", 5, freq="h"), "1d", DataError, "mostly 3600 s apart"),
        (bars("2024-01-01", 5), "daily", UsageError, "as 1d, 15m or 1h"),
        (bars("2024-01-01", 5, start=-100.0), "1d", DataError, "prices are above zero"),
        (bars("2024-01-01", 5, volume=False), "1d", DataError, "have a volume and some have none"),
    ],
)
def test_what_is_refused_leaves_nothing(
    settings: Settings, frame: pd.DataFrame, freq: str, error: type[Exception], said: str
) -> None:
    """Bars at another distance, that break the contract, without the volume that the others have."""
    import_bars(settings, [written(settings, bars("2023-01-01", 3))], "A", "1d")
    before = files(settings)
    with pytest.raises(error, match=said):
        import_bars(settings, [written(settings, frame)], "A", freq)
    assert files(settings) == before


def test_no_digest_of_the_lake(settings: Settings) -> None:
    """A digest that no version has is said to be none."""
    with pytest.raises(DataError, match="the digest of no bars"):
        served(settings, "ab" * 32)


def test_the_command(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A sample, twice."""
    words = ["lake", "import", "sample:sp500", "--symbol", "SPX", "--freq", "1d"]
    assert run_command(words) == 0
    assert "SPX 1d: 5,031 bars new, 0 corrected, 0 unchanged" in capsys.readouterr().out
    assert run_command(words) == 0
    assert "0 bars new, 0 corrected, 5,031 unchanged" in capsys.readouterr().out
    assert run_command([*words[:-1], "1h"]) == 2
