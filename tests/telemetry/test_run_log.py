"""The log of a run, and the timeline that is read from it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.edge import run_command
from pipeline.kernels import ForkServer
from pipeline.opening import open_run
from pipeline.report.page import build_page
from pipeline.run import Run
from pipeline.rundir import RunDir, new_run_id
from pipeline.runner import RunOutcome, run_backtest
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.telemetry import Labels, RunLog, step
from pipeline.telemetry.run_log import read_log
from pipeline.telemetry.timeline import Timeline, instant, read_timeline
from tests.notebooks import ARTIFACTS, write_notebook

QUIET = {"tracking": {"mode": "off"}, "report": {"enabled": False}}


def run_cells(project: Settings, kernels: ForkServer | None, *cells: str, **more: Any) -> RunOutcome:
    write_notebook(project.root / "notebooks" / "n.ipynb", *cells)
    spec = RunSpec.from_mapping({"run": {"notebook": "notebooks/n.ipynb", **more}, **QUIET})
    return run_backtest(spec, settings=project, kernels=kernels, check=False)


def timeline_of(run: Run) -> Timeline:
    found = read_timeline(run.dir, late=run.dir.late_log)
    assert found is not None
    return found


def named(found: Timeline) -> list[str]:
    return ["  " * depth + moment.label for depth, moment in found.walk()]


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    run = RunDir.create(tmp_path / "results", new_run_id())
    return RunLog(run, Labels(run.run_id, "demo", "ma_crossover", "SPX"))


def lines(log: RunLog) -> list[dict[str, Any]]:
    return [dict(line) for line in read_log(log.run.log, log.run.late_log)]


def test_stages_and_cells_are_told_by_what_the_run_left(project: Settings, server: ForkServer | None) -> None:
    """Each stage, and each cell by its place in the input notebook, with when it began and how long it took."""
    run = run_cells(project, server, "import time", ARTIFACTS, parameters={}).run
    assert run.verify().ok
    found = timeline_of(run)
    assert found.source == "log"
    assert named(found) == [
        "open", "tracking", "notebook", "  cell 0", "  parameters", "  cell 1", "  cell 2", "artifacts", "seal",
        "tracking end",
    ]  # fmt: skip
    assert [moment.title for _, moment in found.walk() if moment.label == "cell 1"] == ["import time"]
    begins = [instant(moment.began) for _, moment in found.walk()]
    assert begins == sorted(begins)
    took = {moment.name: moment.seconds for moment in found.steps}
    assert {name: pytest.approx(took[name], abs=0.01) for name in run.record.stages} == run.record.stages


def test_what_failed_is_said_where_it_failed(project: Settings, server: ForkServer | None) -> None:
    """The cell that raised, its stage, and the run's status on what comes after."""
    run = run_cells(project, server, "1 + 1", "raise ValueError('no such bar')").run
    failed = {moment.label: moment.error for _, moment in timeline_of(run).walk() if moment.error}
    assert failed["cell 2"] == "ValueError: no such bar"
    assert failed["notebook"].startswith("CellFailedError: ValueError: no such bar")
    assert set(failed) == {"cell 2", "notebook"}
    told = [*read_log(run.dir.log, run.dir.late_log)]
    assert {line["run_id"] for line in told} == {run.run_id}
    assert [line["status"] for line in told if line.get("step") == "tracking_end"] == ["FAILED", "FAILED"]
    assert [line["message"] for line in told if line["level"] == "ERROR"] == [str(run.record.error.message)]


def test_an_older_run_tells_its_stages_and_cells_too(project: Settings, server: ForkServer | None) -> None:
    """Without a log the record has the stages in their order, the notebook its cells."""
    run = run_cells(project, server, ARTIFACTS).run
    run.dir.log.unlink()
    assert read_timeline(run.dir) is None
    found = read_timeline(run.dir, began=run.record.started_at, stages=run.record.stages)
    assert found is not None
    assert found.source == "record"
    assert named(found) == ["open", "tracking", "notebook", "  cell 0", "  parameters", "  cell 1", "artifacts"]


def test_a_pause_between_the_stages_of_an_older_run_moves_no_cell(project: Settings, server: ForkServer | None) -> None:
    """Only how long stages took is known: the notebook's is where its cells are, however long after the one before."""
    run = run_cells(project, server, ARTIFACTS).run
    run.dir.log.unlink()
    stages = {"open": 0.01, "notebook": 5.0, "artifacts": 0.02}
    found = read_timeline(run.dir, began="2001-01-01T00:00:00Z", stages=stages)
    assert found is not None
    assert named(found) == ["open", "notebook", "  cell 0", "  parameters", "  cell 1", "artifacts"]
    _, notebook, artifacts = found.steps
    assert all(notebook.began <= cell.began for cell in notebook.steps)
    assert max(cell.ended for cell in notebook.steps if cell.ended) <= instant(artifacts.began)


def test_the_log_ends_where_the_seal_begins(log: RunLog) -> None:
    """What is written after it lies beside the run directory, so that the seal holds."""
    log.write(logging.INFO, "before")
    log.end("FINISHED", ["it was late"], None)
    log.write(logging.INFO, "after")
    sealed, late = ([*read_log(path)] for path in (log.run.log, log.run.late_log))
    assert [(line["level"], line["message"]) for line in sealed] == [("INFO", "before"), ("WARNING", "it was late")]
    assert [(line["message"], line["status"]) for line in late] == [("after", "FINISHED")]
    log.run.manifest.write_text("{}")
    RunLog(log.run, log.labels).write(logging.INFO, "of another process")
    assert lines(log)[-1]["message"] == "of another process"
    assert len([*read_log(log.run.log)]) == 2


def test_every_line_has_the_labels_of_the_run(log: RunLog) -> None:
    """And what is not known is left out, not empty."""
    log.write(logging.INFO, "said")
    labels = {"run_id": log.run.run_id, "experiment": "demo", "strategy": "ma_crossover", "symbol": "SPX"}
    [line] = lines(log)
    assert {name: line[name] for name in labels} == labels
    assert line["status"] == "RUNNING"
    assert Labels(run_id="x").known() == {"run_id": "x"}


def test_no_secret_is_in_the_log(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the environment nor of a URL, in messages, names and errors of steps."""
    monkeypatch.setenv("DB_PASSWORD", "hunter2-hunter2")
    run = open_run(RunSpec.from_mapping({}), project, origin="test", inputs={})
    with (
        pytest.raises(ValueError, match="hunter2"),
        step("data", log=run.log, source="https://me:hunter2-hunter2@host/?token=abcdef123456"),
    ):
        raise ValueError("cannot log in with hunter2-hunter2")
    text = run.dir.log.read_text()
    assert "hunter2" not in text
    assert "abcdef123456" not in text
    assert "cannot log in with ***" in text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parent.parent / "elsewhere")])
def test_what_stands_in_the_place_of_the_log_is_left_alone(log: RunLog, make: Any) -> None:
    """A pipe does not hold up the run, a link leads nowhere."""
    log.run.debug.mkdir()
    make(log.run.log)
    log.write(logging.INFO, "said")
    assert not (log.run.path / "elsewhere").exists()


def test_a_log_that_cannot_be_written_ends_nothing(log: RunLog) -> None:
    """The step is done all the same."""
    log.run.debug.write_text("a file")
    with step("data", log=log):
        pass
    assert lines(log) == []


def test_what_was_begun_and_did_not_end_is_told(log: RunLog) -> None:
    """Of a run that was killed, or goes on, the last step has no end."""
    with step("open", kind="stage", log=log):
        pass
    log.write(logging.DEBUG, "", event="began", kind="stage", step="notebook")
    found = read_timeline(log.run)
    assert found is not None
    assert found.seconds is None
    assert [(moment.name, moment.seconds is None) for moment in found.steps] == [("open", False), ("notebook", True)]


@pytest.mark.parametrize(
    "line",
    [
        "", "[]", "{", "[" * 100_000, '{"event": "ended"}', '{"event": "ended", "step": 1, "kind": [], "began": "x"}',
        '{"event": "ended", "kind": "stage", "step": "open", "began": "yesterday", "seconds": 1}',
        '{"event": "began", "kind": "stage", "step": "open", "time": 7}', '{"event": "began", "time": null}', "\x00",
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_passed_over(log: RunLog, line: str) -> None:
    """Whatever is in the file, the steps around it are told."""
    with step("open", kind="stage", log=log):
        pass
    with log.run.log.open("a") as file:
        file.write(line + "\n")
    with step("notebook", kind="stage", log=log):
        pass
    found = read_timeline(log.run)
    assert found is not None
    assert [moment.name for moment in found.steps] == ["open", "notebook"]


def test_whoever_listens_hears_the_run(log: RunLog, caplog: pytest.LogCaptureFixture) -> None:
    """The lines are records of the logger `pipeline.run`, with the run's labels."""
    with caplog.at_level(logging.INFO, "pipeline.run"), step("seal", kind="stage", log=log):
        pass
    [record] = caplog.records
    assert record.getMessage().startswith("stage seal took ")
    assert vars(record)["labels"]["run_id"] == log.run.run_id


def test_trace_prints_the_timeline(project: Settings, server: ForkServer | None, capsys: Any) -> None:
    """As text and as JSON; of a run that left nothing it says so."""
    run = run_cells(project, server, "raise ValueError('no such \x1b[31mbar')").run
    assert run_command(["trace", run.run_id[:8]]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "cell 1  raise ValueError(" in out
    assert "FAILED: ValueError: no such" in out
    assert run_command(["trace", "last", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run_id"], told["status"], told["source"]) == (run.run_id, "FAILED", "log")
    assert [part["name"] for part in told["steps"]][:3] == ["open", "tracking", "notebook"]
    empty = RunDir.create(project.results, new_run_id())
    assert run_command(["trace", empty.run_id]) == 0
    assert "left nothing that tells its timeline" in capsys.readouterr().out


def test_the_report_shows_how_it_ran_and_no_code(project: Settings, server: ForkServer | None, tmp_path: Path) -> None:
    """Steps and seconds up to the seal, so that the report comes out the same again; no line of a cell, no error."""
    run = run_cells(project, server, "raise ValueError('no such bar')").run

    shown = build_page(run, images=tmp_path).provenance()
    assert "cell 1" in shown
    assert "with an error" in shown
    assert "after the seal" in shown
    assert "no such bar" not in shown
    assert "tracking end" not in shown
