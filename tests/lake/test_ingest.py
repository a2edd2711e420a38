"""Runs taken into the lake: what is in the tables, and that they are the same however they came there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.backtest.catalogue import METRICS
from pipeline.errors import LakeError
from pipeline.evidence import events
from pipeline.evidence.ledger import append, append_many
from pipeline.evidence.ledger_trials import counted_event, ended_events
from pipeline.evidence.trial import Scope, TrialResult
from pipeline.lake.index import read_index
from pipeline.lake.ingest import Ingested, ingest
from pipeline.lake.place import Place
from pipeline.lake.schema import tables
from pipeline.lake.stored_row import from_json
from pipeline.listing.columns import COLUMNS
from pipeline.run import Run, all_runs
from pipeline.run_row import RunRow
from pipeline.rundir import LEDGER, RunDir, new_run_id
from pipeline.settings import Settings
from tests.lake.worlds import everything, files_of, make_runs, rows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, tmp_path / "results")


def test_every_table_has_what_the_run_directory_says(settings: Settings) -> None:
    """The rows of one run, in all tables."""
    (run,) = make_runs(settings, 1, first=3)
    assert ingest(settings) == Ingested(added=1, runs=1, entries=3)
    row = RunRow.of(Run(run))
    (found,) = rows(settings, "runs")
    assert (found["run_id"], found["name"], found["sharpe"], found["gone"]) == (run.run_id, "run 3", 0.3, False)
    assert (found["symbol"], found["symbols"], found["data"]) == ("SPX", ["SPX"], row.digests["data"])
    assert found["started"].isoformat() == "2026-01-01T00:00:00"
    values = {(item["name"], item["value"], item["number"]) for item in rows(settings, "params")}
    assert values == {("fast", "3", 3.0), ("mode", "a'b", None)}
    assert {item["name"]: item["value"] for item in rows(settings, "metrics")} == row.stats
    assert {item["name"]: item["value"] for item in rows(settings, "tags")} == {"desk": "fx"}
    assert {item["path"] for item in rows(settings, "artifacts")} == {*files_of(3)}
    assert [item["equity"] for item in rows(settings, "equity")] == [103.5, 104.5, 105.5, 106.5]
    assert [(item["net_pnl"], item["side"]) for item in rows(settings, "trades")] == [(1.5, None), (3.0, None)]
    held = [(item["timestamp"].day, item["symbol"], item["units"]) for item in rows(settings, "positions")]
    assert held == [(2, "SPX", 3.0), (3, "SPX", 1.0), (3, "EURUSD", 2.0)]
    assert [item["kind"] for item in rows(settings, "ledger")] == ["run_started", "run_sealed", "report_rendered"]
    assert [(item["run_id"], item["trials"]) for item in rows(settings, "trials")] == [(run.run_id, 1)]


def test_a_run_has_the_columns_of_listings_and_the_metrics_of_the_catalogue() -> None:
    """There is no second list of columns: what is added to either is in the table."""
    assert {*tables()["runs"].columns} == {*COLUMNS, *METRICS, "symbols", "is_sweep", "gone"}


def test_a_row_comes_back_as_it_was(settings: Settings) -> None:
    """What the lake keeps of a run is its whole row; of runs that were never sealed or cannot be read, too."""
    runs = make_runs(settings, 4)
    runs[0].manifest.write_bytes(b"{}")
    run = RunDir.create(settings.results, new_run_id())
    run.config_json.write_bytes(files_of(1)["config_snapshot.json"])
    ingest(settings)
    kept = {row.run_id: row.to_dict() for row in (from_json(item["record"]) for item in rows(settings, "records"))}
    assert kept == {row.run_id: row.to_dict() for row in map(RunRow.of, all_runs(settings=settings))}
    assert {row["status"] for row in rows(settings, "runs")} == {"UNREADABLE", "FINISHED", "KILLED"}


def test_what_is_unchanged_is_not_read_again(settings: Settings) -> None:
    """A second ingest finds nothing to do, and leaves the files as they are."""
    make_runs(settings, 3)
    assert ingest(settings).added == 3
    before = read_index(Place.of(settings))
    assert ingest(settings) == Ingested(runs=3)
    assert read_index(Place.of(settings)) == before


def test_taken_in_bit_by_bit_is_the_same_as_at_once(settings: Settings) -> None:
    """New runs, changed ones, more of the ledger: the tables are those that are made of nothing but the results."""
    runs = make_runs(settings, 5)
    ingest(settings)
    runs += make_runs(settings, 3, first=5)
    runs[1].report.unlink()
    runs[2].stats.write_bytes(b'{"sharpe": 9.0}')
    runs[3].equity.write_bytes(b"timestamp,equity,drawdown,benchmark_equity\n2021-01-01T00:00:00Z,1.0,0.0,\n")
    append(settings.results / LEDGER, events.sealed(runs[0]))
    done = ingest(settings)
    assert (done.added, done.changed, done.gone, done.problems) == (3, 3, 0, ())
    bit_by_bit = everything(settings)
    ingest(settings, rebuild=True)
    assert bit_by_bit == everything(settings)


def test_a_run_that_went_away_keeps_its_rows(settings: Settings) -> None:
    """Its rows stay, marked as gone, and so do its trials; a lake made again has only the trials."""
    runs = make_runs(settings, 3)
    ingest(settings)
    shutil.move(runs[0].path, settings.root / "aside")
    assert ingest(settings).gone == 1
    assert ingest(settings).gone == 0
    found = {row["run_id"]: (row["gone"], row["sharpe"]) for row in rows(settings, "runs")}
    assert found == {run.run_id: (run is runs[0], number / 10) for number, run in enumerate(runs)}
    assert len(rows(settings, "equity")) == 12
    shutil.move(settings.root / "aside", runs[0].path)
    assert ingest(settings).changed == 1
    assert not any(row["gone"] for row in rows(settings, "runs"))
    shutil.rmtree(runs[0].path)
    ingest(settings, rebuild=True)
    assert len(rows(settings, "runs")) == 2
    assert sum(row["trials"] for row in rows(settings, "trials")) == 3


def test_one_run_alone_is_taken_in(settings: Settings) -> None:
    """With `only` nothing else is looked at: not what is new, nor what has gone."""
    runs = make_runs(settings, 2)
    ingest(settings)
    shutil.rmtree(runs[0].path)
    new = make_runs(settings, 2, first=2)
    done = ingest(settings, only=[new[0].run_id])
    assert (done.added, done.gone) == (1, 0)
    assert {row["run_id"] for row in rows(settings, "runs")} == {*(run.run_id for run in runs), new[0].run_id}


def test_many_small_files_become_few(settings: Settings) -> None:
    """The rows are the same; curves are sorted by run, whole runs in each group of rows."""
    for number in range(4):
        make_runs(settings, 1, first=number)
        ingest(settings)
    before = everything(settings)
    ingest(settings, compact=True)
    index = read_index(Place.of(settings))
    assert index is not None
    assert {len(index.of(name)) for name in tables()} == {0, 1}
    assert len(index.of("equity")) == len(index.of("runs")) == 1
    assert everything(settings) == before
    found = [row["run_id"] for row in rows(settings, "equity")]
    assert found == sorted(found)


def test_what_no_longer_counts_is_left_out_when_files_become_few(settings: Settings) -> None:
    """Rows that were replaced are not in the new files."""
    runs = make_runs(settings, 2)
    ingest(settings)
    runs[0].stats.write_bytes(b'{"sharpe": 9.0}')
    ingest(settings)
    before = everything(settings)
    ingest(settings, compact=True)
    index = read_index(Place.of(settings))
    assert index is not None
    assert not any(part.without for parts in index.parts.values() for part in parts)
    assert [part.rows for part in index.of("runs")] == [2]
    assert everything(settings) == before


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("equity.csv", b"\xff\xfe\x00"),
        ("equity.csv", b"timestamp,equity,drawdown,benchmark_equity\nnever,1.0,0.0,\n"),
        ("trades.parquet", b"no parquet"),
        ("positions.parquet", b""),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of(settings: Settings, name: str, data: bytes) -> None:
    """The rest of the run is taken in, and the other runs are."""
    runs = make_runs(settings, 2)
    (runs[0].path / name).write_bytes(data)
    (problem,) = ingest(settings).problems
    assert runs[0].run_id in problem
    assert name in problem
    table = name.partition(".")[0]
    assert {row["run_id"] for row in rows(settings, table)} == {runs[1].run_id}
    assert len(rows(settings, "runs")) == 2


def test_trials_are_counted_as_the_ledger_counts_them(settings: Settings) -> None:
    """Batches of a sweep that are told of later, replays that count nothing: read on, as read at once."""
    ledger = settings.results / LEDGER
    (run,) = make_runs(settings, 1)
    sweep, scope = new_run_id(), Scope("rsi", "ab" * 32, "rsi", ("SPX",))
    append(ledger, counted_event(sweep, "cd" * 32, scope, batch=0, trials=3))
    ingest(settings)
    results = [TrialResult(0.1, 0.01, 100), None, TrialResult(0.2, 0.01, 100)]
    append_many(ledger, ended_events(sweep, "cd" * 32, scope, batch=0, results=results))
    replay = RunDir.create(settings.results, new_run_id())
    replay.config_json.write_bytes(b"{}")
    start = events.started(replay, strategy="rsi", data_sha256=None, origin=f"replay:{run.run_id}")
    append(ledger, start)
    ingest(settings)
    found = {row["run_id"]: (row["trials"], row["ended"], row["without"]) for row in rows(settings, "trials")}
    assert found == {run.run_id: (1, 1, 1), sweep: (3, 3, 1)}
    assert [row["sharpe"] for row in rows(settings, "trial_results")] == [0.1, 0.2]
    read_on = everything(settings)
    ingest(settings, rebuild=True)
    assert read_on == everything(settings)


def test_another_ledger_is_read_from_its_start(settings: Settings) -> None:
    """What was read of a ledger that is no longer there does not stay."""
    make_runs(settings, 2)
    ingest(settings)
    lines = (settings.results / LEDGER).read_bytes().splitlines(keepends=True)
    (settings.results / LEDGER).write_bytes(b"".join(lines[:2]))
    ingest(settings)
    assert [row["seq"] for row in rows(settings, "ledger")] == [0, 1]


def test_a_damaged_ledger_is_told_of(settings: Settings) -> None:
    """What stands before the damage is read."""
    make_runs(settings, 1)
    with (settings.results / LEDGER).open("ab") as file:
        file.write(b'{"no": "entry"}\n')
    (problem,) = ingest(settings).problems
    assert "damaged after entry 1" in problem
    assert len(rows(settings, "ledger")) == 2


def test_a_lake_of_other_results_is_not_mixed(settings: Settings) -> None:
    """The error names both directories and what to do."""
    make_runs(settings, 1)
    ingest(settings)
    other = Settings(settings.root, settings.root / "others")
    with pytest.raises(LakeError, match="is of the runs in results, not of those in others"):
        ingest(other)
    ingest(other, rebuild=True)
    assert rows(other, "runs") == []


def test_a_list_that_cannot_be_read_is_said(settings: Settings) -> None:
    """A damaged current.json: what to do is named, and does it."""
    make_runs(settings, 1)
    ingest(settings)
    Place.of(settings).current.write_bytes(b"[]")
    with pytest.raises(LakeError, match="ingest --rebuild"):
        ingest(settings)
    assert ingest(settings, rebuild=True).added == 1


@pytest.mark.parametrize("name", ["states", "records", "runs"])
def test_a_part_that_is_damaged_is_said(settings: Settings, name: str) -> None:
    """As after a power cut: an error that names the file and what to do, which does it."""
    make_runs(settings, 2)
    ingest(settings)
    make_runs(settings, 1, first=2)
    (part,) = Place.of(settings).runs.glob(f"{name}-*")
    part.write_bytes(b"")
    with pytest.raises(LakeError, match=f"{part.name} cannot be read.*ingest --rebuild"):
        ingest(settings, compact=True)
    assert ingest(settings, rebuild=True).added == 3


def test_full_parts_are_left_as_they_are_when_one_run_changes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Curves that are read again no longer count in the part that had them; the other parts stay."""
    monkeypatch.setattr("pipeline.lake.ingest.BATCH", 2)
    runs = sorted(make_runs(settings, 6), key=lambda run: run.run_id)
    ingest(settings)
    runs[0].equity.write_bytes(b"timestamp,equity,drawdown,benchmark_equity\n2021-01-01T00:00:00Z,1.0,0.0,\n")
    ingest(settings)
    index = read_index(Place.of(settings))
    assert index is not None
    assert [part.without for part in index.of("equity")] == [(runs[0].run_id,), (), (), ()]
    changed = everything(settings)
    ingest(settings, rebuild=True)
    assert changed == everything(settings)
