"""Listings from the lake and from the directories: the same rows, in the same order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.after_seal import take_into_lake
from pipeline.cli.edge import run_command
from pipeline.lake.ingest import ingest
from pipeline.lake.listing import listed_rows
from pipeline.lake.place import Place
from pipeline.run import Run
from pipeline.run_row import RunRow
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from tests.lake.worlds import files_of, make_runs, rows

ASKED = (
    [],
    ["--limit", "3"],
    ["--where", "sharpe > 0.1 and params.fast < 5"],
    ["--where", "tags.desk = fx or sharpe = null", "--sort=-sharpe,name"],
    ["--where", "own_metric >= 2", "--columns", "name,own_metric,params.mode,digests.data,experiment,family"],
    ["--symbol", "eurusd", "--strategy", "rsi"],
    ["--status", "killed"],
    ["--data", "ab" * 32, "--tag", "desk=eq", "--since", "2026-01-01"],
    ["--data", "sp500.csv", "--until", "2026-01-01"],
    ["--experiment", "lake", "--sort", "started,run_id", "--limit", "0"],
)


def answers(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """Return what `list` says to all that is asked, as JSON and as text."""
    found: list[Any] = []
    for words in ASKED:
        for more in ([], ["--json"]):
            assert run_command(["list", *words, *more]) == 0
            out = capsys.readouterr().out
            found.append(json.loads(out) if more else out)
    return found


def test_the_lake_and_the_directories_give_the_same_answers(
    project: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a fresh lake, a stale one, a damaged one, and without one."""
    from pipeline.backtest.data import source_path

    shutil.copyfile(source_path("sample:sp500"), "sp500.csv")
    runs = make_runs(project, 5)
    RunDir.create(project.results, new_run_id()).config_json.write_bytes(files_of(9)["config_snapshot.json"])
    without = answers(capsys)
    ingest(project)
    assert answers(capsys) == without
    shutil.rmtree(runs[0].path)
    runs[1].stats.write_bytes(b'{"sharpe": 7.0}')
    runs[2].manifest.write_bytes(b"{}")
    make_runs(project, 1, first=6)
    stale = answers(capsys)
    for part in Place.of(project).runs.glob("records-*"):
        part.write_bytes(b"no records")
    assert answers(capsys) == stale
    shutil.rmtree(project.lake)
    assert answers(capsys) == stale != without


def test_a_fresh_row_comes_from_the_lake(tmp_path: Path) -> None:
    """A row is not read from its directory when nothing there has changed, and is when something has."""
    settings = Settings(tmp_path, tmp_path / "results")
    runs = make_runs(settings, 2)
    ingest(settings)
    kinds = {row.run_id: type(row).__name__ for row in listed_rows(settings)[0]}
    assert set(kinds.values()) == {"StoredRow"}
    runs[0].stats.write_bytes(b'{"sharpe": 7.0}')
    found, count = listed_rows(settings)
    assert count == 2
    assert {row.run_id: type(row).__name__ for row in found} == {**kinds, runs[0].run_id: "RunRow"}
    assert [row.to_dict() for row in found if row.run_id == runs[0].run_id] == [RunRow.of(Run(runs[0])).to_dict()]


class Ended:
    """What `take_into_lake` looks at of a run that has ended."""

    def __init__(self, settings: Settings, run: RunDir) -> None:
        self.settings, self.dir = settings, run
        self.warnings: list[str] = []


def test_a_run_that_ended_is_taken_in_when_it_is_wanted(tmp_path: Path) -> None:
    """Not by default; what goes wrong is a warning that says what to do."""
    (run,) = make_runs(Settings(tmp_path, tmp_path / "results"), 1)
    ended: Any = Ended(Settings(tmp_path, tmp_path / "results"), run)
    take_into_lake(ended)
    assert not (tmp_path / "data").exists()
    ended = Ended(Settings(tmp_path, tmp_path / "results", lake_ingest=True), run)
    take_into_lake(ended)
    assert ended.warnings == []
    assert [row["run_id"] for row in rows(ended.settings, "runs")] == [run.run_id]
    Place.of(ended.settings).current.write_bytes(b"[]")
    take_into_lake(ended)
    (warning,) = ended.warnings
    assert "`evidence lake ingest`" in warning


@pytest.mark.slow
def test_a_run_is_taken_in_with_its_report(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `evidence run`, in a project whose environment says so; a second ingest finds nothing to do."""
    monkeypatch.setenv("EVIDENCE_LAKE_INGEST", "1")
    assert run_command(["run", "--config", "config/demo.toml", "--tracking", "off"]) == 0
    (row,) = rows(project, "runs")
    assert row["report"] is not None
    assert ingest(project).changed == 0


def test_settings_say_where_the_lake_is(tmp_path: Path) -> None:
    """By the environment, relative to the project."""
    environ = {"EVIDENCE_LAKE": "elsewhere", "EVIDENCE_LAKE_INGEST": "1"}
    settings = Settings.load(tmp_path, environ)
    assert settings.lake == tmp_path / "elsewhere"
    assert settings.lake_ingest
    assert Settings.load(tmp_path, {}).lake == tmp_path / "data" / "lake"
