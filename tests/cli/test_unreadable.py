"""One run or sweep that cannot be read is one bad row everywhere, and never the end of a listing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.edge import run_command
from pipeline.digest import canonical_json
from pipeline.files import write_atomic, write_json
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from tests.evidence.sealed_runs import FILES, World
from tests.sweep.sweeps import spec
from tests.tiers import mostly_slow

BROKEN = {
    "nothing": b"",
    "a list": b"[]",
    "a text": b'"x"',
    "no JSON": b"\xff\xfe{",
    "no number": b'{"sharpe": NaN, "total_return": Infinity}',
    "sections that are none": b'{"run": [], "strategy": "x", "sweep": 1, "data": null, "space": 3}',
    "names that are none": b'{"run": {"name": 5}, "strategy": {"name": [1], "params": 3}, "sweep": {"name": {}}}',
    "metrics that are none": b'{"sharpe": "\\u001b[2J", "total_return": [1], "total_trades": {}}',
    "no end of nesting": b'{"run":' * 30_000 + b"1" + b"}" * 30_000,
    "another manifest": b'{"predicate": {"buildDefinition": 3}, "subject": [{"name": 1}]}',
}
LISTINGS = (
    ["list", "--limit", "0"],
    ["list", "--json"],
    ["study", "list"],
    ["study", "list", "--json"],
    ["verify", "--all"],
    ["ledger", "check"],
    ["sync", "--all"],
    ["site", "build", "--jobs", "1"],
)


def call(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """Call the command line and return what it printed; nothing may be a fault."""
    capsys.readouterr()
    code = run_command(words)
    out, err = capsys.readouterr()
    assert code in {0, 3}, f"{words}: {err}"
    assert "fault of evidence" not in err
    return out


def sweep_files() -> dict[str, bytes]:
    """Return what a sweep leaves whose list of values holds one number in two ways, as it once could."""
    kept = spec().to_dict()
    kept["space"]["fast"] = {"values": [5, 10, 10.0]}
    return {**FILES, "config_snapshot.json": canonical_json(kept), "trials.jsonl": b"", "statistics.json": b"{}"}


NAMES = ("config_snapshot.json", "stats.json", "manifest.json", "tracking.json", "robustness.json")
PAIRS = [(name, broken) for name in NAMES for broken in BROKEN]


@pytest.mark.parametrize(("name", "broken"), mostly_slow(PAIRS, *range(0, len(PAIRS), len(BROKEN) + 1)))
def test_a_broken_file_is_a_bad_row(
    name: str, broken: str, project: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in a file of a run: the other runs are listed, and so is this one."""
    world = World(project.results, None)
    good, bad = world.run(report=None), world.run(report=None)
    write_atomic(bad.path / name, BROKEN[broken])
    for words in LISTINGS[:4]:
        out = call(capsys, words)
        if words[0] == "list":
            assert good.run_id in out
            assert bad.run_id in out
    for words in (["show", bad.run_id], ["show", bad.run_id, "--json"]):
        assert bad.run_id in call(capsys, words)


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_the_site_and_verification_go_on(broken: str, project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """All of a run's files broken at once."""
    world = World(project.results, None)
    good, bad = world.run(report=None), world.run(report=None)
    for name in ("config_snapshot.json", "stats.json", "manifest.json", "tracking.json", "equity.csv"):
        write_atomic(bad.path / name, BROKEN[broken])
    for words in LISTINGS:
        call(capsys, words)
    assert (project.root / "_site" / "runs" / good.run_id).is_dir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name")
@pytest.mark.parametrize(
    "name", ["data.json", "equity.csv", "tracking.json", "robustness.json", "stats.json", "debug/tracking.jsonl"]
)
def test_what_is_no_file_is_not_waited_for(name: str, project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe in the place of a file, and a directory: the run is listed without what would be in it."""
    bad = World(project.results, None).run(report=None)
    for make in (os.mkfifo, os.mkdir):
        (bad.path / name).unlink(missing_ok=True)
        (bad.path / name).parent.mkdir(exist_ok=True)
        make(bad.path / name)
        assert bad.run_id in call(capsys, ["list"])
        assert bad.run_id in call(capsys, ["show", bad.run_id])


def test_numbers_without_end_are_none(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole number that no float holds is not shown as a metric, nor taken for a convention."""
    bad = World(project.results, None).run(report=None)
    write_json(bad.conventions, {"periods_per_year": {"value": 10**400}})
    write_json(bad.stats, {"total_return": 10**400, "sharpe": 10**400})
    for words in (["list"], ["list", "--json", "--sort=-sharpe"], ["show", bad.run_id]):
        assert bad.run_id in call(capsys, words)


def test_a_journal_nested_without_end_is_damaged(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Its lines are passed over, as others that are none."""
    bad = World(project.results, None).run(report=None)
    write_atomic(bad.path / "debug" / "tracking.jsonl", b"[" * 200_000)
    assert bad.run_id in call(capsys, ["list"])


def test_a_state_that_is_none(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The record of a running run may hold anything: its run is listed."""
    for state in ([], {"status": "RUNNING", "started_at": 5, "stage": [], "pid": "x", "host": None}, {"pid": 10**30}):
        run = RunDir.create(project.results, new_run_id())
        write_json(run.state, state)
        assert run.run_id in call(capsys, ["list"])


def test_a_sweep_that_cannot_be_read_is_a_row(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A spec that later versions refuse: a row with the status UNREADABLE and the reason; the others stay."""
    world = World(project.results, None)
    bad = world.run(files=sweep_files(), report=None)
    rows: list[dict[str, Any]] = json.loads(call(capsys, ["study", "list", "--json"]))
    assert [(row["sweep"], row["status"]) for row in rows] == [(bad.run_id, "UNREADABLE")]
    assert "in the list twice" in rows[0]["error"]["message"]
    assert "UNREADABLE" in call(capsys, ["study", "list"])
    for words in (["list"], ["site", "build", "--jobs", "1"]):
        call(capsys, words)
    assert run_command(["study", "show", bad.run_id]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert Path(bad.path).is_dir()
