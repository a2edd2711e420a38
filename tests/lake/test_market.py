"""Market data in the lake: imported once, corrected in a new version, asked in SQL."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline.backtest.bars_digest import data_digest
from pipeline.backtest.data import load_ohlcv
from pipeline.backtest.from_spec import spec_bars
from pipeline.cli.edge import run_command
from pipeline.errors import DataError, UsageError
from pipeline.lake import connect
from pipeline.lake.ingest import ingest
from pipeline.lake.market import import_bars, served
from pipeline.lake.market_index import read_market
from pipeline.lake.market_source import with_lake_data
from pipeline.lake.place import Place
from pipeline.run import load_run
from pipeline.runner import run_backtest
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.spec_sections import ReportSection, TrackingSection
from pipeline.start import start_run
from pipeline.sweep.spec import SweepSpec
from pipeline.verbs import run_sweep
from tests.lake.worlds import rows


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


def spec_on(source: str, symbol: str | None = "A", **more: object) -> RunSpec:
    data = {"source": source, **({} if symbol is None else {"symbol": symbol}), **more}
    return RunSpec.from_mapping({"run": {"name": "x"}, "data": data, "strategy": {"name": "buy_and_hold"}})


def test_a_spec_on_the_lake_becomes_one_on_a_file_of_these_bars(settings: Settings) -> None:
    """Its digest is that of the series; the same version is the same file, and a correction another one."""
    done = import_bars(settings, [written(settings, bars("2024-01-01", 6))], "A", "1d")
    spec = with_lake_data(spec_on("lake", start="2024-01-02", end="2024-01-04"), settings)
    assert spec.data is not None
    assert spec.data.source == f"data/lake/ohlcv/served/A-1d-{done.bars_sha256[:16]}.parquet"
    assert data_digest(load_ohlcv(settings.root / spec.data.source)) == done.bars_sha256
    assert len(spec_bars(spec.data, settings.root).frame) == 3
    assert with_lake_data(spec_on("lake:1d"), settings).data.source == spec.data.source  # type: ignore[union-attr]
    import_bars(settings, [written(settings, bars("2024-01-07", 1, start=9.0))], "A", "1d")
    later = with_lake_data(spec_on("lake"), settings)
    assert later.data is not None
    assert later.data.source != spec.data.source
    assert data_digest(load_ohlcv(settings.root / spec.data.source)) == done.bars_sha256
    assert with_lake_data(spec, settings) is spec


def test_which_bars_of_the_lake_are_meant_must_be_said(settings: Settings) -> None:
    """A symbol that is not there, none, one at two frequencies."""
    import_bars(settings, [written(settings, bars("2024-01-01", 6))], "BTCUSDT", "1d")
    import_bars(settings, [written(settings, bars("2024-01-01", 6, freq="h"))], "BTCUSDT", "1h")
    for spec, said in (
        (spec_on("lake", "BTCUSD"), "Did you mean 'BTCUSDT'?"),
        (spec_on("lake", None), "needs data.symbol"),
        (spec_on("lake", "BTCUSDT"), "at 1d, 1h: say which"),
        (spec_on("lake:5m", "BTCUSDT"), "no bars of 'BTCUSDT' at 5m"),
    ):
        with pytest.raises(DataError, match=re.escape(said)):
            with_lake_data(spec, settings)


@pytest.mark.slow
def test_a_run_on_the_lake(project: Settings) -> None:
    """It records the file and the digest of the bars, and verifies; later corrections do not touch it."""
    done = import_bars(project, ["sample:sp500"], "SPX", "1d")
    spec = spec_on("lake", "SPX", start="2015-01-01")
    spec = spec.model_copy(update={"tracking": TrackingSection(mode="off"), "report": ReportSection(enabled=False)})
    run = run_backtest(spec, settings=project).run
    assert run.status == "FINISHED"
    assert run.record.data is not None
    assert run.record.data.uri.endswith(f"/served/SPX-1d-{done.bars_sha256[:16]}.parquet")
    assert run.verify().ok
    ingest(project)
    (row,) = rows(project, "runs")
    assert (row["symbol"], row["data"]) == ("SPX", run.record.data.sha256)


@pytest.mark.slow
def test_a_sweep_and_a_run_by_hand_on_the_lake(project: Settings) -> None:
    """Their data are the file of these bars, too."""
    done = import_bars(project, ["sample:sp500"], "SPX", "1d")
    served_as = f"/served/SPX-1d-{done.bars_sha256[:16]}.parquet"
    values = {
        "data": {"source": "lake", "symbol": "SPX", "start": "2014-01-01"},
        "strategy": {"name": "ma_crossover"},
        "tracking": {"mode": "off"},
        "report": {"enabled": False},
        "sweep": {"name": "s", "trials": 2, "sampler": "random", "best": 0},
        "space": {"fast": {"low": 5, "high": 20}, "slow": {"low": 50, "high": 60}},
    }
    sweep = run_sweep(SweepSpec.from_mapping(values), executor="inline", settings=project)
    assert sweep.run.record.data is not None
    assert sweep.run.record.data.uri.endswith(served_as)
    run = start_run(data={"source": "lake", "symbol": "SPX"}, tracking={"mode": "off"}, settings=project)
    returns = load_ohlcv(project.root / "data/lake/ohlcv" / served_as[1:])["close"].pct_change().dropna()
    run.save(returns)
    run.finish()
    record = load_run(run.dir.run_id, settings=project).record
    assert record.data is not None
    assert record.data.uri.endswith(served_as)
