"""The row of a run says what the run recorded, and of what nobody recorded that it is unknown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import pipeline
from pipeline.backtest import data_digest
from pipeline.backtest.spacing import DataFacts, Spacing
from pipeline.digest import canonical_json, sha256_bytes
from pipeline.files import read_json, write_json
from pipeline.run import Run
from pipeline.run_row import Period, RunRow
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from pipeline.site.redaction import RedactedRun, Redactor
from pipeline.spec import RunSpec, recorded_spec

DAYS = pd.date_range("2024-01-02", periods=5, freq="D", tz="UTC")


def test_a_row_says_what_was_run_on_what(project: Settings) -> None:
    """Family, period, digests of inputs and bars, marks, each as the run recorded it."""
    run = pipeline.start_run(
        settings=project,
        tracking={"mode": "off"},
        name="named",
        data={"source": "sample:sp500", "start": "2010-01-01", "end": "2011-12-31"},
        strategy={"name": "ma_crossover"},
    )
    bars = run.load_data()
    run.save(run.backtest(bars), robustness=False)
    run.finish()
    sealed = Run(run.dir)
    row = RunRow.of(sealed)
    assert (row.name, row.experiment, row.tags) == ("named", "evidence-chain", {})
    assert (row.strategy, row.family, row.symbols) == ("ma_crossover", "ma_crossover", ("SPX",))
    assert row.engine is not None
    assert row.period == Period("2010-01-04T00:00:00Z", "2011-12-30T00:00:00Z")
    assert str(row.period) == "2010-01-04 – 2011-12-30"
    assert row.bars_sha256 == data_digest(bars)
    assert sealed.record.data is not None
    assert row.digests["data"] == sealed.record.data.sha256
    assert row.spec_sha256 == sha256_bytes(canonical_json(sealed.config))
    assert (row.marks.sealed, row.marks.signed, row.marks.reconciled) == (True, False, "RECONCILED")
    assert (row.sweep, row.is_sweep) == (None, False)


def test_what_nobody_recorded_is_unknown(tmp_path: Path) -> None:
    """A directory that holds nothing is a row of nothing; no default of a spec stands in it."""
    directory = RunDir(tmp_path, new_run_id())
    directory.path.mkdir()
    row = RunRow.of(Run(directory))
    assert (row.status, row.name, row.spec, row.experiment, row.family) == ("KILLED", "", None, None, None)
    assert (row.engine, row.strategy, row.symbols, row.period) == (None, None, (), None)
    assert (row.inputs, row.spec_sha256, row.bars_sha256, row.sweep) == ((), None, None, None)
    assert row.to_dict()["period"] is None


@pytest.mark.parametrize("text", ["", "timestamp,equity\n", "timestamp,equity\nyesterday,1\ntoday,2\n", "\0" * 9])
def test_a_period_is_two_times_or_unknown(tmp_path: Path, text: str) -> None:
    """An equity without labels that are times says nothing of the period; then what was read of the bars says it."""
    directory = RunDir(tmp_path, new_run_id())
    directory.path.mkdir()
    directory.equity.write_text(text)
    assert RunRow.of(Run(directory)).period is None
    spacing = Spacing(3, "2020-01-01", "2020-02-01", "days", 1.0, (), 0, (), 0, None)
    write_json(directory.data_facts, DataFacts(spacing).to_dict())
    assert RunRow.of(Run(directory)).period == Period("2020-01-01", "2020-02-01")


def test_a_spec_of_another_version_is_read(tmp_path: Path) -> None:
    """Keys and sections of a later version are passed over; a section that was not asked for stays unknown."""
    kept = RunSpec.from_mapping({"run": {"name": "x"}, "data": {"source": "a.csv", "start": "2020-01-01"}}).to_dict()
    later = {**kept, "data": {**kept["data"], "venue": "XETR"}, "broker": {"name": "y"}, "sweep": {"name": "s"}}
    found = recorded_spec(later)
    assert found == RunSpec.from_mapping(kept)
    assert found is not None
    assert found.strategy is None
    earlier = {"run": {"name": "x"}, "strategy": {"name": "breakout", "params": {"fast": 2}}}
    read = recorded_spec(earlier)
    assert read is not None
    assert read.strategy is not None
    assert read.strategy.name == "donchian"
    for broken in ({}, {"run": {}}, {"run": []}, {"run": {"name": 3}}, {"run": {"name": "x"}, "data": {"source": ""}}):
        assert recorded_spec(broken) is None


def test_a_public_row_names_no_path_of_an_input(project: Settings) -> None:
    """What a run read is named on a public site without the place where it lay."""
    (project.root / "prices.csv").write_text("a\n1\n")
    run = pipeline.start_run(settings=project, tracking={"mode": "off"})
    run.input(str(project.root / "prices.csv"), name="prices")
    run.save(pd.Series([100.0, 101.0, 99.0, 100.0, 102.0], index=DAYS), kind="equity")
    run.finish()
    record = Run(run.dir).record
    elsewhere = Run(run.dir)
    (item,) = [item for item in record.inputs if item.input == "prices"]
    moved = RunDir(run.dir.results, run.run_id)
    manifest = read_json(moved.manifest)
    for one in manifest["predicate"]["buildDefinition"]["resolvedDependencies"]:
        if one["uri"] == item.uri:
            one["uri"] = "/home/jane/prices.csv"
    elsewhere.__dict__["manifest"] = manifest
    public = RedactedRun(elsewhere, Redactor())
    spacing = Spacing(3, "2020-01-01", "2020-02-01", "days", 1.0, (), 0, (), 0, None)
    notes = DataFacts(spacing, ("read from /home/jane/prices.csv",), None, ("/home/jane/x.csv has gaps",))
    elsewhere.__dict__["data_facts"] = notes
    assert "jane" not in str(public.data_facts)
    assert "jane" not in str(public.record.inputs)
    assert "jane" in str(elsewhere.record.inputs)
