"""The benchmark: the instrument held, or a series of the user's own, under one name everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import report_builder as builder
from bs4 import BeautifulSoup
from report_builder import SPEC

import pipeline
from pipeline.backtest.benchmark import benchmark_equity, benchmark_label, load_series
from pipeline.digest import sha256_file
from pipeline.errors import ArtifactError, DataError, SpecError
from pipeline.evidence.compare import compare_inputs, read_inputs, reproduction_key
from pipeline.replay.restore import workspace
from pipeline.report.page import build_page
from pipeline.run import Run
from pipeline.runner import plan_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec

BARS = {"data": {"source": "sample:sp500", "start": "2010-01-04", "end": "2011-12-30"}, "tracking": {"mode": "off"}}


def index(*days: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(days, tz="UTC")


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ((None, None, "SPX"), "buy and hold SPX"),
        (("data/total return.csv", None, "SPX"), "total return"),
        (("sample:sp500", None, "SPX"), "sp500"),
        (("x/msci.csv.gz", None, "SPX"), "msci"),
        (("x/msci.parquet", "MSCI World", "SPX"), "MSCI World"),
        ((None, "60/40", "SPX"), "60/40"),
    ],
)
def test_label(given: tuple[str | None, str | None, str], called: str) -> None:
    """The given label, else the name of the file, else buying and holding the symbol."""
    assert benchmark_label(*given) == called


@pytest.mark.parametrize(
    ("text", "column", "values"),
    [
        ("date,value\n2020-01-01,1\n2020-01-02,2\n", None, [1, 2]),
        ("Date,Open,Close\n2020-01-01,1,3\n2020-01-02,2,4\n", None, [3, 4]),
        ("timestamp,a,b\n2020-01-01,1,3\n2020-01-02,2,4\n", "a", [1, 2]),
    ],
)
def test_series_are_read(tmp_path: Path, text: str, column: str | None, values: list[float]) -> None:
    """A file of dates and values is enough; of several columns the close or the named one is taken."""
    path = tmp_path / "b.csv"
    path.write_text(text)
    series = load_series(path, column=column)
    assert series.tolist() == values
    assert str(pd.DatetimeIndex(series.index).tz) == "UTC"


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("a,b\n1,2\n", None, "no column of timestamps"),
        ("date,a,b\n2020-01-01,1,2\n", None, "say which one with benchmark.column"),
        ("date,a\n2020-01-01,1\n", "b", r"no column 'b' for benchmark\.column"),
        ("date,a\n2020-01-01,1\n2020-01-02,0\n", None, "line 3: a is not a positive number"),
        ("date,a\n2020-01-01,x\n", None, "line 2: a is not a positive number"),
        ("date,a\n2020-01-02,1\n2020-01-01,1\n2020-01-03,1\n", None, "must strictly increase"),
        ("2020-01-02,1\n2020-01-03,1\n", None, "no header: line 1 is a row of values.*Write one above it"),
    ],
)
def test_bad_series_are_refused(tmp_path: Path, text: str, column: str | None, said: str) -> None:
    """A series that cannot be one is refused with file, line and reason."""
    path = tmp_path / "b.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        load_series(path, column=column)


def test_a_bar_takes_the_last_known_value() -> None:
    """Never a later value than the bar's; and a series that does not reach a bar is refused, not drawn flat."""
    series = pd.Series([10.0, 11.0, 12.0], index=index("2020-01-01", "2020-01-03", "2020-01-06"))
    bars = index("2020-01-02", "2020-01-03", "2020-01-05", "2020-01-06")
    assert benchmark_equity(series, bars, 100.0).tolist() == pytest.approx([100.0, 110.0, 110.0, 120.0])
    with pytest.raises(DataError, match="begins 2020-01-01, after the first bar, 2019-12-31"):
        benchmark_equity(series, index("2019-12-31"), 100.0)
    with pytest.raises(DataError, match="no value in the 10 days up to the bar 2020-01-17"):
        benchmark_equity(series, index("2020-01-06", "2020-01-17"), 100.0)


@pytest.fixture
def own_series(project: Settings) -> Path:
    """Write a benchmark that grows by 0.01 % a day into the project."""
    days = pd.date_range("2009-12-31", "2012-01-31", freq="B")
    path = project.root / "index.csv"
    table = pd.DataFrame({"date": days.strftime("%Y-%m-%d"), "level": 100 * 1.0001 ** np.arange(len(days))})
    table.to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_run_with_a_benchmark_of_its_own(project: Settings, own_series: Path, render: Any) -> None:
    """Its file is an input with a digest, its curve is in the contract's column, its name is all over the page."""
    wanted = {"source": "index.csv", "label": "Cash <b>2 %</b>"}
    run = pipeline.start_run(**BARS, benchmark=wanted, settings=project)
    bars = run.load_data()
    result, benchmark = run.backtest(bars), run.benchmark(bars)
    run.save(result, benchmark=benchmark, robustness=False)
    run.finish()
    sealed = Run(run.dir)
    assert sealed.equity["benchmark_equity"].iloc[[0, 1]].tolist() == pytest.approx([100_000.0, 100_010.0])
    inputs = {item["name"]: item for item in sealed.manifest["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert inputs["benchmark"]["uri"] == "index.csv"
    assert inputs["benchmark"]["digest"]["sha256"] == sha256_file(own_series)
    render(sealed, settings=project)
    html = sealed.dir.report.read_text(encoding="utf-8")
    text = BeautifulSoup(html, "html.parser").main.get_text(" ")
    assert "Against Cash <b>2 %</b> (" in text
    assert "buy and hold" not in text.lower()
    assert "<b>2" not in html.split('<main id="content">')[1]
    assert sha256_file(own_series) in text


def test_the_default_is_named_by_its_symbol(finished: Run) -> None:
    """Without a benchmark of its own a run is measured against buying and holding its symbol, and the page says so."""
    page = build_page(finished)
    assert (page.benchmark_name, page.benchmark_heading) == ("buy and hold SPX", "Buy and hold SPX")
    assert "Against buy and hold SPX (" in page.verdict()


def test_another_benchmark_than_the_spec_s_is_refused(project: Settings, own_series: Path) -> None:
    """A notebook that ignores the spec's benchmark, or saves another under its name, is stopped before it is sealed."""
    run = pipeline.start_run(**BARS, benchmark={"source": "index.csv"}, settings=project)
    bars = run.load_data()
    result = run.backtest(bars)
    for given in (None, run.buy_and_hold(bars)):
        with pytest.raises(ArtifactError, match=r"not index, which the spec names\. Give run\.benchmark\(bars\)"):
            run.save(result, benchmark=given, robustness=False)
    plain = pipeline.start_run(**BARS, settings=project)
    own = plain.backtest(bars)
    with pytest.raises(ArtifactError, match="not buy and hold SPX"):
        plain.save(own, benchmark=plain.buy_and_hold(bars) * 2, robustness=False)
    named = pipeline.start_run(**BARS, benchmark={"label": "twice"}, settings=project)
    third = named.backtest(bars)
    named.save(third, benchmark=named.buy_and_hold(bars) * 2, robustness=False)
    assert Run(named.dir).equity["benchmark_equity"].iloc[0] == 200_000.0


def test_a_benchmark_that_is_not_there_is_refused_before_anything_starts(project: Settings) -> None:
    """The file is looked for when the run is planned."""
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        plan_run(RunSpec.from_mapping({"benchmark": {"source": "nowhere.csv"}}), project)
    with pytest.raises(SpecError, match=r"benchmark\.sorce: unknown key\. Did you mean 'source'"):
        RunSpec.from_mapping({"benchmark": {"sorce": "x"}})


def test_runs_from_before_have_the_default(tmp_path: Path, backtest: Any) -> None:
    """A spec without the section, as older runs have it, reads as buying and holding."""
    run = builder.build_run(tmp_path / "results", spec=SPEC, result=backtest)
    config = {key: value for key, value in run.config.items() if key != "benchmark"}
    run.__dict__["config"] = config
    assert build_page(run).benchmark_name == "buy and hold SPX"


def test_a_replay_gets_the_recorded_benchmark(project: Settings, own_series: Path) -> None:
    """The file is kept like the data, found again by its digest, and told apart when it is another one."""
    run = pipeline.start_run(**BARS, benchmark={"source": "index.csv"}, settings=project)
    bars = run.load_data()
    run.save(run.backtest(bars), benchmark=run.benchmark(bars), robustness=False)
    run.finish()
    sealed = Run(run.dir)
    before = own_series.read_bytes()
    recorded = replace(read_inputs(sealed.manifest), notebook=None)
    own_series.write_text("date,level\n2020-01-01,1\n")
    with workspace(sealed.config, recorded, project) as space:
        assert {item.name: item.exact for item in space.restored}["benchmark"]
        assert (space.root / space.spec["benchmark"]["source"]).read_bytes() == before
    causes, _ = compare_inputs(recorded, replace(recorded, benchmark="other"))
    assert [item.kind for item in causes] == ["benchmark"]
    assert reproduction_key(recorded) != reproduction_key(replace(recorded, benchmark="other"))
