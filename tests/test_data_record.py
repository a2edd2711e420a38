"""What a run records of its bars: labels, gaps, leaps, how the file was read, how the benchmark met them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

import pipeline
from pipeline.errors import DataError, DataWarning
from pipeline.files import read_json
from pipeline.report.page import build_page
from pipeline.run import Run
from pipeline.settings import Settings
from pipeline.spec import RunSpec

DAYS = pd.date_range("2017-01-02", "2018-12-31", freq="B")


def prices(days: pd.DatetimeIndex) -> pd.DataFrame:
    close = 100.0 * 1.001 ** np.arange(len(days)) * (1.0 + 0.01 * np.sin(np.arange(len(days))))
    frame = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    return pd.DataFrame(frame, index=days.rename("Date"))


def start(project: Settings, **sections: Any) -> Any:
    return pipeline.start_run(tracking={"mode": "off"}, settings=project, **sections)


def test_gaps_and_leaps_are_warnings_of_the_run(project: Settings) -> None:
    """A hole and an unadjusted split are told when the bars are read, sealed with the run, and shown in its report."""
    bars = prices(DAYS).drop(DAYS[200:285])
    bars.iloc[300:] /= 7.0
    bars.to_csv(project.root / "bars.csv")
    run = start(project, data={"source": "bars.csv"})
    with pytest.warns(DataWarning) as told:
        df = run.load_data()
    assert [str(item.message).partition(":")[0] for item in told] == ["GAPS", "LARGE MOVES"]
    run.save(run.backtest(df), robustness=False)
    run.finish()
    sealed = Run(run.dir)
    hole, split = (text for text in sealed.record.warnings if text.startswith(("GAPS", "LARGE MOVES")))
    assert hole == "GAPS: the bars stop once for unusually long: 122 days from 2017-10-06 to 2018-02-05."
    assert "2018-06-25 -85.7%, as a 7:1 split" in split
    facts = read_json(run.dir.data_facts)
    assert (facts["time_labels"], facts["unusual_gaps"], facts["large_moves"]) == ("days", 1, 1)
    assert "data.json" in [item.path for item in sealed.artifacts]
    shown = BeautifulSoup(build_page(sealed).data(), "html.parser").get_text(" ")
    for text in ("days (a bar names a date)", hole, "7:1", "2017-10-06"):
        assert text in shown


def test_good_bars_are_recorded_without_a_warning(project: Settings) -> None:
    """The sample has nothing to be told of; a run from before has no record of its bars, and its page says so."""
    run = start(project)
    run.save(run.backtest(run.load_data()), robustness=False)
    run.finish()
    sealed = Run(run.dir)
    assert not [text for text in sealed.record.warnings if text.isupper() or ": the bars" in text]
    assert read_json(run.dir.data_facts)["warnings"] == []
    assert "5,031" in build_page(sealed).data()
    run.dir.data_facts.unlink()
    assert "left no record of its bars" in build_page(Run(run.dir)).data()


def test_a_zoned_frame_keeps_its_days_to_the_end(project: Settings) -> None:
    """A frame at local midnights: equity, benchmark and what the notebook computes itself meet on its days."""
    run = start(project, data={"symbol": "DAX"})
    df = prices(DAYS.tz_localize("Europe/Berlin"))
    result = run.backtest(df)
    for benchmark in (run.buy_and_hold(df), df["close"] / df["close"].iloc[0] * 100_000.0):
        run.save(result, benchmark=benchmark, robustness=False, replace=True)
        equity = Run(run.dir).equity
        assert equity.index[0] == pd.Timestamp("2017-01-02", tz="UTC")
        assert bool(equity["benchmark_equity"].notna().all())


def test_a_frame_that_breaks_the_contract_is_refused_in_a_run(project: Settings) -> None:
    """What the engine only warns of, a run refuses: its results would be evidence."""
    run = start(project)
    df = prices(DAYS.tz_localize("UTC"))
    df.iloc[5, 1] = 1.0
    with pytest.raises(DataError, match="high >= max"):
        run.backtest(df)


def test_how_the_benchmark_met_the_bars_is_told(project: Settings) -> None:
    """Days at a place's midnight meet days without a word; times of day are matched by date, and the seal says so."""
    prices(DAYS).to_csv(project.root / "bars.csv")
    close = prices(DAYS.tz_localize("America/New_York"))[["close"]]
    close.to_csv(project.root / "midnights.csv")
    close.set_axis(close.index + pd.Timedelta(hours=16)).rename_axis("Date").to_csv(project.root / "closes.csv")
    for source, told in (("midnights.csv", []), ("closes.csv", ["BENCHMARK"])):
        run = start(project, data={"source": "bars.csv"}, benchmark={"source": source})
        df = run.load_data()
        result, benchmark = run.backtest(df), run.benchmark(df)
        np.testing.assert_allclose(benchmark, run.buy_and_hold(df))
        run.save(result, benchmark=benchmark, robustness=False)
        assert [text.partition(":")[0] for text in read_json(run.dir.data_facts)["warnings"]] == told


def test_the_benchmark_is_read_as_the_spec_says(project: Settings) -> None:
    """A benchmark with dates of its own notation is read with benchmark.date_format."""
    prices(DAYS).to_csv(project.root / "bars.csv")
    table = prices(DAYS)["close"].set_axis(DAYS.strftime("%d.%m.%Y")).rename_axis("Date")
    table.to_csv(project.root / "index.csv", sep=";", decimal=",")
    run = start(project, data={"source": "bars.csv"}, benchmark={"source": "index.csv", "date_format": "%d.%m.%Y"})
    df = run.load_data()
    np.testing.assert_allclose(run.benchmark(df), run.buy_and_hold(df))


@pytest.mark.parametrize(
    ("data", "symbol"),
    [
        ({}, "SPX"), ({"source": "sample:sp500"}, "SPX"), ({"source": "own.csv"}, None),
        ({"source": "own.csv", "symbol": "X"}, "X"), ({"source": "sample:sp500", "symbol": "^GSPC"}, "^GSPC"),
    ],
)  # fmt: skip
def test_a_file_of_ones_own_is_not_called_spx(data: dict[str, str], symbol: str | None) -> None:
    """The sample has a symbol; what a file of the user's own holds is unknown until the spec says it."""
    spec = RunSpec.from_mapping({"data": data})
    assert spec.data.symbol == symbol
    assert RunSpec.from_mapping(spec.to_dict()) == spec


def test_an_unknown_symbol_is_left_out_everywhere(project: Settings) -> None:
    """No tag, no name of an instrument: the benchmark is buying and holding."""
    prices(DAYS).to_csv(project.root / "own.csv")
    run = start(project, data={"source": "own.csv"})
    result = run.backtest(run.load_data())
    run.save(result, robustness=False)
    run.finish()
    sealed = Run(run.dir)
    assert (run.benchmark_label, build_page(sealed).benchmark_name) == ("buy and hold", "buy and hold")
    for path in (run.dir.trades_csv, run.dir.config_json, run.dir.report_text, run.dir.manifest):
        assert "SPX" not in path.read_text(encoding="utf-8")


def test_columns_of_the_spec_lead_to_the_bars(project: Settings) -> None:
    """Every option of reading is a key of the spec."""
    (project.root / "odd.csv").write_text(
        "made by hand\n06.01.2020;00:00;1,5;3;1;2;-\n07.01.2020;00:00;2;4;1,5;2,25;-\n", encoding="utf-8"
    )
    names = ("timestamp", "time", "open", "high", "low", "close")
    columns = {name: str(number) for number, name in enumerate(names, start=1)}
    options = {"skip_rows": 1, "decimal": ",", "date_format": "%d.%m.%Y %H:%M", "columns": columns}
    run = start(project, data={"source": "odd.csv", **options})
    assert run.load_data()["close"].tolist() == [2.0, 2.25]
    assert read_json(run.dir.config_json)["data"]["skip_rows"] == 1
