"""What is missing or away is a warning and a skip, said by name; in strict mode tracking is fatal."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from pipeline.run import load_run
from pipeline.runner import RunOutcome, run_backtest
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.notebooks import ARTIFACTS, write_notebook

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens there


def run_tracked(project: Settings, *, uri: str | None = None, mode: str = "warn") -> RunOutcome:
    write_notebook(project.root / "notebooks" / "n.ipynb", ARTIFACTS)
    values = {
        "run": {"notebook": "notebooks/n.ipynb"},
        "tracking": {"mode": mode, "uri": uri},
        "report": {"enabled": False},
    }
    return run_backtest(RunSpec.from_mapping(values), settings=project)


@pytest.mark.slow
def test_a_store_that_is_away_is_a_warning(project: Settings) -> None:
    """Nothing of the run is lost: it finishes, verifies, and says what is pending and how to deliver it."""
    outcome = run_tracked(project, uri=NOWHERE)
    assert outcome.error is None
    assert outcome.run.status == "FINISHED"
    assert outcome.run.verify().ok
    assert outcome.run.pending > 0
    assert any("evidence sync" in warning for warning in outcome.warnings)


def test_a_store_that_is_away_fails_a_strict_run(project: Settings) -> None:
    """`--tracking strict` makes the first tracking failure the run's failure, before the notebook executes."""
    outcome = run_tracked(project, uri=NOWHERE, mode="strict")
    assert outcome.error is not None
    assert outcome.run.status == "FAILED"
    assert outcome.run.verify().ok
    assert not outcome.run.dir.stats.exists()


@pytest.mark.slow
def test_a_locked_database_does_not_stop_a_run(project: Settings) -> None:
    """Another process holds MLflow's database: the run goes on, `evidence sync` delivers once it is free."""
    assert run_tracked(project).error is None
    holder = sqlite3.connect(project.root / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        outcome = run_tracked(project)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert outcome.error is None
    assert outcome.run.pending > 0
    from pipeline.tracking import sync_run

    result = sync_run(outcome.run.dir, project)
    assert result.error is None
    assert outcome.run.pending == 0


WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from pipeline.cli import main
sys.argv = ["evidence", "run", "--config", "run.toml", "--json"]
main()
"""


def run_without(project: Settings, *missing: str) -> tuple[dict[str, object], str]:
    write_notebook(project.root / "notebooks" / "n.ipynb", ARTIFACTS)
    (project.root / "run.toml").write_text('[run]\nnotebook = "notebooks/n.ipynb"\n')
    code = WITHOUT.format(missing=missing)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    return facts, " ".join(facts["warnings"])


@pytest.mark.slow
def test_without_mlflow_and_without_a_renderer(project: Settings) -> None:
    """A lean install runs and seals; each missing part is a warning that says what to install."""
    facts, warnings = run_without(project, "mlflow", "pypandoc", "plotly")
    assert facts["status"] == "FINISHED"
    assert "pip install 'evidence-chain[tracking]'" in warnings
    assert "evidence-chain[report]" in warnings
    run = load_run(str(facts["run_id"]), settings=project)
    assert run.verify().ok
    assert not run.dir.report.exists()


class Text(HTMLParser):
    """Collect what a browser would show, and every element name."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = "<evil-tag>\"'`$x$ ../../etc\n😀 &amp;"


@pytest.mark.slow
def test_hostile_strings_come_out_as_text(project: Settings) -> None:
    """Names, tags, symbols and params hold anything; the report shows them as text, the terminal in one line."""
    values = {
        "run": {"name": HOSTILE, "tags": {HOSTILE.replace("\n", " "): HOSTILE}, "experiment": "x <b>"},
        "data": {"symbol": HOSTILE, "start": "2018-01-02"},
        "strategy": {"name": "ma_crossover", "params": {"fast": 5, "slow": 20}},
        "tracking": {"mode": "warn"},
    }
    outcome = run_backtest(RunSpec.from_mapping(values), settings=project)
    assert outcome.error is None, outcome.error
    parser = Text()
    parser.feed(outcome.run.dir.report.read_text())
    assert "evil-tag" not in parser.tags
    assert "<evil-tag>" in parser.text
    assert "&amp;" in parser.text
    assert outcome.run.verify().ok
