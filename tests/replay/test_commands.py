"""The commands replay, explain and export: what they print and what they exit with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.replay_commands import register
from pipeline.errors import UsageError
from pipeline.settings import Settings
from tests.replay.runs import FILES, HELPER, execute, git, sealed_run

STATS = {"stats.json": '{"sharpe": 1.5000001, "trades": 2, "undefined": null}'}


@pytest.fixture
def commands(small: Settings, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("EVIDENCE_ROOT", str(small.root))
    app = typer.Typer()
    register(app)
    return app


def test_explain(commands: typer.Typer, small: Settings) -> None:
    """0 for equal runs, 3 for different ones; the JSON holds the verdict and every difference."""
    a, b, c = sealed_run(small), sealed_run(small), sealed_run(small, files=STATS)
    done = CliRunner().invoke(commands, ["explain", a.run_id, b.run_id])
    assert (done.exit_code, done.stdout) == (0, "equal\n")
    done = CliRunner().invoke(commands, ["explain", a.run_id, c.run_id, "--json"])
    assert done.exit_code == 3
    facts = json.loads(done.stdout)
    assert facts["equal"] is False
    assert facts["outputs"]["stats"][0]["name"] == "sharpe"
    assert CliRunner().invoke(commands, ["explain", a.run_id, c.run_id, "--tolerance", "1e-6"]).exit_code == 0
    done = CliRunner().invoke(commands, ["explain", a.run_id, c.run_id, "--tolerance", "2"])
    assert isinstance(done.exception, UsageError)


def test_explain_compares_with_the_last_run(commands: typer.Typer, small: Settings) -> None:
    """Of one run that is named, the difference to the one started last is told; `replay` compares nothing by name."""
    a, c = sealed_run(small), sealed_run(small, files=STATS)
    assert CliRunner().invoke(commands, ["explain", a.run_id, "last"]).exit_code in {0, 3}
    named = CliRunner().invoke(commands, ["explain", a.run_id, "last"]).stdout
    assert CliRunner().invoke(commands, ["explain", a.run_id]).stdout == named
    assert CliRunner().invoke(commands, ["replay", a.run_id, c.run_id]).exit_code == 2


def test_explain_for_people(commands: typer.Typer, small: Settings) -> None:
    """The verdict first, then inputs, then sizes; control characters of a run never reach the terminal."""
    a = sealed_run(small)
    c = sealed_run(
        small, files={"equity.csv": FILES["equity.csv"].replace("101.0", "101.5")}, outputs=("\x1b[2J", "1.5")
    )
    lines = CliRunner().invoke(commands, ["explain", a.run_id, c.run_id]).stdout.splitlines()
    assert lines[0].startswith("different: no recorded input differs")
    assert lines[1] == (
        "equity: 1 of 3 rows differ, first at timestamp 2020-01-02T00:00:00Z in equity, at most 0.5 (relative 0.00493)"
    )
    assert lines[2:4] == ["differing cells: 1", "  cell 1: output: '<uuid>' -> '\\x1b[2J'"]


@pytest.mark.slow
def test_replay(commands: typer.Typer, small: Settings) -> None:
    """0 when the results are equal, although the code could not be brought back, which is said."""
    (small.root / "helper.py").write_text(HELPER + "\n\nscore_again = score\n")
    run = execute(small).run
    git(small.root, "checkout", "-q", "--", "helper.py")
    done = CliRunner().invoke(commands, ["replay", run.run_id, "--discard", "--json"])
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert facts["verdict"] == "equal, although 2 inputs differ"
    assert facts["first_differing_input"]["name"] == "helper"
    assert facts["replay_run_id"] is None


def test_export(commands: typer.Typer, small: Settings, tmp_path: Path) -> None:
    """The directory is printed; the format has to be named."""
    run = sealed_run(small)
    target = tmp_path / "crate"
    done = CliRunner().invoke(commands, ["export", run.run_id[:8], "--ro-crate", "-o", str(target), "--author", "A"])
    assert (done.exit_code, done.stdout.strip()) == (0, str(target))
    assert '"A"' in (target / "ro-crate-metadata.json").read_text()
    assert isinstance(CliRunner().invoke(commands, ["export", run.run_id]).exception, UsageError)
